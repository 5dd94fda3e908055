// Convolution, batch normalisation with the statistics of the batch, and an activation. The statistics are
// taken while the results of the convolution are cached (../batch_norm/moments.h): of two passes of batch
// normalisation one is left. Accuracy: the bounds of conv.h and batch_norm.h, one after the other.
#pragma once

#include "ops/conv/conv.h"

namespace neocog {

// middle is what the convolution gives, y = f((middle - mean) / sqrt(var + eps) * bn_weight + bn_bias), laid
// out as middle. bias, bn_weight and bn_bias may be null. mean and var (O), the latter biased, are NaN where
// middle is empty.
template <class T>
void conv_batch_norm_training(const ConvGeometry&, Image<const T> x, const T* weight, const T* bias,
                              const T* bn_weight, const T* bn_bias, double eps, Activation f, T alpha,
                              Image<T> middle, T* y, T* mean, T* var);

}  // namespace neocog
