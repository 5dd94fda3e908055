// Products of turned rows with rows of pixels, for weight gradients; included by parts-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

NEOCOG_INLINE void split_line(PartsRows& g) {
  const int64_t* const offset = g.offset + g.step * kPartsDepth + g.line;
  const int64_t low = offset[0], high = offset[kTileRows];
  uint16_t* to = g.to + g.step * g.vectors * kStepTiles + g.line * kPartsDepth;
  if (low >= 0 && high >= 0 && g.channels == 2 * V::lanes) {
    Split(V::load(g.x + low), V::load(g.x + high)).store(to, kTile);
    Split(V::load(g.x + low + V::lanes), V::load(g.x + high + V::lanes)).store(to + kStepTiles, kTile);
  } else {
    for (int64_t c = 0; c < g.vectors * V::lanes; c += V::lanes, to += kStepTiles) {
      const int64_t n = min64(V::lanes, g.channels - c);
      Split(low < 0 ? V::zero() : V::load_n(g.x + low + c, n),
            high < 0 ? V::zero() : V::load_n(g.x + high + c, n))
          .store(to, kTile);
    }
  }
  if (++g.line < kTileRows) return;
  g.line = 0;
  ++g.step;
}

void split_rows(PartsRows& g) {
  while (g.step < g.steps) split_line(g);
}

// What vectors do between products: split lines, and add the sums of the block before to y. A little in each
// of `turns` turns of a block, and all of it by the last one.
class Between {
 public:
  Between(PartsRows* rows, int64_t y_row, int64_t turns, int64_t blocks)
      : rows_(rows),
        lines_(rows == nullptr ? 0 : rows->steps * kTileRows),
        turns_(turns * blocks),
        left_(lines_),
        y_row_(y_row),
        at_once_(ceil_div(2 * kTileRows, turns)) {}
  // The rows that the sums of the block under way will be added to: asked for a block ahead.
  NEOCOG_INLINE void ask(const float* y, int64_t rows) {
    soon_ = y;
    soon_rows_ = rows;
  }
  NEOCOG_INLINE void add(const float* from, float* y, int64_t rows, int64_t vectors) {
    from_ = from;
    y_ = y;
    adds_ = rows;
    two_ = vectors == 2;
  }
  __attribute__((noinline)) void turn() {
    for (sum_ += lines_; sum_ >= turns_ && left_ > 0; sum_ -= turns_, --left_) split_line(*rows_);
    add_rows(at_once_);
    for (int64_t i = min64(at_once_, soon_rows_); i > 0; --i, --soon_rows_, soon_ += y_row_) {
      __builtin_prefetch(soon_, 1);
      __builtin_prefetch(soon_ + V::lanes, 1);
    }
  }
  void finish() {
    add_rows(adds_);
    if (rows_ != nullptr) split_rows(*rows_);
  }

 private:
  static constexpr int64_t kRow = 2 * V::lanes;

  NEOCOG_INLINE void add_rows(int64_t rows) {
    for (rows = min64(rows, adds_), adds_ -= rows; rows > 0; --rows, from_ += kRow, y_ += y_row_) {
      (V::load(y_) + V::load(from_)).store(y_);
      if (two_) (V::load(y_ + V::lanes) + V::load(from_ + V::lanes)).store(y_ + V::lanes);
    }
  }

  PartsRows* rows_;
  int64_t lines_, turns_, left_, sum_ = 0;
  const float *from_ = nullptr, *soon_ = nullptr;
  float* y_ = nullptr;
  int64_t y_row_, at_once_, adds_ = 0, soon_rows_ = 0;
  bool two_ = false;
};

// y rows `y_row` apart = the sums of Runs runs of rows by one or two vectors.
constexpr int64_t kOuterTurns = 6;  // of a step
template <int Runs, int Columns>
NEOCOG_INLINE void outer_tiles(const PartsOuter& g, const uint16_t* a, float* y, int64_t y_row,
                               Between& between) {
  const int64_t step = g.steps * kParts * kPartsDepth, bytes = step * static_cast<int64_t>(sizeof(uint16_t));
  Tiles<Runs, Columns> tiles{a, a + kTileRows * step, g.b, bytes, bytes};
  const auto with_rows = [&]<int Part>() __attribute__((always_inline)) {
    tiles.template rows0<Part>();
    tiles.product0();
    tiles.product1();
    tiles.template rows1<Part>();
    tiles.product2();
    tiles.product3();
    between.turn();
  };
  const auto with_columns = [&]<int Part>() __attribute__((always_inline)) {
    tiles.template columns0<Part>();
    tiles.product0();
    tiles.product2();
    tiles.template columns1<Part>();
    tiles.product1();
    tiles.product3();
    between.turn();
  };
  tiles.zero();
  for (int64_t s = 0; s < g.steps; ++s) {
    tiles.template columns0<0>();
    tiles.template columns1<0>();
    with_rows.template operator()<2>();
    with_rows.template operator()<1>();
    with_columns.template operator()<1>();
    with_rows.template operator()<0>();
    with_columns.template operator()<0>();
    with_columns.template operator()<2>();
    tiles.a0 += kParts * kPartsDepth, tiles.a1 += kParts * kPartsDepth, tiles.b += Columns * kStepTiles;
  }
  tiles.store(y, y_row);
}

void begin_outer() {
  TileSizes(kTileRows, kTileRows, kPartsDepth).load();
}
void end_outer() {
  release_tiles();
}

void outer_block(const PartsOuter& g, PartsRows* next) {
  constexpr int64_t kRow = 2 * V::lanes;
  alignas(64) float sums[2][2 * kTileRows * kRow];
  Between between(next, g.y_row, kOuterTurns * g.steps, ceil_div(g.rows, 2 * kTileRows));
  int64_t index = 0;
  for (int64_t r = 0; r < g.rows; r += 2 * kTileRows, ++index) {
    const uint16_t* const a = g.a + r * g.steps * kParts * kPartsDepth;
    float *const y = g.y + r * g.y_row, *const to = g.accumulate ? sums[index % 2] : y;
    const int64_t to_row = g.accumulate ? kRow : g.y_row, rows = min64(2 * kTileRows, g.rows - r);
    between.ask(y, g.accumulate ? rows : 0);
    if (g.vectors == 2) {
      if (rows > kTileRows) {
        outer_tiles<2, 2>(g, a, to, to_row, between);
      } else {
        outer_tiles<1, 2>(g, a, to, to_row, between);
      }
    } else if (rows > kTileRows) {
      outer_tiles<2, 1>(g, a, to, to_row, between);
    } else {
      outer_tiles<1, 1>(g, a, to, to_row, between);
    }
    if (g.accumulate) between.add(to, y, rows, g.vectors);
  }
  between.finish();
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
