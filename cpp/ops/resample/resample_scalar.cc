#include "core/simd/scalar.h"

namespace neocog::scalar {
namespace {

// The contract of these four, the same in every ISA: lane i of the result is lane index[i] of a register or
// of two in a row, or p[index[i]]; and 0 where index[i] is negative, if the name says "valid".
template <class T>
NEOCOG_INLINE Vec<T> lookup(Vec<T> v, const int32_t* index) {
  Vec<T> r = Vec<T>::zero();
  for (int64_t i = 0; i < Vec<T>::lanes; ++i) r.v[i] = v.v[index[i]];
  return r;
}
template <class T>
NEOCOG_INLINE Vec<T> lookup_valid(Vec<T> low, Vec<T> high, const int32_t* index) {
  Vec<T> r = Vec<T>::zero();
  for (int64_t i = 0; i < Vec<T>::lanes; ++i) {
    if (index[i] >= 0) r.v[i] = index[i] < Vec<T>::lanes ? low.v[index[i]] : high.v[index[i] - Vec<T>::lanes];
  }
  return r;
}
template <class T>
NEOCOG_INLINE Vec<T> gather(const T* p, const int32_t* index) {
  Vec<T> r = Vec<T>::zero();
  for (int64_t i = 0; i < Vec<T>::lanes; ++i) r.v[i] = p[index[i]];
  return r;
}
template <class T>
NEOCOG_INLINE Vec<T> gather_valid(const T* p, const int32_t* index) {
  Vec<T> r = Vec<T>::zero();
  for (int64_t i = 0; i < Vec<T>::lanes; ++i) r.v[i] = index[i] < 0 ? T{0} : p[index[i]];
  return r;
}
constexpr bool kLookupPays = false;  // four lanes or two: loading them one by one costs no more

}  // namespace
}  // namespace neocog::scalar

#include "ops/resample/resample-inl.h"
#include "ops/resample/taps-inl.h"
