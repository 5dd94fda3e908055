#include "ops/conv/conv.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "ops/conv/col2im.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/far_taps.h"
#include "ops/conv/few_pixels.h"
#include "ops/conv/narrow_groups.h"
#include "ops/conv/parts_conv.h"
#include "ops/conv/space_to_depth.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_groups.h"
#include "ops/conv_transpose/conv_transpose.h"
#include "ops/depthwise/depthwise.h"
#include "ops/elementwise/broadcast.h"

namespace neocog {

template <class T>
ConvKernel conv_kernel(const ConvGeometry& g, Layout layout, ConvMethod method) {
  if (is_depthwise(g)) return ConvKernel::kDepthwise;
  if (method != ConvMethod::kDirect) {
    if (winograd_groups_suit<T>(g, WeightRole::kForward, layout)) return ConvKernel::kWinogradGroups;
    if (winograd_suits<T>(g, WeightRole::kForward)) return ConvKernel::kWinograd;
    if (space_to_depth_suits<T>(g, WeightRole::kForward)) return ConvKernel::kSpaceToDepth;
  }
  if (few_pixels_suit(g)) return ConvKernel::kFewPixels;
  const int64_t in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  if (narrow_groups_suit<T>(h, w, g.groups, layout, in_group, out_group)) return ConvKernel::kNarrowGroups;
  if (col2im_suits<T>(h, w, layout, g.batch * g.h.in * g.w.in, in_group, out_group))
    return ConvKernel::kCol2im;
  if (plane_conv_suits<T>(h, w, out_group)) return ConvKernel::kPixelVectors;
  const bool in_parts = std::is_same_v<T, float> &&
                        parts_conv_suits(in_group, out_group, g.batch * g.h.out() * g.w.out()) &&
                        !far_taps_suit(h, w, g.h.in, g.w.in);
  return in_parts ? ConvKernel::kParts : ConvKernel::kChannelVectors;
}

template <class T>
bool conv_pools(const ConvGeometry& g, Activation activation, const PoolGeometry& windows) {
  return conv_kernel<T>(g, Layout::kChannelsLast) == ConvKernel::kWinograd &&
         winograd_pools(g, activation, windows);
}

template <class T>
void conv_forward(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                  const Epilogue<T>& epilogue, Image<T> y, ConvMethod method) {
  const ConvKernel kernel = conv_kernel<T>(g, x.channels_last() ? y.layout : x.layout, method);
  const bool whole = kernel == ConvKernel::kDepthwise || kernel == ConvKernel::kWinogradGroups;
  if (whole && !(x.dense() && y.dense())) {  // these do not know slices
    conv_turned(x, epilogue, y, [&](const Image<const T>& from, const Epilogue<T>& e, const Image<T>& to) {
      conv_forward<T>(g, from, weight, e, to, method);
    });
    return;
  }
  switch (kernel) {
    case ConvKernel::kDepthwise: depthwise_forward(g, x, weight, epilogue, y); break;
    case ConvKernel::kFewPixels: few_pixels_conv(g, x, weight.data, epilogue, y); break;
    case ConvKernel::kWinograd:
      if constexpr (std::is_same_v<T, float>) winograd_conv(g, x, weight, WeightRole::kForward, epilogue, y);
      break;
    case ConvKernel::kSpaceToDepth:
      if constexpr (std::is_same_v<T, float>) {
        space_to_depth_conv(g, x, weight, WeightRole::kForward, epilogue, y);
      }
      break;
    case ConvKernel::kWinogradGroups:
      if constexpr (std::is_same_v<T, float>) {
        if (x.layout == y.layout) {
          winograd_groups_conv(g, x, weight, WeightRole::kForward, epilogue, y);
          break;
        }
      }
      [[fallthrough]];
    default:  // tap_conv chooses between its kernels, also for transposed convolution
      tap_conv(forward_axis(g.h), forward_axis(g.w), g.groups, x, weight, g.h.kernel, g.w.kernel,
               WeightRole::kForward, epilogue, y);
  }
  if (epilogue.moments != nullptr) epilogue.moments->complete(y);  // by kernels that did not hand over tiles
}

template <class T>
void conv_backward(const ConvGeometry& g, Image<const T> x, Image<const T> dy, const T* weight,
                   const ConvGradients<T>& grads) {
  if (grads.x != nullptr && grads.weight != nullptr && depthwise_backward_suits(g, x, dy)) {
    depthwise_backward(g, x, dy, weight, grads);
    return;
  }
  if (grads.x != nullptr) conv_backward_x<T>(g, dy, weight, {grads.x, x.n, x.c, x.h, x.w, x.layout});
  ChannelSums<T> sums(dy);
  if (grads.weight != nullptr) {
    conv_backward_weight(g, x, dy, grads.weight, {nullptr, grads.bias == nullptr ? nullptr : &sums});
  }
  if (grads.bias != nullptr) sums.finish(grads.bias);
}

template <class T>
void conv_backward_x(const ConvGeometry& g, Image<const T> dy, const T* weight, Image<T> dx) {
  conv_transpose_forward(g, dy, weight, Epilogue<T>{}, dx);
}

// In float64: one channel can have millions of terms, and the order must not depend on the threads.
template <class T>
void conv_backward_bias(Image<const T> dy, T* db) {
  const BroadcastKernels<T>& kernels = broadcast_kernels<T>();
  const int64_t pixels = dy.h * dy.w;
  if (!dy.channels_last()) {
    parallel_for(dy.c, [&](int64_t c, int) {
      double sum = 0;
      for (int64_t n = 0; n < dy.n; ++n) {
        double part;
        kernels.sum_rows(dy.at(n, c, 0, 0), 1, pixels, &part);
        sum += part;
      }
      db[c] = static_cast<T>(sum);
    });
    return;
  }
  constexpr int64_t kRows = 1024;  // pixels per partial sum
  const int64_t rows = dy.n * pixels, parts = ceil_div(rows, kRows);
  std::vector<double> partial(parts * dy.c);
  parallel_for(parts, [&](int64_t part, int) {
    kernels.sum_columns(dy.data + part * kRows * dy.c, std::min(rows - part * kRows, kRows), dy.c, dy.c,
                        partial.data() + part * dy.c);
  });
  for (int64_t c = 0; c < dy.c; ++c) {
    double sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += partial[part * dy.c + c];
    db[c] = static_cast<T>(sum);
  }
}

#define NEOCOG_INSTANTIATE(T)                                                                          \
  template ConvKernel conv_kernel<T>(const ConvGeometry&, Layout, ConvMethod);                         \
  template bool conv_pools<T>(const ConvGeometry&, Activation, const PoolGeometry&);                   \
  template void conv_forward<T>(const ConvGeometry&, Image<const T>, std::type_identity_t<Weights<T>>, \
                                const Epilogue<T>&, Image<T>, ConvMethod);                             \
  template void conv_backward<T>(const ConvGeometry&, Image<const T>, Image<const T>, const T*,        \
                                 const ConvGradients<T>&);                                             \
  template void conv_backward_x<T>(const ConvGeometry&, Image<const T>, const T*, Image<T>);           \
  template void conv_backward_bias<T>(Image<const T>, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
