#include "ops/conv/conv.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/few_pixels.h"
#include "ops/conv/winograd.h"
#include "ops/conv_transpose/conv_transpose.h"
#include "ops/depthwise/depthwise.h"

namespace neocog {

template <class T>
ConvKernel conv_kernel(const ConvGeometry& g, Layout layout, ConvMethod method) {
  if (is_depthwise(g)) return ConvKernel::kDepthwise;
  if (method != ConvMethod::kDirect && winograd_suits<T>(g, layout, WeightRole::kForward))
    return ConvKernel::kWinograd;
  if (few_pixels_suit(g)) return ConvKernel::kFewPixels;
  const bool pixels = plane_conv_suits<T>(forward_axis(g.h), forward_axis(g.w), g.out_channels / g.groups);
  return pixels ? ConvKernel::kPixelVectors : ConvKernel::kChannelVectors;
}

template <class T>
void conv_forward(const ConvGeometry& g, Image<const T> x, const T* weight, const Epilogue<T>& epilogue,
                  Image<T> y, ConvMethod method) {
  switch (conv_kernel<T>(g, x.channels_last() ? y.layout : x.layout, method)) {
    case ConvKernel::kDepthwise: depthwise_forward(g, x, weight, epilogue, y); break;
    case ConvKernel::kFewPixels: few_pixels_conv(g, x, weight, epilogue, y); break;
    case ConvKernel::kWinograd: winograd_conv(g, x, weight, WeightRole::kForward, epilogue, y); break;
    default:  // tap_conv chooses between vectors of channels and of pixels, also for transposed convolution
      tap_conv(forward_axis(g.h), forward_axis(g.w), g.groups, x, weight, g.h.kernel, g.w.kernel,
               WeightRole::kForward, epilogue, y);
  }
  if (epilogue.moments != nullptr) epilogue.moments->complete(y);  // by kernels that did not hand over tiles
}

template <class T>
void conv_backward_x(const ConvGeometry& g, Image<const T> dy, const T* weight, Image<T> dx) {
  conv_transpose_forward(g, dy, weight, Epilogue<T>{}, dx);
}

// Sums in float64: one channel can have millions of terms, and the order must not depend on the threads.
template <class T>
void conv_backward_bias(Image<const T> dy, T* db) {
  const int64_t pixels = dy.h * dy.w;
  if (dy.channels_last()) {
    constexpr int64_t kRows = 4096;  // pixels per partial sum
    const int64_t parts = std::max<int64_t>(1, ceil_div(dy.n * pixels, kRows));
    std::vector<double> partial(parts * dy.c, 0.0);
    parallel_for(parts, [&](int64_t part, int) {
      double* const sum = partial.data() + part * dy.c;
      const int64_t end = std::min(dy.n * pixels, (part + 1) * kRows);
      for (int64_t p = part * kRows; p < end; ++p) {
        const T* row = dy.data + p * dy.c;
        for (int64_t c = 0; c < dy.c; ++c) sum[c] += row[c];
      }
    });
    for (int64_t c = 0; c < dy.c; ++c) {
      double sum = 0;
      for (int64_t part = 0; part < parts; ++part) sum += partial[part * dy.c + c];
      db[c] = static_cast<T>(sum);
    }
    return;
  }
  parallel_for(dy.c, [&](int64_t c, int) {
    constexpr int64_t kLanes = 8;  // independent sums let the compiler use vectors
    double sum[kLanes] = {};
    for (int64_t n = 0; n < dy.n; ++n) {
      const T* plane = dy.at(n, c, 0, 0);
      int64_t p = 0;
      for (; p + kLanes <= pixels; p += kLanes) {
        for (int64_t l = 0; l < kLanes; ++l) sum[l] += plane[p + l];
      }
      for (; p < pixels; ++p) sum[0] += plane[p];
    }
    db[c] = static_cast<T>(((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])));
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                                \
  template ConvKernel conv_kernel<T>(const ConvGeometry&, Layout, ConvMethod);                               \
  template void conv_forward<T>(const ConvGeometry&, Image<const T>, const T*, const Epilogue<T>&, Image<T>, \
                                ConvMethod);                                                                 \
  template void conv_backward_x<T>(const ConvGeometry&, Image<const T>, const T*, Image<T>);                 \
  template void conv_backward_bias<T>(Image<const T>, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
