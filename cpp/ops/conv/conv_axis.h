// From the window of a convolution to the taps of tap_conv.h.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

inline TapConvAxis forward_axis(const WindowAxis& axis) {
  TapPhaseAxis phase{0, axis.out(), {}, {}};
  for (int64_t k = 0; k < axis.kernel; ++k) {
    phase.offset.push_back(axis.tap(0, k));
    phase.kernel.push_back(k);
  }
  return {axis.stride, 1, {std::move(phase)}};
}

// Output p = phase + stride * u takes tap k of input i where i * stride - pad + k * dilation = p.
inline TapConvAxis transposed_axis(const WindowAxis& axis) {
  TapConvAxis result{1, axis.stride, {}};
  for (int64_t phase = 0; phase < min64(axis.stride, axis.in); ++phase) {
    TapPhaseAxis taps{phase, ceil_div(axis.in - phase, axis.stride), {}, {}};
    for (int64_t k = axis.kernel - 1; k >= 0; --k) {
      const int64_t reach = phase + axis.pad_lo - k * axis.dilation;
      if (reach != floor_div(reach, axis.stride) * axis.stride) continue;
      taps.offset.push_back(floor_div(reach, axis.stride));
      taps.kernel.push_back(k);
    }
    result.phases.push_back(std::move(taps));
  }
  return result;
}

}  // namespace neocog
