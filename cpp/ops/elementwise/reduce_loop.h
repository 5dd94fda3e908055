// The axes of a reduction, sorted and merged. Made once, used by any number of calls.
#pragma once

#include <cstdint>
#include <vector>

namespace neocog {

// One axis of x; strides in elements. A reduced axis has none in y.
struct ReduceAxis {
  int64_t size, x, y;
  bool reduced;
};

class ReduceLoop {
 public:
  explicit ReduceLoop(const std::vector<ReduceAxis>& axes);

  // Results, and what each takes in.
  int64_t results() const { return kept_count_ * columns_.size; }
  int64_t terms() const { return reduced_count_ * run_.size; }

  // The innermost axes: results whose terms lie side by side (rows: one), and terms of one result.
  const ReduceAxis& columns() const { return columns_; }
  const ReduceAxis& run() const { return run_; }
  // Where each result takes in one run, neighbours of those are this far apart; of one element if there are
  // none.
  ReduceAxis rows() const { return kept_.empty() ? ReduceAxis{1, 0, 0, false} : kept_.back(); }
  // Positions of the other axes.
  int64_t kept() const { return kept_count_; }
  int64_t reduced() const { return reduced_count_; }
  struct Offset {
    int64_t x, y;
  };
  Offset kept_at(int64_t index) const { return at(kept_, index); }
  int64_t reduced_at(int64_t index) const { return at(reduced_, index).x; }

 private:
  static Offset at(const std::vector<ReduceAxis>& axes, int64_t index);

  std::vector<ReduceAxis> kept_, reduced_;
  ReduceAxis columns_{1, 1, 1, false}, run_{1, 1, 0, true};
  int64_t kept_count_ = 1, reduced_count_ = 1;
};

}  // namespace neocog
