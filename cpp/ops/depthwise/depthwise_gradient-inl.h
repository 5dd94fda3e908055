// Kernel bodies of depthwise.h, channels-last, of the weight gradient; no include guard on purpose.
#include <type_traits>

#include "ops/depthwise/depthwise.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class T, bool Tail>
NEOCOG_INLINE Vec<T> load_channels(const T* p, int64_t n) {
  if constexpr (Tail) return Vec<T>::load_n(p, n);
  return Vec<T>::load(p);
}
template <class T, bool Tail>
NEOCOG_INLINE void store_channels(Vec<T> v, T* p, int64_t n) {
  if constexpr (Tail) {
    v.store_n(p, n);
  } else {
    v.store(p);
  }
}

// Sums of N taps over the outputs [begin, end), which all lie inside for them.
template <class T, int N, bool Tail>
NEOCOG_INLINE void gradient_taps(const DepthwiseGradientRow<T>& g, const T* const* x, T* const* dw,
                                 int64_t begin, int64_t end, int64_t c, int64_t n) {
  using V = Vec<T>;
  V acc[N];
  const T* at[N];
  const int64_t step = g.in_step * g.channels;
#pragma GCC unroll 16
  for (int t = 0; t < N; ++t) {
    acc[t] = V::zero();
    at[t] = x[t] + c + begin * step;
  }
  const T* dy = g.dy + begin * g.channels + c;
  int64_t offset = 0;
  for (int64_t q = begin; q < end; ++q, dy += g.channels, offset += step) {
    const V grad = load_channels<T, Tail>(dy, n);
#pragma GCC unroll 16
    for (int t = 0; t < N; ++t) acc[t] = fma(load_channels<T, Tail>(at[t] + offset, n), grad, acc[t]);
  }
#pragma GCC unroll 16
  for (int t = 0; t < N; ++t) {
    T* to = dw[t] + c;
    store_channels<T, Tail>(load_channels<T, Tail>(to, n) + acc[t], to, n);
  }
}

template <class T, int N>
NEOCOG_INLINE void gradient_block(const DepthwiseGradientRow<T>& g, const T* const* x, T* const* dw,
                                  int64_t begin, int64_t end) {
  if (begin >= end) return;
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + lanes <= g.channels; c += lanes) gradient_taps<T, N, false>(g, x, dw, begin, end, c, lanes);
  if (c < g.channels) gradient_taps<T, N, true>(g, x, dw, begin, end, c, g.channels - c);
}

template <class T>
void gradient_row(const DepthwiseGradientRow<T>& g) {
  // Outputs inside for every tap go through in blocks of taps; the rest tap by tap.
  const auto inside = [&](int64_t s, int64_t& begin, int64_t& end) __attribute__((always_inline)) {
    begin = min64(g.col[s] < 0 ? ceil_div(-g.col[s], g.in_step) : 0, g.count);
    end = max64(begin, min64(g.count, floor_div(g.in_w - 1 - g.col[s], g.in_step) + 1));
  };
  int64_t begin = 0, end = g.count;
  for (int64_t s = 0; s < g.taps_w; ++s) {
    int64_t lo, hi;
    inside(s, lo, hi);
    begin = max64(begin, lo);
    end = min64(end, hi);
  }
  end = max64(begin, end);
  constexpr int kBlock = 9;
  const T* x[kBlock];
  T* dw[kBlock];
  int taps = 0;
  const auto flush = [&]() __attribute__((always_inline)) {
    int t = 0;
    if (taps == kBlock) {
      gradient_block<T, kBlock>(g, x, dw, begin, end);
      t = kBlock;
    }
    for (; t + 4 <= taps; t += 4) gradient_block<T, 4>(g, x + t, dw + t, begin, end);
    for (; t < taps; ++t) gradient_block<T, 1>(g, x + t, dw + t, begin, end);
    taps = 0;
  };
  for (int64_t r = 0; r < g.taps_h; ++r) {
    if (g.x[r] == nullptr) continue;
    for (int64_t s = 0; s < g.taps_w; ++s) {
      x[taps] = g.x[r] + g.col[s] * g.channels;
      dw[taps] = g.dw + (r * g.taps_w + s) * g.channels;
      int64_t lo, hi;
      inside(s, lo, hi);
      gradient_block<T, 1>(g, x + taps, dw + taps, lo, min64(begin, hi));
      gradient_block<T, 1>(g, x + taps, dw + taps, max64(lo, max64(begin, end)), hi);
      if (++taps == kBlock) flush();
    }
  }
  flush();
}

