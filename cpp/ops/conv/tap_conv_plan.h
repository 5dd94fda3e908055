// How a product over taps cuts its work; private to tap_conv.cc and free to change.
#pragma once

#include <vector>

#include "ops/conv/tap_conv.h"
#include "ops/conv/weights.h"
#include "ops/gemm/gemm.h"

namespace neocog {

// One pair of phases, with its taps ordered by where they lie in the strip.
struct TapPhase {
  const TapPhaseAxis *h, *w;
  std::vector<int64_t> tap;       // offsets into the strip, neighbours merged
  int64_t run;                    // elements under one tap
  std::vector<int64_t> position;  // packed row of weight element (c, r, s), c = 0 alone if transposed; or -1
  int64_t rows;                   // packed rows: taps * run
  int64_t taps_at_once;           // whose weights stay in the cache
  int64_t packed_offset;          // of this phase's panels within a group's
};

// The tiling of the outputs and of the work.
struct TapConvPlan {
  int64_t in_group, out_group;  // channels
  int64_t channels;             // of a pixel of a strip: zeros behind those of the group, if in parts
  bool in_place;                // x is read where it lies
  int64_t pixel, pitch;         // strides of a strip (or of x), in elements
  int64_t tile_h, tile_w, tiles_h, tiles_w;
  int64_t strip_rows, strip_cols;
  int64_t column_chunks;  // work items that share a strip's outputs
  PanelSplit split;
  std::vector<TapPhase> phases;
  int64_t packed_group;  // packed elements of one group
};

// `in_parts`: for the kernels of parts.h, whose strips and panels are half as large again.
template <class T>
TapConvPlan tap_conv_plan(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, const Image<const T>& x,
                          const Image<T>& y, int64_t kernel_h, int64_t kernel_w, WeightRole,
                          Moments<T>* moments, bool in_parts = false);

// Panel `panel` of a phase of group g, to (phase.rows, width): where channels are padded, `to` is zero.
template <class T>
void pack_taps(const TapConvPlan& plan, const TapPhase& phase, int64_t g, int64_t panel, const T* weight,
               int64_t kernel_size, WeightRole role, T* to);
// All that packed panels depend on: which taps each phase has, and in which order.
KeptWeights::Key tap_panels_key(KeptForm form, int64_t lanes, const TapConvPlan& plan, int64_t groups,
                                int64_t kernel_size, WeightRole role);

}  // namespace neocog
