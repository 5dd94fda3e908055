#include "engine/steps_pool.h"

#include <memory>

#include "engine/checks.h"

namespace neocog {
namespace {

struct Images {
  Image<float> x, y;
};

Images images(const Operand& x, const Operand& y, Slices slices = Slices::kNone) {
  check_operand(x);
  check_result(y);
  require(x.ndim() == y.ndim(), "images must have as many axes");
  const Layout of_x = image_of(x, Layout::kChannelsLast, slices).layout;
  const Layout layout = image_of(y, of_x, slices).layout;
  const Images both{image_of(x, layout, slices), image_of(y, layout, slices)};
  require(both.x.layout == both.y.layout, "x and y of a pooling must lie in one layout");
  require(both.x.n == both.y.n && both.x.c == both.y.c, "batch or channels of a pooling differ");
  require(both.x.h > 0 && both.x.w > 0, "images must not be empty");
  return both;
}

PoolAxis sliding(int64_t in, int64_t out, const PoolArguments& a, size_t axis, bool count_padding) {
  const int64_t lo = a.padding[2 * axis], hi = a.padding[2 * axis + 1];
  const WindowAxis window = checked_window(in, a.kernel[axis], a.stride[axis], a.dilation[axis], lo, hi);
  require(lo >= 0 && hi >= 0, "the padding of a pooling must not be negative");
  require(0 < out && out - 1 <= (in + lo + hi) / a.stride[axis], "windows start outside the padded image");
  return sliding_axis(window, out, count_padding);
}

PoolGeometry adaptive(const Images& both) {
  require(both.y.h > 0 && both.y.w > 0, "images must not be empty");
  return {adaptive_axis(both.x.h, both.y.h), adaptive_axis(both.x.w, both.y.w)};
}

Step pool_step(const Operand& x, const Operand& y, const Images& both, PoolGeometry geometry, bool max,
               const char* kernel) {
  Step step{{x}, {y}, nullptr, kernel};
  step.run = [=, g = std::make_shared<const PoolGeometry>(std::move(geometry))](const Buffers& memory) {
    if (both.y.size() == 0) return;
    const Image<const float> from = with_data<const float>(both.x, memory.at(x));
    const Image<float> to = with_data(both.y, memory.at(y));
    if (max) {
      max_pool_forward<float>(*g, from, to, nullptr);
    } else {
      avg_pool_forward<float>(*g, from, to);
    }
  };
  return step;
}

}  // namespace

PoolGeometry sliding_windows(const Image<float>& x, const Image<float>& y, const PoolArguments& a,
                             bool count_padding) {
  return {sliding(x.h, y.h, a, 0, count_padding), sliding(x.w, y.w, a, 1, count_padding)};
}

Step max_pool_step(const Operand& x, const PoolArguments& a, const Operand& y) {
  const Images both = images(x, y, Slices::kOfChannels);
  return pool_step(x, y, both, sliding_windows(both.x, both.y, a, false), true, "max_pool");
}

Step avg_pool_step(const Operand& x, const PoolArguments& a, bool count_padding,
                   std::optional<int64_t> divisor, const Operand& y) {
  require(!divisor || *divisor != 0, "the divisor must not be 0");
  const Images both = images(x, y, Slices::kOfChannels);
  PoolGeometry g = sliding_windows(both.x, both.y, a, count_padding);
  if (divisor) {
    g.h.divisor.assign(g.h.divisor.size(), static_cast<double>(*divisor));
    g.w.divisor.assign(g.w.divisor.size(), 1.0);
  }
  return pool_step(x, y, both, std::move(g), false, "avg_pool");
}

Step adaptive_max_pool_step(const Operand& x, const Operand& y) {
  const Images both = images(x, y);
  return pool_step(x, y, both, adaptive(both), true, "adaptive_max_pool");
}

Step adaptive_avg_pool_step(const Operand& x, const Operand& y) {
  const Images both = images(x, y);
  return pool_step(x, y, both, adaptive(both), false, "adaptive_avg_pool");
}

}  // namespace neocog
