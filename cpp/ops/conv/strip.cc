#include "ops/conv/strip.h"

#include <algorithm>
#include <cstring>

#include "core/window.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Pixels of more channels are worth a call.
constexpr int64_t kFewFours = 64;

// A size that the compiler knows costs a move or two, a call of memcpy many times that.
template <int64_t Channels, class T>
void copy_few(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t pixels) {
  for (int64_t p = 0; p < pixels; ++p, from += from_step, to += to_step)
    std::memcpy(to, from, sizeof(T) * Channels);
}

// Any number from four on, four at a time.
template <class T>
void copy_fours(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t channels, int64_t pixels) {
  for (int64_t p = 0; p < pixels; ++p, from += from_step, to += to_step) {
    for (int64_t c = 0; c < channels - 4; c += 4) std::memcpy(to + c, from + c, sizeof(T) * 4);
    std::memcpy(to + channels - 4, from + channels - 4, sizeof(T) * 4);
  }
}

}  // namespace

StripPart inside_of(int64_t first, int64_t step, int64_t count, int64_t size) {
  const int64_t begin = std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, -first), step), 0, count);
  return {begin, std::clamp<int64_t>(floor_div(size - 1 - first, step) + 1, begin, count)};
}

template <class T>
void copy_pixels(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t channels, int64_t pixels) {
  switch (channels) {
    case 1: return copy_few<1>(from, from_step, to, to_step, pixels);
    case 2: return copy_few<2>(from, from_step, to, to_step, pixels);
    case 4: return copy_few<4>(from, from_step, to, to_step, pixels);
    case 8: return copy_few<8>(from, from_step, to, to_step, pixels);
    case 16: return copy_few<16>(from, from_step, to, to_step, pixels);
    default:
      if (channels >= 4 && channels <= kFewFours) {
        return copy_fours(from, from_step, to, to_step, channels, pixels);
      }
      for (int64_t p = 0; p < pixels; ++p, from += from_step, to += to_step)
        std::memcpy(to, from, sizeof(T) * channels);
  }
}

template <class T>
void load_strip(const Image<const T>& x, int64_t n, int64_t channel, int64_t channels,
                const StripWindow& window, T* dst) {
  const int64_t pitch = window.cols * channels;
  // The columns and rows that exist.
  const int64_t col0 = std::clamp<int64_t>(window.col, 0, x.w);
  const int64_t col1 = std::clamp<int64_t>(window.col + window.cols, col0, x.w);
  const int64_t row0 = std::clamp<int64_t>(window.row, 0, x.h);
  const int64_t row1 = std::clamp<int64_t>(window.row + window.rows, row0, x.h);
  const int64_t left = (col0 - window.col) * channels, middle = (col1 - col0) * channels;
  if (row0 == row1 || col0 == col1) {
    std::memset(dst, 0, sizeof(T) * window.rows * pitch);
    return;
  }
  std::memset(dst, 0, sizeof(T) * (row0 - window.row) * pitch);
  std::memset(dst + (row1 - window.row) * pitch, 0, sizeof(T) * (window.row + window.rows - row1) * pitch);
  T* to = dst + (row0 - window.row) * pitch;
  const bool whole_rows = middle == pitch && col1 - col0 == x.w;
  if (!x.channels_last() && whole_rows) {
    gemm_kernels<T>().transpose(x.at(n, channel, row0, 0), x.stride_c(), to, channels, channels,
                                (row1 - row0) * x.w);
    return;
  }
  for (int64_t row = row0; row < row1; ++row, to += pitch) {
    std::memset(to, 0, sizeof(T) * left);
    std::memset(to + left + middle, 0, sizeof(T) * (pitch - left - middle));
    const T* from = x.at(n, channel, row, col0);
    if (!x.channels_last()) {
      gemm_kernels<T>().transpose(from, x.stride_c(), to + left, channels, channels, col1 - col0);
    } else if (channels == x.stride_w()) {
      std::memcpy(to + left, from, sizeof(T) * middle);
    } else {
      copy_pixels(from, x.stride_w(), to + left, channels, channels, col1 - col0);
    }
  }
}

template <class T>
void load_pixels(const Image<const T>& x, int64_t n, int64_t channel, int64_t channels,
                 const StripWindow& window, int64_t width, T* dst) {
  if (channels < width) std::memset(dst, 0, sizeof(T) * window.rows * window.cols * width);
  if (!x.channels_last()) {
    const bool whole_rows = window.cols == x.w;
    const int64_t calls = whole_rows ? 1 : window.rows;
    const int64_t pixels = whole_rows ? window.rows * window.cols : window.cols;
    for (int64_t i = 0; i < calls; ++i) {
      gemm_kernels<T>().transpose(x.at(n, channel, window.row + i, window.col), x.stride_c(),
                                  dst + i * pixels * width, width, channels, pixels);
    }
    return;
  }
  for (int64_t i = 0; i < window.rows; ++i) {
    copy_pixels(x.at(n, channel, window.row + i, window.col), x.stride_w(), dst + i * window.cols * width,
                width, channels, window.cols);
  }
}

template <class T>
void store_strip(const T* src, int64_t stride, const Image<T>& y, int64_t n, int64_t channel,
                 int64_t channels, const StripWindow& window, int64_t row_step, int64_t col_step) {
  if (row_step == 1 && col_step == 1) {
    const bool whole_rows = window.cols == y.w;
    const int64_t calls = whole_rows ? 1 : window.rows;
    const int64_t pixels = whole_rows ? window.rows * window.cols : window.cols;
    for (int64_t i = 0; i < calls; ++i) {
      gemm_kernels<T>().transpose(src + i * pixels * stride, stride,
                                  y.at(n, channel, window.row + i, window.col), y.stride_c(), pixels,
                                  channels);
    }
    return;
  }
  for (int64_t i = 0; i < window.rows; ++i) {
    for (int64_t c = 0; c < channels; ++c) {
      T* to = y.at(n, channel + c, window.row + i * row_step, window.col);
      const T* from = src + i * window.cols * stride + c;
      for (int64_t j = 0; j < window.cols; ++j) to[j * col_step] = from[j * stride];
    }
  }
}

#define NEOCOG_INSTANTIATE(T)                                                                            \
  template void copy_pixels<T>(const T*, int64_t, T*, int64_t, int64_t, int64_t);                        \
  template void load_strip<T>(const Image<const T>&, int64_t, int64_t, int64_t, const StripWindow&, T*); \
  template void load_pixels<T>(const Image<const T>&, int64_t, int64_t, int64_t, const StripWindow&,     \
                               int64_t, T*);                                                             \
  template void store_strip<T>(const T*, int64_t, const Image<T>&, int64_t, int64_t, int64_t,            \
                               const StripWindow&, int64_t, int64_t);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
