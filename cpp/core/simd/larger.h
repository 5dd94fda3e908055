// Maxima as all poolings and reductions take them. Include after the header of an instruction set.
#pragma once

#include "core/macros.h"

namespace neocog::NEOCOG_ISA {
namespace {

// The larger of a maximum and the next value: the earlier of equals stays, NaN replaces everything and is
// replaced by NaN only.
template <class T>
NEOCOG_INLINE Vec<T> larger(Vec<T> most, Vec<T> x) {
  return select(unordered(x, x), x, max(x, most));
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
