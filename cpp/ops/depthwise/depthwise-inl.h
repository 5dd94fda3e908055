// Kernel bodies of depthwise.h, channels-last, of the outputs; no include guard on purpose.
#include <type_traits>

#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/depthwise_gradient-inl.h"
#include "ops/depthwise/depthwise_plane-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Outputs that share one load of a weight: enough chains to hide the latency of a multiply-add.
constexpr int64_t kOutputs = 8;

struct Interior {
  int64_t begin, end;  // outputs whose taps all lie inside the row
};

template <class T>
NEOCOG_INLINE Interior interior_of(const DepthwiseRows<T>& g) {
  int64_t lo = 0, hi = 0;
  for (int64_t s = 0; s < g.taps_w; ++s) {
    lo = s == 0 ? g.col[s] : min64(lo, g.col[s]);
    hi = s == 0 ? g.col[s] : max64(hi, g.col[s]);
  }
  const int64_t first = lo < 0 ? ceil_div(-lo, g.in_step) : 0;
  const int64_t last = floor_div(g.in_w - 1 - hi, g.in_step);  // inclusive
  Interior r{max64(first, g.begin), min64(last + 1, g.end)};
  if (r.begin >= r.end) r = {g.begin, g.begin};
  return r;
}

// The weights of the channels from c on; c is a multiple of the lanes.
template <class T>
NEOCOG_INLINE const T* weights_of(const DepthwiseRows<T>& g, int64_t c) {
  return g.weight + c * g.taps_h * g.taps_w;
}
template <class T>
NEOCOG_INLINE Vec<T> clamp_to(const DepthwiseRows<T>& g, Vec<T> v) {
  return g.clamp ? min(Vec<T>::set1(g.hi), max(Vec<T>::set1(g.lo), v)) : v;
}

// One output near the edge; taps outside the row are skipped.
template <class T, bool Tail>
NEOCOG_INLINE void edge_channels(const DepthwiseRows<T>& g, T* y, int64_t q, int64_t c, int64_t n) {
  using V = Vec<T>;
  V sum = g.bias == nullptr ? V::zero() : load_channels<T, Tail>(g.bias + c, n);
  const T* weight = weights_of(g, c);
  for (int64_t r = 0; r < g.taps_h; ++r) {
    if (g.x[r] == nullptr) {
      weight += g.taps_w * V::lanes;
      continue;
    }
    for (int64_t s = 0; s < g.taps_w; ++s, weight += V::lanes) {
      const int64_t col = g.col[s] + q * g.in_step;
      if (col < 0 || col >= g.in_w) continue;
      sum = fma(load_channels<T, Tail>(g.x[r] + col * g.channels + c, n), V::load(weight), sum);
    }
  }
  store_channels<T, Tail>(clamp_to(g, sum), y + q * g.y_step + c, n);
}

template <class T>
NEOCOG_INLINE void edge_output(const DepthwiseRows<T>& g, T* y, int64_t q) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + lanes <= g.channels; c += lanes) edge_channels<T, false>(g, y, q, c, lanes);
  if (c < g.channels) edge_channels<T, true>(g, y, q, c, g.channels - c);
}

template <class T, int N, bool Tail>
NEOCOG_INLINE void inner_outputs(const DepthwiseRows<T>& g, int64_t q, int64_t c, int64_t n) {
  using V = Vec<T>;
  V acc[N];
  const V start = g.bias == nullptr ? V::zero() : load_channels<T, Tail>(g.bias + c, n);
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) acc[i] = start;
  const int64_t step = g.in_step * g.channels;
  const T* weights = weights_of(g, c);
  for (int64_t r = 0; r < g.taps_h; ++r) {
    if (g.x[r] == nullptr) {
      weights += g.taps_w * V::lanes;
      continue;
    }
    for (int64_t s = 0; s < g.taps_w; ++s, weights += V::lanes) {
      const V weight = V::load(weights);
      const T* x = g.x[r] + (g.col[s] + q * g.in_step) * g.channels + c;
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) acc[i] = fma(load_channels<T, Tail>(x + i * step, n), weight, acc[i]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i)
    store_channels<T, Tail>(clamp_to(g, acc[i]), g.y[0] + (q + i) * g.y_step + c, n);
}

template <class T, int N>
NEOCOG_INLINE void inner_block(const DepthwiseRows<T>& g, int64_t q) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + lanes <= g.channels; c += lanes) inner_outputs<T, N, false>(g, q, c, lanes);
  if (c < g.channels) inner_outputs<T, N, true>(g, q, c, g.channels - c);
}

