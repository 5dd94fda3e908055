// From float32 to the bfloat16 operands of bf16.h; compiled once per unit, no include guard on purpose.
#include "core/window.h"
#include "ops/gemm/bf16.h"

namespace neocog::NEOCOG_ISA {
namespace {

using V = Vec<float>;

NEOCOG_INLINE void round_row(const float* from, int64_t n, uint16_t* to) {
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) Rounded(V::load(from + i)).store(to + i);
  if (i < n) Rounded(V::load_n(from + i, n - i)).store_n(to + i, n - i);
}

void round(const float* from, int64_t n, uint16_t* to) {
  round_row(from, n, to);
}

void round_pixels(const float* from, int64_t from_step, int64_t pixels, int64_t channels, int64_t width,
                  uint16_t* to, int64_t to_step) {
  // Images of few channels: as many pixels as a vector holds.
  if (from_step == channels && to_step == width && V::lanes % width == 0) {
    const int64_t together = V::lanes / width, loaded = together * channels;
    const Spread spread(channels, width);
    for (; pixels >= together; pixels -= together, from += loaded, to += V::lanes) {
      Rounded(spread(V::load_n(from, loaded))).store(to);
    }
  }
  for (int64_t p = 0; p < pixels; ++p, from += from_step, to += to_step) {
    int64_t c = 0;
    for (; c + V::lanes <= channels; c += V::lanes) Rounded(V::load(from + c)).store(to + c);
    // Lanes that are not loaded are zero.
    if (c < channels) {
      const int64_t n = min64(V::lanes, width - c);
      Rounded(V::load_n(from + c, channels - c)).store_n(to + c, n);
      c += n;
    }
    for (; c < width; ++c) to[c] = 0;
  }
}

// An up to 16 x 16 block, rows `stride` apart, with rows turned into columns; the rest is zero.
NEOCOG_INLINE void load_turned(const float* from, int64_t stride, int64_t rows, int64_t columns,
                               V (&block)[V::lanes]) {
  if (rows == V::lanes && columns == V::lanes) {
#pragma GCC unroll 16
    for (int64_t i = 0; i < V::lanes; ++i) block[i] = V::load(from + i * stride);
  } else {
    for (int64_t i = 0; i < V::lanes; ++i) {
      block[i] = i < rows ? V::load_n(from + i * stride, columns) : V::zero();
    }
  }
  V::transpose(block);
}

void round_planes(const float* from, int64_t plane, int64_t pixels, int64_t channels, int64_t width,
                  uint16_t* to, int64_t to_step) {
  // Along the planes, whose rows lie far apart: hardware follows 16 of them at a time.
  for (int64_t c = 0; c < width; c += V::lanes) {
    const int64_t rows = max64(0, min64(V::lanes, channels - c)), n = min64(V::lanes, width - c);
    for (int64_t p = 0; p < pixels; p += V::lanes) {
      const int64_t columns = min64(V::lanes, pixels - p);
      V block[V::lanes];
      load_turned(from + c * plane + p, plane, rows, columns, block);
      uint16_t* const at = to + p * to_step + c;
      if (columns == V::lanes && n == V::lanes) {
#pragma GCC unroll 16
        for (int64_t i = 0; i < V::lanes; ++i) Rounded(block[i]).store(at + i * to_step);
      } else {
        for (int64_t i = 0; i < columns; ++i) Rounded(block[i]).store_n(at + i * to_step, n);
      }
    }
  }
}

void pack_panel(const float* weight, int64_t columns, int64_t channels, int64_t taps, int64_t width,
                uint16_t* b) {
  const int64_t inner = channels * taps;
  __builtin_memset(b, 0, sizeof(uint16_t) * static_cast<size_t>(taps * width * kBf16Columns));
  for (int64_t first = 0; first < columns; first += V::lanes) {
    const int64_t count = min64(V::lanes, columns - first);
    int64_t c = 0, t = 0;  // of element k of a row of weights
    for (int64_t k = 0; k < inner; k += V::lanes) {
      const int64_t n = min64(V::lanes, inner - k);
      V block[V::lanes];
      load_turned(weight + first * inner + k, inner, count, n, block);
      for (int64_t i = 0; i < n; ++i) {
        const int64_t row = t * width + c;
        Rounded(block[i]).join(b + (row / 2 * kBf16Columns + first) * 2, row % 2 != 0);
        if (++t == taps) t = 0, ++c;
      }
    }
  }
}

// Calls f.template operator()<vectors>(b, first) for each panel: its weights and its first column.
template <class F>
NEOCOG_INLINE void for_panels(const Bf16Panels& g, const F& f) {
  const uint16_t* b = g.b;
  const int64_t size = g.taps * g.steps * g.depth * kBf16Columns;
  for (int64_t first = 0; first < g.columns; first += kBf16Columns, b += size) {
    if (g.columns - first > V::lanes) {
      f.template operator()<2>(b, first);
    } else {
      f.template operator()<1>(b, first);
    }
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
