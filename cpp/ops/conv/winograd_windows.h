// The windows of pixels that tiles of Winograd's method read, from either layout and with zeros around the
// image.
#pragma once

#include <algorithm>
#include <type_traits>

#include "core/constant.h"
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

// Long rows come from memory, and go there: tiles are asked for before they are needed, if their pixels lie
// so near each other that nobody else guesses the next ones.
constexpr int64_t kWinogradAhead = 4, kWinogradNear = 8;  // tiles; pixels
template <bool kWrite, class T>
void prefetch_pixels(const T* first, int64_t step, int64_t pixels, int64_t channels) {
  constexpr int64_t line = 64 / sizeof(T);
  for (int64_t i = 0; i < pixels; ++i) {
    for (int64_t c = 0; c < channels; c += line) __builtin_prefetch(first + i * step + c, kWrite);
  }
}

// What a window of a tile is: the inputs under it, or the outputs themselves.
enum class Under { kInputs, kOutputs };
template <Under under>
int64_t window_size(const TileAxis& axis) {
  return under == Under::kInputs ? axis.points : axis.tile;
}

// The pixels under `tiles` tiles next to each other.
template <Under under>
int64_t window_pixels(const TileAxis& axis, int64_t tiles) {
  return (tiles - 1) * axis.tile + window_size<under>(axis);
}

// Elements of workspace that each_window needs for a block of `rows` rows and `cols` columns of tiles.
template <Under under, class T>
int64_t window_strip(const Image<const T>& x, int64_t channels, const WinogradWindow& window,
                     const TileAxis& h, const TileAxis& w, int64_t rows, int64_t cols) {
  if (x.channels_last()) return 0;
  int64_t high = window.beside ? 1 : window_pixels<under>(h, rows);
  if (window.in_phases() > 1)
    high = rows * window_size<under>(h);  // images of a block keep strips of their own
  return high * window_pixels<under>(w, cols) * window.beside_step() * window.in_phases() * channels;
}

// Does nothing with the pixels that each_window has at hand.
struct NoPixels {
  template <class T>
  void operator()(const T*, int64_t, int64_t) const {}
};

// Phases of the inputs that each_window gives. A later call for the same block needs the strips of the first
// one.
struct WindowPhases {
  int64_t begin = 0, end = 1;
  bool load = true;
};

