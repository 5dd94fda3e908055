// Kernel bodies of reduce.h, compiled once per instruction set; no include guard on purpose.
#include "core/simd/larger.h"
#include "core/simd/mask.h"
#include "core/simd/math.h"
#include "core/window.h"
#include "ops/elementwise/reduce.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Elements that are gathered or transformed at a time.
constexpr int64_t kReduceTile = 512;
// Terms a register adds up before they go to float64.
constexpr int64_t kSumTerms = 16;

template <bool kMagnitudes>
NEOCOG_INLINE Vec<float> summand(const float* x, int64_t lanes) {
  const Vec<float> v = lanes == Vec<float>::lanes ? Vec<float>::load(x) : Vec<float>::load_n(x, lanes);
  return kMagnitudes ? abs(v) : v;
}

template <bool kMagnitudes>
NEOCOG_INLINE void sum_run(const float* x, int64_t n, double* total) {
  using V = Vec<float>;
  constexpr int64_t kLanes = V::lanes;
  for (int64_t begin = 0; begin < n; begin += 4 * kSumTerms * kLanes) {
    const int64_t end = min64(n, begin + 4 * kSumTerms * kLanes);
    V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    int64_t i = begin;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) sum[k] = sum[k] + summand<kMagnitudes>(x + i + k * kLanes, kLanes);
    }
    for (; i < end; i += kLanes) sum[0] = sum[0] + summand<kMagnitudes>(x + i, min64(kLanes, end - i));
    *total += static_cast<double>(((sum[0] + sum[1]) + (sum[2] + sum[3])).sum());
  }
}

// kVectors vectors of columns, of whose last one `lanes` exist.
template <bool kMagnitudes, int kVectors>
NEOCOG_INLINE void sum_some_columns(const float* x, int64_t rows, int64_t stride, int64_t lanes,
                                    double* totals) {
  using V = Vec<float>;
  constexpr int64_t kLanes = V::lanes;
  for (int64_t begin = 0; begin < rows; begin += 2 * kSumTerms) {
    V sum[kVectors];
    for (V& s : sum) s = V::zero();
    for (int64_t r = begin; r < min64(rows, begin + 2 * kSumTerms); ++r) {
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) {
        const int64_t some = k + 1 < kVectors ? kLanes : lanes;
        sum[k] = sum[k] + summand<kMagnitudes>(x + r * stride + k * kLanes, some);
      }
    }
    float part[kVectors * kLanes];
    for (int k = 0; k < kVectors; ++k) sum[k].store(part + k * kLanes);
    const int64_t count = (kVectors - 1) * kLanes + lanes;
    for (int64_t i = 0; i < count; ++i) totals[i] += static_cast<double>(part[i]);
  }
}

template <bool kMagnitudes>
NEOCOG_INLINE void sum_columns_into(const float* x, int64_t rows, int64_t stride, int64_t columns,
                                    double* totals) {
  constexpr int64_t kLanes = Vec<float>::lanes;
  int64_t c = 0;
  for (; c + 4 * kLanes <= columns; c += 4 * kLanes) {
    sum_some_columns<kMagnitudes, 4>(x + c, rows, stride, kLanes, totals + c);
  }
  for (; c < columns; c += kLanes) {
    sum_some_columns<kMagnitudes, 1>(x + c, rows, stride, min64(kLanes, columns - c), totals + c);
  }
}

// Squares and products leave the range of float32 where their roots, or the whole, do not: float64 from the
// start.
constexpr int64_t kTotals = 32;  // grow side by side, for the compiler to keep in registers
struct TotalSquares {
  static constexpr double kStart = 0;
  NEOCOG_INLINE double take(double t, double v) const { return t + v * v; }
  NEOCOG_INLINE double join(double a, double b) const { return a + b; }
};
struct TotalProduct {
  static constexpr double kStart = 1;
  NEOCOG_INLINE double take(double t, double v) const { return t * v; }
  NEOCOG_INLINE double join(double a, double b) const { return a * b; }
};

template <class F>
NEOCOG_INLINE void total_run(const float* x, int64_t n, F f, double* total) {
  double part[kTotals];
  for (int64_t j = 0; j < kTotals; ++j) part[j] = F::kStart;
  int64_t i = 0;
  for (; i + kTotals <= n; i += kTotals) {
    for (int64_t j = 0; j < kTotals; ++j) part[j] = f.take(part[j], static_cast<double>(x[i + j]));
  }
  for (int64_t j = 0; i < n; ++i, ++j) part[j] = f.take(part[j], static_cast<double>(x[i]));
  for (int64_t half = kTotals / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half; ++j) part[j] = f.join(part[j], part[j + half]);
  }
  *total = f.join(*total, part[0]);
}

template <class F>
NEOCOG_INLINE void total_columns(const float* x, int64_t rows, int64_t stride, int64_t columns, F f,
                                 double* totals) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < columns; ++i)
      totals[i] = f.take(totals[i], static_cast<double>(x[r * stride + i]));
  }
}

// The larger of two values, or NaN if one of them is; the smaller of the negated ones.
template <bool kLargest>
NEOCOG_INLINE Vec<float> extreme(Vec<float> v, Vec<float> most) {
  if constexpr (kLargest) return larger(most, v);
  return select(unordered(v, v), v, min(v, most));
}
template <bool kLargest>
NEOCOG_INLINE double extreme(double v, double most) {
  return v != v || (kLargest ? v > most : v < most) ? v : most;
}
template <bool kLargest>
NEOCOG_INLINE Vec<float> no_extreme() {
  const float infinity = __builtin_inff();
  return Vec<float>::set1(kLargest ? -infinity : infinity);
}

