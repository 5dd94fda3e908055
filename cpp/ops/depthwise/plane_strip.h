// How rows of x reach the depthwise kernels when they cannot be read where they lie.
#pragma once

#include <algorithm>
#include <cstring>

#include "ops/conv/tap_conv.h"

namespace neocog {

struct TapReach {
  int64_t lo, hi;  // smallest and largest tap offset
};
inline TapReach reach_of(const TapPhaseAxis& phase) {
  if (phase.offset.empty()) return {0, 0};
  const auto [lo, hi] = std::minmax_element(phase.offset.begin(), phase.offset.end());
  return {*lo, *hi};
}

// A plane's rows with zeros around them, split by the column step so that taps read neighbours.
struct PlaneStrip {
  int64_t col_lo, step, part, pitch;  // part: elements of one residue of a row

  PlaneStrip(const TapConvAxis& w, const TapReach& reach, int64_t count, int64_t slack)
      : col_lo(reach.lo),
        step(w.in_step),
        part(count + (reach.hi - reach.lo) / w.in_step + 1 + slack),
        pitch(part * w.in_step) {}
  int64_t column(int64_t offset) const { return (offset - col_lo) % step * part + (offset - col_lo) / step; }

  template <class T>
  void load(const T* from, int64_t width, T* to) const {
    if (step == 1) {
      const int64_t left = std::clamp<int64_t>(-col_lo, 0, pitch), skip = std::max<int64_t>(0, col_lo);
      const int64_t count = std::clamp<int64_t>(width - skip, 0, pitch - left);
      std::fill_n(to, left, T(0));
      std::memcpy(to + left, from + skip, sizeof(T) * count);
      std::fill_n(to + left + count, pitch - left - count, T(0));
      return;
    }
    for (int64_t phase = 0; phase < step; ++phase, to += part) {
      // Element k of this residue is column col_lo + phase + k * step.
      const int64_t start = col_lo + phase;
      const int64_t left = std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, -start), step), 0, part);
      const int64_t right = std::clamp<int64_t>(floor_div(width - 1 - start, step) + 1, left, part);
      std::fill_n(to, left, T(0));
      for (int64_t k = left; k < right; ++k) to[k] = from[start + k * step];
      std::fill_n(to + right, part - right, T(0));
    }
  }
};

// Repeats every channel of a row of pixels `multiplier` times.
template <class T>
void expand_row(const T* from, int64_t values, int64_t multiplier, T* to) {
  for (int64_t i = 0; i < values; ++i) {
    for (int64_t m = 0; m < multiplier; ++m) *to++ = from[i];
  }
}

}  // namespace neocog
