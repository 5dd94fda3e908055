// Kernel bodies of unary.h, compiled once per instruction set; no include guard on purpose.
#include "core/simd/math.h"
#include "ops/elementwise/unary.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class F>
NEOCOG_INLINE void map_vectors(const float* x, float* y, int64_t n, F f) {
  using V = Vec<float>;
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) f(V::load(x + i)).store(y + i);
  if (i < n) f(V::load_n(x + i, n - i)).store_n(y + i, n - i);
}

template <class F>
NEOCOG_INLINE void map_elements(const float* x, float* y, int64_t n, F f) {
  for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

NEOCOG_INLINE Vec<float> number(float x) {
  return Vec<float>::set1(x);
}
NEOCOG_INLINE Vec<float> negative(Vec<float> x) {
  return number(-0.0f) - x;
}

// x tanh(log(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2): nothing cancels.
NEOCOG_INLINE Vec<float> mish(Vec<float> x) {
  const Vec<float> e = exp_bounded(min(number(20.0f), x));  // beyond, mish(x) is x
  const Vec<float> n = e * (e + number(2.0f)), y = x * (n / (n + number(2.0f)));
  return select(gt(x, number(20.0f)), x, y);
}

// From the tail of the normal distribution; near 0, where that cancels, by the Taylor series.
NEOCOG_INLINE Vec<float> erf(Vec<float> x) {
  using V = Vec<float>;
  constexpr float kSeries[] = {1.1283791670955126f,    -0.37612638903183754f, 0.11283791670955126f,
                               -0.026866170645131252f, 0.005223977625442188f, -0.0008548327023450853f,
                               0.00012055332981789664f};
  const V t = x * number(1.41421356237309505f);
  const V far = copysign(number(1.0f) - number(2.0f) * normal(t).tail, x);
  const V near = x * math_detail::polynomial(x * x, kSeries);
  return select(gt(abs(x), number(0.5f)), far, near);  // NaN: the series
}

// log(1 + e) for 0 <= e <= 1, as 2 atanh(e / (2 + e)): relative error 3 ulp, also where e is tiny.
NEOCOG_INLINE Vec<float> log1p_of_part(Vec<float> e) {
  using V = Vec<float>;
  constexpr float kSeries[] = {2.0f, 2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9, 2.0f / 11, 2.0f / 13, 2.0f / 15};
  const V s = e / (e + number(2.0f));
  return s * math_detail::polynomial(s * s, kSeries);
}

NEOCOG_INLINE Vec<float> softplus(Vec<float> x) {
  return max(Vec<float>::zero(), x) + log1p_of_part(exp_bounded(negative(abs(x))));
}

// x = 2^n m, m around 1; log x = n log 2 + 2 atanh((m - 1) / (m + 1)).
NEOCOG_INLINE Vec<float> log(Vec<float> x) {
  using V = Vec<float>;
  constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.42860682030941723e-6f;
  constexpr float kSeries[] = {2.0f, 2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9};
  const V zero = V::zero(), infinity = number(__builtin_inff());
  const auto subnormal = gt(number(1.17549435e-38f), x);
  alignas(64) float part[V::lanes], power[V::lanes];
  select(subnormal, x * number(33554432.0f), x).store(part);
  // Bits are integers; unsigned, for what is no positive number may overflow here, and is replaced below.
  for (int64_t i = 0; i < V::lanes; ++i) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, part[i]);
    const int32_t n = static_cast<int32_t>(bits - 0x3f3504f3u) >> 23;  // m is in [sqrt(1/2), sqrt(2))
    power[i] = static_cast<float>(n);
    part[i] = __builtin_bit_cast(float, bits - (static_cast<uint32_t>(n) << 23));
  }
  const V n = V::load(power) - select(subnormal, number(25.0f), zero), f = V::load(part) - number(1.0f);
  const V s = f / (f + number(2.0f));
  const V y = fma(n, number(kLn2High), fma(n, number(kLn2Low), s * math_detail::polynomial(s * s, kSeries)));
  const V other = select(eq(x, zero), zero - infinity, number(__builtin_nanf("")));
  return select(gt(x, zero), select(eq(x, infinity), x, y), other);
}

