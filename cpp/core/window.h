// One spatial axis of a sliding window: the only home of the output-size formula.
#pragma once

#include "core/macros.h"

namespace neocog {

// Sizes in elements of the input axis. Padding may be negative (a crop).
struct WindowAxis {
  int64_t in, kernel, stride, dilation, pad_lo, pad_hi;

  // Number of window positions; 0 when the dilated kernel does not fit.
  NEOCOG_INLINE constexpr int64_t out() const {
    const int64_t room = in + pad_lo + pad_hi - dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  }
  // Input index under tap k at output o; an index that is not inside() means padding.
  NEOCOG_INLINE constexpr int64_t tap(int64_t o, int64_t k) const {
    return o * stride - pad_lo + k * dilation;
  }
  NEOCOG_INLINE constexpr bool inside(int64_t i) const { return 0 <= i && i < in; }
};

NEOCOG_INLINE constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
NEOCOG_INLINE constexpr int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}
NEOCOG_INLINE constexpr int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}
NEOCOG_INLINE constexpr int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}
// Floor of a / b for b > 0 and any a.
NEOCOG_INLINE constexpr int64_t floor_div(int64_t a, int64_t b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

}  // namespace neocog
