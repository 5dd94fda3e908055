// Masks by position. Include after the header of an instruction set.
#pragma once

#include "core/macros.h"

namespace neocog::NEOCOG_ISA {
namespace {

// The first n lanes.
template <class T>
NEOCOG_INLINE typename Vec<T>::Mask first_lanes(int64_t n) {
  using V = Vec<T>;
  constexpr T kIndex[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  static_assert(V::lanes <= 16);
  return gt(V::set1(static_cast<T>(n)), V::load(kIndex));
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
