// How Winograd's method cuts its work; private to winograd.cc and free to change.
#pragma once

#include <algorithm>

#include "core/image.h"
#include "core/window.h"
#include "ops/conv/winograd_kernels.h"
#include "ops/gemm/gemm.h"

namespace neocog {

// Keeps the points out of each other's cache sets.
constexpr int64_t kWinogradLine = 16;

// The tiles along an axis: of 4 outputs, but for the last one.
struct TileAxis {
  int64_t out, tiles, last;
  explicit TileAxis(int64_t outputs)
      : out(outputs),
        tiles(ceil_div(outputs, kWinogradTile)),
        last(std::max<int64_t>(2, outputs - (tiles - 1) * kWinogradTile)) {}
  int64_t size(int64_t tile) const { return tile == tiles - 1 ? last : kWinogradTile; }
};

// A rectangle of tiles; rows of tiles are counted through all images.
struct TileBlock {
  int64_t row0, row1, col0, col1;
  int64_t cols() const { return col1 - col0; }
  int64_t tiles() const { return (row1 - row0) * cols(); }
};

// Where the pixels under an output lie: a dilated kernel meets every step-th row and column, so the outputs
// of one remainder of that step are an image of their own, with a plain 3x3 kernel.
struct WinogradWindow {
  int64_t pad_h, pad_w, step_h, step_w;
  int64_t remainders() const { return step_h * step_w; }
  // Of the image with this index: which image it is part of, and the first row and column of its outputs.
  int64_t image(int64_t index) const { return index / remainders(); }
  int64_t row(int64_t index) const { return index / step_w % step_h; }
  int64_t col(int64_t index) const { return index % step_w; }
};

// How the tiles are dealt out; images are those of WinogradWindow.
struct WinogradPlan {
  int64_t in_group, out_group;  // channels
  PanelSplit split;             // of out_group
  TileAxis h, w;
  int64_t rows;                        // of tiles, in all images
  bool one_block;                      // kernels are transformed where they are used
  int64_t blocks_h, blocks_w, chunks;  // blocks, and items that share a block's inputs
  int64_t tiles;                       // of the largest block
  int64_t tile_v, point_v;             // distances in the transformed inputs
  int64_t panel;                       // widest panel, in columns

  // Sums of products lie by tile, as they are read last; transformed kernels by point.
  int64_t size_v() const { return std::max(tiles * tile_v, kWinogradPoints * point_v); }
  int64_t size_m() const { return tiles * kWinogradPoints * panel; }
  int64_t point_u(int64_t width) const { return in_group * width + kWinogradLine; }
  int64_t size_u() const { return kWinogradPoints * point_u(panel); }
  TileBlock block(int64_t i, int64_t j) const {
    return {rows * i / blocks_h, rows * (i + 1) / blocks_h, w.tiles * j / blocks_w,
            w.tiles * (j + 1) / blocks_w};
  }
};

template <class T>
WinogradPlan winograd_plan(const Image<const T>& x, const Image<T>& y, int64_t groups, const WinogradWindow&);

}  // namespace neocog
