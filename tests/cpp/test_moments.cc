// ops/batch_norm/moments.h: mean and variance that every kernel of convolution takes of its own tiles,
// against float64 sums over what it stored, on every instruction set; and what becomes of tiles that do not
// fit.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "core/isa.h"
#include "core/parallel.h"
#include "core/strict.h"
#include "ops/conv/conv.h"
#include "ops/conv_transpose/conv_transpose.h"

namespace neocog {
namespace {

struct Case {
  const char* reason;
  ConvGeometry g;
};

constexpr WindowAxis axis(int64_t in, int64_t kernel, int64_t stride = 1, int64_t pad = 0) {
  return {in, kernel, stride, 1, pad, pad};
}

const Case kCases[] = {
    {"several tiles, panels and parts", {2, 20, 70, 1, axis(33, 3, 1, 1), axis(35, 3, 1, 1)}},
    {"tiles narrower than a row", {1, 400, 20, 1, axis(5, 3, 1, 1), axis(100, 3, 1, 1)}},
    {"parts narrower than a tile", {2, 6, 24, 1, axis(1, 1), axis(1001, 3)}},
    {"pointwise, read in place", {3, 40, 33, 1, axis(14, 1), axis(14, 1)}},
    {"strided", {2, 5, 20, 1, axis(41, 7, 2, 3), axis(43, 7, 2, 3)}},
    {"grouped", {2, 32, 64, 2, axis(19, 3, 1, 1), axis(17, 3, 1, 1)}},
    {"few output channels", {2, 17, 3, 1, axis(70, 3, 1, 1), axis(61, 3, 1, 1)}},
    {"groups of few output channels", {1, 12, 6, 3, axis(23, 3, 1, 1), axis(29, 3, 1, 1)}},
    {"groups of few channels", {3, 24, 24, 3, axis(23, 3, 1, 1), axis(14, 3, 1, 1)}},
    {"groups of few channels, whole tiles", {3, 24, 24, 3, axis(24, 3, 1, 1), axis(12, 3, 1, 1)}},
    {"few pixels, whose kernel hands over nothing", {2, 20, 40, 1, axis(4, 3, 1, 1), axis(4, 3, 1, 1)}},
    {"depthwise", {2, 35, 35, 35, axis(37, 3, 1, 1), axis(21, 3, 1, 1)}},
    {"depthwise, strided, multiplied", {2, 9, 18, 9, axis(28, 3, 2, 1), axis(29, 3, 2, 1)}},
    {"depthwise, a long row", {1, 16, 16, 16, axis(1, 1), axis(1003, 5, 1, 2)}},
    {"one dimension", {2, 50, 52, 1, axis(1, 1), axis(901, 3, 1, 1)}},
    {"one dimension, dilated", {2, 50, 52, 1, axis(1, 1), {901, 3, 1, 4, 4, 4}}},
    {"five by five", {1, 33, 40, 1, axis(19, 5, 1, 2), axis(20, 5, 1, 2)}},
    {"phases of stride 2", {2, 33, 40, 1, {68, 4, 2, 1, 1, 1}, {70, 4, 2, 1, 1, 1}}},
    {"one channel of one image", {1, 3, 1, 1, axis(9, 3), axis(11, 3)}},
};

template <class T>
std::vector<T> random_values(int64_t size, double offset, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(offset, 1);
  std::vector<T> values(size);
  for (T& value : values) value = static_cast<T>(normal(generator));
  return values;
}

template <class T>
void check_moments(const char* reason, const Image<T>& y, const std::vector<double>& mean,
                   const std::vector<double>& var) {
  using Exact = long double;  // finer than the sums of float64 images
  const Exact eps = std::numeric_limits<T>::epsilon(), count = static_cast<Exact>(y.n * y.h * y.w);
  const int before = tests::failures;
  for (int64_t c = 0; c < y.c; ++c) {
    const auto mean_of = [&](auto&& f) {
      Exact sum = 0;
      for (int64_t n = 0; n < y.n; ++n) {
        for (int64_t i = 0; i < y.h; ++i) {
          for (int64_t j = 0; j < y.w; ++j) sum += f(static_cast<Exact>(*y.at(n, c, i, j)));
        }
      }
      return sum / count;
    };
    const Exact exact_mean = mean_of([](Exact v) { return v; });
    const Exact exact_var = mean_of([&](Exact v) { return (v - exact_mean) * (v - exact_mean); });
    const Exact rounding = 4 * std::numeric_limits<double>::epsilon() * std::abs(exact_mean);
    CHECK(std::abs(mean[c] - exact_mean) <= 80 * eps * std::sqrt(exact_var) + rounding);
    CHECK(std::abs(var[c] - exact_var) <= 80 * eps * exact_var);
  }
  if (tests::failures != before) std::fprintf(stderr, "  case: %s\n", reason);
}

template <class T, class Forward>
void check_forward(const char* reason, Image<T> y, Epilogue<T> epilogue, Forward&& forward) {
  std::vector<T> data(y.size());
  y.data = data.data();
  std::vector<double> mean(y.c), var(y.c), first;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    std::fill(mean.begin(), mean.end(), -1);
    Moments<T> moments;
    epilogue.moments = &moments;
    forward(epilogue, y);
    moments.finish(mean.data(), var.data());
    if (threads == 1) {
      check_moments(reason, y, mean, var);
      first = mean;
      first.insert(first.end(), var.begin(), var.end());
    }
    CHECK(std::memcmp(mean.data(), first.data(), sizeof(double) * y.c) == 0);
    CHECK(std::memcmp(var.data(), first.data() + y.c, sizeof(double) * y.c) == 0);
  }
}

template <class T>
void every_kernel_takes_the_moments_of_what_it_stores(Layout layout, double offset) {
  for (const Case& c : kCases) {
    const ConvGeometry& g = c.g;
    const std::vector<T> x = random_values<T>(g.batch * g.in_channels * g.h.in * g.w.in, 0, 1);
    const std::vector<T> weight =
        random_values<T>(g.out_channels * (g.in_channels / g.groups) * g.h.kernel * g.w.kernel, 0, 2);
    const std::vector<T> bias = random_values<T>(g.out_channels, offset, 3);
    const Image<const T> in{x.data(), g.batch, g.in_channels, g.h.in, g.w.in, layout};
    const Image<T> y{nullptr, g.batch, g.out_channels, g.h.out(), g.w.out(), layout};
    const std::vector<T> residual = random_values<T>(y.size(), 0, 4);
    const Epilogue<T> epilogues[] = {{bias.data()},
                                     {bias.data(), nullptr, Activation::kRelu},                // in registers
                                     {bias.data(), residual.data(), Activation::kHardswish}};  // to the tile
    for (const Epilogue<T>& epilogue : epilogues) {
      check_forward<T>(c.reason, y, epilogue, [&](const Epilogue<T>& e, const Image<T>& to) {
        conv_forward<T>(g, in, weight.data(), e, to);
      });
    }
    // The adjoint writes several phases, and where its stride exceeds the kernel also what no tap reaches.
    const Image<const T> from{residual.data(), y.n, y.c, y.h, y.w, layout};
    const Image<T> adjoint{nullptr, in.n, in.c, in.h, in.w, layout};
    const std::vector<T> start = random_values<T>(in.c, offset, 5);
    check_forward<T>(c.reason, adjoint, {start.data()}, [&](const Epilogue<T>& e, const Image<T>& to) {
      conv_transpose_forward<T>(g, from, weight.data(), e, to);
    });
  }
}

template <class T>
std::vector<double> moments_of(Moments<T>& moments, int64_t channels) {
  std::vector<double> both(2 * channels, 0.0);
  moments.finish(both.data(), both.data() + channels);
  return both;
}

void an_empty_image_has_nan(Layout layout) {
  const ConvGeometry g{0, 3, 5, 1, axis(6, 3), axis(6, 3)};
  const float weight[5 * 3 * 9] = {};
  Moments<float> moments;
  Epilogue<float> epilogue;
  epilogue.moments = &moments;
  conv_forward<float>(g, {nullptr, 0, 3, 6, 6, layout}, weight, epilogue, {nullptr, 0, 5, 4, 4, layout});
  for (const double value : moments_of(moments, 5)) CHECK(std::isnan(value));
}

void what_was_not_taken_is_nan_and_never_a_wrong_number(Layout layout) {
  std::vector<float> data = random_values<float>(2 * 20 * 40 * 50, 0, 6);
  const Image<float> y{data.data(), 2, 20, 40, 50, layout};
  const auto all_nan = [](const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(), [](double v) { return std::isnan(v); });
  };
  {
    Moments<float> moments;  // one image is missing
    moments.cut(y, y.w);
    moments.take(0, 0, y.c, 0, y.h, 0, y.w);
    CHECK(all_nan(moments_of(moments, y.c)));
    moments.take(1, 0, y.c, 0, y.h, 0, y.w);
    const std::vector<double> both = moments_of(moments, y.c);
    check_moments<float>("taken image by image", y, {both.begin(), both.begin() + y.c},
                         {both.begin() + y.c, both.end()});
  }
  for (const bool rows : {true, false}) {  // cut elsewhere than the kernel said
    Moments<float> moments;
    const int64_t height = moments.cut(y, 25);
    const int64_t row = rows ? height + 1 : y.h, col = rows ? y.w : 24;
    CHECK(height > 1);
    for (int64_t n = 0; n < y.n; ++n) {
      moments.take(n, 0, y.c, 0, row, 0, col);
      if (rows) moments.take(n, 0, y.c, row, y.h, 0, y.w);
      if (!rows) moments.take(n, 0, y.c, 0, y.h, col, y.w);
    }
    CHECK(all_nan(moments_of(moments, y.c)));
  }
  Moments<float> moments;  // a kernel that hands over tiles without a cut: they are read in the end
  moments.take(0, 0, y.c, 0, y.h, 0, y.w);
  moments.complete(y);
  const std::vector<double> both = moments_of(moments, y.c);
  check_moments<float>("complete", y, {both.begin(), both.begin() + y.c}, {both.begin() + y.c, both.end()});
}