// each_window for windows of H x W pixels.
template <int H, int W, Under under, class T, class F, class G>
void each_window_of(const Image<const T>& x, int64_t channel, int64_t channels, const WinogradWindow& window,
                    const TileAxis& h, const TileAxis& w, const TileBlock& block, const WindowPhases& phases,
                    const T* zeros, T* strips, const F& f, const G& each_row) {
  const T* pixel[H * W];
  // From a pixel of a window to the next, in the image.
  const int64_t step_h = window.step_h * window.in_h, step_w = window.step_w * window.in_w;
  each_image(block, h.tiles, [&](int64_t index, int64_t row, int64_t rows, int64_t first) {
    const int64_t n = window.image(index);
    const int64_t top = row * h.tile * step_h + window.row(index) - window.pad_h;
    const int64_t left = block.col0 * w.tile * step_w + window.col(index) - window.pad_w;
    const int64_t apart = window.beside_step() * window.in_w, shift = window.beside ? window.col(index) : 0;
    const StripWindow within{top, window_pixels<under>(h, rows) * window.in_h, left - shift,
                             window_pixels<under>(w, block.cols()) * apart};
    T* const strip =
        strips +
        (window.in_phases() > 1 ? first * window_size<under>(h) * window.in_h * within.cols * channels : 0);
    if (!x.channels_last() && shift == 0 && phases.load) load_strip(x, n, channel, channels, within, strip);
    if (!std::is_same_v<G, NoPixels> && shift == 0 && phases.load) {
      // From the first pixel of the first window to that of the next block's.
      const int64_t row0 = row == 0 ? 0 : std::max<int64_t>(0, top);
      const int64_t row1 = row + rows == h.tiles ? x.h : std::min(x.h, top + rows * h.tile * step_h);
      const int64_t col0 = block.col0 == 0 ? 0 : std::max<int64_t>(0, within.col);
      const int64_t col1 =
          block.col1 == w.tiles ? x.w : std::min(x.w, within.col + block.cols() * w.tile * apart);
      for (int64_t at = row0; at < row1; ++at) {
        if (x.channels_last()) {
          each_row(x.at(n, channel, at, col0), x.stride_w(), col1 - col0);
        } else {
          const int64_t pixel = (at - within.row) * within.cols + col0 - within.col;
          each_row(strip + pixel * channels, channels, col1 - col0);
        }
      }
    }
    const auto one_window = [&](int64_t i, int64_t j, int64_t phase) {
      const int64_t row0 = phase / window.in_w, col0 = phase % window.in_w;
      const T** to = pixel;
      if (!x.channels_last()) {
        for (int64_t r = 0; r < H; ++r) {
          const int64_t at = (i * h.tile + r) * window.in_h + row0;
          const T* from = strip + (at * within.cols + j * w.tile * apart + shift + col0) * channels;
          for (int64_t s = 0; s < W; ++s) *to++ = from + s * apart * channels;
        }
      } else {
        const int64_t w0 = left + j * w.tile * step_w + col0;
        const bool inside = w0 >= 0 && w0 + (W - 1) * step_w < x.w;
        for (int64_t r = 0; r < H; ++r) {
          const int64_t at = top + (i * h.tile + r) * step_h + row0;
          const bool exists = at >= 0 && at < x.h;
          if (exists && inside) {
            const T* from = x.at(n, channel, at, w0);
            const int64_t step = step_w * x.stride_w();
            if (H == 1 && step_w <= kWinogradNear) {
              prefetch_pixels<false>(from + (W + kWinogradAhead * w.tile) * step, step, w.tile, channels);
            }
            for (int64_t s = 0; s < W; ++s) *to++ = from + s * step;
          } else {
            for (int64_t s = 0; s < W; ++s) {
              const int64_t col = w0 + s * step_w;
              *to++ = exists && col >= 0 && col < x.w ? x.at(n, channel, at, col) : zeros;
            }
          }
        }
      }
      f(pixel, block.row0 + first + i, block.col0 + j, phase);
    };
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < block.cols(); ++j) {
        for (int64_t phase = phases.begin; phase < phases.end; ++phase) one_window(i, j, phase);
      }
    }
  });
}

// f(pixel, row, column, phase) for every tile of a block: where the channels of the pixels of its window
// begin; `zeros` stands for pixels outside. Rows are counted through all images. Channels first takes
// neighbouring pixels only, or all remainders of an image. each_row(first, pixel, pixels), for such blocks,
// gets the pixels that belong to a block and to no other, row by row, their channels side by side.
template <Under under, class T, class F, class G = NoPixels>
void each_window(const Image<const T>& x, int64_t channel, int64_t channels, const WinogradWindow& window,
                 const TileAxis& h, const TileAxis& w, const TileBlock& block, const WindowPhases& phases,
                 const T* zeros, T* strip, const F& f, const G& each_row = {}) {
  const auto run = [&]<int H, int W>() {
    each_window_of<H, W, under>(x, channel, channels, window, h, w, block, phases, zeros, strip, f, each_row);
  };
  if constexpr (under == Under::kInputs) {
    with_constant<1, 5, 6>(window_size<under>(h), [&]<int H>() {
      with_constant<1, 5, 6>(window_size<under>(w), [&]<int W>() { run.template operator()<H, W>(); });
    });
  } else {
    with_constant<1, 2, 3, 4>(window_size<under>(h), [&]<int H>() {
      with_constant<1, 2, 3, 4>(window_size<under>(w), [&]<int W>() { run.template operator()<H, W>(); });
    });
  }
}

}  // namespace neocog
