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
  return {axis.stride, 1, axis.out(), true, {std::move(phase)}};
}

// Whether the last tap of the last output comes as far as the last input.
inline bool reaches_the_end(const WindowAxis& axis) {
  return axis.tap(axis.out() - 1, axis.kernel - 1) + 1 >= axis.in;
}

// Output p = phase + stride * u takes tap k of input i where i * stride - pad + k * dilation = p.
// Phases without a tap are left out: there are at most as many phases as taps, however long the stride.
inline TapConvAxis transposed_axis(const WindowAxis& axis) {
  TapConvAxis result{1, axis.stride, ceil_div(axis.in, axis.stride), false, {}};
  for (int64_t k = axis.kernel - 1; k >= 0; --k) {
    const int64_t reach = k * axis.dilation - axis.pad_lo;  // p - i * stride
    const int64_t start = reach - floor_div(reach, axis.stride) * axis.stride;
    if (start >= axis.in) continue;
    auto phase = result.phases.begin();
    while (phase != result.phases.end() && phase->start != start) ++phase;
    if (phase == result.phases.end()) {
      phase = result.phases.insert(phase, {start, ceil_div(axis.in - start, axis.stride), {}, {}});
    }
    phase->offset.push_back((start - reach) / axis.stride);
    phase->kernel.push_back(k);
  }
  result.complete = static_cast<int64_t>(result.phases.size()) == min64(axis.stride, axis.in);
  return result;
}

}  // namespace neocog
