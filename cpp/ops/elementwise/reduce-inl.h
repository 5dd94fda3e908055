// Kernel bodies of reduce.h, compiled once per instruction set; no include guard on purpose.
#include "core/simd/mask.h"
#include "core/simd/math.h"
#include "core/window.h"
#include "ops/elementwise/reduce.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Totals that grow side by side, for the compiler to keep in registers.
constexpr int64_t kTotals = 32;
// Elements that are gathered or transformed at a time.
constexpr int64_t kReduceTile = 512;

struct TotalSum {
  static constexpr double kStart = 0;
  NEOCOG_INLINE double take(double t, double v) const { return t + v; }
  NEOCOG_INLINE double join(double a, double b) const { return a + b; }
};
struct TotalSquares : TotalSum {
  NEOCOG_INLINE double take(double t, double v) const { return t + v * v; }
};
struct TotalMagnitudes : TotalSum {
  NEOCOG_INLINE double take(double t, double v) const { return t + __builtin_fabs(v); }
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
  int64_t c = 0;
  for (; c + kTotals <= columns; c += kTotals) {
    double part[kTotals];
    for (int64_t j = 0; j < kTotals; ++j) part[j] = F::kStart;
    for (int64_t r = 0; r < rows; ++r) {
      const float* const row = x + r * stride + c;
      for (int64_t j = 0; j < kTotals; ++j) part[j] = f.take(part[j], static_cast<double>(row[j]));
    }
    for (int64_t j = 0; j < kTotals; ++j) totals[c + j] = f.join(totals[c + j], part[j]);
  }
  if (c == columns) return;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = c; i < columns; ++i) {
      totals[i] = f.take(totals[i], static_cast<double>(x[r * stride + i]));
    }
  }
}

// The larger of two values, or NaN if one of them is; the smaller of the negated ones.
template <bool kLargest>
NEOCOG_INLINE Vec<float> extreme(Vec<float> v, Vec<float> most) {
  return select(unordered(v, v), v, kLargest ? max(v, most) : min(v, most));
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

template <bool kLargest>
NEOCOG_INLINE void extreme_columns(const float* x, int64_t rows, int64_t stride, int64_t columns,
                                   double* totals) {
  using V = Vec<float>;
  for (int64_t c = 0; c < columns; c += V::lanes) {
    const int64_t lanes = min64(V::lanes, columns - c);
    V most = no_extreme<kLargest>();
    for (int64_t r = 0; r < rows; ++r) {
      const float* const row = x + r * stride + c;
      most = extreme<kLargest>(lanes == V::lanes ? V::load(row) : V::load_n(row, lanes), most);
    }
    float part[V::lanes];
    most.store(part);
    for (int64_t i = 0; i < lanes; ++i) {
      totals[c + i] = extreme<kLargest>(static_cast<double>(part[i]), totals[c + i]);
    }
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
    case Fold::kSum: return total_run(x, n, TotalSum{}, total);
    case Fold::kSumSquares: return total_run(x, n, TotalSquares{}, total);
    case Fold::kSumMagnitudes: return total_run(x, n, TotalMagnitudes{}, total);
    case Fold::kProduct: return total_run(x, n, TotalProduct{}, total);
    case Fold::kMax: return extreme_run<true>(x, n, total);
    case Fold::kMin: return extreme_run<false>(x, n, total);
    case Fold::kSumExp:
      for (int64_t i = 0; i < n; i += kReduceTile) {
        float tile[kReduceTile];
        const int64_t count = min64(kReduceTile, n - i);
        exponentials(x + i, shift, 0, count, tile);
        total_run(tile, count, TotalSum{}, total);
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
    case Fold::kSum: return total_columns(x, rows, stride, columns, TotalSum{}, totals);
    case Fold::kSumSquares: return total_columns(x, rows, stride, columns, TotalSquares{}, totals);
    case Fold::kSumMagnitudes: return total_columns(x, rows, stride, columns, TotalMagnitudes{}, totals);
    case Fold::kProduct: return total_columns(x, rows, stride, columns, TotalProduct{}, totals);
    case Fold::kMax: return extreme_columns<true>(x, rows, stride, columns, totals);
    case Fold::kMin: return extreme_columns<false>(x, rows, stride, columns, totals);
    case Fold::kSumExp:
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t i = 0; i < columns; i += kReduceTile) {
          float tile[kReduceTile];
          const int64_t count = min64(kReduceTile, columns - i);
          exponentials(x + r * stride + i, shift + i, 1, count, tile);
          total_columns(tile, 1, 0, count, TotalSum{}, totals + i);
        }
      }
  }
}

}  // namespace

extern constinit const ReduceKernels reduce_kernels_f32 = {&reduce_run, &reduce_columns};

}  // namespace neocog::NEOCOG_ISA
