// Operators that only move elements: padding, joining and splitting arrays, pixels from channels and back.
//   pad:           y[o] = x[source(o)] or the constant, one axis at a time
//   concat, split: y's stretch of an axis = one of the arrays
//   pixel_shuffle: y[.., c, h*r + i, w*r + j] = x[.., (c*r + i)*r + j, h, w]; its inverse is pixel_unshuffle
// Shapes: any rank. Nothing is computed but the sums of pad_backward, whose terms are added in a fixed order.
// Source of pixel_shuffle: Shi et al., "Real-time single image and video super-resolution using an efficient
// sub-pixel convolutional neural network", CVPR 2016, section 3.2.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/rearrange/copy_strided.h"

namespace neocog {

// An array of any rank; strides in elements.
template <class T>
struct ArrayView {
  T* data;
  std::vector<int64_t> size, stride;
};

enum class PadMode : int { kConstant = 0, kReflect = 1, kReplicate = 2, kCircular = 3 };

// One axis of a padded array; negative amounts crop.
struct PadAxis {
  int64_t in, lo, hi;

  constexpr int64_t out() const { return in + lo + hi; }
  // What is left of the input after the crops.
  constexpr int64_t begin() const { return lo < 0 ? -lo : 0; }
  constexpr int64_t end() const { return hi < 0 ? in + hi : in; }
  // Whether every output position has a source in this mode.
  constexpr bool valid(PadMode mode) const {
    if (in < 0 || out() < 0 || (mode == PadMode::kConstant && end() < begin())) return false;
    if (mode == PadMode::kConstant || (lo == 0 && hi == 0) || out() == 0) return true;
    if (mode == PadMode::kReflect) return lo < in && hi < in;
    if (mode == PadMode::kReplicate) return in > 0;
    return begin() < end() && lo <= end() - begin() && hi <= end() - begin();
  }
  // Input position that output position o copies, or -1: the constant.
  int64_t source(int64_t o, PadMode mode) const;
};

// y = x with its axes padded. x and y are dense and row-major; every axis is valid(mode).
template <class T>
void pad_forward(const std::vector<PadAxis>& axes, PadMode mode, T value, const T* x, T* y);
// dx[i] = sum of dy[o] over all o whose source is i.
template <class T>
void pad_backward(const std::vector<PadAxis>& axes, PadMode mode, const T* dy, T* dx);

// Joins the arrays along `axis`: their sizes differ there only, and add up to y's.
template <class T>
void concat_forward(const std::vector<ArrayView<const T>>& arrays, int64_t axis, const ArrayView<T>& y);
// Copies y's stretches of `axis` into the arrays.
template <class T>
void concat_backward(const ArrayView<const T>& y, int64_t axis, const std::vector<ArrayView<T>>& arrays);

// x (.., C*r*r, H, W) -> y (.., C, H*r, W*r); channels are the third axis from the end in any memory order.
template <class T>
void pixel_shuffle(const ArrayView<const T>& x, int64_t r, const ArrayView<T>& y);
// x (.., C, H*r, W*r) -> y (.., C*r*r, H, W).
template <class T>
void pixel_unshuffle(const ArrayView<const T>& x, int64_t r, const ArrayView<T>& y);

}  // namespace neocog
