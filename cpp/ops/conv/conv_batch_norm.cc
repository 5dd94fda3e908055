#include "ops/conv/conv_batch_norm.h"

#include <vector>

#include "ops/batch_norm/batch_norm.h"

namespace neocog {
namespace {

// Where taking the moments of tiles costs less than what batch_norm_training does: measured on AVX-512.
template <class T>
bool tiles_pay(const ConvGeometry& g, Layout layout) {
  constexpr int64_t kVector = 16;  // float32 values of a cache line
  const bool last = layout == Layout::kChannelsLast;
  switch (conv_kernel<T>(g, layout)) {
    // One plane at a time: batch normalisation has it in the cache for both of its passes.
    case ConvKernel::kDepthwise: return last && g.out_channels >= kVector;
    case ConvKernel::kFewPixels:
    case ConvKernel::kCol2im: return false;  // small results
    case ConvKernel::kNarrowGroups:
    case ConvKernel::kWinograd:
    case ConvKernel::kSpaceToDepth:
    case ConvKernel::kWinogradGroups: return last;
    case ConvKernel::kPixelVectors: return !last;  // tiles of few channels that lie far apart
    default: return true;
  }
}

}  // namespace

template <class T>
void conv_batch_norm_training(const ConvGeometry& g, Image<const T> x, const T* weight, const T* bias,
                              const T* bn_weight, const T* bn_bias, double eps, Activation f, T alpha,
                              Image<T> middle, T* y, T* mean, T* var) {
  const BatchNormGeometry image{middle.n, middle.c, middle.h * middle.w, middle.layout};
  Epilogue<T> epilogue;
  epilogue.bias = bias;
  if (!tiles_pay<T>(g, middle.layout)) {
    conv_forward(g, x, weight, epilogue, middle);
    batch_norm_training<T>(image, middle.data, bn_weight, bn_bias, eps, f, alpha, y, mean, var);
    return;
  }
  std::vector<double> exact(2 * middle.c);
  double *const exact_mean = exact.data(), *const exact_var = exact.data() + middle.c;
  Moments<T> moments;
  epilogue.moments = &moments;
  conv_forward(g, x, weight, epilogue, middle);
  moments.finish(exact_mean, exact_var);
  for (int64_t c = 0; c < middle.c; ++c) {
    mean[c] = static_cast<T>(exact_mean[c]);
    var[c] = static_cast<T>(exact_var[c]);
  }
  batch_norm_with_moments<T>(image, middle.data, exact_mean, exact_var, bn_weight, bn_bias, eps, f, alpha, y);
}

#define NEOCOG_INSTANTIATE(T)                                                                            \
  template void conv_batch_norm_training<T>(const ConvGeometry&, Image<const T>, const T*, const T*,     \
                                            const T*, const T*, double, Activation, T, Image<T>, T*, T*, \
                                            T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
