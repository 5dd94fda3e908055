// Kernel body of layer normalisation, compiled once per instruction set; no include guard on purpose.
#include "ops/batch_norm/group_norm.h"
#include "ops/batch_norm/run-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// y = ((x - center) * scale + shift) * weight + bias
template <bool kWeight, bool kBias>
NEOCOG_INLINE void affine_row(const float* x, const BatchNormLine<float>& line, const float* weight,
                              const float* bias, float* y, int64_t n) {
  using V = Vec<float>;
  const V center = V::set1(line.center), scale = V::set1(line.scale), shift = V::set1(line.shift);
  each_vector<float>(n, [&](int64_t i, int, int64_t lanes) {
    V v = fma(load_lanes(x + i, lanes) - center, scale, shift);
    if constexpr (kWeight) v = v * load_lanes(weight + i, lanes);
    if constexpr (kBias) v = v + load_lanes(bias + i, lanes);
    store_lanes<false>(v, y + i, lanes);
  });
}

void layer_norm_rows(int64_t rows, int64_t n, const float* x, const float* weight, const float* bias,
                     double eps, float* y) {
  constexpr int64_t kPart = 1 << 12;  // values read twice by the statistics
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    // Sums around one of the values lose at most a factor of their number, whatever they are.
    const float pivot = x[0] - x[0] == 0 ? x[0] : 0.0f;
    double sums[2] = {0, 0};
    for (int64_t i = 0; i < n; i += kPart) run_moments(x + i, 1, 0, min64(kPart, n - i), pivot, sums);
    const double offset = sums[0] / static_cast<double>(n), mean = static_cast<double>(pivot) + offset;
    const double spread = sums[1] / static_cast<double>(n) - offset * offset;
    const double scale = 1 / __builtin_sqrt((spread < 0 ? 0 : spread) + eps);  // NaN stays
    const float center = static_cast<float>(mean);
    const double rest = (static_cast<double>(center) - mean) * scale;  // what the rounded center lacks
    const BatchNormLine<float> line{center, static_cast<float>(scale), 0, static_cast<float>(rest)};
    if (weight != nullptr && bias != nullptr) {
      affine_row<true, true>(x, line, weight, bias, y, n);
    } else if (weight != nullptr) {
      affine_row<true, false>(x, line, weight, bias, y, n);
    } else if (bias != nullptr) {
      affine_row<false, true>(x, line, weight, bias, y, n);
    } else {
      affine_row<false, false>(x, line, weight, bias, y, n);
    }
  }
}

}  // namespace

extern constinit const LayerNormKernels layer_norm_kernels_f32 = {&layer_norm_rows};

}  // namespace neocog::NEOCOG_ISA
