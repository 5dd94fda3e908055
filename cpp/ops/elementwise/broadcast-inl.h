// Kernel bodies of broadcast.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/elementwise/broadcast.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class T>
void add_rows(const T* a, int64_t a_row, const T* b, int64_t b_row, T* y, int64_t y_row, int64_t rows,
              int64_t n) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, a += a_row, b += b_row, y += y_row) {
    int64_t i = 0;
    for (; i + V::lanes <= n; i += V::lanes) (V::load(a + i) + V::load(b + i)).store(y + i);
    if (i < n) (V::load_n(a + i, n - i) + V::load_n(b + i, n - i)).store_n(y + i, n - i);
  }
}

template <class T>
void add_scalars(const T* a, int64_t a_row, const T* b, int64_t b_row, T* y, int64_t y_row, int64_t rows,
                 int64_t n) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, a += a_row, b += b_row, y += y_row) {
    const V addend = V::set1(*b);
    int64_t i = 0;
    for (; i + V::lanes <= n; i += V::lanes) (V::load(a + i) + addend).store(y + i);
    if (i < n) (V::load_n(a + i, n - i) + addend).store_n(y + i, n - i);
  }
}

// Sums that grow side by side, for the compiler to keep in registers.
constexpr int64_t kSums = 32;

template <class T>
void sum_rows(const T* x, int64_t rows, int64_t n, double* sums) {
  for (int64_t r = 0; r < rows; ++r, x += n) {
    double sum[kSums] = {};
    int64_t i = 0;
    for (; i + kSums <= n; i += kSums) {
      for (int64_t j = 0; j < kSums; ++j) sum[j] += static_cast<double>(x[i + j]);
    }
    for (int64_t j = 0; i < n; ++i, ++j) sum[j] += static_cast<double>(x[i]);
    for (int64_t half = kSums / 2; half > 0; half /= 2) {
      for (int64_t j = 0; j < half; ++j) sum[j] += sum[j + half];
    }
    sums[r] = sum[0];
  }
}

template <class T>
void sum_columns(const T* x, int64_t rows, int64_t stride, int64_t columns, double* sums) {
  int64_t c = 0;
  for (; c + kSums <= columns; c += kSums) {
    double sum[kSums] = {};
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < kSums; ++j) sum[j] += static_cast<double>(x[r * stride + c + j]);
    }
    for (int64_t j = 0; j < kSums; ++j) sums[c + j] = sum[j];
  }
  if (c == columns) return;
  for (int64_t i = c; i < columns; ++i) sums[i] = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = c; i < columns; ++i) sums[i] += static_cast<double>(x[r * stride + i]);
  }
}

template <class T>
constexpr BroadcastKernels<T> kBroadcastTable = {&add_rows<T>, &add_scalars<T>, &sum_rows<T>,
                                                 &sum_columns<T>};

}  // namespace

extern constinit const BroadcastKernels<float> broadcast_kernels_f32 = kBroadcastTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const BroadcastKernels<double> broadcast_kernels_f64 = kBroadcastTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
