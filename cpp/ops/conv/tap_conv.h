// The engine under convolution and transposed convolution: a product over a list of taps.
//   y[n, o, start + u*step] = f(bias[o] + sum over t,c of x[n, c, u*in_step + tap[t]] * weight_t[o, c])
// A phase is one set of outputs (start, step) with its own taps: convolution has one phase, a transposed
// convolution of stride s has s per axis. Taps are read in place: there is no matrix of columns.
#pragma once

#include <vector>

#include "ops/conv/conv.h"

namespace neocog {

// Bytes of a group's weights that stay in the second-level cache by themselves; larger ones are asked for
// ahead, and read as seldom as can be.
inline constexpr int64_t kResidentWeights = 1 << 20;

struct TapPhaseAxis {
  int64_t start, count;         // outputs start + u * step, u < count
  std::vector<int64_t> offset;  // input offset of every tap of this axis
  std::vector<int64_t> kernel;  // which kernel row or column it is
};

struct TapConvAxis {
  int64_t in_step, out_step;
  int64_t positions;  // values of u: outputs are [0, positions * out_step) as far as y reaches
  bool complete;  // the phases cover every output; if not, the others have no taps and are f(bias + residual)
  std::vector<TapPhaseAxis> phases;
};

// Which way weight (O, I/groups, R, S) is read.
enum class WeightRole {
  kForward,     // y has O channels, x has I
  kTransposed,  // y has I channels, x has O
};

template <class T>
void tap_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
              std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole,
              const Epilogue<T>&, Image<T> y);

// The same product with vectors along the pixels instead of the channels: for groups of few output channels.
template <class T>
bool plane_conv_suits(const TapConvAxis& h, const TapConvAxis& w, int64_t out_group);
template <class T>
void plane_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole,
                const Epilogue<T>&, Image<T> y);

}  // namespace neocog
