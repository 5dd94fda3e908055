// Group and layer normalisation, float32: y = (x - mean) / sqrt(var + eps) * weight + bias, mean and biased
// variance those of a group of values. Sums are formed as in batch_norm.h and as exact; same bits for any
// number of threads. Sources: Wu & He, "Group normalization", 2018, arXiv:1803.08494; Ba, Kiros & Hinton,
// "Layer normalization", 2016, arXiv:1607.06450.
#pragma once

#include "core/isa.h"
#include "ops/batch_norm/batch_norm.h"

namespace neocog {

// A group is `channels / groups` channels of one image; weight and bias have one value per channel, or are
// null. y may be x.
void group_norm(const BatchNormGeometry&, int64_t groups, const float* x, const float* weight,
                const float* bias, double eps, float* y);

// A group is a row of n values; weight and bias have n values, or are null. y may be x.
void layer_norm(int64_t rows, int64_t n, const float* x, const float* weight, const float* bias, double eps,
                float* y);

struct LayerNormKernels {
  void (*rows)(int64_t rows, int64_t n, const float* x, const float* weight, const float* bias, double eps,
               float* y);
};

namespace scalar {
extern const LayerNormKernels layer_norm_kernels_f32;
}
namespace avx2 {
extern const LayerNormKernels layer_norm_kernels_f32;
}
namespace avx512 {
extern const LayerNormKernels layer_norm_kernels_f32;
}

}  // namespace neocog
