// The windows of pixels that tiles of Winograd's method read, from either layout and with zeros around the
// image.
#pragma once

#include <algorithm>

#include "ops/conv/strip.h"
#include "ops/conv/winograd_plan.h"

namespace neocog {

// f(n, first tile row in the image, rows, first tile row in the block) for the images a block lies in.
template <class F>
void each_image(const TileBlock& block, int64_t tiles_h, F&& f) {
  for (int64_t row = block.row0; row < block.row1;) {
    const int64_t n = row / tiles_h, end = std::min(block.row1, (n + 1) * tiles_h);
    f(n, row - n * tiles_h, end - row, row - block.row0);
    row = end;
  }
}

// Elements of workspace that each_window needs for a block of `rows` rows and `cols` columns of tiles.
template <int64_t Size, class T>
int64_t window_strip(const Image<const T>& x, int64_t channels, int64_t rows, int64_t cols) {
  return x.channels_last() ? 0 : rows * Size * (cols * kWinogradTile + Size - kWinogradTile) * channels;
}

// f(pixel, row, column) for every tile of a block: where the channels of the Size x Size pixels begin, the
// first at image row (tile row) * 4 - pad_h; `zeros` stands for pixels outside. Rows are counted through all
// images.
template <int64_t Size, class T, class F>
void each_window(const Image<const T>& x, int64_t channel, int64_t channels, int64_t pad_h, int64_t pad_w,
                 int64_t tiles_h, const TileBlock& block, const T* zeros, T* strip, F&& f) {
  const int64_t left = block.col0 * kWinogradTile - pad_w;
  const T* pixel[Size * Size];
  each_image(block, tiles_h, [&](int64_t n, int64_t row, int64_t rows, int64_t first) {
    const int64_t top = row * kWinogradTile - pad_h;
    const StripWindow window{top, rows * kWinogradTile + Size - kWinogradTile, left,
                             block.cols() * kWinogradTile + Size - kWinogradTile};
    if (!x.channels_last()) load_strip(x, n, channel, channels, window, strip);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < block.cols(); ++j) {
        const T** to = pixel;
        if (!x.channels_last()) {
          for (int64_t r = 0; r < Size; ++r) {
            const T* from = strip + ((i * kWinogradTile + r) * window.cols + j * kWinogradTile) * channels;
            for (int64_t s = 0; s < Size; ++s) *to++ = from + s * channels;
          }
        } else {
          const int64_t h0 = top + i * kWinogradTile, w0 = left + j * kWinogradTile;
          const bool inside = w0 >= 0 && w0 + Size <= x.w;
          for (int64_t r = 0; r < Size; ++r) {
            const bool exists = h0 + r >= 0 && h0 + r < x.h;
            if (exists && inside) {
              const T* from = x.at(n, channel, h0 + r, w0);
              for (int64_t s = 0; s < Size; ++s) *to++ = from + s * x.c;
            } else {
              for (int64_t s = 0; s < Size; ++s) {
                *to++ = exists && w0 + s >= 0 && w0 + s < x.w ? x.at(n, channel, h0 + r, w0 + s) : zeros;
              }
            }
          }
        }
        f(pixel, block.row0 + first + i, block.col0 + j);
      }
    }
  });
}

}  // namespace neocog
