#include "core/simd/avx2.h"

namespace neocog::avx2 {
namespace {

// The contract of these four stands in resample_scalar.cc.
NEOCOG_INLINE __m256i load_index(const int32_t* index) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
}
NEOCOG_INLINE Vec<float> lookup(Vec<float> v, const int32_t* index) {
  return {_mm256_permutevar8x32_ps(v.v, load_index(index))};
}
NEOCOG_INLINE Vec<float> lookup_valid(Vec<float> low, Vec<float> high, const int32_t* index) {
  const __m256i at = load_index(index);
  const __m256 a = _mm256_permutevar8x32_ps(low.v, at), b = _mm256_permutevar8x32_ps(high.v, at);
  // Bit 3 of the index chooses the register, its sign says that there is nothing to look up.
  const __m256 either = _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
  return {_mm256_andnot_ps(_mm256_castsi256_ps(_mm256_srai_epi32(at, 31)), either)};
}
NEOCOG_INLINE Vec<float> gather(const float* p, const int32_t* index) {
  return {_mm256_i32gather_ps(p, load_index(index), 4)};
}
NEOCOG_INLINE Vec<float> gather_valid(const float* p, const int32_t* index) {
  const __m256i at = load_index(index);
  // A lane takes part where the sign of its mask is set: where the index is not negative.
  const __m256 valid = _mm256_castsi256_ps(_mm256_xor_si256(at, _mm256_set1_epi32(-1)));
  return {_mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, at, valid, 4)};
}
constexpr bool kLookupPays = true;

}  // namespace
}  // namespace neocog::avx2

#include "ops/resample/resample-inl.h"
#include "ops/resample/taps-inl.h"
