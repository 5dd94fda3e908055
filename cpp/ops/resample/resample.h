// Resampling of images to another size: nearest and (bi)linear, forward and backward.
//   linear:  y[o] = (1 - f) x[i] + f x[i + 1] along each axis, i + f = position(o), rows first expanded, then
//   blended nearest: y[o] = x[i] backward: dx[i] = sum over o of weight * dy[o], gathered, in ascending order
//   of o along each axis
// x (N, C, H, W), y (N, C, P, Q) in one memory layout, either of the two. Positions follow PyTorch: see
// axis.h. Nothing is allocated but the tables of the axes, whose size is that of a row and a column. Source
// of the coordinate rules: PyTorch, aten/src/ATen/native/UpSample.h.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "core/isa.h"
#include "ops/resample/axis.h"

namespace neocog {

struct ResampleGeometry {  // sizes only
  int64_t batch, channels;
  ResampleAxis h, w;  // h is {1, 1} for signals
  ResampleMode mode;
  bool align_corners;
  bool planar;  // two spatial axes; signals have one
};

template <class T>
void resample_forward(const ResampleGeometry&, Image<const T> x, Image<T> y);
// Writes all of dx.
template <class T>
void resample_backward(const ResampleGeometry&, Image<const T> dy, Image<T> dx);

// Rows as the kernels see them. Channels last, a row is made of pixels of `run` channels; channels first, or
// with few channels, it is made of single elements ("lanes"), whose tables count elements.

// Where the inputs of a group of lanes lie. A group is as many elements as a register has lanes; if its
// inputs fit in one register or two, these are loaded from `start` on and the indices count from there, else
// from the row's begin.
struct Window {
  int64_t start;
  int registers;  // 0: the inputs are loaded one by one
};

// Forward, lanes.
template <class T>
struct LaneTable {
  int64_t in;                      // elements of an input row
  const int32_t *index0, *index1;  // (outputs, rounded up to groups)
  const T *weight0, *weight1;
  const Window* window;  // (groups)
};

// Forward, pixels; and every column of rows.
template <class T>
struct PixelTable {
  const int64_t *index0, *index1;
  const T *weight0, *weight1;
};

// Backward: input i gets weight[k] * dy[index[k]] for k in [first[i], first[i + 1]).
template <class T>
struct PixelCopies {
  const int64_t *first, *index;
  const T* weight;
};

// Backward, lanes: the same for a group of inputs at a time; tap k has one index (-1: none) and weight per
// lane.
template <class T>
struct LaneCopies {
  int64_t out;           // elements of a row of dy
  const int64_t* first;  // (groups + 1)
  const int32_t* index;  // (taps, lanes)
  const T* weight;
  const Window* window;  // (taps)
};

// A stretch of columns of some rows of one plane (channels first) or image (channels last); strides in
// elements.
template <class T>
struct ResampleBlock {
  const T* x;
  int64_t x_row;
  T* y;
  int64_t y_row;
  int64_t row_begin, row_end;        // rows of the result
  int64_t column_begin, column_end;  // columns of the result: lanes or pixels
  int64_t run;                       // elements of a pixel
  bool planar;                       // false: one row, nothing to blend
  T* workspace;
};

template <class T>
struct ResampleKernels {
  int64_t lanes;
  bool windows;  // looking lanes up in registers pays
  // Needs a workspace of two rows of the block, each rounded up to whole registers.
  void (*linear_lanes)(const ResampleBlock<T>&, const PixelTable<T>& rows, const LaneTable<T>& columns);
  // Needs none; for planar blocks.
  void (*linear_lanes_shrink)(const ResampleBlock<T>&, const PixelTable<T>& rows,
                              const LaneTable<T>& columns);
  void (*linear_pixels)(const ResampleBlock<T>&, const PixelTable<T>& rows, const PixelTable<T>& columns);
  void (*nearest_lanes)(const ResampleBlock<T>&, const PixelTable<T>& rows, const LaneTable<T>& columns);
  void (*nearest_pixels)(const ResampleBlock<T>&, const PixelTable<T>& rows, const PixelTable<T>& columns);
  // x is dy and y is dx here. Workspace: a row of dy for lanes, the part of it that the block reads for
  // pixels.
  void (*backward_lanes)(const ResampleBlock<T>&, const PixelCopies<T>& rows, const LaneCopies<T>& columns,
                         int64_t dy_begin, int64_t dy_end);
  void (*backward_pixels)(const ResampleBlock<T>&, const PixelCopies<T>& rows, const PixelCopies<T>& columns,
                          int64_t dy_begin, int64_t dy_end);
};

NEOCOG_DECLARE_TABLES(ResampleKernels, resample_kernels)

}  // namespace neocog
