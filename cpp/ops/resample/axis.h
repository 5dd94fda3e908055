// Where the samples of one axis lie: the only home of the coordinate rules.
//   step      = 1 / scale, or in / out when no scale is given; (in - 1) / (out - 1) when corners are aligned
//   linear    position(o) = max(step * (o + 0.5) - 0.5, 0), or step * o when corners are aligned
//   nearest   floor(step * o);  nearest-exact: floor(step * (o + 0.5)); both in float32, and no further than
//   the end
// Axes that keep their size are copied, and nearest doubles axes of twice the size, whatever the scale;
// except that nearest-exact always, and nearest on signals, goes by the formula. All as PyTorch has it.
#pragma once

#include <cstdint>
#include <vector>

namespace neocog {

enum class ResampleMode : int { kNearest = 0, kNearestExact = 1, kLinear = 2 };

struct ResampleAxis {
  int64_t in, out;
  double scale;  // 0: by the sizes
};

// Output o reads input index0 with weight 1 - fraction and index1 with weight `fraction`.
struct ResampleSample {
  int64_t index0, index1;
  double fraction;
};

// One sample for every output position; index1 = index0 and fraction = 0 where only one input is read.
std::vector<ResampleSample> resample_samples(const ResampleAxis& axis, ResampleMode mode, bool align_corners,
                                             bool planar);

}  // namespace neocog
