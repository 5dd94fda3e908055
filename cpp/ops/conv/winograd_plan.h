// How Winograd's method cuts its work; private to winograd.cc and free to change.
#pragma once

#include <algorithm>

#include "core/image.h"
#include "core/window.h"
#include "ops/conv/tap_conv.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_kernels.h"
#include "ops/gemm/gemm.h"

namespace neocog {

// Keeps the points out of each other's cache sets.
constexpr int64_t kWinogradLine = 16;

// The tiles along an axis: all of them full, but for the last one, if it need not be.
struct TileAxis {
  int64_t taps, tile, points;  // outputs and points of a full one
  int64_t tiles, last;
  TileAxis(int64_t outputs, int64_t taps_of_kernel, bool whole = false)
      : taps(taps_of_kernel),
        tile(winograd_tile(taps)),
        points(winograd_points(taps)),
        tiles(ceil_div(outputs, tile)),
        last(whole ? tile : winograd_tile(taps, outputs - (tiles - 1) * tile)) {}
  int64_t size(int64_t i) const { return i == tiles - 1 ? last : tile; }
  // Whether the last tile has the point of this index.
  bool last_has(int64_t point) const {
    return last == tile || point < last + taps - 2 || point == points - 1;
  }
};

inline constexpr int64_t kWinogradMostTaps = 64;  // of a kernel
// An odd number of taps with stride 2 are two phases, one of which has a tap less: no product at infinity, if
// the missing one is its last. A kernel that begins with that phase's tap has a tap of zero before its first
// one.
inline bool winograd_uneven(const WindowAxis& axis) {
  return axis.stride == 2 && axis.kernel % 2 == 1 && axis.kernel > 1;
}
inline int64_t winograd_lead(const WindowAxis& axis, WeightRole role) {
  return winograd_uneven(axis) && role != WeightRole::kForward ? 1 : 0;
}
// Few channels would leave vectors mostly empty: two columns next to each other are a pixel of both phases
// then (winograd_pairs.h).
constexpr int64_t kPairedChannels = 4;
inline bool winograd_paired(const ConvGeometry& g) {
  return winograd_phases(g.h) * winograd_phases(g.w) == 4 && g.in_channels / g.groups <= kPairedChannels;
}
// Phases of the inputs are taken in this order, so that those with products at a point are neighbours.
inline int64_t winograd_place(const ConvGeometry& g, int64_t phase) {  // its own inverse
  const bool moved = winograd_phases(g.h) * winograd_phases(g.w) == 4 && !winograd_paired(g) && phase < 2;
  return moved ? 1 - phase : phase;
}
// Whether a phase of the inputs has a tap less along an axis.
inline bool winograd_finite(const WindowAxis& axis, int64_t phase_of_axis) {
  return winograd_uneven(axis) && phase_of_axis == 1;
}
struct PlaceSpan {
  int64_t begin, end;
};
inline PlaceSpan winograd_places(const ConvGeometry& g, bool infinite_h, bool infinite_w) {
  const int64_t phases = winograd_phases(g.h) * winograd_phases(g.w);
  const bool no_h = infinite_h && winograd_uneven(g.h),
             no_w = infinite_w && winograd_uneven(g.w) && !winograd_paired(g);
  if (phases < 4) return {0, no_h || no_w ? 1 : phases};
  return {no_w ? 1 : 0, no_h ? 2 : no_w ? 3 : phases};
}
// Inputs from one tap to the next, and from the first to the last.
inline int64_t winograd_step(const WindowAxis& axis) {
  return axis.kernel == 1 ? 1 : axis.dilation;
}
inline int64_t winograd_reach(const WindowAxis& axis) {
  return (axis.kernel - 1) * axis.dilation;
}
// Up to how many remainders a block can hold them all.
inline constexpr int64_t kWinogradBeside = 512;

// Whether the remainders of a dilated kernel on images of `rows` rows are taken together.
inline bool winograd_beside(const ConvGeometry& g, int64_t rows) {
  return rows == 1 && g.h.kernel == 1 && g.w.dilation > 1 && g.w.dilation <= kWinogradBeside;
}

// A rectangle of tiles; rows of tiles are counted through all images.
struct TileBlock {
  int64_t row0, row1, col0, col1;
  int64_t cols() const { return col1 - col0; }
  int64_t tiles() const { return (row1 - row0) * cols(); }
};

// Where the pixels under an output lie: a dilated kernel meets every step-th row and column, so the outputs
// of one remainder of that step are an image of their own, with a plain kernel.
struct WinogradWindow {
  int64_t pad_h, pad_w, step_h, step_w;
  // One dimension: blocks hold all remainders of an image, and so, together, pixels next to each other.
  bool beside = false;
  // Phases, of step 1. Inputs: the kernels' products are added up as more channels. Outputs: more columns.
  int64_t in_h = 1, in_w = 1, out_h = 1, out_w = 1;
  int64_t before_h = 0, before_w = 0;  // outputs of the first phase that lie before the image
  int64_t in_phases() const { return in_h * in_w; }
  int64_t out_phases() const { return out_h * out_w; }
  int64_t beside_step() const { return beside ? step_w : 1; }
  int64_t remainders() const { return step_h * step_w; }
  // Of the image with this index: which image it is part of, and the first row and column of its outputs.
  int64_t image(int64_t index) const { return index / remainders(); }
  int64_t row(int64_t index) const { return index / step_w % step_h; }
  int64_t col(int64_t index) const { return index % step_w; }
};

// So many tiles lack width, nothing, height and both.
struct TilePlaces {
  int64_t narrow, full, low, corners;
};

// How the tiles are dealt out; images are those of WinogradWindow.
struct WinogradPlan {
  int64_t in_group, out_group;  // channels
  int64_t lanes;
  PanelSplit split;  // of out_group
  TileAxis h, w;
  int64_t in_phases, out_phases;
  int64_t at_once;  // phases of the inputs that are transformed together
  bool paired;
  int64_t rows;                         // of tiles, in all images
  bool one_block;                       // kernels are not kept, but transformed where they are used
  bool from_taps;                       // kernels are transformed each time they are used, from their taps
  int64_t blocks_h, blocks_w, chunks;   // blocks, and items that share a block's inputs
  int64_t cols;                         // of tiles, in all blocks but the last of a row
  int64_t tiles;                        // of the largest block
  int64_t run, tile_v, point_v, run_v;  // channels side by side, and distances, in the transformed inputs
  int64_t panel;                        // widest panel, in columns

