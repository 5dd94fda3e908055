// The kernel tables of gemm.h and depthwise.h on every instruction set of this CPU, against sums in float64.
// Sizes run past every tile and tail; guards around the results catch a store that is one lane too long.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"
#include "core/isa.h"
#include "ops/depthwise/depthwise.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

constexpr int64_t kGuard = 32;
constexpr double kGuardValue = 1234.5;

template <class T>
std::vector<T> random_values(int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> values(-1.0, 1.0);
  std::vector<T> result(count);
  for (T& value : result) value = static_cast<T>(values(engine));
  return result;
}

// Memory for results between two guards.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t count) : memory_(count + 2 * kGuard, static_cast<T>(kGuardValue)) {}
  T* data() { return memory_.data() + kGuard; }
  T operator[](int64_t i) const { return memory_[kGuard + i]; }
  bool untouched(int64_t i) const { return memory_[kGuard + i] == static_cast<T>(kGuardValue); }
  bool guards_hold() const {
    const int64_t end = static_cast<int64_t>(memory_.size()) - 2 * kGuard;
    for (int64_t i = 0; i < kGuard; ++i) {
      if (!untouched(i - kGuard) || !untouched(end + i)) return false;
    }
    return true;
  }

 private:
  std::vector<T> memory_;
};

// A sum of products in float64, and the bound that a kernel's rounding must keep.
struct Expected {
  double sum = 0, magnitude = 0;
  int64_t terms = 0;
  void add(double product) {
    sum += product;
    magnitude += std::fabs(product);
    ++terms;
  }
  template <class T>
  bool holds(T value) const {
    const double eps = std::numeric_limits<T>::epsilon();
    return std::fabs(value - sum) <= (static_cast<double>(terms) + 2) * eps * magnitude + 1e-300;
  }
};

template <class T>
void taps_panel_is_the_sum_over_taps(const GemmKernels<T>& kernels) {
  for (int64_t vectors = 1; vectors <= kernels.max_vectors; ++vectors) {
    for (const int64_t missing : {int64_t{0}, int64_t{1}, kernels.lanes - 1}) {
      for (const int64_t pixels : {1, 2, 5, 7, 8, 9, 23}) {
        const int64_t taps = 3, run = 5, width = vectors * kernels.lanes, columns = width - missing;
        const std::vector<T> a = random_values<T>(pixels * 4 + taps * 11 + run, 1);
        const std::vector<T> b = random_values<T>(taps * run * width, 2), bias = random_values<T>(columns, 3);
        std::vector<int64_t> row(pixels), out(pixels), tap(taps);
        for (int64_t p = 0; p < pixels; ++p) {
          row[p] = p * 4;
          out[p] = (pixels - 1 - p) * (columns + 3);  // rows apart and in another order
        }
        for (int64_t t = 0; t < taps; ++t) tap[t] = t * 11;
        Guarded<T> y(pixels * (columns + 3));
        const T lo = static_cast<T>(-0.25), hi = static_cast<T>(0.5);
        const bool clamp = pixels % 2 == 0;
        kernels.taps_panel({a.data(), row.data(), tap.data(), pixels, taps, run, b.data(), vectors, columns,
                            bias.data(), y.data(), out.data(), clamp, lo, hi});
        for (int64_t p = 0; p < pixels; ++p) {
          for (int64_t o = 0; o < columns; ++o) {
            Expected expected;
            expected.add(bias[o]);
            for (int64_t t = 0; t < taps; ++t) {
              for (int64_t k = 0; k < run; ++k) {
                expected.add(static_cast<double>(a[row[p] + tap[t] + k]) * b[(t * run + k) * width + o]);
              }
            }
            if (clamp) expected.sum = std::fmin(hi, std::fmax(lo, expected.sum));
            CHECK(expected.holds(y[out[p] + o]));
          }
          for (int64_t o = columns; o < columns + 3; ++o) CHECK(y.untouched(out[p] + o));
        }
        CHECK(y.guards_hold());
      }
    }
  }
}

template <class T>
void taps_panel_lets_nan_through_a_clamp(const GemmKernels<T>& kernels) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const std::vector<T> b(kernels.lanes, T(1));
  const int64_t zero = 0;
  Guarded<T> y(kernels.lanes);
  kernels.taps_panel(
      {&nan, &zero, &zero, 1, 1, 1, b.data(), 1, kernels.lanes, nullptr, y.data(), &zero, true, T(0), T(6)});
  for (int64_t o = 0; o < kernels.lanes; ++o) CHECK(std::isnan(y[o]));
}

