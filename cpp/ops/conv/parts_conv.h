// The product of tap_conv.h on the kernels of ops/gemm/parts.h: float32 in three parts, on tiles of AMX.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Whether there are such kernels, and sums and results enough to pay for splitting.
bool parts_conv_suits(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, const Image<const float>& x,
                      const Image<float>& y);

void parts_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const float> x,
                Weights<float> weight, int64_t kernel_h, int64_t kernel_w, WeightRole, const Epilogue<float>&,
                Image<float> y);

}  // namespace neocog
