// A value that is known when the code is compiled, from one that is not.
#pragma once

#include "core/macros.h"

namespace neocog {

// f.template operator()<V>() for the one of `Values` that `value` is; nothing where there is none.
template <int... Values, class F>
NEOCOG_INLINE void with_constant(int64_t value, const F& f) {
  ((value == Values && (f.template operator()<Values>(), true)) || ...);
}

}  // namespace neocog
