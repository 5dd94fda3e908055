#include "ops/conv_transpose/conv_transpose.h"

#include <type_traits>

#include "ops/conv/conv_axis.h"
#include "ops/conv/space_to_depth.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_groups.h"
#include "ops/conv_transpose/long_stride.h"
#include "ops/depthwise/depthwise.h"

namespace neocog {
template <class T>
void conv_transpose_forward(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                            const Epilogue<T>& epilogue, Image<T> y) {
  const bool in_groups =
      x.layout == y.layout && winograd_groups_suit<T>(g, WeightRole::kTransposed, x.layout);
  const bool far = epilogue.residual == nullptr && long_stride_suits(g);
  if ((is_depthwise(g) || in_groups || far) && !(x.dense() && y.dense())) {  // these do not know slices
    conv_turned(x, epilogue, y, [&](const Image<const T>& from, const Epilogue<T>& e, const Image<T>& to) {
      conv_transpose_forward<T>(g, from, weight, e, to);
    });
    return;
  }
  if (is_depthwise(g)) {
    depthwise_transposed(g, x, weight, epilogue, y);
  } else if (in_groups) {
    if constexpr (std::is_same_v<T, float>) {
      winograd_groups_conv(g, x, weight, WeightRole::kTransposed, epilogue, y);
    }
  } else if (x.layout == y.layout && winograd_suits<T>(g, WeightRole::kTransposed)) {
    if constexpr (std::is_same_v<T, float>) winograd_conv(g, x, weight, WeightRole::kTransposed, epilogue, y);
  } else if (space_to_depth_suits<T>(g, WeightRole::kTransposed)) {
    if constexpr (std::is_same_v<T, float>) {
      space_to_depth_conv(g, x, weight, WeightRole::kTransposed, epilogue, y);
    }
  } else if (far) {
    long_stride_transposed(g, x, weight.data, epilogue, y);
  } else {
    tap_conv(transposed_axis(g.h), transposed_axis(g.w), g.groups, x, weight, g.h.kernel, g.w.kernel,
             WeightRole::kTransposed, epilogue, y);
  }
  if (epilogue.moments != nullptr) epilogue.moments->complete(y);  // by kernels that did not hand over tiles
}

template <class T>
void conv_transpose_backward(const ConvGeometry& g, Image<const T> x, Image<const T> dy, const T* weight,
                             const ConvGradients<T>& grads) {
  if (grads.x != nullptr) {
    conv_forward<T>(g, dy, weight, Epilogue<T>{}, {grads.x, x.n, x.c, x.h, x.w, x.layout});
  }
  ChannelSums<T> sums(dy);
  if (grads.weight != nullptr) {
    conv_backward_weight(g, dy, x, grads.weight, {grads.bias == nullptr ? nullptr : &sums, nullptr});
  }
  if (grads.bias != nullptr) sums.finish(grads.bias);
}

template void conv_transpose_forward<float>(const ConvGeometry&, Image<const float>, Weights<float>,
                                            const Epilogue<float>&, Image<float>);
template void conv_transpose_forward<double>(const ConvGeometry&, Image<const double>, Weights<double>,
                                             const Epilogue<double>&, Image<double>);
template void conv_transpose_backward<float>(const ConvGeometry&, Image<const float>, Image<const float>,
                                             const float*, const ConvGradients<float>&);
template void conv_transpose_backward<double>(const ConvGeometry&, Image<const double>, Image<const double>,
                                              const double*, const ConvGradients<double>&);

}  // namespace neocog
