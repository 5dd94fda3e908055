// What the kernels of both layouts share: walking along a run of values, and sums around a pivot.
#pragma once

#include "core/simd/mask.h"
#include "core/window.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Calls f(i, j, n) for the vectors of a run: i is where it starts, j < 4 names an accumulator, n its lanes.
template <class T, class F>
NEOCOG_INLINE void each_vector(int64_t count, F f) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) f(i + j * kLanes, j, kLanes);
  }
  for (; i + kLanes <= count; i += kLanes) f(i, 0, kLanes);
  if (i < count) f(i, 1, count - i);
}

template <class T>
NEOCOG_INLINE Vec<T> load_lanes(const T* p, int64_t n) {
  return n == Vec<T>::lanes ? Vec<T>::load(p) : Vec<T>::load_n(p, n);
}

template <bool kStream, class T>
NEOCOG_INLINE void store_lanes(Vec<T> v, T* p, int64_t n) {
  if (n < Vec<T>::lanes) {
    v.store_n(p, n);
  } else if constexpr (kStream) {
    v.stream(p);
  } else {
    v.store(p);
  }
}

// Sums around the pivot from sums around the center of a chunk of `count` values.
NEOCOG_INLINE void add_moments(double count, double offset, double sum, double square, double* sums,
                               double* squares) {
  *sums += sum + count * offset;
  *squares += square + 2 * offset * sum + count * offset * offset;
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
