// The kernels of bf16.h on vectors of pairs; no include guard on purpose.
#include "core/constant.h"
#include "ops/gemm/bf16_dot-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Accumulators of 12 x 2, two vectors of B and a broadcast fit the register file, with 0.6 loads per product.
constexpr int64_t kTileRows = 12;

// The sums of a panel to their pixel: bias added, clamped, the columns that exist.
template <int Vectors>
struct Store {
  const Bf16Panels& g;
  float* y;
  V bias[Vectors];
  int64_t tail;  // columns of the last vector

  explicit NEOCOG_INLINE Store(const Bf16Panels& panels, int64_t first)
      : g(panels), y(g.y + first), tail(min64(V::lanes, g.columns - first - (Vectors - 1) * V::lanes)) {
    for (int j = 0; j < Vectors; ++j) {
      bias[j] = V::zero();
      if (g.bias != nullptr) {
        bias[j] = V::load_n(g.bias + first + j * V::lanes, j == Vectors - 1 ? tail : V::lanes);
      }
    }
  }
  NEOCOG_INLINE void operator()(const V (&sums)[Vectors], int64_t out) const {
    float* const to = y + out;
    for (int j = 0; j < Vectors; ++j) {
      V sum = sums[j] + bias[j];
      if (g.clamp) sum = min(V::set1(g.hi), max(V::zero(), sum));
      if (j < Vectors - 1 || tail == V::lanes) {
        sum.store(to + j * V::lanes);
      } else {
        sum.store_n(to + j * V::lanes, tail);
      }
    }
  }
};

template <int Rows, int Vectors>
NEOCOG_INLINE void pairs_tile(const Bf16Panels& g, const Bf16Run& run, const uint16_t* b, int64_t first) {
  V acc[Rows][Vectors];
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < Vectors; ++j) acc[i][j] = V::zero();
  }
  const int64_t pairs = g.steps * g.depth / 2;
  for (int64_t t = 0; t < g.taps; ++t) {
    const uint16_t* a = g.a + run.a + g.tap[t];
    for (int64_t k = 0; k < pairs; ++k, a += 2, b += 2 * kBf16Columns) {
      Pairs columns[Vectors];
#pragma GCC unroll 2
      for (int j = 0; j < Vectors; ++j) columns[j] = Pairs::load(b + j * 2 * V::lanes);
#pragma GCC unroll 12
      for (int i = 0; i < Rows; ++i) {
        const Pairs pixel = Pairs::set1(a + i * run.step);
#pragma GCC unroll 2
        for (int j = 0; j < Vectors; ++j) acc[i][j] = dot(pixel, columns[j], acc[i][j]);
      }
    }
  }
  const Store<Vectors> store(g, first);  // not earlier: the accumulators need the registers
#pragma GCC unroll 12
  for (int i = 0; i < Rows; ++i) {
    if (const int64_t out = g.out[run.first + i]; out >= 0) store(acc[i], out);
  }
}

void taps_panels(const Bf16Panels& g) {
  Fetch<float> fetch(g.next);
  const int64_t lines = ceil_div(g.next.size * static_cast<int64_t>(sizeof(float)),
                                 kLineBytes * max64(1, g.run_count * ceil_div(g.columns, kBf16Columns)));
  for (int64_t i = 0; i < g.run_count; ++i) {
    const Bf16Run& run = g.runs[i];
    with_size<kTileRows>(run.count, [&]<int Rows>() __attribute__((always_inline)) {
      for_panels(g, [&]<int Vectors>(const uint16_t* b, int64_t first) __attribute__((always_inline)) {
        fetch.next(lines);
        pairs_tile<Rows, Vectors>(g, run, b, first);
      });
    });
  }
}

}  // namespace

extern constinit const Bf16Kernels bf16_kernels = {kTileRows,     &taps_panels,  &dot_block, &round,
                                                   &round_pixels, &round_planes, &pack_panel};

}  // namespace neocog::NEOCOG_ISA
