// How a product of bfloat16 numbers cuts its work; private to bf16_conv.cc and free to change.
#pragma once

#include <vector>

#include "ops/conv/conv.h"
#include "ops/gemm/bf16.h"

namespace neocog {

// The elements of a sum, as they lie in the strip: the kernels take `depth` of them at a time, which must be
// all of one window, because zeros do not undo what is not finite.
struct Bf16Depth {
  int64_t channels;      // of a pixel of the strip, zeros behind those that exist
  int64_t taps, runs;    // of the kernel; runs that merge neighbouring taps
  int64_t steps, depth;  // of a run
};
// Whether the pixels under a few outputs fit a thread's memory: not so where taps are thousands of pixels
// apart.
bool bf16_strip_fits(const ConvGeometry&);
Bf16Depth bf16_depth(int64_t channels, const WindowAxis& h, const WindowAxis& w);

struct Bf16ConvPlan {
  int64_t in_group, out_group;  // channels
  Bf16Depth sum;
  int64_t skip_h, skip_w;      // pixels of x from one row and column of the strip to the next
  int64_t stride_h, stride_w;  // rows and columns of the strip from one output to the next
  int64_t pitch;               // elements from a row of the strip to the next
  std::vector<int64_t> tap;    // where each run begins in the strip
  int64_t tile_h, tile_w, tiles_h, tiles_w;
  int64_t strip_rows, strip_cols;
  int64_t panels, column_chunks;  // work items that share a strip's outputs
  int64_t panels_at_once;         // for each pair of runs
  int64_t most_runs, most_out;    // of any tile
};
Bf16ConvPlan bf16_conv_plan(const ConvGeometry&, int64_t tile_rows, Layout x, Layout y);

// The pixels of a tile of outputs in runs: row by row; or across the ends of rows, with pixels between that
// are no outputs, where that makes fewer runs. From an output to the one below it are a_row elements of the
// strip and y_row of y, to the next of its row a_col and y_col. Returns the number of runs, which hold at
// most rows * ceil(cols / tile_rows) * tile_rows pixels.
int64_t tile_runs(int64_t tile_rows, int64_t rows, int64_t cols, int64_t a_row, int64_t a_col, int64_t y_row,
                  int64_t y_col, Bf16Run* run, int64_t* out);

}  // namespace neocog