template <class T>
void planes_panel_is_the_sum_over_taps(const GemmKernels<T>& kernels) {
  const int64_t taps = 3, channels = 5, tap[taps] = {0, 2, 7};
  for (int64_t outputs = 1; outputs <= kernels.plane_outputs; ++outputs) {
    for (const int64_t count : {int64_t{1}, kernels.lanes, 2 * kernels.lanes + 1, 15 * kernels.lanes - 1}) {
      const int64_t plane = count + tap[taps - 1] + kernels.plane_slack;
      const int64_t y_plane = round_up(count, kernels.lanes);
      const std::vector<T> x = random_values<T>(channels * plane, 14);
      const std::vector<T> w = random_values<T>(channels * taps * outputs, 15),
                           bias = random_values<T>(outputs, 16);
      Guarded<T> y(outputs * y_plane);
      kernels.planes_panel({x.data(), plane, tap, taps, channels, w.data(), outputs, bias.data(), y.data(),
                            y_plane, count, false, T(0), T(0)});
      for (int64_t o = 0; o < outputs; ++o) {
        for (int64_t q = 0; q < count; ++q) {
          Expected expected;
          expected.add(bias[o]);
          for (int64_t c = 0; c < channels; ++c) {
            for (int64_t t = 0; t < taps; ++t) {
              expected.add(static_cast<double>(x[c * plane + tap[t] + q]) * w[(c * taps + t) * outputs + o]);
            }
          }
          CHECK(expected.holds(y[o * y_plane + q]));
        }
      }
      CHECK(y.guards_hold());
    }
  }
}

template <class T>
void outer_panel_adds_the_sum_over_pixels(const GemmKernels<T>& kernels) {
  for (int64_t vectors = 1; vectors <= kernels.max_vectors; ++vectors) {
    for (const int64_t rows : {1, 3, 7, 8, 9, 17}) {
      const int64_t pixels = 13, width = vectors * kernels.lanes;
      const std::vector<T> a = random_values<T>(pixels * 6 + rows, 4),
                           dy = random_values<T>(pixels * width, 5);
      std::vector<int64_t> row(pixels);
      for (int64_t p = 0; p < pixels; ++p) row[p] = p * 6;
      Guarded<T> dw(rows * width);
      std::fill_n(dw.data(), rows * width, T(2));
      kernels.outer_panel({a.data(), row.data(), pixels, rows, dy.data(), vectors, dw.data()});
      for (int64_t f = 0; f < rows; ++f) {
        for (int64_t o = 0; o < width; ++o) {
          Expected expected;
          expected.add(2);
          for (int64_t p = 0; p < pixels; ++p)
            expected.add(static_cast<double>(a[row[p] + f]) * dy[p * width + o]);
          CHECK(expected.holds(dw[f * width + o]));
        }
      }
      CHECK(dw.guards_hold());
    }
  }
}

template <class T>
void dot_block_is_the_product(const GemmKernels<T>& kernels) {
  for (const int64_t rows : {1, 3, 4, 6}) {
    for (const int64_t columns : {1, 4, 6, 9}) {
      for (const int64_t depth : {int64_t{0}, int64_t{1}, kernels.lanes, 3 * kernels.lanes + 1}) {
        const std::vector<T> x = random_values<T>(rows * depth, 6), w = random_values<T>(columns * depth, 7);
        const std::vector<T> bias = random_values<T>(columns, 8);
        const int64_t y_stride = columns + 2;
        Guarded<T> y(rows * y_stride);
        kernels.dot_block(x.data(), rows, w.data(), columns, depth, bias.data(), y.data(), y_stride);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t o = 0; o < columns; ++o) {
            Expected expected;
            expected.add(bias[o]);
            for (int64_t k = 0; k < depth; ++k) {
              expected.add(static_cast<double>(x[r * depth + k]) * w[o * depth + k]);
            }
            CHECK(expected.holds(y[r * y_stride + o]));
          }
          CHECK(y.untouched(r * y_stride + columns));
        }
        CHECK(y.guards_hold());
      }
    }
  }
}

template <class T>
void transpose_and_pack_move_every_value(const GemmKernels<T>& kernels) {
  for (const int64_t rows : {int64_t{1}, int64_t{3}, int64_t{4}, kernels.lanes, 2 * kernels.lanes + 3}) {
    for (const int64_t cols : {int64_t{1}, kernels.lanes - 1, 3 * kernels.lanes + 5}) {
      for (const int64_t gap : {0, 2}) {
        const int64_t src_stride = cols + 1, dst_stride = rows + gap;
        const std::vector<T> src = random_values<T>(rows * src_stride, 9);
        Guarded<T> dst(cols * dst_stride);
        kernels.transpose(src.data(), src_stride, dst.data(), dst_stride, rows, cols);
        for (int64_t c = 0; c < cols; ++c) {
          for (int64_t r = 0; r < rows; ++r) CHECK(dst[c * dst_stride + r] == src[r * src_stride + c]);
          for (int64_t r = rows; r < dst_stride; ++r) CHECK(dst.untouched(c * dst_stride + r));
        }
        CHECK(dst.guards_hold());
      }
    }
  }
  // A panel of rows (column_stride > 1) and of columns (column_stride 1); one position left out.
  const int64_t vectors = kernels.max_vectors, width = vectors * kernels.lanes, columns = width - 3;
  for (const bool side_by_side : {false, true}) {
    const int64_t inner = side_by_side ? 1 : kernels.lanes + 3, outer = side_by_side ? 7 : 1;
    const int64_t column_stride = side_by_side ? 1 : inner, outer_stride = side_by_side ? columns : 0;
    const std::vector<T> source = random_values<T>(columns * (side_by_side ? outer : inner), 10);
    std::vector<int64_t> position(inner);
    std::iota(position.begin(), position.end(), int64_t{0});
    if (!side_by_side) position[2] = -1;
    Guarded<T> packed(inner * outer * width);
    kernels.pack_panel(
        {source.data(), columns, column_stride, outer, outer_stride, inner, position.data(), 1}, 0, vectors,
        packed.data());
    for (int64_t k = 0; k < outer; ++k) {
      for (int64_t s = 0; s < inner; ++s) {
        for (int64_t o = 0; o < width; ++o) {
          const int64_t at = (k + s) * width + o;
          if (position[s] < 0) {
            CHECK(packed.untouched(at));
          } else {
            CHECK(packed[at] == (o < columns ? source[o * column_stride + k * outer_stride + s] : T(0)));
          }
        }
      }
    }
    CHECK(packed.guards_hold());
  }
}

