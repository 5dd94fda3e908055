// The portable vector: 16 bytes by the compiler's vector extension, any CPU, float and double.
#pragma once

#include "core/macros.h"

#define NEOCOG_ISA scalar
#define NEOCOG_ISA_HAS_DOUBLE 1

namespace neocog::scalar {

// The contract of Vec, the same in every ISA header: `lanes` values of T in one register.
// max and min return b where a or b is NaN; load_n and store_n touch the first n lanes only.
// load_once keeps the value in a register; after load, compilers may read memory again for every use.
// stream stores past the caches where the instruction set can: p aligned to the vector, fence() before the
// data are handed to another thread.
template <class T>
struct Vec {
  static constexpr int64_t lanes = 16 / sizeof(T);
  static constexpr bool fused = false;  // fma may round twice
  typedef T Native __attribute__((vector_size(16)));
  typedef T Unaligned __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  using Integer = decltype(Native{} < Native{});
  struct Mask {
    Integer m;
    NEOCOG_INLINE Mask operator|(Mask o) const { return {m | o.m}; }
    NEOCOG_INLINE Mask operator&(Mask o) const { return {m & o.m}; }
  };
  Native v;

  static NEOCOG_INLINE Vec zero() { return {Native{}}; }
  static NEOCOG_INLINE Vec set1(T x) { return {Native{} + x}; }
  static NEOCOG_INLINE Vec load(const T* p) { return {*reinterpret_cast<const Unaligned*>(p)}; }
  static NEOCOG_INLINE Vec load_once(const T* p) { return load(p); }
  // Lane i is p[i % 2], or p[i / 2].
  static NEOCOG_INLINE Vec load_pair(const T* p) {
    Vec r;
    for (int64_t i = 0; i < lanes; ++i) r.v[i] = p[i % 2];
    return r;
  }
  static NEOCOG_INLINE Vec load_twice(const T* p) {
    Vec r;
    for (int64_t i = 0; i < lanes; ++i) r.v[i] = p[i / 2];
    return r;
  }
  static NEOCOG_INLINE Vec load_n(const T* p, int64_t n) {
    Vec r = zero();
    for (int64_t i = 0; i < n; ++i) r.v[i] = p[i];
    return r;
  }
  NEOCOG_INLINE void store(T* p) const { *reinterpret_cast<Unaligned*>(p) = v; }
  NEOCOG_INLINE void store_n(T* p, int64_t n) const {
    for (int64_t i = 0; i < n; ++i) p[i] = v[i];
  }
  NEOCOG_INLINE void stream(T* p) const { store(p); }
  static NEOCOG_INLINE void fence() {}
  friend NEOCOG_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend NEOCOG_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend NEOCOG_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend NEOCOG_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend NEOCOG_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
  friend NEOCOG_INLINE Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  friend NEOCOG_INLINE Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  friend NEOCOG_INLINE Mask gt(Vec a, Vec b) { return {a.v > b.v}; }
  friend NEOCOG_INLINE Mask eq(Vec a, Vec b) { return {a.v == b.v}; }
  friend NEOCOG_INLINE Mask unordered(Vec a, Vec b) { return {(a.v != a.v) | (b.v != b.v)}; }
  // Lanes of a where the mask is set, of b elsewhere.
  friend NEOCOG_INLINE Vec select(Mask m, Vec a, Vec b) { return {m.m ? a.v : b.v}; }
  // 1 / a to 2 ulp, where a and 1 / a are normal numbers.
  friend NEOCOG_INLINE Vec reciprocal(Vec a) { return {(Native{} + T(1)) / a.v}; }
  friend NEOCOG_INLINE Vec abs(Vec a) { return {(Native)((Integer)a.v & ~sign_bit())}; }
  // The magnitude of a with the sign of b.
  friend NEOCOG_INLINE Vec copysign(Vec a, Vec b) {
    return {(Native)(((Integer)a.v & ~sign_bit()) | ((Integer)b.v & sign_bit()))};
  }
  friend NEOCOG_INLINE Vec sqrt(Vec a) {
    for (int64_t i = 0; i < lanes; ++i) a.v[i] = static_cast<T>(__builtin_sqrt(a.v[i]));
    return a;
  }
  friend NEOCOG_INLINE Vec floor(Vec a) {
    for (int64_t i = 0; i < lanes; ++i) a.v[i] = static_cast<T>(__builtin_floor(a.v[i]));
    return a;
  }
  friend NEOCOG_INLINE Vec ceil(Vec a) {
    for (int64_t i = 0; i < lanes; ++i) a.v[i] = static_cast<T>(__builtin_ceil(a.v[i]));
    return a;
  }
  // To the nearest integer, halves to the even one.
  friend NEOCOG_INLINE Vec round_even(Vec a) {
    for (int64_t i = 0; i < lanes; ++i) a.v[i] = static_cast<T>(__builtin_rint(a.v[i]));
    return a;
  }
  // a * 2^n for integral n, |n| <= 252: overflows to infinity, underflows gradually.
  friend NEOCOG_INLINE Vec scale2(Vec a, Vec n) {
    // In n + 1.5 * 2^mantissa + bias the low bits hold n + bias: shifted up, they are the float 2^n. Two
    // factors, because 2^n itself may be out of range.
    constexpr int kMantissa = sizeof(T) == 4 ? 23 : 52;
    constexpr T kMagic = sizeof(T) == 4 ? T(12583039) : T(6755399441056767);
    const Native half = n.v * T(0.5) + kMagic;
    const Native rest = n.v - (half - kMagic) + kMagic;
    return {a.v * (Native)((Integer)half << kMantissa) * (Native)((Integer)rest << kMantissa)};
  }
  static NEOCOG_INLINE Integer sign_bit() { return (Integer{} + 1) << (8 * sizeof(T) - 1); }
  NEOCOG_INLINE T sum() const {
    T s = v[0];
    for (int64_t i = 1; i < lanes; ++i) s += v[i];
    return s;
  }
  // The largest lane; unspecified where one is NaN.
  NEOCOG_INLINE T reduce_max() const {
    T most = v[0];
    for (int64_t i = 1; i < lanes; ++i) most = v[i] > most ? v[i] : most;
    return most;
  }
  NEOCOG_INLINE T get(int64_t i) const { return v[i]; }
  // Lane i of the result is lane index[i] of a; indices are below `lanes`.
  struct Index {
    const int32_t* p;
  };
  static NEOCOG_INLINE Index load_index(const int32_t* p) { return {p}; }
  friend NEOCOG_INLINE Vec permute(Vec a, Index index) {
    Vec r = zero();
    for (int64_t i = 0; i < lanes; ++i) r.v[i] = a.v[index.p[i]];
    return r;
  }
  // Lane i of r[s] is p[at[i] + s].
  template <int Quads>
  static NEOCOG_INLINE void load_turned(const T* p, const int64_t* at, Vec (&r)[4 * Quads]) {
    for (int64_t s = 0; s < 4 * Quads; ++s) {
      for (int64_t i = 0; i < lanes; ++i) r[s].v[i] = p[at[i] + s];
    }
  }
  // The same of one quad, at[i] = i * step.
  static NEOCOG_INLINE void load_turned(const T* p, int64_t step, Vec (&r)[4]) {
    for (int64_t s = 0; s < 4; ++s) {
      for (int64_t i = 0; i < lanes; ++i) r[s].v[i] = p[i * step + s];
    }
  }
  // The inverse of load_turned<1>.
  static NEOCOG_INLINE void store_turned(T* p, const int64_t* at, const Vec (&r)[4]) {
    for (int64_t i = 0; i < lanes; ++i) {
      for (int64_t s = 0; s < 4; ++s) p[at[i] + s] = r[s].v[i];
    }
  }
  // Rows to columns, in registers.
  static NEOCOG_INLINE void transpose(Vec (&r)[lanes]) {
    for (int64_t i = 0; i < lanes; ++i) {
      for (int64_t j = i + 1; j < lanes; ++j) {
        const T t = r[i].v[j];
        r[i].v[j] = r[j].v[i];
        r[j].v[i] = t;
      }
    }
  }
};

}  // namespace neocog::scalar