// The first pixels, which choose the center of a part, are far from all others, or not finite.
void no_value_spoils_the_moments_of_others(Layout layout) {
  std::vector<float> data = random_values<float>(3 * 20 * 40 * 50, 0, 7);
  const Image<float> y{data.data(), 3, 20, 40, 50, layout};
  for (int64_t c = 0; c < y.c; ++c) *y.at(0, c, 0, 0) = 1e6f;
  for (int64_t i = 0; i < y.h * y.w; ++i) *y.at(1, 3, i / y.w, i % y.w) += 1e4f;
  Moments<float> moments;
  moments.complete(y);
  std::vector<double> both = moments_of(moments, y.c);
  check_moments<float>("outliers", y, {both.begin(), both.begin() + y.c}, {both.begin() + y.c, both.end()});
  *y.at(2, 5, 0, 0) = std::numeric_limits<float>::infinity();
  *y.at(2, 6, 1, 1) = std::numeric_limits<float>::quiet_NaN();
  Moments<float> others;
  others.complete(y);
  const std::vector<double> spoiled = moments_of(others, y.c);
  for (int64_t c = 0; c < y.c; ++c) {
    if (c == 5 || c == 6) {
      CHECK(std::isnan(spoiled[y.c + c]) && !std::isfinite(spoiled[c]));
      CHECK(std::isinf(spoiled[c]) == (c == 5));
    } else {
      CHECK(spoiled[c] == both[c] && spoiled[y.c + c] == both[y.c + c]);
    }
  }
}

void test_moments() {
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    for (const bool direct :
         {true, false}) {  // the same geometries, summed directly and by Winograd's method
      set_strict(direct);
      if (direct) every_kernel_takes_the_moments_of_what_it_stores<float>(layout, 0);
      every_kernel_takes_the_moments_of_what_it_stores<float>(layout, 1e4);
    }
    an_empty_image_has_nan(layout);
    what_was_not_taken_is_nan_and_never_a_wrong_number(layout);
    no_value_spoils_the_moments_of_others(layout);
  }
}

}  // namespace
}  // namespace neocog

int main() {
  using namespace neocog;
  for (const Isa isa : kAllIsas) {
    if (!set_active_isa(isa)) continue;
    const int before = tests::failures;
    test_moments();
    if (isa == Isa::kScalar) {  // float64 has the portable kernels everywhere
      for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
        every_kernel_takes_the_moments_of_what_it_stores<double>(layout, 0);
        every_kernel_takes_the_moments_of_what_it_stores<double>(layout, 1e4);
      }
    }
    std::printf("%s: %s\n", isa_name(isa), tests::failures == before ? "passed" : "FAILED");
  }
  return tests::result();
}