// Any kernel, stride and dilation.
template <class T>
void row(const DepthwiseRows<T>& g) {
  const Interior inner = interior_of(g);
  for (int64_t q = g.begin; q < inner.begin; ++q) edge_output(g, g.y[0], q);
  int64_t q = inner.begin;
  if (inner.end - inner.begin >= kOutputs) {
    // The last block steps back: outputs that two blocks share get the same value twice.
    for (; q < inner.end; q += kOutputs) inner_block<T, kOutputs>(g, min64(q, inner.end - kOutputs));
  } else {
    for (; q + 2 <= inner.end; q += 2) inner_block<T, 2>(g, q);
    for (; q < inner.end; ++q) inner_block<T, 1>(g, q);
  }
  for (q = inner.end; q < g.end; ++q) edge_output(g, g.y[0], q);
}

// Slides along the columns of Rows output rows: each value of x is loaded once for all its products, and the
// unfinished outputs of each row wait in registers. Step is the stride of both axes. Pointers to rows are
// read where they are used: there are more of them than registers.
template <class T, int R, int S, int Step, int Rows, bool Tail>
NEOCOG_INLINE void slide(const DepthwiseRows<T>& g, int64_t c, int64_t n) {
  using V = Vec<T>;
  constexpr int kInputRows = R + (Rows - 1) * Step;
  constexpr int kWaiting = (S + Step - 1) / Step;  // outputs that one group of Step columns adds to
  constexpr bool kWeightsInRegisters = R * S <= 9 && V::lanes >= 16;
  // With room for a value of every row, each weight is loaded once for all of them; few weights and few
  // products of a value gain nothing by that.
  constexpr int kRegisters = V::lanes >= 16 ? 32 : 16;
  constexpr bool kByTaps =
      !kWeightsInRegisters && R * S > (Step == 1 ? 8 : 9) && Rows * kWaiting + Rows + 2 <= kRegisters;
  const T* const weights = weights_of(g, c);
  V weight[kWeightsInRegisters ? R * S : 1];
  if constexpr (kWeightsInRegisters) {
#pragma GCC unroll 9
    for (int t = 0; t < R * S; ++t) weight[t] = V::load(weights + t * V::lanes);
  }
  const V start = g.bias == nullptr ? V::zero() : load_channels<T, Tail>(g.bias + c, n);
  V acc[Rows][kWaiting];
#pragma GCC unroll 4
  for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
    for (int k = 0; k < kWaiting; ++k) acc[o][k] = start;
  }
  const int64_t block = c / V::lanes, blocks = ceil_div(g.channels, V::lanes);
  Fetch<T> fetch_x(g.ahead_x.part(block, block + 1, blocks)),
      fetch_y(g.ahead_y.part(block, block + 1, blocks));
  const int64_t channels = g.channels, in_w = g.in_w, y_step = g.y_step;
  int64_t col = g.begin * Step + g.col[0], x_at = col * channels + c, y_at = g.begin * y_step + c;

  const auto add_group = [&](auto checked) __attribute__((always_inline)) {
    fetch_x.template next<Rows * Step * Step>();
    fetch_y.template next<Rows>();
#pragma GCC unroll 2
    for (int p = 0; p < Step; ++p) {
      if (checked && (col + p < 0 || col + p >= in_w)) continue;
      const auto load_row = [&](int r) __attribute__((always_inline)) {
        return load_channels<T, Tail>(g.x[r] + x_at + p * channels, n);
      };
      const auto add = [&](int o, int s, V value, V w) __attribute__((always_inline)) {
        V& sum = acc[o][kWaiting - 1 - s / Step];
        sum = fma(value, w, sum);
      };
      if constexpr (kByTaps) {
        V value[Rows];
#pragma GCC unroll 8
        for (int tap = 0; tap < R; ++tap) {
#pragma GCC unroll 4
          for (int o = 0; o < Rows; ++o) {
            const bool there = Step == 1 && tap > 0 && o + 1 < Rows;
            value[o] = there ? value[o + 1] : load_row(tap + o * Step);
          }
#pragma GCC unroll 8
          for (int s = p; s < S; s += Step) {
            const V w = V::load_once(weights + (tap * S + s) * V::lanes);
#pragma GCC unroll 4
            for (int o = 0; o < Rows; ++o) add(o, s, value[o], w);
          }
        }
        continue;
      }
#pragma GCC unroll 16
      for (int r = 0; r < kInputRows; ++r) {
        const V value = load_row(r);
#pragma GCC unroll 4
        for (int o = 0; o < Rows; ++o) {
          const int tap = r - o * Step;
          if (tap < 0 || tap >= R) continue;
#pragma GCC unroll 8
          for (int s = p; s < S; s += Step) {
            if constexpr (kWeightsInRegisters) {
              add(o, s, value, weight[tap * S + s]);
            } else {
              add(o, s, value, V::load(weights + (tap * S + s) * V::lanes));
            }
          }
        }
      }
    }
    col += Step;
    x_at += Step * channels;
  };
  const auto shift = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int o = 0; o < Rows; ++o) {
#pragma GCC unroll 8
      for (int k = 0; k + 1 < kWaiting; ++k) acc[o][k] = acc[o][k + 1];
      acc[o][kWaiting - 1] = start;
    }
  };
  const auto output = [&](auto checked) __attribute__((always_inline)) {
    add_group(checked);
#pragma GCC unroll 4
    for (int o = 0; o < Rows; ++o) {
      const V y = clamp_to(g, acc[o][0]);
      // Lines written by halves would be read and written twice.
      if (!Tail && V::lanes * sizeof(T) == kLineBytes && g.stream) {
        y.stream(g.y[o] + y_at);
      } else {
        store_channels<T, Tail>(y, g.y[o] + y_at, n);
      }
    }
    y_at += y_step;
    shift();
  };

  // The first groups complete outputs before `begin`.
  for (int i = 0; i + 1 < kWaiting; ++i) {
    add_group(std::true_type());
    shift();
  }
  int64_t q = g.begin;
  for (; q < g.end && col < 0; ++q) output(std::true_type());
  const int64_t inside = min64(g.end, q + max64(0, floor_div(in_w - col, Step)));
  for (; q < inside; ++q) output(std::false_type());
  for (; q < g.end; ++q) output(std::true_type());
}

