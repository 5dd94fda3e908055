// The product of gemm.h's taps_panel on bfloat16 numbers, with sums in float32, for CPUs that have a unit for
// it.
//   y[p, o] = b[o] + sum over t,k of a[row(p) + tap[t] + k] * w[t, k, o]
// Products of bfloat16 numbers are exact in float32, and pairs of them, or 32 at a time, are added in an
// order of the unit's own: |error| <= (terms + 2) * eps * sum |a*w| for the rounded a and w. Denormals count
// as zero.
#pragma once

#include <cstdint>

#include "core/bf16.h"
#include "core/fetch.h"

namespace neocog {

// Columns of a panel, and the elements of a sum that a kernel takes at once: the most that two tiles of AMX
// hold.
inline constexpr int64_t kBf16Columns = 32, kBf16Depth = 32;

// Pixels an equal distance apart: pixel i begins at a + i * step, its sum goes to out[first + i].
struct Bf16Run {
  int64_t a, step, first, count;  // count <= tile_rows
};

struct Bf16Panels {
  const uint16_t* a;
  const Bf16Run* runs;
  int64_t run_count;
  const int64_t* tap;          // (taps)
  int64_t taps, steps, depth;  // steps * depth elements under a tap; depth is even
  const uint16_t* b;           // panels of (taps * steps, depth / 2, kBf16Columns, 2), zeros behind `columns`
  int64_t columns;             // of y, in all panels
  const float* bias;           // (columns) or null
  float* y;
  const int64_t* out;  // offsets into y, or -1: a pixel between runs that is no output
  bool clamp;          // y = min(hi, max(0, y)), NaN stays NaN
  float hi;
  Ahead<float> next = {};  // what will be needed after these panels
};

struct Bf16Kernels {
  int64_t tile_rows;  // pixels of a full run
  void (*taps_panels)(const Bf16Panels&);
  // y[r * y_row + o] = bias[o] + sum over k of x[r * x_row + k] * w[o * k_size + k]: a few rows against
  // weights that are used once, so packing them would cost more. Rows of x end in zeros up to a multiple of
  // kBf16Depth.
  void (*dot_block)(const uint16_t* x, int64_t x_row, int64_t rows, const float* w, int64_t columns,
                    int64_t k_size, const float* bias, float* y, int64_t y_row);
  // to[i] = from[i] for i < n.
  void (*round)(const float* from, int64_t n, uint16_t* to);
  // to[p * to_step + c] = from[p * from_step + c], c < channels, and zeros for the other c < width.
  void (*round_pixels)(const float* from, int64_t from_step, int64_t pixels, int64_t channels, int64_t width,
                       uint16_t* to, int64_t to_step);
  // to[p * to_step + c] = from[c * plane + p], likewise.
  void (*round_planes)(const float* from, int64_t plane, int64_t pixels, int64_t channels, int64_t width,
                       uint16_t* to, int64_t to_step);
  // Weights (columns, channels, taps), row-major and at most kBf16Columns columns, to a panel of (taps,
  // width, kBf16Columns) in pairs of channels, zeros for the channels and columns that do not exist.
  void (*pack_panel)(const float* weight, int64_t columns, int64_t channels, int64_t taps, int64_t width,
                     uint16_t* b);
};

#if NEOCOG_AVX512_BF16
namespace avx512bf16 {
extern const Bf16Kernels bf16_kernels;
}
#endif
#if NEOCOG_AMX
namespace amx {
extern const Bf16Kernels bf16_kernels;
}
#endif

// Those of the active unit; null where it is emulated.
inline const Bf16Kernels* bf16_kernels() {
#if NEOCOG_AMX
  if (active_bf16_unit() == Bf16Unit::kAmx) return &amx::bf16_kernels;
#endif
#if NEOCOG_AVX512_BF16
  if (active_bf16_unit() == Bf16Unit::kAvx512) return &avx512bf16::bf16_kernels;
#endif
  return nullptr;
}

}  // namespace neocog
