#include "engine/steps_resample.h"

#include <algorithm>
#include <memory>

#include "engine/checks.h"
#include "ops/resample/resample.h"
#include "ops/resample/taps.h"

namespace neocog {

Step interpolate_step(const Operand& x, const Operand& y, int64_t axis, int64_t taps,
                      std::vector<int64_t> index, std::vector<float> weight) {
  check_operand(x);
  check_result(y);
  require(x.ndim() == y.ndim(), "an interpolation keeps the axes");
  const auto place = static_cast<size_t>(checked_axis(axis, x.ndim()));
  const std::vector<int64_t> order = memory_order(y.shape[place] > 1 ? y : x);
  require(x.dense(order.data()) && y.dense(order.data()),
          "an interpolation needs x and y dense in one order");
  TapsGeometry g{1, x.shape[place], y.shape[place], 1, taps};
  bool inside = false;
  for (const int64_t i : order) {
    const auto other = static_cast<size_t>(i);
    if (other == place) {
      inside = true;
      continue;
    }
    require(x.shape[other] == y.shape[other], "an interpolation changes one axis only");
    (inside ? g.inner : g.outer) *= x.shape[other];
  }
  require(taps > 0 && index.size() == weight.size() && index.size() % static_cast<size_t>(taps) == 0 &&
              index.size() / static_cast<size_t>(taps) == static_cast<size_t>(g.out),
          "an interpolation needs an index and a weight for every tap of every output");
  require(std::all_of(index.begin(), index.end(), [&](int64_t i) { return 0 <= i && i < g.in; }),
          "an index of an interpolation does not exist");
  struct Table {
    std::vector<int64_t> index;
    std::vector<float> weight;
  };
  auto table = std::make_shared<const Table>(Table{std::move(index), std::move(weight)});
  Step step{{x}, {y}, nullptr, "interpolate"};
  step.run = [=](const Buffers& memory) {
    interpolate_taps(g, table->index.data(), table->weight.data(), memory.at(x), memory.at(y));
  };
  return step;
}

Step resize_step(const Operand& x, const Operand& y, int mode, bool align_corners) {
  check_operand(x);
  check_result(y);
  require(mode == 0 || mode == 1, "unknown mode");
  require(x.ndim() == y.ndim(), "images must have as many axes");
  const Layout layout = image_of(y, image_of(x).layout).layout;
  const Image<float> in = image_of(x, layout), out = image_of(y, layout);
  require(in.layout == out.layout, "x and y of a resampling must lie in one layout");
  require(in.n == out.n && in.c == out.c, "batch or channels of a resampling differ");
  constexpr int64_t kMost = int64_t{1} << 31;  // indices inside a row are 32 bits long
  for (const int64_t size : {in.h, in.w, out.h, out.w}) {
    require(0 < size && size < kMost, "image sizes must be positive and below 2**31");
  }
  const ResampleGeometry g{in.n,
                           in.c,
                           {in.h, out.h, 0},
                           {in.w, out.w, 0},
                           mode == 0 ? ResampleMode::kNearest : ResampleMode::kLinear,
                           align_corners,
                           x.ndim() == 4};
  Step step{{x}, {y}, nullptr, mode == 0 ? "nearest" : "linear"};
  step.run = [=](const Buffers& memory) {
    if (out.size() == 0) return;
    resample_forward<float>(g, with_data<const float>(in, memory.at(x)), with_data(out, memory.at(y)));
  };
  return step;
}

}  // namespace neocog
