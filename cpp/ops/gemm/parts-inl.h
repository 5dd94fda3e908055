// The kernels of parts.h on tiles; no include guard on purpose.
#include "core/window.h"
#include "ops/gemm/parts_tiles-inl.h"
// After the tiles, which it uses.
#include "ops/gemm/parts_outer-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

constexpr int64_t kMaxVectors = 4;

NEOCOG_INLINE void split_row(const float* from, int64_t channels, int64_t width, uint16_t* to) {
  int64_t c = 0;
  for (; c + kPartsDepth <= channels; c += kPartsDepth, to += kParts * kPartsDepth) {
    Split(V::load(from + c), V::load(from + c + V::lanes)).store(to, kPartsDepth);
  }
  for (; c < width; c += kPartsDepth, to += kParts * kPartsDepth) {
    const int64_t n = max64(0, channels - c), low = min64(n, V::lanes);
    Split(V::load_n(from + c, low), n > V::lanes ? V::load_n(from + c + V::lanes, n - V::lanes) : V::zero())
        .store(to, kPartsDepth);
  }
}

void split_pixels(const float* from, int64_t from_step, int64_t pixels, int64_t channels, int64_t width,
                  uint16_t* to, int64_t to_step) {
  if (from_step == channels && channels == width && to_step == width) {
    split_row(from, pixels * width, pixels * width, to);
    return;
  }
  for (int64_t p = 0; p < pixels; ++p)
    split_row(from + p * from_step, channels, width, to + p * to_step * kParts);
}

void split_panel(const float* from, int64_t rows, int64_t vectors, uint16_t* to) {
  const int64_t width = vectors * V::lanes;
  for (int64_t k = 0; k < rows; k += kPartsDepth, from += kPartsDepth * width, to += vectors * kStepTiles) {
    for (int64_t i = 0; i < kTileRows; ++i) {
      const float *const low = from + i * width, *const high = low + kTileRows * width;
      for (int64_t j = 0; j < vectors; ++j) {
        Split(V::load(low + j * V::lanes), V::load(high + j * V::lanes))
            .store(to + j * kStepTiles + i * kPartsDepth, kTile);
      }
    }
  }
}

// Sums of one pixel by two vectors, from vector j on, in float32: those that are not finite.
void plain_row(const PartsPanel& g, int64_t at, int64_t j, float* sums) {
  for (int64_t v = j; v < min64(g.vectors, j + 2); ++v, sums += V::lanes) {
    V sum = V::zero();
    const uint16_t* b = g.b + v * kStepTiles;
    for (int64_t t = 0; t < g.taps; ++t) {
      const uint16_t* a = g.a + (at + g.tap[t]) * kParts;
      for (int64_t s = 0; s < g.steps; ++s, a += kParts * kPartsDepth, b += g.vectors * kStepTiles) {
        V low, high;
        Split::load(a, kPartsDepth).join(low, high);
        alignas(64) float x[kPartsDepth];
        low.store(x);
        high.store(x + V::lanes);
        for (int64_t i = 0; i < kTileRows; ++i) {
          Split::load(b + i * kPartsDepth, kTile).join(low, high);
          sum = fma(V::set1(x[i]), low, sum);
          sum = fma(V::set1(x[i + kTileRows]), high, sum);
        }
      }
    }
    sum.store(sums);
  }
}

// The sums of one or two runs by one or two vectors, which go to y while the tiles are busy with the next
// ones. Few instructions: the products wait for those before them.
class Block {
 public:
  static constexpr int64_t kStep = 2 * V::lanes;  // from a row of sums to the next

  NEOCOG_INLINE void begin(const PartsPanel& g, const Bf16Run* run, int64_t runs, int64_t j) {
    g_ = &g;
    run_ = run;
    j_ = j;
    i_ = 0;
    last_ = runs == 1;
    const int64_t first = j * V::lanes;
    from_ = sums_;
    n0_ = min64(V::lanes, g.columns - first);
    n1_ = max64(0, min64(V::lanes, g.columns - first - V::lanes));
    plain_ = !g.accumulate && g.residual == nullptr && !g.clamp && n0_ + n1_ == 2 * V::lanes;
    const bool biased = g.bias != nullptr && !g.accumulate;
    (biased ? V::load_n(g.bias + first, n0_) : V::zero()).store(bias_);
    (biased && n1_ > 0 ? V::load_n(g.bias + first + V::lanes, n1_) : V::zero()).store(bias_ + V::lanes);
    if (g.taps * g.steps > kFewSteps) return;
    // The memory of y is what such short sums wait for.
    for (int64_t r = 0; r < runs; ++r) {
      const int64_t* const out = g.out + run[r].first;
      for (int64_t i = 0; i < run[r].count; ++i) {
        if (out[i] < 0) continue;
        const float* const y = g.y + out[i] + first;
        __builtin_prefetch(y, 1);
        if (n1_ > 0) __builtin_prefetch(y + V::lanes, 1);
      }
    }
  }
  NEOCOG_INLINE float* sums() { return sums_; }

