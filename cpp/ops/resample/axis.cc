#include "ops/resample/axis.h"

#include <algorithm>
#include <cmath>

namespace neocog {
namespace {

int64_t nearest_index(const ResampleAxis& axis, int64_t o, bool exact, bool planar) {
  if (planar && !exact) {
    if (axis.out == axis.in) return o;
    if (axis.out == 2 * axis.in) return o / 2;
  }
  // float32 for every dtype: which pixel is nearest must not depend on it.
  const float step = axis.scale > 0 ? static_cast<float>(1.0 / axis.scale)
                                    : static_cast<float>(axis.in) / static_cast<float>(axis.out);
  // A product of its own, so that no compiler fuses it with the floor's argument.
  const float position = (static_cast<float>(o) + (exact ? 0.5f : 0.0f)) * step;
  return std::min(static_cast<int64_t>(position), axis.in - 1);
}

ResampleSample linear_sample(const ResampleAxis& axis, int64_t o, bool align_corners) {
  if (axis.out == axis.in) return {o, o, 0.0};
  double position;
  if (align_corners) {
    const double step =
        axis.out > 1 ? static_cast<double>(axis.in - 1) / static_cast<double>(axis.out - 1) : 0.0;
    position = step * static_cast<double>(o);
  } else {
    const double step =
        axis.scale > 0 ? 1.0 / axis.scale : static_cast<double>(axis.in) / static_cast<double>(axis.out);
    position = std::max(step * (static_cast<double>(o) + 0.5) - 0.5, 0.0);
  }
  const int64_t index = std::min(static_cast<int64_t>(position), axis.in - 1);
  const double fraction = std::clamp(position - static_cast<double>(index), 0.0, 1.0);
  return {index, std::min(index + 1, axis.in - 1), fraction};
}

}  // namespace

std::vector<ResampleSample> resample_samples(const ResampleAxis& axis, ResampleMode mode, bool align_corners,
                                             bool planar) {
  std::vector<ResampleSample> samples;
  samples.reserve(static_cast<size_t>(axis.out));
  for (int64_t o = 0; o < axis.out; ++o) {
    if (mode == ResampleMode::kLinear) {
      samples.push_back(linear_sample(axis, o, align_corners));
    } else {
      const int64_t index = nearest_index(axis, o, mode == ResampleMode::kNearestExact, planar);
      samples.push_back({index, index, 0.0});
    }
  }
  return samples;
}

}  // namespace neocog
