// Kernel bodies of narrow_groups_kernels.h, compiled once per instruction set; no include guard on purpose.
#include "core/constant.h"
#include "ops/conv/narrow_groups_kernels.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Outputs whose sums wait in registers, beside the weights of one k, an index and x.
template <class T>
constexpr int kGroupOutputs = Vec<T>::lanes == 16 ? 14 : 8;
// Gradients of this many outputs by all taps wait there, beside x, dy and as many indices.
template <class T>
constexpr int kGradientOutputs = Vec<T>::lanes == 16 ? 4 : 2;

// Step 0: any, where taps share nothing.
template <class T, int Count, int Taps, int Step>
NEOCOG_INLINE void group_outputs(const GroupOutputs<T>& g, int64_t q) {
  using V = Vec<T>;
  constexpr int kInputs = Step == 0 ? Count : (Count - 1) * Step + Taps;
  V acc[Count];
  const V start = g.bias == nullptr ? V::zero() : V::load_n(g.bias, g.columns);
#pragma GCC unroll 16
  for (int i = 0; i < Count; ++i) acc[i] = start;
  const int64_t pixel = Step == 0 ? g.step * g.pixel : g.pixel;
  const T* weight = g.weight;
  for (int64_t t = 0; t < g.pieces; ++t) {
    const T* const first = g.x + q * g.step * g.pixel + g.tap[t];
    for (int64_t k = 0; k < g.inputs; ++k, weight += Taps * V::lanes) {
      const typename V::Index index = V::load_index(g.index + k * V::lanes);
      V w[Taps];
#pragma GCC unroll 4
      for (int s = 0; s < Taps; ++s) w[s] = V::load(weight + s * V::lanes);
      const T* x = first;
#pragma GCC unroll 32
      for (int i = 0; i < kInputs; ++i, x += pixel) {
        const V value = permute(V::load(x), index);
#pragma GCC unroll 4
        for (int s = 0; s < Taps; ++s) {
          if constexpr (Step == 0) {
            acc[i] = fma(value, w[s], acc[i]);
          } else {
            if (i >= s && (i - s) % Step == 0 && (i - s) / Step < Count) {
              acc[(i - s) / Step] = fma(value, w[s], acc[(i - s) / Step]);
            }
          }
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < Count; ++i) {
    if (g.clamp) acc[i] = min(V::set1(g.hi), max(V::set1(g.lo), acc[i]));
    T* const y = g.y + (q + i) * g.y_step;
    if (g.columns == V::lanes) {
      acc[i].store(y);
    } else {
      acc[i].store_n(y, g.columns);
    }
  }
}

// Tiles as equal as they can be: a last one of one output would cost almost as much as a full one.
template <class T, int Taps, int Step>
NEOCOG_INLINE void group_row(const GroupOutputs<T>& g) {
  constexpr int kCount = kGroupOutputs<T>;
  const int64_t tiles = ceil_div(g.count, kCount);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t q = g.count * i / tiles;
    with_size<kCount>(g.count * (i + 1) / tiles - q, [&]<int Count>() __attribute__((always_inline)) {
      group_outputs<T, Count, Taps, Step>(g, q);
    });
  }
}

template <class T>
void group_outputs_row(const GroupOutputs<T>& g) {
  if (g.taps == 3 && g.step == 1) {
    group_row<T, 3, 1>(g);
  } else if (g.taps == 3 && g.step == 2) {
    group_row<T, 3, 2>(g);
  } else if (g.taps == 2 && g.step == 1) {
    group_row<T, 2, 1>(g);
  } else {
    group_row<T, 1, 0>(g);
  }
}

template <class T, int Outputs, int Taps>
NEOCOG_INLINE void group_gradient_tile(const GroupGradient<T>& g, int64_t o) {
  using V = Vec<T>;
  V acc[Outputs][Taps];
  typename V::Index index[Outputs];
#pragma GCC unroll 4
  for (int i = 0; i < Outputs; ++i) {
    index[i] = V::load_index(g.index + (o + i) * V::lanes);
#pragma GCC unroll 4
    for (int s = 0; s < Taps; ++s) acc[i][s] = V::zero();
  }
  for (int64_t row = 0; row < g.rows; ++row) {
    const T* x = g.x + row * g.x_row;
    const T* dy = g.dy + row * g.dy_row;
    for (int64_t q = 0; q < g.count; ++q, x += g.step * g.pixel, dy += g.dy_pixel) {
      V value[Taps];
#pragma GCC unroll 4
      for (int s = 0; s < Taps; ++s) value[s] = V::load(x + s * g.pixel);
      const V grad = V::load(dy);
#pragma GCC unroll 4
      for (int i = 0; i < Outputs; ++i) {
        const V mine = permute(grad, index[i]);
#pragma GCC unroll 4
        for (int s = 0; s < Taps; ++s) acc[i][s] = fma(value[s], mine, acc[i][s]);
      }
    }
  }
  T* dw = g.dw + o * Taps * V::lanes;
#pragma GCC unroll 4
  for (int i = 0; i < Outputs; ++i) {
#pragma GCC unroll 4
    for (int s = 0; s < Taps; ++s, dw += V::lanes) (V::load(dw) + acc[i][s]).store(dw);
  }
}

template <class T>
void group_gradient(const GroupGradient<T>& g) {
  constexpr int kOutputs = kGradientOutputs<T>;
  const int64_t tiles = ceil_div(g.outputs, kOutputs);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t o = g.outputs * i / tiles;
    with_size<kOutputs>(g.outputs * (i + 1) / tiles - o, [&]<int Outputs>() __attribute__((always_inline)) {
      with_size<kMostGroupTaps>(g.taps, [&]<int Taps>() __attribute__((always_inline)) {
        group_gradient_tile<T, Outputs, Taps>(g, o);
      });
    });
  }
}

template <class T>
constexpr GroupKernels<T> kGroupTable = {Vec<T>::lanes, &group_outputs_row<T>, &group_gradient<T>};

}  // namespace

extern constinit const GroupKernels<float> group_kernels_f32 = kGroupTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const GroupKernels<double> group_kernels_f64 = kGroupTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