  // Stores the next `count` rows, or what is left of them.
  NEOCOG_INLINE void store(int64_t count) {
    while (count > 0 && run_ != nullptr) {
      const int64_t n = min64(count, run_->count - i_);
      const int64_t* const out = g_->out + run_->first + i_;
      if (plain_) {
        for (int64_t i = 0; i < n; ++i, from_ += kStep) store_plain(out[i], i);
      } else {
        for (int64_t i = 0; i < n; ++i, from_ += kStep) store_any(out[i], i);
      }
      count -= n;
      if ((i_ += n) < run_->count) continue;
      i_ = 0;
      from_ = sums_ + kTileRows * kStep;
      run_ = last_ ? nullptr : run_ + 1;
      last_ = true;
    }
  }

 private:
  static constexpr int64_t kFewSteps = 8;

  static NEOCOG_INLINE bool finite(V a, V b) {
    const V check = fma(a, V::zero(), b * V::zero());
    return unordered(check, check).m == 0;
  }
  NEOCOG_INLINE void store_plain(int64_t at, int64_t i) {
    if (at < 0) return;
    if (!finite(V::load(from_), V::load(from_ + V::lanes))) {
      plain_row(*g_, run_->a + (i_ + i) * run_->step, j_, from_);
    }
    float* const y = g_->y + at + j_ * V::lanes;
    (V::load(from_) + V::load(bias_)).store(y);
    (V::load(from_ + V::lanes) + V::load(bias_ + V::lanes)).store(y + V::lanes);
  }
  NEOCOG_INLINE void store_any(int64_t at, int64_t i) {
    if (at < 0) return;
    if (!finite(V::load(from_), n1_ > 0 ? V::load(from_ + V::lanes) : V::zero())) {
      plain_row(*g_, run_->a + (i_ + i) * run_->step, j_, from_);
    }
    const int64_t column = at + j_ * V::lanes;
    finish(V::load(from_) + V::load(bias_), n0_, column);
    if (n1_ > 0) finish(V::load(from_ + V::lanes) + V::load(bias_ + V::lanes), n1_, column + V::lanes);
  }
  NEOCOG_INLINE void finish(V sum, int64_t n, int64_t at) const {
    float* const y = g_->y + at;
    if (g_->accumulate) sum = sum + V::load_n(y, n);
    if (g_->residual != nullptr) sum = sum + V::load_n(g_->residual + at, n);
    if (g_->clamp) sum = min(V::set1(g_->hi), max(V::zero(), sum));
    sum.store_n(y, n);
  }

  alignas(64) float sums_[2 * kTileRows * kStep];
  alignas(64) float bias_[2 * V::lanes];
  const PartsPanel* g_ = nullptr;
  const Bf16Run* run_ = nullptr;  // whose row i_ is next; null: none is left
  float* from_ = nullptr;
  int64_t j_ = 0, i_ = 0, n0_ = 0, n1_ = 0;
  bool last_ = false, plain_ = false;
};

