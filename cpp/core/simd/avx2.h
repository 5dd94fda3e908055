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
  static constexpr bool fused = true;
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
  static NEOCOG_INLINE Vec load_once(const float* p) {
    Vec r = load(p);
    asm("" : "+x"(r.v));
    return r;
  }
  static NEOCOG_INLINE Vec load_pair(const float* p) {
    const __m128i pair = _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(p));
    return {_mm256_castsi256_ps(_mm256_broadcastq_epi64(pair))};
  }
  static NEOCOG_INLINE Vec load_twice(const float* p) {
    const __m256i index = _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
    return {_mm256_permutevar8x32_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), index)};
  }
  static NEOCOG_INLINE Vec load_n(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first(n))}; }
  NEOCOG_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  NEOCOG_INLINE void store_n(float* p, int64_t n) const { _mm256_maskstore_ps(p, first(n), v); }
  NEOCOG_INLINE void stream(float* p) const { _mm256_stream_ps(p, v); }
  static NEOCOG_INLINE void fence() { _mm_sfence(); }
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
  friend NEOCOG_INLINE Vec reciprocal(Vec a) {  // 12 bits, doubled by a Newton step
    const __m256 r = _mm256_rcp_ps(a.v);
    return {_mm256_fmadd_ps(r, _mm256_fnmadd_ps(a.v, r, _mm256_set1_ps(1.0f)), r)};
  }
  friend NEOCOG_INLINE Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  friend NEOCOG_INLINE Vec copysign(Vec a, Vec b) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(_mm256_andnot_ps(sign, a.v), _mm256_and_ps(sign, b.v))};
  }
  friend NEOCOG_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  friend NEOCOG_INLINE Vec floor(Vec a) { return {_mm256_floor_ps(a.v)}; }
  friend NEOCOG_INLINE Vec ceil(Vec a) { return {_mm256_ceil_ps(a.v)}; }
  friend NEOCOG_INLINE Vec round_even(Vec a) {
    return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  // Two factors, because 2^n itself may be out of range.
  friend NEOCOG_INLINE Vec scale2(Vec a, Vec n) {
    const __m256i exponent = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(exponent, 1);
    const __m256i rest = _mm256_sub_epi32(exponent, half), bias = _mm256_set1_epi32(127);
    const __m256 f = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const __m256 g = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return {_mm256_mul_ps(_mm256_mul_ps(a.v, f), g)};
  }
  NEOCOG_INLINE float sum() const {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  NEOCOG_INLINE float reduce_max() const {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
  }
  NEOCOG_INLINE float get(int64_t i) const {
    alignas(32) float lane[8];
    _mm256_store_ps(lane, v);
    return lane[i];
  }
  struct Index {
    __m256i i;
  };
  static NEOCOG_INLINE Index load_index(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  friend NEOCOG_INLINE Vec permute(Vec a, Index index) { return {_mm256_permutevar8x32_ps(a.v, index.i)}; }
  // Rows to columns of the 4 x 4 block in every 128 bits.
  static NEOCOG_INLINE void turn_quads(const __m256 (&u)[4], Vec* r) {
    const __m256 a = _mm256_unpacklo_ps(u[0], u[1]), b = _mm256_unpackhi_ps(u[0], u[1]);
    const __m256 c = _mm256_unpacklo_ps(u[2], u[3]), d = _mm256_unpackhi_ps(u[2], u[3]);
    r[0].v = _mm256_shuffle_ps(a, c, 0x44);
    r[1].v = _mm256_shuffle_ps(a, c, 0xEE);
    r[2].v = _mm256_shuffle_ps(b, d, 0x44);
    r[3].v = _mm256_shuffle_ps(b, d, 0xEE);
  }
  template <int Quads>
  static NEOCOG_INLINE void load_turned(const float* p, const int64_t* at, Vec (&r)[4 * Quads]) {
    __m256 u[Quads][4];
    for (int e = 0; e < 4; ++e) {
      const float *const low = p + at[e], *const high = p + at[4 + e];
      for (int q = 0; q < Quads; ++q) {
        u[q][e] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low + 4 * q)),
                                       _mm_loadu_ps(high + 4 * q), 1);
      }
    }
    for (int q = 0; q < Quads; ++q) turn_quads(u[q], r + 4 * q);
  }
  static NEOCOG_INLINE void load_turned(const float* p, int64_t step, Vec (&r)[4]) {
    const float* const high = p + 4 * step;
    __m256 u[4];
    for (int e = 0; e < 4; ++e) {
      u[e] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p + e * step)),
                                  _mm_loadu_ps(high + e * step), 1);
    }
    turn_quads(u, r);
  }
  static NEOCOG_INLINE void store_turned(float* p, const int64_t* at, const Vec (&r)[4]) {
    Vec u[4];
    turn_quads({r[0].v, r[1].v, r[2].v, r[3].v}, u);
    for (int e = 0; e < 4; ++e) {
      _mm_storeu_ps(p + at[e], _mm256_castps256_ps128(u[e].v));
      _mm_storeu_ps(p + at[4 + e], _mm256_extractf128_ps(u[e].v, 1));
    }
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
