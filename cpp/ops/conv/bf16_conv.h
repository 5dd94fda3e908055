// Convolution and linear layers of bfloat16 numbers, forward: x and the weights are rounded to bfloat16, and
// their products summed in float32; bias, residual and activation are float32, and so is all that lies in
// memory. |error| <= (R*S*C/groups + 2) * eps * sum |x*w| for the rounded x and w, and so at most 2^-7 * sum
// |x*w| more for those that were given.
#pragma once

#include "ops/conv/conv.h"

namespace neocog {

// Whether it computes so: the same on every CPU. Depthwise convolutions and groups of few channels have
// little to gain and stay in float32, as does what has too few results for the columns of a tile.
bool bf16_suits(const ConvGeometry&);
// What does it: for people.
const char* bf16_conv_name(const ConvGeometry&);
const char* bf16_linear_name();

// conv_forward in float32 where it does not suit.
void bf16_conv(const ConvGeometry&, Image<const float> x, Weights<float> weight, const Epilogue<float>&,
               Image<float> y);

// y = f(x weight^T + bias), as linear_forward; in float32 where it does not suit.
bool bf16_linear_suits(int64_t in, int64_t out);
void bf16_linear(int64_t rows, int64_t in, int64_t out, const float* x, const Weights<float>& weight,
                 const float* bias, Activation f, float alpha, float* y);

}  // namespace neocog
