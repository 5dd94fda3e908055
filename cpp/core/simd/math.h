// Exponentials on whole vectors. Include after the header of an instruction set; float by polynomials, double
// lane by lane through the C library. NaN stays NaN; nothing here raises, traps or takes a branch.
//
//   exp(x)          float: 1 ulp, also of subnormal results; 0 below -104, infinity above 88.73
//   expm1(x)        x <= 0. float: 2 ulp
//   sigmoid(x)      1 / (1 + e^-x). float: 3 ulp, also where it is tiny
//   tanh(x)         float: 4 ulp, odd
//   normal(x)       the standard normal distribution: upper and lower tail and density. float: 6 ulp, tails
//   included
//
// The polynomials are minimax fits made for this file; errors measured over all exponents
// (tests/ops/test_elementwise.py). Source for the reduction and the tail substitution: Cody & Waite,
// "Software Manual for the Elementary Functions", 1980; Cody, "Rational Chebyshev approximations for the
// error function", 1969.
#pragma once

#include "core/macros.h"

namespace neocog::NEOCOG_ISA {
namespace {

namespace math_detail {

// Nearest integer for |x| < 2^22: at 1.5 * 2^23 the spacing of floats is one.
NEOCOG_INLINE Vec<float> round_nearest(Vec<float> x) {
  const Vec<float> magic = Vec<float>::set1(12582912.0f);
  return (x + magic) - magic;
}

// p(x) = c[0] + c[1] x + ... by Horner's rule.
template <int kTerms>
NEOCOG_INLINE Vec<float> polynomial(Vec<float> x, const float (&c)[kTerms]) {
  Vec<float> p = Vec<float>::set1(c[kTerms - 1]);
#pragma GCC unroll 16
  for (int i = kTerms - 2; i >= 0; --i) p = fma(p, x, Vec<float>::set1(c[i]));
  return p;
}

// e^(x + low) = 2^n * (1 + p) with |p| < 0.42; `low` is a correction, tiny beside 1. |x| <= 150.
struct Reduced {
  Vec<float> n, p;
};
NEOCOG_INLINE Reduced reduce(Vec<float> x, Vec<float> low) {
  using V = Vec<float>;
  // ln 2 in two parts: the first has 15 bits, so that n times it is exact without a fused multiply-add.
  constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.42860682030941723e-6f;
  // (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, relative error of e^r below 2^-28.
  constexpr float kTail[] = {0.4999999341248108f, 0.16666520107742464f, 0.04166839421512681f,
                             0.008368780418312145f, 0.0013814466848777118f};
  const V n = round_nearest(x * V::set1(1.44269504088896341f));
  V r = fma(n, V::set1(-kLn2High), x);
  r = fma(n, V::set1(-kLn2Low), r) + low;
  return {n, fma(r * r, polynomial(r, kTail), r)};
}

}  // namespace math_detail

// e^x for x <= 89.
NEOCOG_INLINE Vec<float> exp_bounded(Vec<float> x) {
  using V = Vec<float>;
  // What vanishes is set to 0 and not computed: processors stop for a result below the smallest float.
  const auto gone = gt(V::set1(-104.0f), x);
  const auto [n, p] = math_detail::reduce(select(gone, V::zero(), x), V::zero());
  return scale2(select(gone, V::zero(), V::set1(1.0f) + p), n);
}

NEOCOG_INLINE Vec<float> exp(Vec<float> x) {
  return exp_bounded(min(Vec<float>::set1(89.0f), x));  // in this order NaN stays
}

NEOCOG_INLINE Vec<float> expm1(Vec<float> x) {
  using V = Vec<float>;
  const auto [n, p] = math_detail::reduce(max(V::set1(-87.0f), x), V::zero());
  const V power = scale2(V::set1(1.0f), n);
  return fma(power, p, power - V::set1(1.0f));  // at n = 0 this is p itself: nothing cancels near 0
}

// Phi(-|x|) and the density of the standard normal distribution.
template <class V>
struct Normal {
  V tail, density;
};

NEOCOG_INLINE Normal<Vec<float>> normal(Vec<float> x) {
  using V = Vec<float>;
  // Phi(-t) e^(t*t/2) as a polynomial in (t - 4) / (t + 4), t <= 14.6; relative error below 2^-25.
  constexpr float kScaledTail[] = {0.09441064219814185f,   -0.17039774142910638f,  0.12437919780616324f,
                                   -0.07170673510976211f,  0.03086554850850852f,   -0.008497958225098665f,
                                   0.0005023259437354471f, 0.0006577589966486046f, -0.00016748191115962784f,
                                   -6.508326202875267e-05f};
  const V zero = V::zero(), one = V::set1(1.0f), four = V::set1(4.0f), half = V::set1(-0.5f);
  const auto gone = gt(abs(x), V::set1(14.2f));  // beyond, tail and density vanish
  const V t = select(gone, zero, abs(x));
  // -t*t/2 in two parts: its rounding alone would cost the tail 50 ulp.
  V high, low;
  if constexpr (V::fused) {
    const V h = half * t;
    high = h * t;
    low = fma(h, t, zero - high);
  } else {
    const V magic = V::set1(49152.0f);  // t rounded to 1/256 has an exact square
    const V rounded = (t + magic) - magic;
    high = half * (rounded * rounded);
    low = half * ((t - rounded) * (t + rounded));
  }
  const auto [n, p] = math_detail::reduce(high, low);
  const V e = select(gone, zero, one + p);
  const V scaled = math_detail::polynomial((t - four) * reciprocal(t + four), kScaledTail);
  return {scale2(e * scaled, n), scale2(e * V::set1(0.398942280401432678f), n)};
}

#if NEOCOG_ISA_HAS_DOUBLE
#define NEOCOG_BY_LANE(name, builtin)                  \
  NEOCOG_INLINE Vec<double> name(Vec<double> x) {      \
    Vec<double> y;                                     \
    for (int64_t i = 0; i < Vec<double>::lanes; ++i) { \
      y.v[i] = builtin(x.v[i]);                        \
    }                                                  \
    return y;                                          \
  }
NEOCOG_BY_LANE(exp, __builtin_exp)
NEOCOG_BY_LANE(exp_bounded, __builtin_exp)
NEOCOG_BY_LANE(expm1, __builtin_expm1)
NEOCOG_BY_LANE(tanh, __builtin_tanh)
NEOCOG_BY_LANE(erfc, __builtin_erfc)
#undef NEOCOG_BY_LANE

NEOCOG_INLINE Normal<Vec<double>> normal(Vec<double> x) {
  using V = Vec<double>;
  const V half = V::set1(0.5), t = abs(x);
  return {half * erfc(t * V::set1(0.707106781186547524)),
          V::set1(0.398942280401432678) * exp((V::zero() - half) * t * t)};
}
#endif

NEOCOG_INLINE Vec<float> tanh(Vec<float> x) {
  using V = Vec<float>;
  const V t = expm1(V::set1(-2.0f) * abs(x));
  return copysign(t * reciprocal(t + V::set1(2.0f)), x);
}

// 1 / (1 + e^-x) and its complement 1 / (1 + e^x), each to full relative accuracy.
template <class V>
struct Sigmoid {
  V value, complement;
};

template <class T>
NEOCOG_INLINE Sigmoid<Vec<T>> sigmoid(Vec<T> x) {
  using V = Vec<T>;
  const V one = V::set1(T(1));
  const V e = exp_bounded(V::zero() - abs(x));  // never overflows
  const V large = reciprocal(one + e), small = e * large;
  const auto positive = gt(x, V::zero());
  return {select(positive, large, small), select(positive, small, large)};
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
