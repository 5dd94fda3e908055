// Steps that resample. See steps.h.
#pragma once

#include <vector>

#include "engine/steps.h"

namespace neocog {

// Along one axis: y[.., o, ..] = sum over k of weight[o * taps + k] * x[.., index[o * taps + k], ..]. x and y
// are dense in one order of the axes, whichever.
Step interpolate_step(const Operand& x, const Operand& y, int64_t axis, int64_t taps,
                      std::vector<int64_t> index, std::vector<float> weight);
// The kernels of ops/resample on images in one layout. Positions follow from the sizes alone: mode 0 is
// nearest, floor of the position, mode 1 linear.
Step resize_step(const Operand& x, const Operand& y, int mode, bool align_corners);

}  // namespace neocog
