// The transformed inputs of a kernel of stride 2 on few channels: the first layer of a network.
#pragma once

#include "core/window.h"
#include "ops/conv/strip.h"
#include "ops/conv/winograd_plan.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {

// From a transformed row to the next: rows are read by whole vectors.
inline int64_t pairs_pitch(int64_t channels, const TileAxis& w, int64_t cols) {
  return round_up(window_pixels<Under::kInputs>(w, cols) * 2 * channels, kWinogradLine) + kWinogradLine;
}
// Elements of workspace for a block of `rows` rows and `cols` columns of tiles.
inline int64_t pairs_strip(int64_t channels, const TileAxis& h, const TileAxis& w, int64_t rows,
                           int64_t cols) {
  const int64_t pixels =
      window_pixels<Under::kInputs>(h, rows) * 2 * window_pixels<Under::kInputs>(w, cols) * 2;
  return pixels * channels + kWinogradLine + h.points * pairs_pitch(channels, w, cols);
}

// Transforms the windows of x under a block of tiles. Rows are transformed as a whole, down the columns;
// then, along a row, neighbouring pixels of both phases together. row_v(row): where the first tile of the
// block in that row of tiles has its channels, those of the phases side by side; tiles are `tile_v` and
// points `point_v` apart.
template <class T, class F>
void transform_pairs(const ConvGeometry& g, const Image<const T>& x, int64_t channel, int64_t channels,
                     const WinogradWindow& window, const TileAxis& h, const TileAxis& w,
                     const TileBlock& block, T* strip, int64_t tile_v, int64_t point_v, const F& row_v) {
  const WinogradKernels<T>& kernels = winograd_kernels<T>();
  const int64_t cols = window_pixels<Under::kInputs>(w, block.cols()) * 2, row_of_strip = cols * channels;
  const int64_t pitch = pairs_pitch(channels, w, block.cols());
  each_image(block, h.tiles, [&](int64_t index, int64_t row, int64_t rows, int64_t first) {
    const StripWindow within{row * h.tile * 2 - window.pad_h, window_pixels<Under::kInputs>(h, rows) * 2,
                             block.col0 * w.tile * 2 - window.pad_w, cols};
    load_strip(x, index, channel, channels, within, strip);
    T* const points = strip + within.rows * row_of_strip + kWinogradLine;
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t phase = 0; phase < 2; ++phase) {
        const bool finite = winograd_finite(g.h, phase);
        const T* const from = strip + (i * h.tile * 2 + phase) * row_of_strip;
        kernels.input_rows(h.taps, finite, from, 2 * row_of_strip, row_of_strip, points, pitch);
        T* const v = row_v(block.row0 + first + i) + phase * 2 * channels;
        for (int64_t k = 0; k < h.points - (finite ? 1 : 0); ++k) {
          kernels.input_row(w.taps, points + k * pitch, 2 * channels, block.cols(),
                            v + k * w.points * point_v, tile_v, point_v);
        }
      }
    }
  });
}

}  // namespace neocog
