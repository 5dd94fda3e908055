// The windows of pixels that tiles of Winograd's method read, from either layout and with zeros around the
// image.
#pragma once

#include <algorithm>

#include "ops/conv/strip.h"
#include "ops/conv/winograd_plan.h"

namespace neocog {

// f(index, first tile row in the image, rows, first tile row in the block) for the images a block lies in.
template <class F>
void each_image(const TileBlock& block, int64_t tiles_h, F&& f) {
  for (int64_t row = block.row0; row < block.row1;) {
    const int64_t index = row / tiles_h, end = std::min(block.row1, (index + 1) * tiles_h);
    f(index, row - index * tiles_h, end - row, row - block.row0);
    row = end;
  }
}

// Elements of workspace that each_window needs for a block of `rows` rows and `cols` columns of tiles.
template <int64_t Size, class T>
int64_t window_strip(const Image<const T>& x, int64_t channels, int64_t rows, int64_t cols) {
  return x.channels_last() ? 0 : rows * Size * (cols * kWinogradTile + Size - kWinogradTile) * channels;
}

// f(pixel, row, column) for every tile of a block: where the channels of the Size x Size pixels begin, which
// are those of outputs (row, column) * 4 and on; `zeros` stands for pixels outside. Rows are counted through
// all images. Channels first takes neighbouring pixels only.
template <int64_t Size, class T, class F>
void each_window(const Image<const T>& x, int64_t channel, int64_t channels, const WinogradWindow& window,
                 int64_t tiles_h, const TileBlock& block, const T* zeros, T* strip, F&& f) {
  const T* pixel[Size * Size];
  each_image(block, tiles_h, [&](int64_t index, int64_t row, int64_t rows, int64_t first) {
    const int64_t n = window.image(index);
    const int64_t top = row * kWinogradTile * window.step_h + window.row(index) - window.pad_h;
    const int64_t left = block.col0 * kWinogradTile * window.step_w + window.col(index) - window.pad_w;
    const StripWindow under{top, rows * kWinogradTile + Size - kWinogradTile, left,
                            block.cols() * kWinogradTile + Size - kWinogradTile};
    if (!x.channels_last()) load_strip(x, n, channel, channels, under, strip);
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < block.cols(); ++j) {
        const T** to = pixel;
        if (!x.channels_last()) {
          for (int64_t r = 0; r < Size; ++r) {
            const T* from = strip + ((i * kWinogradTile + r) * under.cols + j * kWinogradTile) * channels;
            for (int64_t s = 0; s < Size; ++s) *to++ = from + s * channels;
          }
        } else {
          const int64_t w0 = left + j * kWinogradTile * window.step_w, step = window.step_w;
          const bool inside = w0 >= 0 && w0 + (Size - 1) * step < x.w;
          for (int64_t r = 0; r < Size; ++r) {
            const int64_t h = top + (i * kWinogradTile + r) * window.step_h;
            const bool exists = h >= 0 && h < x.h;
            if (exists && inside) {
              const T* from = x.at(n, channel, h, w0);
              for (int64_t s = 0; s < Size; ++s) *to++ = from + s * step * x.c;
            } else {
              for (int64_t s = 0; s < Size; ++s) {
                const int64_t w = w0 + s * step;
                *to++ = exists && w >= 0 && w < x.w ? x.at(n, channel, h, w) : zeros;
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