template <class T, int R, int S, int Step, int Rows>
void slide_rows(const DepthwiseRows<T>& g) {
  constexpr int64_t lanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + lanes <= g.channels; c += lanes) slide<T, R, S, Step, Rows, false>(g, c, lanes);
  if (c < g.channels) slide<T, R, S, Step, Rows, true>(g, c, g.channels - c);
  if (g.stream) Vec<T>::fence();
}

// Square kernels, and the phases that stride 2 cuts those of up to 7 taps into.
template <class T, int Rows>
void (*slide_rows_for(int64_t taps_h, int64_t taps_w, int64_t step))(const DepthwiseRows<T>&) {
  const auto is = [&](int64_t r, int64_t s, int64_t d) { return taps_h == r && taps_w == s && step == d; };
  if (is(3, 3, 1)) return &slide_rows<T, 3, 3, 1, Rows>;
  if (is(3, 3, 2)) return &slide_rows<T, 3, 3, 2, Rows>;
  if (is(5, 5, 1)) return &slide_rows<T, 5, 5, 1, Rows>;
  if (is(5, 5, 2)) return &slide_rows<T, 5, 5, 2, Rows>;
  if constexpr (Rows < 4) {  // the outputs of four rows would not fit the registers
    if (is(7, 7, 1)) return &slide_rows<T, 7, 7, 1, Rows>;
  }
  if constexpr (Vec<T>::lanes >= 8) {  // the portable kernels are not worth the time to compile more
    if (is(1, 1, 1)) return &slide_rows<T, 1, 1, 1, Rows>;
    if (is(1, 2, 1)) return &slide_rows<T, 1, 2, 1, Rows>;
    if (is(2, 1, 1)) return &slide_rows<T, 2, 1, 1, Rows>;
    if (is(2, 2, 1)) return &slide_rows<T, 2, 2, 1, Rows>;
    if (is(2, 3, 1)) return &slide_rows<T, 2, 3, 1, Rows>;
    if (is(3, 2, 1)) return &slide_rows<T, 3, 2, 1, Rows>;
    if (is(3, 4, 1)) return &slide_rows<T, 3, 4, 1, Rows>;
    if (is(4, 3, 1)) return &slide_rows<T, 4, 3, 1, Rows>;
    if (is(4, 4, 1)) return &slide_rows<T, 4, 4, 1, Rows>;
  }
  return nullptr;
}

template <class T>
void (*rows_for(int64_t taps_h, int64_t taps_w, int64_t step, int64_t count))(const DepthwiseRows<T>&) {
  if (count == 2) return slide_rows_for<T, 2>(taps_h, taps_w, step);
  if constexpr (Vec<T>::lanes >= 16) {  // more rows of waiting outputs need the 32 registers of AVX-512
    if (count == 3) return taps_h == 7 && taps_w == 7 && step == 1 ? &slide_rows<T, 7, 7, 1, 3> : nullptr;
    if (count == 4) return slide_rows_for<T, 4>(taps_h, taps_w, step);
  }
  return nullptr;
}

template <class T>
constexpr DepthwiseKernels<T> kDepthwiseTable = {
    Vec<T>::lanes,      &row<T>,          &rows_for<T>,          &plane_row<T>,
    &plane_row_pair<T>, &gradient_row<T>, &gradient_rows_for<T>, &gradient_plane_row<T>};

}  // namespace

extern constinit const DepthwiseKernels<float> depthwise_kernels_f32 = kDepthwiseTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const DepthwiseKernels<double> depthwise_kernels_f64 = kDepthwiseTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
