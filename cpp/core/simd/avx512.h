// AVX-512 (F, VL, BW, DQ): sixteen floats. The contract of Vec stands in scalar.h.
#pragma once

#include <immintrin.h>

#include "core/macros.h"

#define NEOCOG_ISA avx512
#define NEOCOG_ISA_HAS_DOUBLE 0

namespace neocog::avx512 {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  static constexpr int64_t lanes = 16;
  static constexpr bool fused = true;
  struct Mask {
    __mmask16 m;
    NEOCOG_INLINE Mask operator|(Mask o) const { return {static_cast<__mmask16>(m | o.m)}; }
    NEOCOG_INLINE Mask operator&(Mask o) const { return {static_cast<__mmask16>(m & o.m)}; }
  };
  __m512 v;

  static NEOCOG_INLINE __mmask16 first(int64_t n) {
    return static_cast<__mmask16>((1u << static_cast<unsigned>(n)) - 1u);
  }
  static NEOCOG_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
  static NEOCOG_INLINE Vec set1(float x) { return {_mm512_set1_ps(x)}; }
  static NEOCOG_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static NEOCOG_INLINE Vec load_once(const float* p) {
    Vec r = load(p);
    asm("" : "+v"(r.v));
    return r;
  }
  static NEOCOG_INLINE Vec load_pair(const float* p) {
    const __m128i pair = _mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(p));
    return {_mm512_castsi512_ps(_mm512_broadcastq_epi64(pair))};
  }
  static NEOCOG_INLINE Vec load_twice(const float* p) {
    const __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return {_mm512_permutexvar_ps(index, _mm512_castps256_ps512(_mm256_loadu_ps(p)))};
  }
  static NEOCOG_INLINE Vec load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  NEOCOG_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  NEOCOG_INLINE void store_n(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  NEOCOG_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }
  static NEOCOG_INLINE void fence() { _mm_sfence(); }
  friend NEOCOG_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend NEOCOG_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  friend NEOCOG_INLINE Mask gt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
  friend NEOCOG_INLINE Mask eq(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
  friend NEOCOG_INLINE Mask unordered(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_UNORD_Q)}; }
  friend NEOCOG_INLINE Vec select(Mask m, Vec a, Vec b) { return {_mm512_mask_blend_ps(m.m, b.v, a.v)}; }
  friend NEOCOG_INLINE Vec reciprocal(Vec a) {  // 14 bits, doubled by a Newton step
    const __m512 r = _mm512_rcp14_ps(a.v);
    return {_mm512_fmadd_ps(r, _mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(1.0f)), r)};
  }
  friend NEOCOG_INLINE Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
  friend NEOCOG_INLINE Vec copysign(Vec a, Vec b) {
    const __m512 sign = _mm512_set1_ps(-0.0f);
    return {_mm512_or_ps(_mm512_andnot_ps(sign, a.v), _mm512_and_ps(sign, b.v))};
  }
  friend NEOCOG_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  friend NEOCOG_INLINE Vec floor(Vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
  }
  friend NEOCOG_INLINE Vec ceil(Vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)};
  }
  friend NEOCOG_INLINE Vec round_even(Vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  friend NEOCOG_INLINE Vec scale2(Vec a, Vec n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  NEOCOG_INLINE float sum() const { return _mm512_reduce_add_ps(v); }
  NEOCOG_INLINE float reduce_max() const { return _mm512_reduce_max_ps(v); }
  NEOCOG_INLINE float get(int64_t i) const {
    alignas(64) float lane[16];
    _mm512_store_ps(lane, v);
    return lane[i];
  }
  struct Index {
    __m512i i;
  };
  static NEOCOG_INLINE Index load_index(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  friend NEOCOG_INLINE Vec permute(Vec a, Index index) { return {_mm512_permutexvar_ps(index.i, a.v)}; }
  // Rows to columns of the 4 x 4 block in every 128 bits.
  static NEOCOG_INLINE void turn_quads(const __m512 (&u)[4], Vec* r) {
    const __m512 a = _mm512_unpacklo_ps(u[0], u[1]), b = _mm512_unpackhi_ps(u[0], u[1]);
    const __m512 c = _mm512_unpacklo_ps(u[2], u[3]), d = _mm512_unpackhi_ps(u[2], u[3]);
    r[0].v = _mm512_shuffle_ps(a, c, 0x44);
    r[1].v = _mm512_shuffle_ps(a, c, 0xEE);
    r[2].v = _mm512_shuffle_ps(b, d, 0x44);
    r[3].v = _mm512_shuffle_ps(b, d, 0xEE);
  }
  template <int Quads>
  static NEOCOG_INLINE void load_turned(const float* p, const int64_t* at, Vec (&r)[4 * Quads]) {
    __m512 u[Quads][4];
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      const float *const a = p + at[e], *const b = p + at[4 + e], *const c = p + at[8 + e],
                         *const d = p + at[12 + e];
#pragma GCC unroll 4
      for (int q = 0; q < Quads; ++q) {
        const __m512 ab =
            _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(a + 4 * q)), _mm_loadu_ps(b + 4 * q), 1);
        u[q][e] = _mm512_insertf32x4(_mm512_insertf32x4(ab, _mm_loadu_ps(c + 4 * q), 2),
                                     _mm_loadu_ps(d + 4 * q), 3);
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < Quads; ++q) turn_quads(u[q], r + 4 * q);
  }
  static NEOCOG_INLINE void load_turned(const float* p, int64_t step, Vec (&r)[4]) {
    const float *const b = p + 4 * step, *const c = b + 4 * step, *const d = c + 4 * step;
    __m512 u[4];
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      const __m512 low = _mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(p + e * step)),
                                            _mm_loadu_ps(b + e * step), 1);
      u[e] = _mm512_insertf32x4(_mm512_insertf32x4(low, _mm_loadu_ps(c + e * step), 2),
                                _mm_loadu_ps(d + e * step), 3);
    }
    turn_quads(u, r);
  }
  static NEOCOG_INLINE void store_turned(float* p, const int64_t* at, const Vec (&r)[4]) {
    Vec u[4];
    turn_quads({r[0].v, r[1].v, r[2].v, r[3].v}, u);
#pragma GCC unroll 4
    for (int e = 0; e < 4; ++e) {
      _mm_storeu_ps(p + at[e], _mm512_castps512_ps128(u[e].v));
      _mm_storeu_ps(p + at[4 + e], _mm512_extractf32x4_ps(u[e].v, 1));
      _mm_storeu_ps(p + at[8 + e], _mm512_extractf32x4_ps(u[e].v, 2));
      _mm_storeu_ps(p + at[12 + e], _mm512_extractf32x4_ps(u[e].v, 3));
    }
  }
  static NEOCOG_INLINE void transpose(Vec (&r)[lanes]) {
    __m512 t[16], u[16];
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
      t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
    }
    for (int i = 0; i < 16; i += 4) {
      u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
      u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    // 4 x 4 blocks of 128 bits remain: rows i, i+4, i+8, i+12 hold column block i.
    for (int i = 0; i < 4; ++i) {
      const __m512 a = _mm512_shuffle_f32x4(u[i], u[i + 4], 0x88);
      const __m512 b = _mm512_shuffle_f32x4(u[i], u[i + 4], 0xDD);
      const __m512 c = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0x88);
      const __m512 d = _mm512_shuffle_f32x4(u[i + 8], u[i + 12], 0xDD);
      r[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
      r[i + 4].v = _mm512_shuffle_f32x4(b, d, 0x88);
      r[i + 8].v = _mm512_shuffle_f32x4(a, c, 0xDD);
      r[i + 12].v = _mm512_shuffle_f32x4(b, d, 0xDD);
    }
  }
};

}  // namespace neocog::avx512
