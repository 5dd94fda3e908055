// Inner loops of narrow_groups.h. Lanes are the output channels of the groups that share a vector (or the
// input channels, in the weight gradient); what they multiply is permuted in registers to the lanes of its
// group.
#pragma once

#include "core/isa.h"
#include "core/window.h"

namespace neocog {

// A row of outputs, of one phase:
//   y[q, l] = bias[l] + sum over t,k,s of x[q * step + tap[t] + s, index[k][l]] * weight[t, k, s, l]
// x, tap, y and their steps count elements; a whole vector is read from every pixel.
template <class T>
struct GroupOutputs {
  const T* x;
  int64_t pixel;       // between neighbouring pixels of x
  int64_t step;        // pixels of x between two outputs
  const int64_t* tap;  // (pieces) first of `taps` neighbouring pixels
  int64_t pieces, taps;
  int64_t inputs;        // k
  const int32_t* index;  // (inputs, lanes)
  const T* weight;       // (pieces, inputs, taps, lanes)
  const T* bias;         // (columns) or null
  T* y;
  int64_t y_step, columns, count;
  bool clamp;  // y = min(hi, max(lo, y)), NaN stays NaN
  T lo, hi;
};

// dw[o, s, l] += sum over rows i and outputs q of x[i * x_row + (q * step + s) * pixel + l] *
// dy[i * dy_row + q * dy_pixel + index[o][l]]
template <class T>
struct GroupGradient {
  const T* x;
  int64_t x_row, pixel, step;
  const T* dy;
  int64_t dy_row, dy_pixel;
  int64_t rows, count;
  int64_t outputs, taps;  // o, s
  const int32_t* index;   // (outputs, lanes)
  T* dw;                  // (outputs, taps, lanes)
};

// Neighbouring taps that share the loads of x.
inline constexpr int64_t kMostGroupTaps = 3;

template <class T>
struct GroupKernels {
  int64_t lanes;
  void (*outputs)(const GroupOutputs<T>&);
  void (*gradient)(const GroupGradient<T>&);
};

NEOCOG_DECLARE_TABLES(GroupKernels, group_kernels)

}  // namespace neocog
