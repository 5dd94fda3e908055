// How a pooling is shared among threads: bands of rows and blocks of columns of a plane, or several small
// planes.
#pragma once

#include <algorithm>

#include "core/parallel.h"
#include "core/window.h"

namespace neocog {

// Rows are counted through the planes: those of plane p are [p * rows, (p + 1) * rows). A tile of part of a
// plane has none of another.
struct PoolTile {
  int64_t row, row_end, column, column_end;
};

// The cut depends on sizes only, never on the number of threads. Planes, rows and columns are at least 1.
class PoolTiles {
 public:
  // `cost`: elements that one output column of one row reads and writes; `block`: columns of a tile.
  PoolTiles(int64_t planes, int64_t rows, int64_t columns, int64_t cost, int64_t block)
      : planes_(planes), rows_(rows), columns_(columns), block_(std::min(block, columns)) {
    const int64_t band = std::max<int64_t>(1, kElements / (block_ * cost));
    blocks_ = ceil_div(columns, block_);
    bands_ = ceil_div(rows, band);
    band_ = ceil_div(rows, bands_);
    bands_ = ceil_div(rows, band_);
    group_ = bands_ == 1 ? std::clamp<int64_t>(band / rows, 1, planes) : 1;
    threads_ = threads_for(items());
  }

  int64_t items() const { return ceil_div(planes_, group_) * bands_ * blocks_; }

  // What workspaces must be made for: the setting may change before run() reads it.
  int threads() const { return threads_; }

  // Calls f(tile, thread) for every tile; thread < threads().
  template <class F>
  void run(const F& f) const {
    parallel_for(items(), threads_, [&](int64_t item, int thread) {
      const int64_t column = item % blocks_ * block_, band = item / blocks_ % bands_ * band_;
      const int64_t plane = item / blocks_ / bands_ * group_, plane_end = std::min(planes_, plane + group_);
      const int64_t end = bands_ == 1 ? plane_end * rows_ : plane * rows_ + std::min(rows_, band + band_);
      f(PoolTile{plane * rows_ + band, end, column, std::min(columns_, column + block_)}, thread);
    });
  }

 private:
  // Work of one item: large against the start of a thread's turn, small against a level-2 cache.
  static constexpr int64_t kElements = 1 << 16;

  int64_t planes_, rows_, columns_, block_, blocks_, band_, bands_, group_;
  int threads_;
};

}  // namespace neocog
