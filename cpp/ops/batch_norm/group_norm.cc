#include "ops/batch_norm/group_norm.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"

namespace neocog {
namespace {

constexpr int64_t kPart = 1 << 12;   // values read twice by the statistics
constexpr int64_t kItem = 1 << 15;   // values one thread takes at a time
constexpr int64_t kWhole = 1 << 16;  // a group of so many stays cached from the sums to the result

// Sums of a group around a value of its own.
struct Sums {
  double first = 0, second = 0;
};

class Groups {
 public:
  Groups(const BatchNormGeometry& g, int64_t groups, const float* weight, const float* bias, double eps)
      : g_(g), groups_(groups), width_(g.channels / groups), weight_(weight), bias_(bias), eps_(eps) {}

  int64_t width() const { return width_; }  // channels of a group
  int64_t count() const { return g_.batch * groups_; }
  int64_t size() const { return width_ * g_.pixels; }
  static float pivot_at(const float* x) { return std::isfinite(*x) ? *x : 0.0f; }

  // The lines of a group's channels. `group` counts those of all images.
  void set_lines(int64_t group, float pivot, const Sums& sums, const BatchNormLines<float>& lines) const {
    const double n = static_cast<double>(size()), offset = sums.first / n;
    const double mean = static_cast<double>(pivot) + offset, spread = sums.second / n - offset * offset;
    const double root = 1 / std::sqrt((spread < 0 ? 0 : spread) + eps_);  // NaN stays
    const int64_t first = group % groups_ * width_;
    for (int64_t i = 0; i < width_; ++i) {
      const int64_t to = group * width_ + i, c = first + i;
      const double scale = weight_ == nullptr ? root : root * static_cast<double>(weight_[c]);
      lines.center[to] = static_cast<float>(mean);
      const double rest = static_cast<double>(lines.center[to]) - mean;  // what the rounded center lacks
      lines.scale[to] = static_cast<float>(scale);
      lines.slope[to] = 0;
      lines.shift[to] =
          static_cast<float>((bias_ == nullptr ? 0 : static_cast<double>(bias_[c])) + rest * scale);
    }
  }

