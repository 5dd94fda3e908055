// Sets up the lines of pool_kernels.h: padding, taps and scratch for every thread.
#pragma once

#include <optional>
#include <vector>

#include "core/scratch.h"
#include "ops/pool/pool_kernels.h"
#include "ops/pool/pool_tiles.h"

namespace neocog {

// Lines for windows along a row. A column is `unit` elements wide; units other than 1 need regular windows of
// stride 1.
template <class T>
class PoolLines {
 public:
  // `identity` is what padding holds; `indexed` adds what PoolIndexedStrip needs.
  PoolLines(const PoolAxis& axis, int64_t unit, T identity, bool indexed);

  // Output columns of a strip: enough of them that the columns which neighbours read again hardly matter.
  int64_t block() const { return block_; }
  // To be called once, with what PoolTiles::threads() is, before `place`.
  void allocate(int64_t threads);
  // Sets what belongs to the columns of the tile, given a strip whose x and y point at the rows' first
  // elements.
  void place(const PoolTile& tile, int thread, PoolStrip<T>* strip) const;
  void place(const PoolTile& tile, int thread, PoolIndexedStrip<T>* strip) const;

 private:
  using Integer = typename PoolBits<T>::Integer;
  struct Buffers {
    T *line, *phase, *result, *offset;
    int64_t* gather;
    std::vector<const T*> tap;
  };

  const PoolAxis& axis_;
  int64_t unit_, lanes_, block_, taps_, pitch_, tap_pitch_, group_, phases_, phase_length_;
  T identity_;
  bool regular_, indexed_, some_empty_ = false;
  std::vector<int64_t> start_;
  std::vector<Integer> tap_offset_, first_offset_;
  std::optional<Scratch> scratch_;
  std::vector<Buffers> buffers_;  // one per thread
};

// Lines for the gradient of averages: every column of dx gathers from the windows that cover it.
template <class T>
class PoolSpreadLines {
 public:
  PoolSpreadLines(const PoolAxis& axis, const std::vector<PoolSpan>& covering, int64_t unit);

  int64_t block() const { return block_; }  // columns of dx
  void allocate(int64_t threads);
  // As above; `weight` has one value per element of a row of dy.
  void place(const PoolTile& tile, int thread, const T* weight, PoolSpreadStrip<T>* strip) const;

 private:
  struct Buffers {
    T *line, *phase, *result;
    int64_t* gather;
    std::vector<const T*> tap;
  };

  const PoolAxis& axis_;
  const std::vector<PoolSpan>& covering_;
  bool regular_;
  int64_t unit_, block_, taps_, pitch_, tap_pitch_, group_, phases_, phase_length_;
  int64_t first_ = 0, last_ = 0;  // windows that reach column u * phases: u + first_ to u + last_
  std::vector<int64_t> tap_count_, tap_window_;  // per phase; the window of each tap, relative to u
  std::optional<Scratch> scratch_;
  std::vector<Buffers> buffers_;
};

}  // namespace neocog
