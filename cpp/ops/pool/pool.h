// Pooling over sliding, adaptive and global windows, forward and backward.
//   max: y[n,c,i,j] = max over taps of x[n, c, row, column], and index[n,c,i,j] = row * W + column of that
//   pixel avg: y[n,c,i,j] = sum over taps of x[n, c, row, column] / (h.divisor[i] * w.divisor[j])
// x (N,C,H,W), y and index (N,C,P,Q), all in one layout. One dimension is H = P = 1.
// Taps outside the image are never read: padding is -inf for a maximum and 0 for a sum. Ties go to the first
// tap in row-major order, NaN wins and the last NaN is the one indexed; a window without any pixel is -inf
// with index -1, or the average 0. A maximum is exact; an average errs by at most (taps + 2) * eps * average
// of |x|. Source: Scherer, Mueller, Behnke, "Evaluation of pooling operations in convolutional
// architectures", ICANN 2010.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "core/window.h"

namespace neocog {

// The taps of one window that lie in the image: begin, begin + dilation, ..., `count` of them.
struct PoolSpan {
  int64_t begin, count;
};

// All windows along one axis.
struct PoolAxis {
  int64_t in, kernel, stride, dilation, pad_lo;
  // Window o is `kernel` taps from o * stride - pad_lo on, clipped at the image, and not much wider than
  // that. False for windows without such a rule: then only `dilation` and `span` count.
  bool regular;
  std::vector<PoolSpan> span;   // (out)
  std::vector<double> divisor;  // (out) what this axis contributes to the divisor of an average

  int64_t out() const { return static_cast<int64_t>(span.size()); }
};

// `out` windows: window.out(), or one more in ceil mode. An average counts the pixels of a window, and with
// `count_padding` also its taps in the padding, but none beyond it, where only ceil mode's windows reach.
PoolAxis sliding_axis(const WindowAxis& window, int64_t out, bool count_padding);
// Window o covers floor(o * in / out) to ceil((o + 1) * in / out), for in and out at least 1.
PoolAxis adaptive_axis(int64_t in, int64_t out);
// For every input position the windows that cover it; for dilation 1.
std::vector<PoolSpan> covering_windows(const PoolAxis& axis);

struct PoolGeometry {
  PoolAxis h, w;
};

// index may be null: then it is not computed. With T = float an indexed image has less than 2^31 pixels.
template <class T>
void max_pool_forward(const PoolGeometry&, Image<const T> x, Image<T> y, int64_t* index);

template <class T>
void avg_pool_forward(const PoolGeometry&, Image<const T> x, Image<T> y);

// dx[n,c,h,w] = sum over the windows that cover (h,w) of dy / divisor.
template <class T>
void avg_pool_backward(const PoolGeometry&, Image<const T> dy, Image<T> dx);

// The three below return -1, or the first offset in `index` whose value is no position in the image; results
// are then undefined.

// dx = 0, then dx[n, c, index] += dy; an index of -1 adds nothing.
template <class T>
int64_t max_pool_backward(Image<const T> dy, const int64_t* index, Image<T> dx);

// y = 0, then y[n, c, index] = x, in row-major order of x, so that the last of equal indices stays.
template <class T>
int64_t max_unpool_forward(Image<const T> x, const int64_t* index, Image<T> y);

// dx = dy[n, c, index].
template <class T>
int64_t max_unpool_backward(Image<const T> dy, const int64_t* index, Image<T> dx);

}  // namespace neocog
