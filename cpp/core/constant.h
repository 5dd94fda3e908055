// A value that is known when the code is compiled, from one that is not.
#pragma once

#include "core/macros.h"

namespace neocog {

// f.template operator()<V>() for the one of `Values` that `value` is; nothing where there is none.
template <int... Values, class F>
NEOCOG_INLINE void with_constant(int64_t value, const F& f) {
  ((value == Values && (f.template operator()<Values>(), true)) || ...);
}

// f.template operator()<size>() for 1 <= size <= N.
template <int N, class F>
NEOCOG_INLINE void with_size(int64_t size, const F& f) {
  if (size == N) {
    f.template operator()<N>();
  } else if constexpr (N > 1) {
    with_size<N - 1>(size, f);
  }
}

}  // namespace neocog
