// A strip: the part of an image that one work item reads, copied with its zero padding to channels-last
// scratch.
#pragma once

#include "core/image.h"

namespace neocog {

struct StripWindow {  // in pixels of the image; may reach past its edges
  int64_t row, rows, col, cols;
};

struct StripPart {  // of an axis
  int64_t begin, end;
};
// The positions i < count of a strip for which first + i * step lies inside an image of that size.
StripPart inside_of(int64_t first, int64_t step, int64_t count, int64_t size);

// The first `channels` of `pixels` pixels, `from_step` apart, to pixels `to_step` apart.
template <class T>
void copy_pixels(const T* from, int64_t from_step, T* to, int64_t to_step, int64_t channels, int64_t pixels);

// dst (rows, cols, channels) = x[n, channel : channel + channels, window], zeros outside the image.
template <class T>
void load_strip(const Image<const T>& x, int64_t n, int64_t channel, int64_t channels, const StripWindow&,
                T* dst);

// The same for a window inside the image, with zeros behind the channels of each pixel: dst (rows, cols,
// width).
template <class T>
void load_pixels(const Image<const T>& x, int64_t n, int64_t channel, int64_t channels, const StripWindow&,
                 int64_t width, T* dst);

// y[n, channel : channel + channels, row + i * row_step, col + j * col_step] = src (rows, cols, stride)[i, j,
// :channels], for a channels-first y. The inverse of load_strip for one panel of results.
template <class T>
void store_strip(const T* src, int64_t stride, const Image<T>& y, int64_t n, int64_t channel,
                 int64_t channels, const StripWindow&, int64_t row_step, int64_t col_step);

}  // namespace neocog