// Sums of one or two runs of pixels by one or two vectors, from vector j on. A tile is loaded for the next
// product as soon as its last product of this one is on its way: where another thread shares the core, tiles
// do not have copies enough to be loaded earlier.
constexpr int64_t kFetches = 6;  // of a step
template <int Runs, int Columns>
NEOCOG_INLINE void multiply(const PartsPanel& g, const Bf16Run* run, int64_t j, Block& block, Block& before,
                            Fetch<uint16_t>& fetch, int64_t lines) {
  constexpr int64_t kElement = kParts * static_cast<int64_t>(sizeof(uint16_t));
  const uint16_t *const a0 = g.a + run[0].a * kParts, *const a1 = g.a + run[Runs - 1].a * kParts;
  int64_t t = 0, s = 0, at = g.tap[0] * kParts;
  Tiles<Runs, Columns> tiles{a0 + at, a1 + at, g.b + j * kStepTiles, run[0].step * kElement,
                             run[Runs - 1].step * kElement};
  // Requests that come all at once would hold up the products.
  const auto then_rows = [&]<int Part>() __attribute__((always_inline)) {
    tiles.product0();
    tiles.product1();
    fetch.next(lines);
    tiles.template rows0<Part>();
    tiles.product2();
    tiles.product3();
    tiles.template rows1<Part>();
  };
  const auto then_columns = [&]<int Part>() __attribute__((always_inline)) {
    tiles.product0();
    tiles.product2();
    fetch.next(lines);
    tiles.template columns0<Part>();
    tiles.product1();
    tiles.product3();
    tiles.template columns1<Part>();
  };
  tiles.zero();
  tiles.template columns0<0>();
  tiles.template rows0<2>();
  tiles.template columns1<0>();
  tiles.template rows1<2>();
  const int64_t all = g.taps * g.steps, b_step = g.vectors * kStepTiles;
  const int64_t count = ceil_div(2 * kTileRows, 2 * all);  // rows to store, twice in a step
  for (int64_t k = 0;;) {
    then_rows.template operator()<1>();
    then_columns.template operator()<1>();
    before.store(count);
    then_rows.template operator()<0>();
    then_columns.template operator()<0>();
    before.store(count);
    then_columns.template operator()<2>();
    fetch.next(lines);
    tiles.product0();
    tiles.product1();
    if (++k == all) break;
    at += kParts * kPartsDepth;
    if (++s == g.steps) s = 0, at = g.tap[++t] * kParts;
    tiles.a0 = a0 + at, tiles.a1 = a1 + at, tiles.b += b_step;
    tiles.template rows0<2>();
    tiles.product2();
    tiles.template columns0<0>();
    tiles.product3();
    tiles.template columns1<0>();
    tiles.template rows1<2>();
  }
  tiles.product2();
  tiles.product3();
  tiles.store(block.sums(), Block::kStep);
  block.begin(g, run, Runs, j);
}

void taps_panels(const PartsPanel* panels, int64_t count) {
  Block blocks[2];
  int64_t index = 0;
  int64_t rows0 = 0, rows1 = 0;  // of the configuration: to load one takes as long as a few products
  for (int64_t panel = 0; panel < count; ++panel) {
    const PartsPanel& g = panels[panel];
    Fetch<uint16_t> fetch(g.next);
    const int64_t all = ceil_div(g.run_count, 2) * ceil_div(g.vectors, 2) * g.taps * g.steps * kFetches;
    const int64_t lines =
        ceil_div(g.next.size * static_cast<int64_t>(sizeof(uint16_t)), kLineBytes * max64(1, all));
    for (int64_t i = 0; i < g.run_count; i += 2) {
      const Bf16Run* const run = g.runs + i;
      const int64_t runs = min64(2, g.run_count - i);
      if (rows0 != run[0].count || (runs == 2 && rows1 != run[1].count)) {
        rows0 = run[0].count, rows1 = run[runs - 1].count;
        TileSizes(rows0, rows1, kPartsDepth).load();
      }
      for (int64_t j = 0; j < g.vectors; j += 2, ++index) {
        Block &block = blocks[index % 2], &before = blocks[(index + 1) % 2];
        if (runs == 2) {
          if (j + 1 < g.vectors) {
            multiply<2, 2>(g, run, j, block, before, fetch, lines);
          } else {
            multiply<2, 1>(g, run, j, block, before, fetch, lines);
          }
        } else if (j + 1 < g.vectors) {
          multiply<1, 2>(g, run, j, block, before, fetch, lines);
        } else {
          multiply<1, 1>(g, run, j, block, before, fetch, lines);
        }
      }
    }
  }
  release_tiles();
  blocks[(index + 1) % 2].store(2 * kTileRows);
}

}  // namespace

extern constinit const PartsKernels parts_kernels = {V::lanes,      kMaxVectors, kTileRows,    &taps_panels,
                                                     &begin_outer,  &end_outer,  &outer_block, &split_rows,
                                                     &split_pixels, &split_panel};

}  // namespace neocog::NEOCOG_ISA
