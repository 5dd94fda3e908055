// The product of tap_conv.h on the kernels of ops/gemm/parts.h: float32 in three parts, on tiles of AMX.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// Whether there are such kernels, and channels of a group and results, of one channel, enough to pay for
// splitting.
bool parts_conv_suits(int64_t in_group, int64_t out_group, int64_t results);

void parts_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const float> x,
                Weights<float> weight, int64_t kernel_h, int64_t kernel_w, WeightRole, const Epilogue<float>&,
                Image<float> y);

// The same for the weight gradient. Which image is turned is x for 1x1 of fewer channels than outputs, else
// dy.
bool parts_weight_possible(const ConvGeometry&);
bool parts_weight_turns_x(const ConvGeometry&);
// Whether it pays (winograd_cost.h), and images lie in one piece and alike.
bool parts_backward_weight_suits(const ConvGeometry&, const Image<const float>& x,
                                 const Image<const float>& dy);
// False: a sum is not finite, and dw not what it should be.
bool parts_backward_weight(const ConvGeometry&, Image<const float> x, Image<const float> dy, float* dw,
                           const OperandSums<float>&);

}  // namespace neocog