// Several rows of dy at once, square kernels: the sums of R rows of taps, from row Base on, wait in
// registers, and so do the values of dy that a column of x meets. Each value of x is loaded once for all its
// products.
template <class T, int S, int Base, int R, int Step, int Rows, bool Tail>
NEOCOG_INLINE void slide_gradient(const DepthwiseGradientRows<T>& g, int64_t c, int64_t n) {
  using V = Vec<T>;
  constexpr int kInputRows = R + (Rows - 1) * Step;
  constexpr int kWindow = (S + Step - 1) / Step;  // values of a row of dy that a group of Step columns meets
  V acc[R * S], window[Rows][kWindow];
#pragma GCC unroll 32
  for (int t = 0; t < R * S; ++t) acc[t] = V::zero();
#pragma GCC unroll 4
  for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
    for (int k = 0; k < kWindow; ++k) window[o][k] = V::zero();
  }
  const int64_t block = c / V::lanes, blocks = ceil_div(g.channels, V::lanes);
  constexpr int kFetching = Base == 0;  // the first rows of taps ask for what all of them will read
  Fetch<T> fetch_x(g.ahead_x.part(block, block + kFetching, blocks)),
      fetch_dy(g.ahead_dy.part(block, block + kFetching, blocks));
  const int64_t channels = g.channels, in_w = g.in_w;
  int64_t col = g.begin * Step + g.col, x_at = col * channels + c, dy_at = g.begin * channels + c;

  const auto add_group = [&](auto edge, bool more) __attribute__((always_inline)) {
    if constexpr (kFetching) {
      fetch_x.template next<Rows * Step * Step>();
      fetch_dy.template next<Rows>();
    }
#pragma GCC unroll 4
    for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
      for (int k = kWindow - 1; k > 0; --k) window[o][k] = window[o][k - 1];
      window[o][0] = !edge || more ? load_channels<T, Tail>(g.dy[o] + dy_at, n) : V::zero();
    }
    dy_at += channels;
#pragma GCC unroll 2
    for (int p = 0; p < Step; ++p) {
      if (edge && (col + p < 0 || col + p >= in_w)) continue;
#pragma GCC unroll 16
      for (int r = 0; r < kInputRows; ++r) {
        const V value = load_channels<T, Tail>(g.x[Base + r] + x_at + p * channels, n);
#pragma GCC unroll 4
        for (int o = 0; o < Rows; ++o) {
          const int tap = r - o * Step;
          if (tap < 0 || tap >= R) continue;
#pragma GCC unroll 8
          for (int s = p; s < S; s += Step) {
            V& sum = acc[tap * S + s];
            sum = fma(value, window[o][s / Step], sum);
          }
        }
      }
    }
    col += Step;
    x_at += Step * channels;
  };

  int64_t q = g.begin;
  for (; q < g.end && col < 0; ++q) add_group(std::true_type(), true);
  const int64_t inside = min64(g.end, q + max64(0, floor_div(in_w - col, Step)));
  for (; q < inside; ++q) add_group(std::false_type(), true);
  for (; q < g.end + kWindow - 1; ++q)
    add_group(std::true_type(), q < g.end);  // the last values meet further columns
  T* const dw = g.dw + Base * S * channels + c;
#pragma GCC unroll 32
  for (int t = 0; t < R * S; ++t) {
    T* const to = dw + t * channels;
    store_channels<T, Tail>(load_channels<T, Tail>(to, n) + acc[t], to, n);
  }
}

template <class T, int K, int Base, int Step, int Rows, bool Tail>
NEOCOG_INLINE void gradient_channels(const DepthwiseGradientRows<T>& g, int64_t c, int64_t n) {
  // As many rows of taps as fit the registers beside the window.
  constexpr int kMost = Vec<T>::lanes >= 16 ? 3 : K == 3 ? 3 : K == 5 ? 2 : 1;
  constexpr int kHere = kMost < K - Base ? kMost : K - Base;
  slide_gradient<T, K, Base, kHere, Step, Rows, Tail>(g, c, n);
  if constexpr (Base + kHere < K) gradient_channels<T, K, Base + kHere, Step, Rows, Tail>(g, c, n);
}

template <class T, int K, int Step, int Rows>
void square_gradient_rows(const DepthwiseGradientRows<T>& g) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + lanes <= g.channels; c += lanes) gradient_channels<T, K, 0, Step, Rows, false>(g, c, lanes);
  if (c < g.channels) gradient_channels<T, K, 0, Step, Rows, true>(g, c, g.channels - c);
}

template <class T>
void (*gradient_rows_for(int64_t taps, int64_t step, int64_t count))(const DepthwiseGradientRows<T>&) {
  if constexpr (Vec<T>::lanes >= 16) {  // the windows of several rows need the 32 registers of AVX-512
    if (count == 4 && taps == 3 && step == 1) return &square_gradient_rows<T, 3, 1, 4>;
    if (count == 4 && taps == 3 && step == 2) return &square_gradient_rows<T, 3, 2, 4>;
    if (count == 2 && taps == 3 && step == 1) return &square_gradient_rows<T, 3, 1, 2>;
    if (count == 2 && taps == 3 && step == 2) return &square_gradient_rows<T, 3, 2, 2>;
    if (count == 2 && taps == 5 && step == 1) return &square_gradient_rows<T, 5, 1, 2>;
    if (count == 2 && taps == 5 && step == 2) return &square_gradient_rows<T, 5, 2, 2>;
  }
  if (count != 1) return nullptr;
  if (taps == 3 && step == 1) return &square_gradient_rows<T, 3, 1, 1>;
  if (taps == 3 && step == 2) return &square_gradient_rows<T, 3, 2, 1>;
  if (taps == 5 && step == 1) return &square_gradient_rows<T, 5, 1, 1>;
  if (taps == 5 && step == 2) return &square_gradient_rows<T, 5, 2, 1>;
  if (taps == 7 && step == 1) return &square_gradient_rows<T, 7, 1, 1>;
  return nullptr;
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
