// The kernels of bf16.h on tiles: two runs of pixels and two vectors of columns at a time, so that each tile
// that is loaded meets two others. No include guard on purpose.
#include "ops/gemm/bf16_dot-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

constexpr int64_t kFewSteps = 4;
constexpr int64_t kTileRows = 16, kRowBytes = kBf16Columns * static_cast<int64_t>(sizeof(float));

// The sums of one block, which go to y while the tiles are busy with the next one.
class Block {
 public:
  NEOCOG_INLINE float* sums() { return sums_; }

  NEOCOG_INLINE void begin(const Bf16Panels& g, const Bf16Run* run, int64_t runs, int64_t first) {
    out_ = g.out + run[0].first;
    y_ = g.y + first;
    columns_ = min64(kBf16Columns, g.columns - first);
    from_ = sums_;
    rows_ = run[0].count;
    second_ = runs == 2 ? run[1].count : 0;
    if (g.taps * g.steps <= kFewSteps) {
      // The memory of y is what such short sums wait for.
      for (int64_t i = 0; i < rows_ + second_; ++i) {
        if (out_[i] < 0) continue;
        for (int64_t c = 0; c < columns_; c += V::lanes) __builtin_prefetch(y_ + out_[i] + c, 0, 2);
      }
    }
    for (int64_t c = 0; c < kBf16Columns; c += V::lanes) {
      const int64_t n = max64(0, min64(V::lanes, columns_ - c));
      (g.bias == nullptr || n == 0 ? V::zero() : V::load_n(g.bias + first + c, n)).store(bias_ + c);
    }
  }
  // Stores the next `count` rows, or what is left of them.
  NEOCOG_INLINE void store(const Bf16Panels& g, int64_t count) {
    for (; count > 0; --count, --rows_, ++out_, from_ += kBf16Columns) {
      if (rows_ == 0) {
        if (second_ == 0) return;
        rows_ = second_;
        second_ = 0;
        from_ = sums_ + kTileRows * kBf16Columns;
      }
      if (*out_ >= 0) store_row(g, y_ + *out_);
    }
  }

 private:
  NEOCOG_INLINE void store_row(const Bf16Panels& g, float* y) const {
    V low = V::load(from_) + V::load(bias_);
    V high = V::load(from_ + V::lanes) + V::load(bias_ + V::lanes);
    if (g.clamp) {
      const V most = V::set1(g.hi);
      low = min(most, max(V::zero(), low));
      high = min(most, max(V::zero(), high));
    }
    if (columns_ == kBf16Columns) {
      low.store(y);
      high.store(y + V::lanes);
    } else {
      low.store_n(y, min64(V::lanes, columns_));
      if (columns_ > V::lanes) high.store_n(y + V::lanes, columns_ - V::lanes);
    }
  }

  alignas(64) float sums_[2 * kTileRows * kBf16Columns];
  alignas(64) float bias_[kBf16Columns];
  const float* from_ = nullptr;
  const int64_t* out_ = nullptr;
  float* y_ = nullptr;
  int64_t columns_ = 0, rows_ = 0, second_ = 0;  // rows left of the first run, and of the second
};

