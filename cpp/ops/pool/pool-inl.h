// Kernel bodies of pool_kernels.h, compiled once per instruction set; no include guard on purpose.
#include "core/simd/larger.h"
#include "ops/pool/pool_kernels.h"

// A block of a kernel is a lambda for each width; it must not become a function of its own.
#define NEOCOG_LAMBDA_INLINE __attribute__((always_inline))

namespace neocog::NEOCOG_ISA {
namespace {

// What a window does with its taps: `combine(sum, x)` in the order of the taps, from `identity` on.
template <class T>
struct Largest {
  static constexpr T identity() { return -__builtin_inff(); }
  static NEOCOG_INLINE Vec<T> combine(Vec<T> m, Vec<T> x) { return larger(m, x); }
  static NEOCOG_INLINE T combine(T m, T x) { return x > m || x != x ? x : m; }
};

template <class T>
struct Sum {
  static constexpr T identity() { return 0; }
  static NEOCOG_INLINE Vec<T> combine(Vec<T> s, Vec<T> x) { return s + x; }
};

// Calls body(i, vectors, n) for consecutive blocks of n = `vectors` * lanes elements, and of fewer at the
// end. Where there are enough elements the last vector steps back instead: elements in its overlap are
// computed twice, with the same result.
template <class T, class Body>
NEOCOG_INLINE void for_blocks(int64_t count, const Body& body) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes) body.template operator()<4>(i, kLanes);
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) body.template operator()<2>(i, kLanes);
  for (; i + kLanes <= count; i += kLanes) body.template operator()<1>(i, kLanes);
  if (i == count) return;
  if (count >= kLanes) {
    body.template operator()<1>(count - kLanes, kLanes);
  } else {
    body.template operator()<1>(0, count);
  }
}

// n = lanes, or the elements of a single vector.
template <class T>
NEOCOG_INLINE Vec<T> load_some(const T* p, int64_t n) {
  return n == Vec<T>::lanes ? Vec<T>::load(p) : Vec<T>::load_n(p, n);
}
// Rows of an image are read once and in bursts; fetched this far ahead they arrive while the burst before is
// worked on.
template <class T>
NEOCOG_INLINE Vec<T> load_ahead(const T* p, int64_t n) {
  constexpr int64_t kAheadBytes = 4096;
  __builtin_prefetch(reinterpret_cast<const char*>(p) + kAheadBytes);
  return load_some(p, n);
}
template <class T>
NEOCOG_INLINE void store_some(Vec<T> v, T* p, int64_t n) {
  if (n == Vec<T>::lanes) {
    v.store(p);
  } else {
    v.store_n(p, n);
  }
}

template <class T>
NEOCOG_INLINE void fill(T value, int64_t count, T* y) {
  constexpr int64_t kLanes = Vec<T>::lanes, kBytes = kLanes * static_cast<int64_t>(sizeof(T));
  const Vec<T> v = Vec<T>::set1(value);
  if (count < kLanes) {
    v.store_n(y, count);
    return;
  }
  v.store(y);
  // Whole cache lines from here on: nothing but stores happens, and one that straddles two lines costs twice.
  int64_t i = (kBytes - reinterpret_cast<intptr_t>(y) % kBytes) / static_cast<int64_t>(sizeof(T));
  for (; i + kLanes <= count; i += kLanes) v.store(y + i);
  v.store(y + count - kLanes);
}

template <class T>
NEOCOG_INLINE void copy(const T* x, int64_t count, T* y) {
  for_blocks<T>(count, [&]<int N>(int64_t i, int64_t n) NEOCOG_LAMBDA_INLINE {
    for (int v = 0; v < N; ++v)
      store_some(load_some(x + i + v * Vec<T>::lanes, n), y + i + v * Vec<T>::lanes, n);
  });
}

// y[i] = finish(combination over k < terms of source(k)[i], i, n), for terms >= 1.
template <class T, class Op, class Source, class Finish>
NEOCOG_INLINE void reduce(const Source& source, int64_t terms, int64_t count, T* y, const Finish& finish) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  for_blocks<T>(count, [&]<int N>(int64_t i, int64_t n) NEOCOG_LAMBDA_INLINE {
    Vec<T> sum[N];
    const T* x = source(0) + i;
    for (int v = 0; v < N; ++v) sum[v] = source.load(x + v * kLanes, n);
    for (int64_t k = 1; k < terms; ++k) {
      x = source(k) + i;
      for (int v = 0; v < N; ++v) sum[v] = Op::combine(sum[v], source.load(x + v * kLanes, n));
    }
    for (int v = 0; v < N; ++v) store_some(finish(sum[v], i + v * kLanes, n), y + i + v * kLanes, n);
  });
}

// Every second element of the 2 * lanes elements of a and b, and the inverse. One shuffle each where the ISA
// has it.
#define NEOCOG_SHUFFLE(T, a, b, ...)                   \
  Vec<T> {                                             \
    __builtin_shufflevector((a).v, (b).v, __VA_ARGS__) \
  }

