// The product of gemm.h's taps_panel in float32 on a unit that multiplies bfloat16 numbers, for CPUs with
// AMX: each number is the sum of three bfloat16 numbers, its parts, and 24 bits are three times 8, so nothing
// is lost.
//   a*b = a3*b1 + a2*b1 + a2*b2 + a1*b2 + a1*b1 + a1*b3
// Products of parts are exact in float32, and what is left out is less than 2^-22 of a*b, of either sign.
// |error| <= (terms + 2) * eps * sum |a*b| + (terms + 2) * 2^-123: the unit takes denormals for zeros. NaN
// and infinity pass; a signalling NaN may become infinite.
#pragma once

#include <cstdint>

#include "core/fetch.h"
#include "core/isa.h"
#include "ops/gemm/bf16.h"

namespace neocog {

// Elements of a sum that a kernel takes at once. In memory, element k of them is followed by element k + 16.
inline constexpr int64_t kPartsDepth = 32;
inline constexpr int64_t kParts = 3;

struct PartsPanel {
  const uint16_t* a;  // element e begins at kParts * e: steps of kPartsDepth elements, in parts
  const Bf16Run* runs;
  int64_t run_count;
  const int64_t* tap;        // (taps) offsets added to the pixels of a
  int64_t taps, steps;       // steps * kPartsDepth elements under a tap
  const uint16_t* b;         // (taps * steps, vectors, kParts, kPartsDepth, lanes)
  int64_t vectors, columns;  // the last vector holds columns that exist and zeros
  const float* bias;         // (columns) or null
  float* y;
  const int64_t* out;  // offsets into y, or -1: a pixel that is no output
  bool clamp;          // y = min(hi, max(0, y)), NaN stays NaN
  float hi;
  Ahead<uint16_t> next = {};        // what will be needed after this panel
  bool accumulate = false;          // adds to y, and no bias
  const float* residual = nullptr;  // laid out as y: added to the sums before they are clamped
};

// Rows of pixels to be split: element k of a step is followed by element k + 16, as in a panel.
struct PartsRows {
  const float* x;
  const int64_t* offset;       // (steps * kPartsDepth) where a row begins, or -1: zeros
  int64_t steps, channels;     // channels that exist, at most vectors * lanes; zeros behind them
  int64_t vectors;             // 1 or 2
  uint16_t* to;                // (steps, vectors, kParts, kPartsDepth, lanes)
  int64_t step = 0, line = 0;  // of 16 lines of a step: what is next
};

// y[r * y_row + c] = sum over k of a[r, k] * b[k, c], or adds to it. Sums that are not finite may be NaN.
struct PartsOuter {
  const uint16_t* a;  // (rows, steps * kPartsDepth) in parts; rows, a multiple of tile_rows
  int64_t rows, steps;
  const uint16_t* b;  // (steps, vectors, kParts, kPartsDepth, lanes)
  int64_t vectors;    // 1 or 2
  float* y;
  int64_t y_row;
  bool accumulate;
};

struct PartsKernels {
  int64_t lanes, max_vectors, tile_rows;  // pixels of a full run
  // One after the other; results of the last few may be stored late.
  void (*taps_panels)(const PartsPanel* panels, int64_t count);
  // To be called by a thread before and after its outer_blocks, with anything between.
  void (*begin_outer)();
  void (*end_outer)();
  // A product, and meanwhile the rows that are left of `next`, if that is not null: tiles and vectors work
  // side by side.
  void (*outer_block)(const PartsOuter&, PartsRows* next);
  void (*split_rows)(PartsRows&);
  // Pixels of `width` elements, from[p * from_step + c] where c < channels and zeros behind them, to elements
  // p * to_step
  // + c; `width` is a multiple of kPartsDepth.
  void (*split_pixels)(const float* from, int64_t from_step, int64_t pixels, int64_t channels, int64_t width,
                       uint16_t* to, int64_t to_step);
  // A panel of gemm.h (rows, vectors * lanes), rows a multiple of kPartsDepth, to that of PartsPanel.
  void (*split_panel)(const float* from, int64_t rows, int64_t vectors, uint16_t* to);
};

#if NEOCOG_AMX
namespace amx {
extern const PartsKernels parts_kernels;
}
#endif

// Those of the active instruction set, or null.
inline const PartsKernels* parts_kernels() {
#if NEOCOG_AMX
  if (active_isa() == Isa::kAmx) return &amx::parts_kernels;
#endif
  return nullptr;
}

}  // namespace neocog