// The general row kernel and, where the table has them, those of several rows, with taps past both edges.
template <class T>
void depthwise_rows_are_the_sum_over_taps(const DepthwiseKernels<T>& kernels, int64_t taps, int64_t step) {
  const int64_t in_w = 13 * step, out_w = 13, lanes = kernels.lanes;
  for (const int64_t channels : {int64_t{1}, lanes, 2 * lanes + 3}) {
    const int64_t blocks = ceil_div(channels, lanes), in_rows = taps + (kMostRows - 1) * step;
    const std::vector<T> x = random_values<T>(in_rows * in_w * channels, 11);
    const std::vector<T> weight = random_values<T>(blocks * taps * taps * lanes, 12);
    const std::vector<T> bias = random_values<T>(channels, 13);
    std::vector<const T*> rows(in_rows);
    std::vector<int64_t> col(taps);
    for (int64_t t = 0; t < in_rows; ++t) rows[t] = x.data() + t * in_w * channels;
    for (int64_t t = 0; t < taps; ++t) col[t] = t - taps / 2;
    for (int64_t count = 1; count <= kMostRows; count *= 2) {
      const auto kernel = count == 1 ? kernels.row : kernels.rows(taps, taps, step, count);
      if (kernel == nullptr) continue;
      const int64_t begin = 1, end = out_w - 1;  // outputs 0 and out_w - 1 belong to someone else
      std::vector<Guarded<T>> results;
      for (int64_t i = 0; i < count; ++i) results.emplace_back(out_w * channels);
      DepthwiseRows<T> job{};
      job.x = rows.data();
      job.taps_h = job.taps_w = taps;
      job.col = col.data();
      job.in_step = step;
      job.in_w = in_w;
      job.channels = job.y_step = channels;
      job.weight = weight.data();
      job.bias = bias.data();
      for (int64_t i = 0; i < count; ++i) job.y[i] = results[i].data();
      job.begin = begin;
      job.end = end;
      job.ahead_x = {x.data(), 3 * in_w * channels};  // what is only asked for changes no result
      kernel(job);
      for (int64_t i = 0; i < count; ++i) {
        const Guarded<T>& y = results[i];
        for (int64_t q = begin; q < end; ++q) {
          for (int64_t c = 0; c < channels; ++c) {
            Expected expected;
            expected.add(bias[c]);
            for (int64_t r = 0; r < taps; ++r) {
              for (int64_t s = 0; s < taps; ++s) {
                const int64_t from = q * step + col[s], tap = c / lanes * taps * taps + r * taps + s;
                if (from < 0 || from >= in_w) continue;
                expected.add(static_cast<double>(rows[i * step + r][from * channels + c]) *
                             weight[tap * lanes + c % lanes]);
              }
            }
            CHECK(expected.holds(y[q * channels + c]));
          }
        }
        CHECK(y.untouched(channels - 1) && y.untouched(end * channels) && y.guards_hold());
      }
    }
  }
}

template <class T>
void test_kernels() {
  taps_panel_is_the_sum_over_taps(gemm_kernels<T>());
  taps_panel_lets_nan_through_a_clamp(gemm_kernels<T>());
  planes_panel_is_the_sum_over_taps(gemm_kernels<T>());
  outer_panel_adds_the_sum_over_pixels(gemm_kernels<T>());
  dot_block_is_the_product(gemm_kernels<T>());
  transpose_and_pack_move_every_value(gemm_kernels<T>());
  for (const int64_t taps : {1, 2, 3, 5, 7}) {
    for (const int64_t step : {1, 2})
      depthwise_rows_are_the_sum_over_taps(depthwise_kernels<T>(), taps, step);
  }
}

}  // namespace
}  // namespace neocog

int main() {
  using namespace neocog;
  for (const Isa isa : kAllIsas) {
    if (!set_active_isa(isa)) {
      std::printf("%s: not on this CPU\n", isa_name(isa));
      continue;
    }
    const int before = tests::failures;
    test_kernels<float>();
    if (isa == Isa::kScalar) test_kernels<double>();
    std::printf("%s: %s\n", isa_name(isa), tests::failures == before ? "passed" : "FAILED");
  }
  return tests::result();
}