template <class T>
NEOCOG_INLINE void split_pair(Vec<T> a, Vec<T> b, Vec<T>& even, Vec<T>& odd) {
  if constexpr (Vec<T>::lanes == 16) {
    even = NEOCOG_SHUFFLE(T, a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    odd = NEOCOG_SHUFFLE(T, a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  } else if constexpr (Vec<T>::lanes == 8) {
    even = NEOCOG_SHUFFLE(T, a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    odd = NEOCOG_SHUFFLE(T, a, b, 1, 3, 5, 7, 9, 11, 13, 15);
  } else if constexpr (Vec<T>::lanes == 4) {
    even = NEOCOG_SHUFFLE(T, a, b, 0, 2, 4, 6);
    odd = NEOCOG_SHUFFLE(T, a, b, 1, 3, 5, 7);
  } else {
    static_assert(Vec<T>::lanes == 2);
    even = NEOCOG_SHUFFLE(T, a, b, 0, 2);
    odd = NEOCOG_SHUFFLE(T, a, b, 1, 3);
  }
}

template <class T>
NEOCOG_INLINE void join_pair(Vec<T> even, Vec<T> odd, Vec<T>& a, Vec<T>& b) {
  if constexpr (Vec<T>::lanes == 16) {
    a = NEOCOG_SHUFFLE(T, even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    b = NEOCOG_SHUFFLE(T, even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  } else if constexpr (Vec<T>::lanes == 8) {
    a = NEOCOG_SHUFFLE(T, even, odd, 0, 8, 1, 9, 2, 10, 3, 11);
    b = NEOCOG_SHUFFLE(T, even, odd, 4, 12, 5, 13, 6, 14, 7, 15);
  } else if constexpr (Vec<T>::lanes == 4) {
    a = NEOCOG_SHUFFLE(T, even, odd, 0, 4, 1, 5);
    b = NEOCOG_SHUFFLE(T, even, odd, 2, 6, 3, 7);
  } else {
    static_assert(Vec<T>::lanes == 2);
    a = NEOCOG_SHUFFLE(T, even, odd, 0, 2);
    b = NEOCOG_SHUFFLE(T, even, odd, 1, 3);
  }
}

// The largest lane, by halves.
template <class T>
NEOCOG_INLINE T largest_lane(Vec<T> v) {
  if constexpr (Vec<T>::lanes == 16) {
    v = Largest<T>::combine(
        v, NEOCOG_SHUFFLE(T, v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7));
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3));
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1));
  } else if constexpr (Vec<T>::lanes == 8) {
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 4, 5, 6, 7, 4, 5, 6, 7));
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 2, 3, 2, 3, 2, 3, 2, 3));
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 1, 1, 1, 1, 1, 1, 1, 1));
  } else if constexpr (Vec<T>::lanes == 4) {
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 2, 3, 2, 3));
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 1, 1, 1, 1));
  } else {
    static_assert(Vec<T>::lanes == 2);
    v = Largest<T>::combine(v, NEOCOG_SHUFFLE(T, v, v, 1, 1));
  }
  return v.v[0];
}
#undef NEOCOG_SHUFFLE

// phase[p][i] = x[i * phases + p] for the first `count` elements of x; whole vectors are read and written.
template <class T>
NEOCOG_INLINE void split(const T* x, int64_t count, int64_t phases, int64_t phase_length, T* phase) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  if (phases == 2) {
    for (int64_t i = 0; 2 * i < count; i += kLanes) {
      Vec<T> even, odd;
      split_pair(Vec<T>::load(x + 2 * i), Vec<T>::load(x + 2 * i + kLanes), even, odd);
      even.store(phase + i);
      odd.store(phase + phase_length + i);
    }
    return;
  }
  for (int64_t p = 0; p < phases; ++p) {
    for (int64_t i = 0; i * phases < count; ++i) phase[p * phase_length + i] = x[i * phases + p];
  }
}

// y[i * phases + p] = phase[p][i], the first `count` elements of y.
template <class T>
NEOCOG_INLINE void join(const T* phase, int64_t phase_length, int64_t phases, int64_t count, T* y) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  int64_t i = 0;  // elements of a phase that are done
  if (phases == 2) {
    for (; 2 * (i + kLanes) <= count; i += kLanes) {
      Vec<T> a, b;
      join_pair(Vec<T>::load(phase + i), Vec<T>::load(phase + phase_length + i), a, b);
      a.store(y + 2 * i);
      b.store(y + 2 * i + kLanes);
    }
  }
  for (int64_t p = 0; p < phases; ++p) {
    for (int64_t j = i; j * phases + p < count; ++j) y[j * phases + p] = phase[p * phase_length + j];
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA

// In this order: what they share, then what builds on it.
#include "ops/pool/pool_rows-inl.h"
//
#include "ops/pool/pool_halves-inl.h"
//
#include "ops/pool/pool_pixels-inl.h"
#include "ops/pool/pool_runs-inl.h"
#include "ops/pool/pool_spread-inl.h"
#include "ops/pool/pool_strips-inl.h"

namespace neocog::NEOCOG_ISA {

#define NEOCOG_POOL_TABLE(T)                                                      \
  {Vec<T>::lanes,     &max_strip<T>,   &indexed_max_strip<T>, &average_strip<T>,  \
   &spread_strip<T>,  &spread_runs<T>, &max_pixels<T>,        &average_pixels<T>, \
   &spread_pixels<T>, &max_runs<T>,    &average_runs<T>}
extern constinit const PoolKernels<float> pool_kernels_f32 = NEOCOG_POOL_TABLE(float);
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const PoolKernels<double> pool_kernels_f64 = NEOCOG_POOL_TABLE(double);
#endif
#undef NEOCOG_POOL_TABLE

}  // namespace neocog::NEOCOG_ISA
#undef NEOCOG_LAMBDA_INLINE
