// Kernel bodies of depthwise.h, channels-first: vectors along the row; no include guard on purpose.
#include "ops/depthwise/depthwise.h"

namespace neocog::NEOCOG_ISA {
namespace {

constexpr int kRowVectors = 4;

template <class T, int Rows, int N, bool Tail>
NEOCOG_INLINE void plane_block(const DepthwisePlaneRows<T>& g, int64_t q, int64_t n) {
  using V = Vec<T>;
  V acc[Rows][N];
#pragma GCC unroll 2
  for (int p = 0; p < Rows; ++p) {
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) {
      const T* y = g.y[p] + q + i * V::lanes;
      acc[p][i] = !g.accumulate ? V::set1(g.bias) : Tail ? V::load_n(y, n) : V::load(y);
    }
  }
  for (int64_t r = 0; r < g.taps_h + Rows - 1; ++r) {
    for (int64_t s = 0; s < g.taps_w; ++s) {
      const T* x = g.x[r] + g.col[s] + q;
      V value[N];
#pragma GCC unroll 4
      for (int i = 0; i < N; ++i) value[i] = V::load(x + i * V::lanes);  // the row ends in slack
      if (Rows == 1 || r < g.taps_h) {
        const V weight = V::set1(g.weight[r * g.taps_w + s]);
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) acc[0][i] = fma(value[i], weight, acc[0][i]);
      }
      if (Rows == 2 && r > 0) {
        const V weight = V::set1(g.weight[(r - 1) * g.taps_w + s]);
#pragma GCC unroll 4
        for (int i = 0; i < N; ++i) acc[Rows - 1][i] = fma(value[i], weight, acc[Rows - 1][i]);
      }
    }
  }
#pragma GCC unroll 2
  for (int p = 0; p < Rows; ++p) {
#pragma GCC unroll 4
    for (int i = 0; i < N; ++i) {
      if (g.clamp) acc[p][i] = min(V::set1(g.hi), max(V::set1(g.lo), acc[p][i]));
      T* y = g.y[p] + q + i * V::lanes;
      if constexpr (Tail) {
        acc[p][i].store_n(y, n);
      } else {
        acc[p][i].store(y);
      }
    }
  }
}

template <class T, int Rows>
NEOCOG_INLINE void plane_rows(const DepthwisePlaneRows<T>& g) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t q = 0;
  for (; q + kRowVectors * lanes <= g.count; q += kRowVectors * lanes)
    plane_block<T, Rows, kRowVectors, false>(g, q, lanes);
  for (; q + lanes <= g.count; q += lanes) plane_block<T, Rows, 1, false>(g, q, lanes);
  if (q < g.count) plane_block<T, Rows, 1, true>(g, q, g.count - q);
}

template <class T>
void plane_row(const DepthwisePlaneRows<T>& g) {
  plane_rows<T, 1>(g);
}
template <class T>
void plane_row_pair(const DepthwisePlaneRows<T>& g) {
  plane_rows<T, 2>(g);
}

// Sums of N taps over one row, kept as one vector of partial sums per tap.
template <class T, int N>
NEOCOG_INLINE void gradient_plane_taps(const DepthwiseGradientRow<T>& g, const T* const* x, T* const* dw) {
  using V = Vec<T>;
  V acc[N];
#pragma GCC unroll 16
  for (int t = 0; t < N; ++t) acc[t] = V::load(dw[t]);
  int64_t q = 0;
  for (; q + V::lanes <= g.count; q += V::lanes) {
    const V grad = V::load(g.dy + q);
#pragma GCC unroll 16
    for (int t = 0; t < N; ++t) acc[t] = fma(V::load(x[t] + q), grad, acc[t]);
  }
  if (q < g.count) {
    const int64_t n = g.count - q;
    const V grad = V::load_n(g.dy + q, n);
#pragma GCC unroll 16
    for (int t = 0; t < N; ++t) acc[t] = fma(V::load_n(x[t] + q, n), grad, acc[t]);
  }
#pragma GCC unroll 16
  for (int t = 0; t < N; ++t) acc[t].store(dw[t]);
}

template <class T>
void gradient_plane_row(const DepthwiseGradientRow<T>& g) {
  constexpr int kBlock = 9;
  const T* x[kBlock];
  T* dw[kBlock];
  int taps = 0;
  const auto flush = [&]() __attribute__((always_inline)) {
    int t = 0;
    if (taps == kBlock) {
      gradient_plane_taps<T, kBlock>(g, x, dw);
      t = kBlock;
    }
    for (; t + 4 <= taps; t += 4) gradient_plane_taps<T, 4>(g, x + t, dw + t);
    for (; t < taps; ++t) gradient_plane_taps<T, 1>(g, x + t, dw + t);
    taps = 0;
  };
  for (int64_t r = 0; r < g.taps_h; ++r) {
    for (int64_t s = 0; s < g.taps_w; ++s) {
      x[taps] = g.x[r] + g.col[s];
      dw[taps] = g.dw + (r * g.taps_w + s) * Vec<T>::lanes;
      if (++taps == kBlock) flush();
    }
  }
  flush();
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
