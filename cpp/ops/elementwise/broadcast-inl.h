// Kernel bodies of broadcast.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/elementwise/broadcast.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Terms a register adds up before it hands over to float64.
constexpr int64_t kSumTerms = 64;

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

template <class T>
void sum_rows(const T* x, int64_t rows, int64_t n, double* sums) {
  using V = Vec<T>;
  constexpr int64_t kStep = 4 * V::lanes;  // four chains of additions hide their latency
  for (int64_t r = 0; r < rows; ++r, x += n) {
    double total = 0;
    int64_t i = 0;
    while (i + kStep <= n) {
      V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
      const int64_t end = min64(n / kStep * kStep, i + kSumTerms * kStep);
      for (; i < end; i += kStep) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) sum[j] = sum[j] + V::load(x + i + j * V::lanes);
      }
      total += ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
    }
    V sum = V::zero();
    for (; i + V::lanes <= n; i += V::lanes) sum = sum + V::load(x + i);
    if (i < n) sum = sum + V::load_n(x + i, n - i);
    sums[r] = total + sum.sum();
  }
}

// Adds kVectors vectors of columns up over all rows; the last column block holds `n` columns.
template <int kVectors, class T>
NEOCOG_INLINE void sum_column_tile(const T* x, int64_t rows, int64_t stride, int64_t n, double* sums) {
  using V = Vec<T>;
  const bool whole = n == kVectors * V::lanes;
  for (int64_t i = 0; i < n; ++i) sums[i] = 0;
  for (int64_t begin = 0; begin < rows; begin += kSumTerms) {
    const int64_t end = min64(rows, begin + kSumTerms);
    V sum[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sum[j] = V::zero();
    for (int64_t r = begin; r < end; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        const T* from = x + r * stride + j * V::lanes;
        sum[j] = sum[j] + (whole ? V::load(from) : V::load_n(from, n));
      }
    }
    T lane[kVectors * V::lanes];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sum[j].store(lane + j * V::lanes);
    for (int64_t i = 0; i < n; ++i) sums[i] += lane[i];
  }
}

template <class T>
void sum_columns(const T* x, int64_t rows, int64_t stride, int64_t columns, double* sums) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + 4 * kLanes <= columns; c += 4 * kLanes)
    sum_column_tile<4>(x + c, rows, stride, 4 * kLanes, sums + c);
  for (; c < columns; c += kLanes)
    sum_column_tile<1>(x + c, rows, stride, min64(kLanes, columns - c), sums + c);
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
