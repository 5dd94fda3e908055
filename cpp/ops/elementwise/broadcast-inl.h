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
constexpr int64_t kSums = Vec<float>::lanes == 16 ? 64 : 32;

// sums[j] += sum over r of x[r, j], kSums columns.
template <class T>
NEOCOG_INLINE void add_columns(const T* x, int64_t rows, int64_t stride, double* sums) {
  double sum[kSums];
  for (int64_t j = 0; j < kSums; ++j) sum[j] = sums[j];
  for (int64_t r = 0; r < rows; ++r, x += stride) {
    for (int64_t j = 0; j < kSums; ++j) sum[j] += static_cast<double>(x[j]);
  }
  for (int64_t j = 0; j < kSums; ++j) sums[j] = sum[j];
}

template <class T>
void sum_columns(const T* x, int64_t rows, int64_t stride, int64_t columns, double* sums) {
  for (int64_t i = 0; i < columns; ++i) sums[i] = 0;
  if (columns > 0 && stride == columns && columns <= kSums / 2) {  // several rows side by side
    const int64_t together = kSums / columns, whole = rows / together;
    double wide[kSums] = {};
    if (together * columns == kSums) {
      add_columns(x, whole, kSums, wide);
    } else {
      for (int64_t r = 0; r < whole; ++r) {
        for (int64_t j = 0; j < together * columns; ++j)
          wide[j] += static_cast<double>(x[r * together * columns + j]);
      }
    }
    for (int64_t j = 0; j < together; ++j) {
      for (int64_t i = 0; i < columns; ++i) sums[i] += wide[j * columns + i];
    }
    x += whole * together * columns;
    rows -= whole * together;
  }
  const int64_t whole = columns / kSums * kSums;
  for (int64_t c = 0; c < whole; c += kSums) add_columns(x + c, rows, stride, sums + c);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = whole; i < columns; ++i) sums[i] += static_cast<double>(x[r * stride + i]);
  }
}

template <class T>
void sum_rows(const T* x, int64_t rows, int64_t n, double* sums) {
  constexpr int64_t kSide = 32;
  for (int64_t r = 0; r < rows; ++r, x += n) {
    double sum[kSide] = {};
    int64_t i = 0;
    for (; i + kSide <= n; i += kSide) {
      for (int64_t j = 0; j < kSide; ++j) sum[j] += static_cast<double>(x[i + j]);
    }
    for (int64_t j = 0; i < n; ++i, ++j) sum[j] += static_cast<double>(x[i]);
    for (int64_t half = kSide / 2; half > 0; half /= 2) {
      for (int64_t j = 0; j < half; ++j) sum[j] += sum[j + half];
    }
    sums[r] = sum[0];
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