  int64_t panels() const { return split.panels * out_phases; }  // phases of the same columns side by side
  int64_t points() const { return h.points * w.points; }
  int64_t size_v() const {
    return from_taps ? ceil_div(in_group, run) * run_v : std::max(tiles * tile_v, points() * point_v);
  }
  // Sums of products, from a point to the next; those of a panel; of all, if the phases of the inputs are
  // added up one by one.
  int64_t point_m(int64_t width) const { return tiles * width + kWinogradLine; }
  int64_t panel_m(int64_t i) const { return points() * (tiles * split.begin(i) * lanes + i * kWinogradLine); }
  int64_t size_m() const { return at_once < in_phases ? panel_m(split.panels) : points() * point_m(panel); }
  int64_t point_u(int64_t width) const { return in_phases * in_group * width + kWinogradLine; }
  int64_t size_u() const { return points() * point_u(panel); }
  // The taps of a panel, and of a run of its channels, for `from_taps`.
  int64_t size_taps() const { return in_group * h.taps * w.taps * panel; }
  int64_t size_run() const { return std::min(run, in_group) * h.taps * w.taps * panel; }
  int64_t size_kernels() const { return from_taps ? size_taps() : size_u(); }
  // The order of tiles of a block, for `from_taps`, whose blocks are whole rows: those that have any one
  // point are side by side if the tiles that lack width alone come first, then those that lack nothing,
  // height, and both.
  TilePlaces places(const TileBlock& block) const {
    const int64_t low = low_rows(block.row0, block.row1), high = block.row1 - block.row0 - low,
                  narrow = narrow_cols(), wide = w.tiles - narrow;
    return {high * narrow, high * wide, low * wide, low * narrow};
  }
  int64_t place(int64_t row, int64_t col, const TileBlock& block) const {
    const TilePlaces all = places(block);
    const int64_t lows = low_rows(block.row0, row), highs = row - block.row0 - lows,
                  wide = w.tiles - narrow_cols();
    if (low_rows(row, row + 1) > 0)
      return all.narrow + all.full + (col < wide ? lows * wide + col : all.low + lows);
    return col < wide ? all.narrow + highs * wide + col : highs;
  }
  TileBlock block(int64_t i, int64_t j) const {
    return {rows * i / blocks_h, rows * (i + 1) / blocks_h, j * cols, std::min(w.tiles, (j + 1) * cols)};
  }

 private:
  // Rows from `begin` to `end`, and columns, that lack outputs.
  int64_t low_rows(int64_t begin, int64_t end) const {
    return h.last < h.tile ? end / h.tiles - begin / h.tiles : 0;
  }
  int64_t narrow_cols() const { return w.last < w.tile ? 1 : 0; }
};

// Whether kernels are transformed at each use, with so many tiles in all images, and whether those are then
// taken in wide panels and long runs.
bool winograd_reads_taps(const ConvGeometry&, int64_t tiles, bool kept);
bool winograd_wide(const ConvGeometry&, int64_t tiles);

template <class T>
WinogradPlan winograd_plan(const ConvGeometry&, const Image<const T>& x, const Image<T>& y,
                           const WinogradWindow&, bool kept, int64_t most_terms);

}  // namespace neocog
