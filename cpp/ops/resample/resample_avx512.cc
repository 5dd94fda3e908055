#include "core/simd/avx512.h"

namespace neocog::avx512 {
namespace {

// The contract of these four stands in resample_scalar.cc.
NEOCOG_INLINE Vec<float> lookup(Vec<float> v, const int32_t* index) {
  return {_mm512_permutexvar_ps(_mm512_loadu_si512(index), v.v)};
}
NEOCOG_INLINE __mmask16 not_negative(__m512i index) {
  return _mm512_cmpge_epi32_mask(index, _mm512_setzero_si512());
}
NEOCOG_INLINE Vec<float> lookup_valid(Vec<float> low, Vec<float> high, const int32_t* index) {
  const __m512i at = _mm512_loadu_si512(index);
  return {_mm512_maskz_permutex2var_ps(not_negative(at), low.v, at, high.v)};
}
NEOCOG_INLINE Vec<float> gather(const float* p, const int32_t* index) {
  return {_mm512_i32gather_ps(_mm512_loadu_si512(index), p, 4)};
}
NEOCOG_INLINE Vec<float> gather_valid(const float* p, const int32_t* index) {
  const __m512i at = _mm512_loadu_si512(index);
  return {_mm512_mask_i32gather_ps(_mm512_setzero_ps(), not_negative(at), at, p, 4)};
}
constexpr bool kLookupPays = true;

}  // namespace
}  // namespace neocog::avx512

#include "ops/resample/resample-inl.h"
#include "ops/resample/taps-inl.h"
