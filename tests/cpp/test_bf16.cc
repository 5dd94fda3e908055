// The kernels of ops/gemm/bf16.h on every unit of this CPU, against sums in float64. Values are whole and
// small, so sums are exact: any misplaced element shows. Guards around the results catch a store that is one
// lane too long.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "check.h"
#include "core/isa.h"
#include "core/window.h"
#include "ops/gemm/bf16.h"

namespace neocog {
namespace {

constexpr float kGuard = 1234.5f;
constexpr uint16_t kNaN = 0x7FC0;

std::vector<float> whole_values(int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_int_distribution<int> values(-8, 8);
  std::vector<float> result(static_cast<size_t>(count));
  for (float& value : result) value = static_cast<float>(values(engine));
  return result;
}

std::vector<uint16_t> bits_of(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(bf16_bits(value));
  return bits;
}

// Runs of 1 to tile_rows pixels, an odd number of them, with a gap of a pixel that is no output in each.
void panels_are_the_sum_over_taps(const Bf16Kernels& kernels, int64_t columns, int64_t steps, int64_t depth) {
  const int64_t taps = 3, width = steps * depth, count = 5;
  const std::vector<int64_t> tap = {2 * width, 0, 5 * width};
  const int64_t panels = ceil_div(columns, kBf16Columns);
  std::vector<Bf16Run> runs;
  std::vector<int64_t> out;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t pixels = i == 0 ? 1 : i == 1 ? kernels.tile_rows : 1 + kernels.tile_rows * i / count;
    runs.push_back({i * 3 * width, (i + 1) * width, static_cast<int64_t>(out.size()), pixels});
    for (int64_t p = 0; p < pixels; ++p) {
      out.push_back(p == 1 ? -1 : static_cast<int64_t>(out.size()) * (columns + 1) + 1);
    }
  }
  const int64_t last = (count - 1) * 3 * width + (kernels.tile_rows - 1) * count * width + 6 * width;
  const std::vector<float> a = whole_values(last, 1), bias = whole_values(columns, 2);
  const std::vector<float> weight = whole_values(columns * width * taps, 3);  // (columns, width, taps)
  const std::vector<uint16_t> strip = bits_of(a);
  std::vector<uint16_t> b(static_cast<size_t>(panels * taps * width * kBf16Columns), kNaN);
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = panel * kBf16Columns;
    kernels.pack_panel(weight.data() + first * width * taps, std::min(kBf16Columns, columns - first), width,
                       taps, width, b.data() + panel * taps * width * kBf16Columns);
  }
  for (const bool clamp : {false, true}) {
    std::vector<float> y(out.size() * static_cast<size_t>(columns + 1) + 2, kGuard);
    kernels.taps_panels({strip.data(), runs.data(), count, tap.data(), taps, steps, depth, b.data(), columns,
                         bias.data(), y.data(), out.data(), clamp, 6.0f});
    bool right = true;
    std::vector<float> expected(y.size(), kGuard);
    for (const Bf16Run& run : runs) {
      for (int64_t p = 0; p < run.count; ++p) {
        const int64_t to = out[run.first + p];
        for (int64_t o = 0; to >= 0 && o < columns; ++o) {
          double sum = bias[o];
          for (int64_t t = 0; t < taps; ++t) {
            for (int64_t k = 0; k < width; ++k) {
              sum += static_cast<double>(a[run.a + p * run.step + tap[t] + k]) *
                     weight[(o * width + k) * taps + t];
            }
          }
          expected[to + o] = static_cast<float>(clamp ? std::clamp(sum, 0.0, 6.0) : sum);
        }
      }
    }
    for (size_t i = 0; i < y.size(); ++i) right = right && y[i] == expected[i];
    CHECK(right);
  }
}

// Each way to round an image, and nothing behind the width of a pixel.
void images_are_rounded(const Bf16Kernels& kernels, int64_t channels, int64_t pixels) {
  for (const int64_t width : {channels, round_up(channels, 2), round_up(channels, 2) + 6}) {
    std::vector<float> image = whole_values(channels * pixels, 4), planes(image.size());
    for (float& value : image) value += 1.0f / 512;  // is rounded away from 1 on, to 2^-9 below
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t c = 0; c < channels; ++c) planes[c * pixels + p] = image[p * channels + c];
    }
    std::vector<uint16_t> expected(static_cast<size_t>(pixels * width + 1), 0), one = expected,
                                                                                other = expected;
    for (std::vector<uint16_t>* to : {&expected, &one, &other}) to->back() = kNaN;
    for (int64_t p = 0; p < pixels; ++p) {
      for (int64_t c = 0; c < channels; ++c) expected[p * width + c] = bf16_bits(image[p * channels + c]);
    }
    kernels.round_pixels(image.data(), channels, pixels, channels, width, one.data(), width);
    kernels.round_planes(planes.data(), pixels, pixels, channels, width, other.data(), width);
    CHECK(one == expected);
    CHECK(other == expected);
    if (width != channels) continue;
    std::fill(one.begin(), one.end() - 1, kNaN);
    kernels.round(image.data(), pixels * channels, one.data());
    CHECK(one == expected);
  }
}

void test_kernels(const Bf16Kernels& kernels) {
  for (const int64_t columns : {1, 15, 16, 17, 31, 32, 33, 49, 64, 70}) {
    panels_are_the_sum_over_taps(kernels, columns, 1, 32);
    panels_are_the_sum_over_taps(kernels, columns, 3, 28);
    panels_are_the_sum_over_taps(kernels, columns, 2, 2);
  }
  for (const int64_t channels : {1, 2, 3, 4, 5, 15, 16, 17, 33}) {
    for (const int64_t pixels : {1, 3, 4, 5, 16, 31}) images_are_rounded(kernels, channels, pixels);
  }
}

}  // namespace
}  // namespace neocog

int main() {
  using namespace neocog;
  for (const Bf16Unit unit : {Bf16Unit::kAvx512, Bf16Unit::kAmx}) {
    if (active_isa() < Isa::kAvx512 || !set_active_bf16_unit(unit)) {
      std::printf("%s: not on this CPU, or switched off\n", bf16_unit_name(unit));
      continue;
    }
    const int before = tests::failures;
    test_kernels(*bf16_kernels());
    std::printf("%s: %s\n", bf16_unit_name(unit), tests::failures == before ? "passed" : "FAILED");
  }
  return tests::result();
}