// Sums of the one or two runs from `run` on, to sums[row][column]; the second run's begin at row 16. A tile
// is loaded for the next step as soon as its last product of this step is on its way: where another thread
// shares the core, tiles do not have copies enough to be loaded earlier.
template <int Runs, int Vectors>
NEOCOG_INLINE void multiply(const Bf16Panels& g, const Bf16Run* run, const uint16_t* b, float* sums,
                            Block& before, Fetch<float>& fetch, int64_t lines) {
  zero_tile<0>();
  if constexpr (Vectors == 2) zero_tile<1>();
  if constexpr (Runs == 2) zero_tile<2>();
  if constexpr (Runs == 2 && Vectors == 2) zero_tile<3>();
  const int64_t step0 = run[0].step * 2, step1 = run[Runs - 1].step * 2;
  const int64_t all = g.taps * g.steps, rows = ceil_div(2 * kTileRows, all);  // to store between two steps
  const uint16_t *a0 = g.a + run[0].a, *a1 = g.a + run[Runs - 1].a;
  int64_t t = 0, s = 0, at = g.tap[0];
  load_tile<6>(b, kRowBytes);
  load_tile<4>(a0 + at, step0);
  if constexpr (Vectors == 2) load_tile<7>(b + kBf16Columns, kRowBytes);
  if constexpr (Runs == 2) load_tile<5>(a1 + at, step1);
  for (int64_t k = 1; k < all; ++k) {
    b += g.depth * kBf16Columns;
    at += g.depth;
    if (++s == g.steps) s = 0, at = g.tap[++t];
    multiply_tiles<0>();
    if constexpr (Vectors == 2) multiply_tiles<1>();
    load_tile<4>(a0 + at, step0);
    if constexpr (Runs == 2) multiply_tiles<2>();
    load_tile<6>(b, kRowBytes);
    if constexpr (Runs == 2 && Vectors == 2) multiply_tiles<3>();
    if constexpr (Vectors == 2) load_tile<7>(b + kBf16Columns, kRowBytes);
    if constexpr (Runs == 2) load_tile<5>(a1 + at, step1);
    before.store(g, rows);
    fetch.next(lines);
  }
  multiply_tiles<0>();
  if constexpr (Vectors == 2) multiply_tiles<1>();
  if constexpr (Runs == 2) multiply_tiles<2>();
  if constexpr (Runs == 2 && Vectors == 2) multiply_tiles<3>();
  before.store(g, rows);
  fetch.next(lines);
  store_tile<0>(sums, kRowBytes);
  if constexpr (Vectors == 2) store_tile<1>(sums + V::lanes, kRowBytes);
  float* const second = sums + kTileRows * kBf16Columns;
  if constexpr (Runs == 2) store_tile<2>(second, kRowBytes);
  if constexpr (Runs == 2 && Vectors == 2) store_tile<3>(second + V::lanes, kRowBytes);
  after_tiles(sums);
}

void taps_panels(const Bf16Panels& g) {
  Block blocks[2];
  int64_t count = 0;
  Fetch<float> fetch(g.next);
  const int64_t all = ceil_div(g.run_count, 2) * ceil_div(g.columns, kBf16Columns) * g.taps * g.steps;
  const int64_t lines =
      ceil_div(g.next.size * static_cast<int64_t>(sizeof(float)), kLineBytes * max64(1, all));
  int64_t rows0 = 0, rows1 = 0;  // of the configuration: to load one takes as long as a few products
  for (int64_t i = 0; i < g.run_count; i += 2) {
    const Bf16Run* const run = g.runs + i;
    const int64_t runs = min64(2, g.run_count - i);
    if (rows0 != run[0].count || (runs == 2 && rows1 != run[1].count)) {
      rows0 = run[0].count, rows1 = run[runs - 1].count;
      TileSizes(rows0, rows1, g.depth).load();
    }
    for_panels(g, [&]<int Vectors>(const uint16_t* b, int64_t first) __attribute__((always_inline)) {
      Block &block = blocks[count % 2], &before = blocks[(count + 1) % 2];
      if (runs == 2) {
        multiply<2, Vectors>(g, run, b, block.sums(), before, fetch, lines);
      } else {
        multiply<1, Vectors>(g, run, b, block.sums(), before, fetch, lines);
      }
      block.begin(g, run, runs, first);
      ++count;
    });
  }
  release_tiles();
  if (count > 0) blocks[(count + 1) % 2].store(g, 2 * kTileRows);
}

}  // namespace

extern constinit const Bf16Kernels bf16_kernels = {kTileRows,     &taps_panels,  &dot_block, &round,
                                                   &round_pixels, &round_planes, &pack_panel};

}  // namespace neocog::NEOCOG_ISA
