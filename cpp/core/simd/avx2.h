// AVX2 and FMA: eight floats. The contract of Vec stands in scalar.h.
#pragma once

#include <immintrin.h>

#include "core/macros.h"

#define NEOCOG_ISA avx2
#define NEOCOG_ISA_HAS_DOUBLE 0

namespace neocog::avx2 {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int64_t lanes = 8;
  struct Mask {
    __m256 m;
    NEOCOG_INLINE Mask operator|(Mask o) const { return {_mm256_or_ps(m, o.m)}; }
    NEOCOG_INLINE Mask operator&(Mask o) const { return {_mm256_and_ps(m, o.m)}; }
  };
  __m256 v;

  static NEOCOG_INLINE __m256i first(int64_t n) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), index);
  }
  static NEOCOG_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
  static NEOCOG_INLINE Vec set1(float x) { return {_mm256_set1_ps(x)}; }
  static NEOCOG_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static NEOCOG_INLINE Vec load_n(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first(n))}; }
  NEOCOG_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  NEOCOG_INLINE void store_n(float* p, int64_t n) const { _mm256_maskstore_ps(p, first(n), v); }
  friend NEOCOG_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  friend NEOCOG_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Mask gt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
  friend NEOCOG_INLINE Mask eq(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
  friend NEOCOG_INLINE Mask unordered(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_UNORD_Q)}; }
  friend NEOCOG_INLINE Vec select(Mask m, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
  NEOCOG_INLINE float sum() const {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  NEOCOG_INLINE float get(int64_t i) const {
    alignas(32) float lane[8];
    _mm256_store_ps(lane, v);
    return lane[i];
  }
  static NEOCOG_INLINE void transpose(Vec (&r)[lanes]) {
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
      t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4) {
      u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
      u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
      r[i].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
      r[i + 4].v = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
  }
};

}  // namespace neocog::avx2
