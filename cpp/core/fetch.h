// Memory asked for before it is needed, in the order of its addresses: caches and memory answer fastest so,
// and the loads that need it come at distances that no hardware foresees.
#pragma once

#include <cstdint>

#include "core/macros.h"

namespace neocog {

// Elements that will be read or written soon; may be empty.
template <class T>
struct Ahead {
  const T* data = nullptr;
  int64_t size = 0;

  // From `begin` to `end` parts of `whole`.
  NEOCOG_INLINE Ahead part(int64_t begin, int64_t end, int64_t whole) const {
    return {data + size * begin / whole, size * end / whole - size * begin / whole};
  }
};

inline constexpr int64_t kLineBytes = 64;

// Asks for the lines of a piece of memory a few at a time; they come as far as the second-level cache.
template <class T>
struct Fetch {
  const char *at, *end;

  NEOCOG_INLINE explicit Fetch(const Ahead<T>& ahead)
      : at(reinterpret_cast<const char*>(ahead.data)),
        end(reinterpret_cast<const char*>(ahead.data + ahead.size)) {}
  NEOCOG_INLINE void next(int64_t lines) {
    for (; lines > 0 && at < end; --lines, at += kLineBytes) __builtin_prefetch(at, 0, 2);
  }
  // The last lines may lie behind the piece: nothing is read.
  template <int Lines>
  NEOCOG_INLINE void next() {
    if (at >= end) return;
#pragma GCC unroll 16
    for (int i = 0; i < Lines; ++i) __builtin_prefetch(at + i * kLineBytes, 0, 2);
    at += Lines * kLineBytes;
  }
};

// Asks for all of it.
template <class T>
NEOCOG_INLINE void fetch(const Ahead<T>& piece) {
  for (Fetch<T> lines(piece); lines.at < lines.end;) lines.next(1);
}

}  // namespace neocog
