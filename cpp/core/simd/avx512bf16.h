// AVX-512 BF16: pairs of bfloat16, and their products in float32. With the vectors of avx512.h.
#pragma once

#include "core/simd/avx512.h"

#undef NEOCOG_ISA
#define NEOCOG_ISA avx512bf16

namespace neocog::avx512bf16 {

using avx512::Vec;

// Sixteen pairs.
struct Pairs {
  __m512i v;

  static NEOCOG_INLINE Pairs load(const uint16_t* p) { return {_mm512_loadu_si512(p)}; }
  // One pair in all places.
  static NEOCOG_INLINE Pairs set1(const uint16_t* p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof(pair));
    return {_mm512_set1_epi32(pair)};
  }
  // 32 numbers, rounded.
  static NEOCOG_INLINE Pairs round(Vec<float> low, Vec<float> high) {
    return {(__m512i)_mm512_cvtne2ps_pbh(high.v, low.v)};
  }
  // sum[i] + a[i][0] * b[i][0] + a[i][1] * b[i][1]
  friend NEOCOG_INLINE Vec<float> dot(Pairs a, Pairs b, Vec<float> sum) {
    return {_mm512_dpbf16_ps(sum.v, (__m512bh)a.v, (__m512bh)b.v)};
  }
};

// Sixteen bfloat16 numbers.
struct Rounded {
  __m256i v;

  explicit NEOCOG_INLINE Rounded(Vec<float> x) : v((__m256i)_mm512_cvtneps_pbh(x.v)) {}
  NEOCOG_INLINE void store(uint16_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  NEOCOG_INLINE void store_n(uint16_t* p, int64_t n) const {
    _mm256_mask_storeu_epi16(p, Vec<float>::first(n), v);
  }
  // To the pairs p[2 * i], p[2 * i + 1], whose half has been zero: the first half, or the second.
  NEOCOG_INLINE void join(uint16_t* p, bool second) const {
    const __m512i wide = _mm512_cvtepu16_epi32(v);
    const __m512i half = second ? _mm512_slli_epi32(wide, 16) : wide;
    _mm512_storeu_si512(p, _mm512_or_si512(_mm512_loadu_si512(p), half));
  }
};

// Moves elements that lie close together to pixels of `width` lanes, zeros behind the `channels` that exist.
struct Spread {
  __mmask16 kept = 0;

  NEOCOG_INLINE Spread(int64_t channels, int64_t width) {
    for (int64_t i = 0; i < 16; ++i) {
      if (i % width < channels) kept = static_cast<__mmask16>(kept | (1u << i));
    }
  }
  NEOCOG_INLINE Vec<float> operator()(Vec<float> x) const { return {_mm512_maskz_expand_ps(kept, x.v)}; }
};

}  // namespace neocog::avx512bf16
