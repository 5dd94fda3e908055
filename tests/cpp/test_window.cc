// core/window.h and ops/conv/conv_axis.h against the definition of a sliding window, for thousands of small
// geometries.
#include <algorithm>
#include <tuple>
#include <vector>

#include "check.h"
#include "core/image.h"
#include "core/window.h"
#include "ops/conv/conv_axis.h"

namespace neocog {
namespace {

static_assert(WindowAxis{5, 3, 1, 1, 0, 0}.out() == 3);
static_assert(WindowAxis{224, 7, 2, 1, 3, 3}.out() == 112);
static_assert(WindowAxis{2, 3, 1, 1, 0, 0}.out() == 0, "a kernel that does not fit has no position");
static_assert(WindowAxis{6, 3, 1, 4, 4, 4}.out() == 6, "dilation reaches past both edges");
static_assert(WindowAxis{5, 3, 1, 1, -1, -1}.out() == 1, "negative padding crops");
static_assert(floor_div(-1, 4) == -1 && floor_div(-4, 4) == -1 && floor_div(-5, 4) == -2 &&
              floor_div(7, 4) == 1);
static_assert(ceil_div(7, 4) == 2 && ceil_div(8, 4) == 2 && round_up(9, 8) == 16 && round_up(16, 8) == 16);

template <class F>
void for_each_axis(F&& f) {
  for (int64_t in = 1; in <= 7; ++in) {
    for (int64_t kernel = 1; kernel <= 4; ++kernel) {
      for (int64_t stride = 1; stride <= 4; ++stride) {
        for (int64_t dilation = 1; dilation <= 3; ++dilation) {
          for (int64_t lo = -1; lo <= 3; ++lo) {
            for (int64_t hi = -1; hi <= 3; ++hi) f(WindowAxis{in, kernel, stride, dilation, lo, hi});
          }
        }
      }
    }
  }
}

// Counts positions by placing the window until it leaves the padded axis.
void out_counts_the_positions_that_fit() {
  for_each_axis([](const WindowAxis& axis) {
    int64_t positions = 0;
    for (int64_t first = -axis.pad_lo; first + axis.dilation * (axis.kernel - 1) < axis.in + axis.pad_hi;
         first += axis.stride) {
      ++positions;
    }
    CHECK(axis.out() == positions);
  });
}

void taps_start_at_the_padding_and_step_by_stride_and_dilation() {
  for_each_axis([](const WindowAxis& axis) {
    CHECK(axis.tap(0, 0) == -axis.pad_lo);
    CHECK(axis.tap(1, 0) - axis.tap(0, 0) == axis.stride);
    if (axis.kernel > 1) CHECK(axis.tap(0, 1) - axis.tap(0, 0) == axis.dilation);
    CHECK(!axis.inside(-1) && axis.inside(0) && axis.inside(axis.in - 1) && !axis.inside(axis.in));
  });
}

using Product = std::tuple<int64_t, int64_t, int64_t>;  // position in x, kernel index, position in y

std::vector<Product> products_of(const WindowAxis& axis) {
  std::vector<Product> products;
  for (int64_t o = 0; o < axis.out(); ++o) {
    for (int64_t k = 0; k < axis.kernel; ++k) {
      if (axis.inside(axis.tap(o, k))) products.emplace_back(axis.tap(o, k), k, o);
    }
  }
  std::sort(products.begin(), products.end());
  return products;
}

// The products that a tap convolution over `in` elements makes, as (element read, kernel index, element
// written).
std::vector<Product> products_of(const TapConvAxis& axis, int64_t in) {
  std::vector<Product> products;
  for (const TapPhaseAxis& phase : axis.phases) {
    CHECK(phase.offset.size() == phase.kernel.size());
    for (int64_t u = 0; u < phase.count; ++u) {
      for (size_t t = 0; t < phase.offset.size(); ++t) {
        const int64_t i = u * axis.in_step + phase.offset[t];
        if (0 <= i && i < in) products.emplace_back(i, phase.kernel[t], phase.start + u * axis.out_step);
      }
    }
  }
  return products;
}

void forward_taps_are_the_window() {
  for_each_axis([](const WindowAxis& axis) {
    std::vector<Product> made = products_of(forward_axis(axis), axis.in);
    std::sort(made.begin(), made.end());
    CHECK(made == products_of(axis));
  });
}

// The adjoint makes the same products with x and y exchanged: no zero is inserted, none is forgotten.
void transposed_taps_are_the_adjoint() {
  for_each_axis([](const WindowAxis& axis) {
    if (axis.out() == 0) return;
    std::vector<Product> made = products_of(transposed_axis(axis), axis.out());
    for (auto& [from, kernel, to] : made) std::swap(from, to);
    std::sort(made.begin(), made.end());
    CHECK(made == products_of(axis));
  });
}

// Outputs in no phase are those without a tap; `complete` says that there are none.
void transposed_phases_write_an_output_once() {
  for_each_axis([](const WindowAxis& axis) {
    std::vector<int> written(axis.in, 0);
    const TapConvAxis taps = transposed_axis(axis);
    for (const TapPhaseAxis& phase : taps.phases) {
      CHECK(phase.count <= taps.positions && !phase.offset.empty());
      for (int64_t u = 0; u < phase.count; ++u) {
        const int64_t p = phase.start + u * taps.out_step;
        CHECK(axis.inside(p));
        if (axis.inside(p)) ++written[p];
      }
    }
    CHECK(*std::max_element(written.begin(), written.end()) <= 1);
    CHECK(taps.complete == (std::count(written.begin(), written.end(), 1) == axis.in));
    for (int64_t o = 0; o < axis.out(); ++o) {
      for (int64_t k = 0; k < axis.kernel; ++k) {
        if (axis.inside(axis.tap(o, k))) CHECK(written[axis.tap(o, k)] == 1);
      }
    }
  });
}

void strides_address_every_element_once_in_both_layouts() {
  for (const Layout layout : {Layout::kChannelsFirst, Layout::kChannelsLast}) {
    std::vector<int> memory(2 * 3 * 4 * 5, 0);
    const Image<int> image{memory.data(), 2, 3, 4, 5, layout};
    CHECK(image.size() == static_cast<int64_t>(memory.size()));
    for (int64_t n = 0; n < 2; ++n) {
      for (int64_t c = 0; c < 3; ++c) {
        for (int64_t h = 0; h < 4; ++h) {
          for (int64_t w = 0; w < 5; ++w) ++*image.at(n, c, h, w);
        }
      }
    }
    CHECK(std::count(memory.begin(), memory.end(), 1) == image.size());
    CHECK(image.at(0, 1, 0, 0) - image.data == (image.channels_last() ? 1 : 20));
  }
}

}  // namespace
}  // namespace neocog

int main() {
  using namespace neocog;
  out_counts_the_positions_that_fit();
  taps_start_at_the_padding_and_step_by_stride_and_dilation();
  forward_taps_are_the_window();
  transposed_taps_are_the_adjoint();
  transposed_phases_write_an_output_once();
  strides_address_every_element_once_in_both_layouts();
  return tests::result();
}
