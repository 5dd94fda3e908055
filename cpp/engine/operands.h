// From operands of a program to images and windows of the kernels.
#pragma once

#include "core/image.h"
#include "core/require.h"
#include "core/window.h"
#include "engine/program.h"

namespace neocog {

// Elements between pixels of channels-last images (N, C, H, W) or (N, C, L) that may be slices of the
// channels of wider ones; 0 for what is no such image.
inline int64_t pitch_of(const Operand& operand) {
  const int64_t pitch = operand.stride.back();
  int64_t step = pitch;
  for (int64_t axis = operand.ndim() - 1; axis >= 0; --axis) {
    if (axis == 1) continue;
    if (operand.shape[axis] != 1 && operand.stride[axis] != step) return 0;
    step *= operand.shape[axis];
  }
  const bool beside = operand.shape[1] == 1 || operand.stride[1] == 1;
  return beside && pitch >= operand.shape[1] ? pitch : 0;
}

// Whether images must be dense.
enum class Slices { kNone, kOfChannels };

// An image without its memory, (N, C, H, W) or (N, C, L): the layout in which it is dense, `preferred` where
// both fit.
inline Image<float> image_of(const Operand& operand, Layout preferred = Layout::kChannelsLast,
                             Slices slices = Slices::kNone) {
  require(operand.ndim() == 3 || operand.ndim() == 4, "images must have three or four axes");
  constexpr int64_t kLast3[] = {0, 2, 1}, kLast4[] = {0, 2, 3, 1};
  const bool first = operand.dense(), last = operand.dense(operand.ndim() == 3 ? kLast3 : kLast4);
  const int64_t pitch = first || last ? operand.shape[1] : slices == Slices::kNone ? 0 : pitch_of(operand);
  require(pitch > 0 || first || last, "images must be dense");
  const Layout layout = first && last ? preferred : first ? Layout::kChannelsFirst : Layout::kChannelsLast;
  const bool planar = operand.ndim() == 4;
  return {nullptr,
          operand.shape[0],
          operand.shape[1],
          planar ? operand.shape[2] : 1,
          operand.shape[planar ? 3 : 2],
          layout,
          pitch};
}

template <class T>
Image<T> with_data(Image<float> image, T* data) {
  return {data, image.n, image.c, image.h, image.w, image.layout, image.pitch};
}

// Sizes far beyond any array are refused before they overflow.
inline WindowAxis checked_window(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t begin,
                                 int64_t end) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const auto fits = [](int64_t value) { return -kMost < value && value < kMost; };
  require(kernel > 0 && stride > 0 && dilation > 0 && in >= 0 && fits(in) && fits(kernel) && fits(stride) &&
              fits(dilation) && fits(begin) && fits(end) && dilation <= kMost / kernel,
          "a window parameter is out of range");
  return {in, kernel, stride, dilation, begin, end};
}

}  // namespace neocog
