// Kernel bodies of lrn.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/batch_norm/lrn.h"

namespace neocog::NEOCOG_ISA {
namespace {

// The exponents that nets have: 3/4 and its neighbours need no logarithm.
enum class LrnPower { kHalf, kThreeQuarters, kOne, kOther };

template <LrnPower kPower>
NEOCOG_INLINE Vec<float> lrn_value(const LrnParameters& p, Vec<float> x, Vec<float> squares) {
  using V = Vec<float>;
  const V base = fma(squares, V::set1(p.alpha), V::set1(p.bias));
  if constexpr (kPower == LrnPower::kOne) return x / base;
  if constexpr (kPower == LrnPower::kHalf) return x / sqrt(base);
  if constexpr (kPower == LrnPower::kThreeQuarters) return x / (sqrt(base) * sqrt(sqrt(base)));
  float powers[V::lanes];
  base.store(powers);
  for (float& power : powers) power = __builtin_powf(power, p.beta);
  return x / V::load(powers);
}

template <class Visitor>
NEOCOG_INLINE void with_lrn_power(float beta, Visitor&& visit) {
  if (beta == 0.75f) return visit.template operator()<LrnPower::kThreeQuarters>();
  if (beta == 0.5f) return visit.template operator()<LrnPower::kHalf>();
  if (beta == 1.0f) return visit.template operator()<LrnPower::kOne>();
  visit.template operator()<LrnPower::kOther>();
}

void lrn_pixels(const LrnParameters& p, const float* x, int64_t rows, int64_t channels, float* workspace,
                float* y) {
  using V = Vec<float>;
  const int64_t before = (p.size - 1) / 2;
  // Squares, with zeros for the channels that do not exist.
  for (int64_t i = 0; i < channels + p.size; ++i) workspace[i] = 0;
  float* const squares = workspace + before;
  with_lrn_power(p.beta, [&]<LrnPower kPower>() __attribute__((always_inline)) {
    for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
      for (int64_t c = 0; c < channels; c += V::lanes) {
        const int64_t lanes = min64(V::lanes, channels - c);
        const V v = V::load_n(x + c, lanes);
        (v * v).store_n(squares + c, lanes);
      }
      for (int64_t c = 0; c < channels; c += V::lanes) {
        const int64_t lanes = min64(V::lanes, channels - c);
        V sum = V::zero();
        for (int64_t k = 0; k < p.size; ++k) sum = sum + V::load_n(workspace + c + k, lanes);
        lrn_value<kPower>(p, V::load_n(x + c, lanes), sum).store_n(y + c, lanes);
      }
    }
  });
}

void lrn_plane(const LrnParameters& p, const float* x, int64_t plane, int64_t channels, int64_t c, int64_t n,
               float* y) {
  using V = Vec<float>;
  const int64_t first = max64(0, c - (p.size - 1) / 2), last = min64(channels, c - (p.size - 1) / 2 + p.size);
  with_lrn_power(p.beta, [&]<LrnPower kPower>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < n; i += V::lanes) {
      const int64_t lanes = min64(V::lanes, n - i);
      V sum = V::zero();
      for (int64_t k = first; k < last; ++k) {
        const V v = V::load_n(x + k * plane + i, lanes);
        sum = fma(v, v, sum);
      }
      lrn_value<kPower>(p, V::load_n(x + c * plane + i, lanes), sum).store_n(y + c * plane + i, lanes);
    }
  });
}

}  // namespace

extern constinit const LrnKernels lrn_kernels_f32 = {&lrn_pixels, &lrn_plane};

}  // namespace neocog::NEOCOG_ISA