 private:
  BatchNormGeometry g_;
  int64_t groups_, width_;
  const float *weight_, *bias_;
  double eps_;
};

BatchNormLines<float> take_lines(Scratch& scratch, int64_t count) {
  BatchNormLines<float> lines;
  for (float** array : {&lines.center, &lines.scale, &lines.slope, &lines.shift}) {
    *array = scratch.take<float>(count);
  }
  return lines;
}

// Channels first: a group is one run of memory.
void run_groups(const BatchNormGeometry& g, const Groups& groups, const float* x, float* y) {
  const BatchNormKernels<float>& kernels = batch_norm_kernels<float>();
  const int64_t size = groups.size(), count = groups.count(), channels = g.batch * g.channels;
  const int64_t pieces = size <= kWhole ? 1 : ceil_div(size, kItem), length = pieces == 1 ? size : kItem;
  Scratch scratch(4 * Scratch::bytes_of<float>(channels) + Scratch::bytes_of<Sums>(count * pieces));
  const BatchNormLines<float> lines = take_lines(scratch, channels);
  Sums* const partial = scratch.take<Sums>(count * pieces);
  const auto sum = [&](int64_t group, int64_t piece) {
    const float pivot = Groups::pivot_at(x + group * size);
    double sums[2] = {0, 0};
    for (int64_t i = piece * length; i < min64(size, (piece + 1) * length); i += kPart) {
      kernels.run_moments(x + group * size + i, 1, 0, min64(kPart, size - i), pivot, sums);
    }
    partial[group * pieces + piece] = {sums[0], sums[1]};
  };
  const auto finish = [&](int64_t group) {
    Sums sums;
    for (int64_t i = group * pieces; i < (group + 1) * pieces; ++i) {
      sums.first += partial[i].first;
      sums.second += partial[i].second;
    }
    groups.set_lines(group, Groups::pivot_at(x + group * size), sums, lines);
  };
  const auto write = [&](int64_t channel) {
    const BatchNormLine<float> line{lines.center[channel], lines.scale[channel], 0, lines.shift[channel]};
    kernels.run_forward(Activation::kIdentity, 0, line, x + channel * g.pixels, 1, 0, g.pixels, false,
                        y + channel * g.pixels);
  };
  if (pieces == 1) {
    const int64_t block = max64(1, kItem / size);
    parallel_for(ceil_div(count, block), [&](int64_t item, int) {
      for (int64_t group = item * block; group < min64(count, (item + 1) * block); ++group) {
        sum(group, 0);
        finish(group);
        for (int64_t i = 0; i < groups.width(); ++i) write(group * groups.width() + i);
      }
    });
    return;
  }
  parallel_for(count * pieces, [&](int64_t item, int) { sum(item / pieces, item % pieces); });
  for (int64_t group = 0; group < count; ++group) finish(group);
  const int64_t block = max64(1, kItem / g.pixels);
  parallel_for(ceil_div(channels, block), [&](int64_t item, int) {
    for (int64_t c = item * block; c < min64(channels, (item + 1) * block); ++c) write(c);
  });
}

// Channels last: rows of channels stream past their sums; those of a group are added up at the end.
void column_groups(const BatchNormGeometry& g, const Groups& groups, const float* x, float* y) {
  const BatchNormKernels<float>& kernels = batch_norm_kernels<float>();
  const int64_t channels = g.batch * g.channels, image = g.pixels * g.channels;
  const int64_t height = max64(1, kItem / g.channels), blocks = ceil_div(g.pixels, height);
  const int64_t items = g.batch * blocks, sums = items * g.channels;
  Scratch scratch(5 * Scratch::bytes_of<float>(channels) + 2 * Scratch::bytes_of<double>(sums));
  const BatchNormLines<float> lines = take_lines(scratch, channels);
  float* const pivot = scratch.take<float>(channels);
  double *const first = scratch.take<double>(sums), *const second = scratch.take<double>(sums);
  std::fill_n(first, sums, 0.0);
  std::fill_n(second, sums, 0.0);
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t n = c / g.channels, begin = c % g.channels / groups.width() * groups.width();
    pivot[c] = Groups::pivot_at(x + n * image + begin);
  }
  parallel_for(items, [&](int64_t item, int) {
    const int64_t n = item / blocks, row = item % blocks * height;
    kernels.columns_moments(x + n * image + row * g.channels, min64(height, g.pixels - row), g.channels,
                            pivot + n * g.channels, first + item * g.channels, second + item * g.channels);
  });
  const int64_t per_image = g.channels / groups.width();
  for (int64_t group = 0; group < groups.count(); ++group) {
    const int64_t n = group / per_image, begin = group % per_image * groups.width();
    Sums total;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t at = (n * blocks + block) * g.channels + begin;
      for (int64_t c = at; c < at + groups.width(); ++c) {
        total.first += first[c];
        total.second += second[c];
      }
    }
    groups.set_lines(group, pivot[n * g.channels + begin], total, lines);
  }
  parallel_for(items, [&](int64_t i, int) {
    const int64_t item = items - 1 - i;  // the rows read last are still cached
    const int64_t n = item / blocks, row = item % blocks * height, at = n * image + row * g.channels;
    const int64_t c = n * g.channels;
    kernels.columns_forward(Activation::kIdentity, 0,
                            {lines.center + c, lines.scale + c, lines.slope + c, lines.shift + c}, x + at,
                            min64(height, g.pixels - row), g.channels, false, y + at);
  });
}

}  // namespace

void group_norm(const BatchNormGeometry& g, int64_t groups, const float* x, const float* weight,
                const float* bias, double eps, float* y) {
  if (g.batch == 0 || g.channels == 0 || g.pixels == 0) return;
  const Groups all(g, groups, weight, bias, eps);
  if (g.layout == Layout::kChannelsLast || g.pixels == 1) {
    column_groups(g, all, x, y);
  } else {
    run_groups(g, all, x, y);
  }
}

void layer_norm(int64_t rows, int64_t n, const float* x, const float* weight, const float* bias, double eps,
                float* y) {
  if (rows == 0 || n == 0) return;
  const auto kernel = NEOCOG_SELECT_ISA(layer_norm_kernels_f32).rows;
  const int64_t block = max64(1, kItem / n);
  parallel_for(ceil_div(rows, block), [&](int64_t item, int) {
    const int64_t first = item * block;
    kernel(min64(block, rows - first), n, x + first * n, weight, bias, eps, y + first * n);
  });
}

}  // namespace neocog