template <bool kLargest>
NEOCOG_INLINE void extreme_run(const float* x, int64_t n, double* total) {
  using V = Vec<float>;
  V most[4];
  for (V& m : most) m = no_extreme<kLargest>();
  int64_t i = 0;
  for (; i + 4 * V::lanes <= n; i += 4 * V::lanes) {
    for (int64_t k = 0; k < 4; ++k) most[k] = extreme<kLargest>(V::load(x + i + k * V::lanes), most[k]);
  }
  float part[V::lanes];
  extreme<kLargest>(extreme<kLargest>(most[0], most[1]), extreme<kLargest>(most[2], most[3])).store(part);
  for (const float v : part) *total = extreme<kLargest>(static_cast<double>(v), *total);
  for (; i < n; ++i) *total = extreme<kLargest>(static_cast<double>(x[i]), *total);
}

template <bool kLargest, int kVectors>
NEOCOG_INLINE void extreme_some_columns(const float* x, int64_t rows, int64_t stride, int64_t lanes,
                                        double* totals) {
  using V = Vec<float>;
  constexpr int64_t kLanes = V::lanes;
  V most[kVectors];
  for (V& m : most) m = no_extreme<kLargest>();
  for (int64_t r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      const int64_t some = k + 1 < kVectors ? kLanes : lanes;
      most[k] = extreme<kLargest>(summand<false>(x + r * stride + k * kLanes, some), most[k]);
    }
  }
  float part[kVectors * kLanes];
  for (int k = 0; k < kVectors; ++k) most[k].store(part + k * kLanes);
  const int64_t count = (kVectors - 1) * kLanes + lanes;
  for (int64_t i = 0; i < count; ++i) totals[i] = extreme<kLargest>(static_cast<double>(part[i]), totals[i]);
}

template <bool kLargest>
NEOCOG_INLINE void extreme_columns(const float* x, int64_t rows, int64_t stride, int64_t columns,
                                   double* totals) {
  constexpr int64_t kLanes = Vec<float>::lanes;
  int64_t c = 0;
  for (; c + 4 * kLanes <= columns; c += 4 * kLanes) {
    extreme_some_columns<kLargest, 4>(x + c, rows, stride, kLanes, totals + c);
  }
  for (; c < columns; c += kLanes) {
    extreme_some_columns<kLargest, 1>(x + c, rows, stride, min64(kLanes, columns - c), totals + c);
  }
}

// e^(x - shift) of at most a tile.
NEOCOG_INLINE void exponentials(const float* x, const float* shift, int64_t shift_step, int64_t n,
                                float* tile) {
  using V = Vec<float>;
  for (int64_t i = 0; i < n; i += V::lanes) {
    const int64_t lanes = min64(V::lanes, n - i);
    const V s = shift_step == 0 ? V::set1(*shift) : V::load_n(shift + i, lanes);
    exp(V::load_n(x + i, lanes) - s).store_n(tile + i, lanes);
  }
}

void contiguous_run(Fold f, const float* shift, const float* x, int64_t n, double* total) {
  switch (f) {
    case Fold::kSum: return sum_run<false>(x, n, total);
    case Fold::kSumSquares: return total_run(x, n, TotalSquares{}, total);
    case Fold::kSumMagnitudes: return sum_run<true>(x, n, total);
    case Fold::kProduct: return total_run(x, n, TotalProduct{}, total);
    case Fold::kMax: return extreme_run<true>(x, n, total);
    case Fold::kMin: return extreme_run<false>(x, n, total);
    case Fold::kSumExp:
      for (int64_t i = 0; i < n; i += kReduceTile) {
        float tile[kReduceTile];
        const int64_t count = min64(kReduceTile, n - i);
        exponentials(x + i, shift, 0, count, tile);
        sum_run<false>(tile, count, total);
      }
  }
}

void reduce_run(Fold f, const float* shift, const float* x, int64_t n, int64_t step, double* total) {
  if (step == 1) return contiguous_run(f, shift, x, n, total);
  for (int64_t i = 0; i < n; i += kReduceTile) {
    float tile[kReduceTile];
    const int64_t count = min64(kReduceTile, n - i);
    for (int64_t j = 0; j < count; ++j) tile[j] = x[(i + j) * step];
    contiguous_run(f, shift, tile, count, total);
  }
}

void reduce_columns(Fold f, const float* shift, const float* x, int64_t rows, int64_t stride, int64_t columns,
                    int64_t step, double* totals) {
  if (step != 1) {
    for (int64_t i = 0; i < columns; ++i) {
      reduce_run(f, shift == nullptr ? nullptr : shift + i, x + i * step, rows, stride, totals + i);
    }
    return;
  }
  switch (f) {
    case Fold::kSum: return sum_columns_into<false>(x, rows, stride, columns, totals);
    case Fold::kSumSquares: return total_columns(x, rows, stride, columns, TotalSquares{}, totals);
    case Fold::kSumMagnitudes: return sum_columns_into<true>(x, rows, stride, columns, totals);
    case Fold::kProduct: return total_columns(x, rows, stride, columns, TotalProduct{}, totals);
    case Fold::kMax: return extreme_columns<true>(x, rows, stride, columns, totals);
    case Fold::kMin: return extreme_columns<false>(x, rows, stride, columns, totals);
    case Fold::kSumExp:
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = 0; i < columns; i += kReduceTile) {
          float tile[kReduceTile];
          const int64_t count = min64(kReduceTile, columns - i);
          exponentials(x + r * stride + i, shift + i, 1, count, tile);
          for (int64_t j = 0; j < count; ++j) totals[i + j] += static_cast<double>(tile[j]);
        }
      }
  }
}

}  // namespace

extern constinit const ReduceKernels reduce_kernels_f32 = {&reduce_run, &reduce_columns};

}  // namespace neocog::NEOCOG_ISA
