// core/parallel.h and core/scratch.h, and the ops on top: every item once, and the same bits for any number
// of threads. Built with the preset `tsan` it also shows that they do not race.
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "core/bf16.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/bf16_conv.h"
#include "ops/conv/conv.h"
#include "ops/conv/winograd_cost.h"
#include "ops/conv_transpose/conv_transpose.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/linear.h"
#include "ops/separable/separable.h"

namespace neocog {
namespace {

constexpr int kThreads[] = {1, 2, 3, 4};

void parallel_for_runs_every_item_once() {
  for (const int threads : {1, 2, 3, 4, 70}) {  // more than there are shares
    set_num_threads(threads);
    for (const int64_t items : {0, 1, 2, 3, 100}) {
      const int most = threads_for(items);
      for (const bool backwards : {false, true}) {
        std::vector<std::atomic<int>> runs(items);
        std::atomic<bool> in_range{true};
        const auto body = [&](int64_t item, int thread) {
          ++runs[item];
          if (thread < 0 || thread >= most) in_range = false;
        };
        if (backwards) {
          parallel_for_backwards(items, body);
        } else {
          parallel_for(items, body);
        }
        CHECK(
            std::all_of(runs.begin(), runs.end(), [](const std::atomic<int>& count) { return count == 1; }));
        CHECK(in_range);
      }
      CHECK(most == std::max<int64_t>(1, std::min<int64_t>(threads, items)));
    }
  }
}

// The item that is held until all others are done would hold those of its share, too, if nobody took them.
void threads_take_from_the_shares_of_others() {
  set_num_threads(2);
  if (threads_for(100) < 2) return;     // built without OpenMP
  for (const int64_t held : {0, 50}) {  // the first of either share
    std::atomic<int64_t> done{0};
    parallel_for(100, [&](int64_t item, int) {
      while (item == held && done < 99) std::this_thread::yield();
      ++done;
    });
    CHECK(done == 100);
  }
}

void one_thread_keeps_the_order() {
  set_num_threads(1);
  std::vector<int64_t> order;
  parallel_for(3, [&](int64_t item, int) { order.push_back(item); });
  parallel_for_backwards(3, [&](int64_t item, int) { order.push_back(item); });
  CHECK((order == std::vector<int64_t>{0, 1, 2, 2, 1, 0}));
}

// A thread's number tells which part of the scratch is its own: no two items may hold it at once.
void threads_that_run_at_once_have_different_numbers() {
  set_num_threads(4);
  std::atomic<int> holders[4] = {};
  std::atomic<bool> alone{true};
  parallel_for(200, [&](int64_t, int thread) {
    if (holders[thread].fetch_add(1) != 0) alone = false;
    std::this_thread::yield();
    holders[thread].fetch_sub(1);
  });
  CHECK(alone);
}

void a_nested_loop_runs_serially() {
  set_num_threads(4);
  std::atomic<int> runs{0};
  std::atomic<bool> serial{true};
  parallel_for(4, [&](int64_t, int) {
    if (threads_for(4) != 1) serial = false;
    parallel_for(4, [&](int64_t, int thread) {
      if (thread != 0) serial = false;
      ++runs;
    });
  });
  CHECK(runs == 16);
  CHECK(serial);
}

void scratch_parts_are_aligned_and_apart() {
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second block is the first one, kept
    const int64_t counts[] = {1, 17, 0, 1000};
    size_t bytes = 0;
    for (const int64_t count : counts) bytes += Scratch::bytes_of<float>(count);
    Scratch scratch(bytes);
    std::vector<float*> parts;
    for (size_t i = 0; i < 4; ++i) {
      parts.push_back(scratch.take<float>(counts[i]));
      CHECK(reinterpret_cast<uintptr_t>(parts[i]) % 64 == 0);
      std::fill_n(parts[i], counts[i], static_cast<float>(i));
    }
    for (size_t i = 0; i < 4; ++i) {
      CHECK(std::all_of(parts[i], parts[i] + counts[i],
                        [i](float value) { return value == static_cast<float>(i); }));
    }
  }
}

std::vector<float> random_values(int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> values;
  std::vector<float> result(count);
  for (float& value : result) value = values(engine);
  return result;
}

// Calls f(out) with 1, 2, 3 and 4 threads; all results must be bit for bit those of one thread.
template <class F>
void same_bits_for_any_number_of_threads(const char* what, int64_t size, F&& f) {
  std::vector<float> first;
  for (const int threads : kThreads) {
    set_num_threads(threads);
    std::vector<float> result(size, -1.0f);
    f(result.data());
    if (first.empty()) first = result;
    CHECK(std::memcmp(first.data(), result.data(), sizeof(float) * size) == 0);
    CHECK(std::any_of(result.begin(), result.end(), [](float value) { return value != -1.0f; }));
  }
  std::printf("%s: done\n", what);
}

void ops_give_the_same_bits(Layout layout) {
  const WindowAxis h{19, 3, 1, 1, 1, 1}, w{23, 3, 2, 1, 1, 0};
  const int64_t n = 2, c = 12, o = 20, p = h.out(), q = w.out();
  const std::vector<float> x = random_values(n * c * h.in * w.in, 1), dy = random_values(n * o * p * q, 2);
  const std::vector<float> weight = random_values(o * c * 9, 3), bias = random_values(o, 4);
  const Image<const float> input{x.data(), n, c, h.in, w.in, layout}, grad{dy.data(), n, o, p, q, layout};
  const Epilogue<float> epilogue{bias.data(), nullptr, Activation::kRelu, 0.0f};

  for (const int64_t groups : {int64_t{1}, int64_t{4}}) {
    const ConvGeometry g{n, c, o, groups, h, w};
    same_bits_for_any_number_of_threads("conv_forward", n * o * p * q, [&](float* y) {
      conv_forward<float>(g, input, weight.data(), epilogue, {y, n, o, p, q, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_x", x.size(), [&](float* dx) {
      conv_backward_x<float>(g, grad, weight.data(), {dx, n, c, h.in, w.in, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_weight", o * c / groups * 9,
                                        [&](float* dw) { conv_backward_weight<float>(g, input, grad, dw); });
  }
  // Winograd's method: one block of tiles, many blocks, and every remainder of a dilated kernel; and kernels
  // that are transformed at each use, panels or blocks of which are shared out.
  struct Square {
    int64_t size, channels;
  };
  for (const Square& square : {Square{12, 40}, Square{46, 40}, Square{20, 160}}) {
    const int64_t size = square.size, channels = square.channels;
    for (const int64_t dilation : {int64_t{1}, int64_t{2}}) {
      const WindowAxis axis{size, 3, 1, dilation, dilation, dilation};
      const int64_t values = n * channels * size * size;
      const ConvGeometry g{n, channels, channels, 1, axis, axis};
      const std::vector<float> from = random_values(values, 5),
                               kernels = random_values(channels * channels * 9, 6);
      const Image<const float> image{from.data(), n, channels, size, size, layout};
      same_bits_for_any_number_of_threads("conv_forward, 3x3", values, [&](float* y) {
        conv_forward<float>(g, image, kernels.data(), {}, {y, n, channels, size, size, layout});
      });
      same_bits_for_any_number_of_threads("conv_backward_x, 3x3", values, [&](float* dx) {
        conv_backward_x<float>(g, image, kernels.data(), {dx, n, channels, size, size, layout});
      });
      same_bits_for_any_number_of_threads(
          "conv_backward_weight, 3x3", channels * channels * 9,
          [&](float* dw) { conv_backward_weight<float>(g, image, image, dw); });
    }
  }
  // One dimension in blocks, dilated ones with and without all remainders in a block; groups that share
  // vectors; taps that miss the image.
  struct Other {
    const char* what;
    int64_t groups, size_h, size_w, kernel_h, dilation;
  };
  for (const Other& other :
       {Other{"1x3", 1, 1, 900, 1, 1}, Other{"1x3, dilation 5", 1, 1, 900, 1, 5},
        Other{"1x3, dilation 600", 1, 1, 1300, 1, 600}, Other{"3x3, groups of 8", 6, 24, 26, 3, 1},
        Other{"3x3, dilation 16", 1, 24, 26, 3, 16}}) {
    const WindowAxis vertical{other.size_h,
                              other.kernel_h,
                              1,
                              other.dilation,
                              other.dilation * (other.kernel_h / 2),
                              other.dilation * (other.kernel_h / 2)};
    const WindowAxis across{other.size_w, 3, 1, other.dilation, other.dilation, other.dilation};
    const int64_t channels = 48, values = n * channels * other.size_h * other.size_w;
    const int64_t weights = channels * (channels / other.groups) * other.kernel_h * 3;
    const ConvGeometry g{n, channels, channels, other.groups, vertical, across};
    const std::vector<float> from = random_values(values, 5), kernels = random_values(weights, 6);
    const Image<const float> image{from.data(), n, channels, other.size_h, other.size_w, layout};
    std::printf("%s\n", other.what);
    same_bits_for_any_number_of_threads("conv_forward", values, [&](float* y) {
      conv_forward<float>(g, image, kernels.data(), {}, {y, n, channels, other.size_h, other.size_w, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_x", values, [&](float* dx) {
      conv_backward_x<float>(g, image, kernels.data(), {dx, n, channels, other.size_h, other.size_w, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_weight", weights,
                                        [&](float* dw) { conv_backward_weight<float>(g, image, image, dw); });
  }
  // Winograd's method in phases, of the inputs and of the outputs, and in blocks of a stride.
  for (const WindowAxis& axis : {WindowAxis{66, 4, 2, 1, 1, 1}, WindowAxis{95, 9, 3, 1, 4, 4}}) {
    const int64_t channels = 40, weights = channels * channels * axis.kernel * axis.kernel,
                  small = axis.out();
    const ConvGeometry g{n, channels, channels, 1, axis, axis};
    CHECK(conv_kernel<float>(g, layout) ==
          (axis.stride == 2 ? ConvKernel::kWinograd : ConvKernel::kSpaceToDepth));
    const int64_t in = n * channels * axis.in * axis.in, out = n * channels * small * small;
    const std::vector<float> from = random_values(in, 5), kernels = random_values(weights, 6);
    const Image<const float> large{from.data(), n, channels, axis.in, axis.in, layout},
        grads{from.data(), n, channels, small, small, layout};
    std::printf("stride %d\n", static_cast<int>(axis.stride));
    same_bits_for_any_number_of_threads("conv_forward", out, [&](float* y) {
      conv_forward<float>(g, large, kernels.data(), {}, {y, n, channels, small, small, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_x", in, [&](float* dx) {
      conv_backward_x<float>(g, grads, kernels.data(), {dx, n, channels, axis.in, axis.in, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_weight", weights,
                                        [&](float* dw) { conv_backward_weight<float>(g, large, grads, dw); });
  }
  for (const Bf16Unit unit : kAllBf16Units) {
    if (!set_active_bf16_unit(unit)) continue;
    const ConvGeometry g{n, c, o, 1, h, w};
    same_bits_for_any_number_of_threads(bf16_unit_name(unit), n * o * p * q, [&](float* y) {
      bf16_conv(g, input, weight.data(), epilogue, {y, n, o, p, q, layout});
    });
  }
  same_bits_for_any_number_of_threads("conv_backward_bias", o,
                                      [&](float* db) { conv_backward_bias<float>(grad, db); });

  const ConvGeometry depthwise{n, c, c, c, h, w};
  const std::vector<float> dy_c = random_values(n * c * p * q, 5);
  const Image<const float> grad_c{dy_c.data(), n, c, p, q, layout};
  same_bits_for_any_number_of_threads("depthwise forward", n * c * p * q, [&](float* y) {
    conv_forward<float>(depthwise, input, weight.data(), {}, {y, n, c, p, q, layout});
  });
  same_bits_for_any_number_of_threads("depthwise backward_x", x.size(), [&](float* dx) {
    conv_backward_x<float>(depthwise, grad_c, weight.data(), {dx, n, c, h.in, w.in, layout});
  });
  same_bits_for_any_number_of_threads("depthwise backward_weight", c * 9, [&](float* dw) {
    conv_backward_weight<float>(depthwise, input, grad_c, dw);
  });
  const int64_t all = static_cast<int64_t>(x.size()) + c * 9 + c;
  same_bits_for_any_number_of_threads("depthwise backward", all, [&](float* grads) {
    float* const dw = grads + x.size();
    conv_backward<float>(depthwise, input, grad_c, weight.data(), {grads, dw, dw + c * 9});
  });
  const std::vector<float> pointwise = random_values(o * c, 6);
  same_bits_for_any_number_of_threads("separable_forward", n * o * p * q, [&](float* y) {
    separable_forward<float>(depthwise, input, weight.data(), pointwise.data(), epilogue,
                             {y, n, o, p, q, layout});
  });
}

// Products in parts, on tiles: several phases, padding, and 1x1.
void parts_give_the_same_bits(Layout layout) {
  struct Case {
    WindowAxis axis;
    int64_t c, o;
  };
  for (const auto& [axis, c, o] :
       {Case{{25, 3, 2, 1, 1, 1}, 144, 136}, Case{{22, 1, 1, 1, 0, 0}, 200, 500}}) {
    const int64_t n = 2;
    const ConvGeometry g{n, c, o, 1, axis, axis};
    CHECK(conv_kernel<float>(g, layout) == ConvKernel::kParts && parts_weight_pays(g));
    const int64_t out = axis.out(), size_x = n * c * axis.in * axis.in, size_y = n * o * out * out,
                  weights = o * c * axis.kernel * axis.kernel;
    const std::vector<float> x = random_values(size_x, 5), dy = random_values(size_y, 6),
                             kernels = random_values(weights, 7);
    const Image<const float> input{x.data(), n, c, axis.in, axis.in, layout},
        grad{dy.data(), n, o, out, out, layout};
    same_bits_for_any_number_of_threads("conv_forward in parts", size_y, [&](float* y) {
      conv_forward<float>(g, input, kernels.data(), {}, {y, n, o, out, out, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_x in parts", size_x, [&](float* dx) {
      conv_backward_x<float>(g, grad, kernels.data(), {dx, n, c, axis.in, axis.in, layout});
    });
    same_bits_for_any_number_of_threads("conv_backward_weight in parts", weights,
                                        [&](float* dw) { conv_backward_weight<float>(g, input, grad, dw); });
  }
}

void linear_gives_the_same_bits() {
  struct Case {
    int64_t rows, in, out;
  };
  // Weights read in place, packed, and of a convolution.
  for (const auto& [rows, in, out] : {Case{3, 70, 90}, Case{200, 70, 90}, Case{1040, 170, 150}}) {
    const std::vector<float> x = random_values(rows * in, 7), weight = random_values(out * in, 8);
    const std::vector<float> dy = random_values(rows * out, 9);
    same_bits_for_any_number_of_threads("linear_forward", rows * out, [&](float* y) {
      linear_forward<float>(rows, in, out, x.data(), weight.data(), nullptr, y);
    });
    same_bits_for_any_number_of_threads("linear_backward_x", rows * in, [&](float* dx) {
      linear_backward_x<float>(rows, in, out, dy.data(), weight.data(), dx);
    });
    same_bits_for_any_number_of_threads("linear_backward_weight", out * in, [&](float* dw) {
      linear_backward_weight<float>(rows, in, out, dy.data(), x.data(), dw);
    });
  }
}

}  // namespace
}  // namespace neocog

int main() {
  using namespace neocog;
  parallel_for_runs_every_item_once();
  threads_take_from_the_shares_of_others();
  one_thread_keeps_the_order();
  threads_that_run_at_once_have_different_numbers();
  a_nested_loop_runs_serially();
  scratch_parts_are_aligned_and_apart();
  if (set_active_isa(Isa::kAmx)) {
    parts_give_the_same_bits(Layout::kChannelsFirst);
    parts_give_the_same_bits(Layout::kChannelsLast);
    set_active_isa(Isa::kAvx512);
  } else {
    std::printf("in parts: not on this CPU\n");
  }
  ops_give_the_same_bits(Layout::kChannelsFirst);
  ops_give_the_same_bits(Layout::kChannelsLast);
  linear_gives_the_same_bits();
  return tests::result();
}
