// Local response normalisation, float32: y = x / (bias + alpha / size * sum of x^2)^beta, the sum over `size`
// neighbouring channels, of which (size - 1) / 2 come before; channels that do not exist add nothing.
// Source: Krizhevsky, Sutskever & Hinton, "ImageNet classification with deep convolutional neural networks",
// NIPS 2012, section 3.3.
#pragma once

#include "core/isa.h"
#include "ops/batch_norm/batch_norm.h"

namespace neocog {

struct LrnParameters {
  int64_t size;
  float alpha, beta, bias;  // alpha already divided by the size
};

struct LrnKernels {
  // Channels last: rows of `channels` values. `workspace` has room for channels + size, rounded up to a cache
  // line.
  void (*pixels)(const LrnParameters&, const float* x, int64_t rows, int64_t channels, float* workspace,
                 float* y);
  // Channels first: n neighbouring pixels of channel c of planes `plane` apart.
  void (*plane)(const LrnParameters&, const float* x, int64_t plane, int64_t channels, int64_t c, int64_t n,
                float* y);
};

namespace scalar {
extern const LrnKernels lrn_kernels_f32;
}
namespace avx2 {
extern const LrnKernels lrn_kernels_f32;
}
namespace avx512 {
extern const LrnKernels lrn_kernels_f32;
}

// y must not be x.
void lrn(const BatchNormGeometry&, const LrnParameters&, const float* x, float* y);

}  // namespace neocog