void unary_map(const UnaryFunction& u, const float* x, float* y, int64_t n) {
  using V = Vec<float>;
  const V p = number(u.p), q = number(u.q), zero = V::zero(), one = number(1.0f);
  const auto vectors = [=](auto f) { map_vectors(x, y, n, f); };
  const auto elements = [=](auto f) { map_elements(x, y, n, f); };
  switch (u.f) {
    case Unary::kCelu:
      return vectors([=](V v) { return select(gt(v, zero), v, p * expm1(min(zero, v / p))); });
    case Unary::kSelu:
      return vectors([=](V v) { return q * select(gt(v, zero), v, p * expm1(min(zero, v))); });
    case Unary::kHardsigmoid: return vectors([=](V v) { return min(one, max(zero, fma(v, p, q))); });
    case Unary::kClip: return vectors([=](V v) { return min(q, max(p, v)); });
    case Unary::kThreshold: return vectors([=](V v) { return select(gt(v, p), v, q); });
    case Unary::kShrink:
      return vectors([=](V v) {
        const V inside = select(gt(zero - p, v), v + q, select(unordered(v, v), v, zero));
        return select(gt(v, p), v - q, inside);
      });
    case Unary::kSoftplus: return vectors([](V v) { return softplus(v); });
    case Unary::kSoftsign: return vectors([=](V v) { return v / (one + abs(v)); });
    case Unary::kMish: return vectors([](V v) { return mish(v); });
    case Unary::kAbs: return vectors([](V v) { return abs(v); });
    case Unary::kNeg: return vectors([](V v) { return negative(v); });
    case Unary::kSign:
      return vectors([=](V v) { return select(gt(abs(v), zero), copysign(one, v), v); });  // 0 and NaN stay
    case Unary::kSquare: return vectors([](V v) { return v * v; });
    case Unary::kSqrt: return vectors([](V v) { return sqrt(v); });
    case Unary::kRsqrt: return vectors([=](V v) { return one / sqrt(v); });
    case Unary::kReciprocal: return vectors([=](V v) { return one / v; });
    case Unary::kExp: return vectors([](V v) { return exp(v); });
    case Unary::kLog: return vectors([](V v) { return log(v); });
    case Unary::kErf: return vectors([](V v) { return erf(v); });
    case Unary::kFloor: return vectors([](V v) { return floor(v); });
    case Unary::kCeil: return vectors([](V v) { return ceil(v); });
    case Unary::kRound: return vectors([](V v) { return round_even(v); });
    case Unary::kSin: return elements([](float v) { return __builtin_sinf(v); });
    case Unary::kCos: return elements([](float v) { return __builtin_cosf(v); });
    case Unary::kTan: return elements([](float v) { return __builtin_tanf(v); });
    case Unary::kAsin: return elements([](float v) { return __builtin_asinf(v); });
    case Unary::kAcos: return elements([](float v) { return __builtin_acosf(v); });
    case Unary::kAtan: return elements([](float v) { return __builtin_atanf(v); });
    case Unary::kSinh: return elements([](float v) { return __builtin_sinhf(v); });
    case Unary::kCosh: return elements([](float v) { return __builtin_coshf(v); });
    case Unary::kAsinh: return elements([](float v) { return __builtin_asinhf(v); });
    case Unary::kAcosh: return elements([](float v) { return __builtin_acoshf(v); });
    case Unary::kAtanh: return elements([](float v) { return __builtin_atanhf(v); });
  }
}

}  // namespace

extern constinit const UnaryKernels unary_kernels_f32 = {&unary_map};

}  // namespace neocog::NEOCOG_ISA
