#include "ops/elementwise/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"
#include "ops/elementwise/reduce_loop.h"

namespace neocog {
namespace {

constexpr int64_t kPiece = 1 << 15;   // elements one thread takes at a time
constexpr int64_t kColumns = 1 << 9;  // results whose totals grow side by side: 4 KB

Fold fold_of(Reduction f) {
  switch (f) {
    case Reduction::kMax: return Fold::kMax;
    case Reduction::kMin: return Fold::kMin;
    case Reduction::kProd: return Fold::kProduct;
    case Reduction::kSumSquare:
    case Reduction::kNorm2: return Fold::kSumSquares;
    case Reduction::kNorm1: return Fold::kSumMagnitudes;
    case Reduction::kLogSumExp: return Fold::kSumExp;
    default: return Fold::kSum;
  }
}

double start_of(Fold f) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return f == Fold::kMax ? -kInfinity : f == Fold::kMin ? kInfinity : f == Fold::kProduct ? 1 : 0;
}

double joined(Fold f, double a, double b) {
  switch (f) {
    case Fold::kMax: return std::isnan(b) || b > a ? b : a;
    case Fold::kMin: return std::isnan(b) || b < a ? b : a;
    case Fold::kProduct: return a * b;
    default: return a + b;
  }
}

// Pieces of the terms of one block of results.
struct Cut {
  int64_t width, blocks;       // results of a block, blocks of the columns
  int64_t stretch, stretches;  // terms of a run at a time
  int64_t per_piece, pieces;   // stretches of a piece
  int64_t items, per_item;     // blocks, or pieces of blocks

  explicit Cut(const ReduceLoop& loop) {
    width = min64(loop.columns().size, kColumns);
    blocks = ceil_div(loop.columns().size, width);
    stretch = max64(1, min64(loop.run().size, kPiece / width));
    stretches = ceil_div(loop.run().size, stretch);
    per_piece = max64(1, kPiece / (stretch * width));
    pieces = max64(1, ceil_div(loop.reduced() * stretches, per_piece));
    items = loop.kept() * blocks * pieces;
    per_item = pieces > 1 ? 1 : max64(1, kPiece / (width * max64(1, loop.terms())));
  }
};

// Folds the terms of every result, and calls put(index, total, offset in y) with each; results of one block
// in order. `shift` holds one value per result, or is null. `partial` has room for items * width totals where
// there are several pieces.
template <class Put>
void fold_terms(Fold f, const ReduceLoop& loop, const Cut& cut, const float* x, const float* shift,
                double* partial, const Put& put) {
  const ReduceKernels& kernels = NEOCOG_SELECT_ISA(reduce_kernels_f32);
  const ReduceAxis &columns = loop.columns(), &run = loop.run();
  const auto finish = [&](int64_t block, const double* totals) {
    const int64_t first = block % cut.blocks * cut.width, kept = block / cut.blocks;
    const int64_t count = min64(cut.width, columns.size - first),
                  to = loop.kept_at(kept).y + first * columns.y;
    for (int64_t i = 0; i < count; ++i) put(kept * columns.size + first + i, totals[i], to + i * columns.y);
  };
  if (columns.size == 1 && cut.pieces == 1 && loop.reduced() * cut.stretches == 1) {
    // One run for each result: rows, of which many may be short.
    const ReduceAxis rows = loop.rows();
    parallel_for(ceil_div(cut.items, cut.per_item), [&](int64_t item, int) {
      const int64_t end = min64(cut.items, (item + 1) * cut.per_item);
      for (int64_t i = item * cut.per_item; i < end;) {
        const ReduceLoop::Offset at = loop.kept_at(i);
        const int64_t first = i, count = min64(end - i, rows.size - i % rows.size);
        for (; i < first + count; ++i) {
          double total = start_of(f);
          const float* const from = x + at.x + (i - first) * rows.x;
          kernels.run(f, shift == nullptr ? nullptr : shift + i, from, run.size, run.x, &total);
          put(i, total, at.y + (i - first) * rows.y);
        }
      }
    });
    return;
  }
  parallel_for(ceil_div(cut.items, cut.per_item), [&](int64_t item, int) {
    for (int64_t i = item * cut.per_item; i < min64(cut.items, (item + 1) * cut.per_item); ++i) {
      const int64_t block = i / cut.pieces, first = block % cut.blocks * cut.width;
      const int64_t kept = block / cut.blocks, count = min64(cut.width, columns.size - first);
      double local[kColumns];
      double* const totals = cut.pieces > 1 ? partial + i * cut.width : local;
      std::fill_n(totals, count, start_of(f));
      const float* const from = x + loop.kept_at(kept).x + first * columns.x;
      const float* const around = shift == nullptr ? nullptr : shift + kept * columns.size + first;
      const int64_t begin = i % cut.pieces * cut.per_piece;
      const int64_t end = min64(loop.reduced() * cut.stretches, begin + cut.per_piece);
      for (int64_t u = begin; u < end; ++u) {
        const int64_t term = u % cut.stretches * cut.stretch;
        const int64_t terms = min64(cut.stretch, run.size - term);
        const float* const at = from + loop.reduced_at(u / cut.stretches) + term * run.x;
        if (columns.size == 1) {
          kernels.run(f, around, at, terms, run.x, totals);
        } else {
          kernels.columns(f, around, at, terms, run.x, count, columns.x, totals);
        }
      }
      if (cut.pieces == 1) finish(block, totals);
    }
  });
  if (cut.pieces == 1) return;
  for (int64_t block = 0; block < loop.kept() * cut.blocks; ++block) {
    double* const totals = partial + block * cut.pieces * cut.width;
    const int64_t count = min64(cut.width, columns.size - block % cut.blocks * cut.width);
    for (int64_t piece = 1; piece < cut.pieces; ++piece) {
      for (int64_t i = 0; i < count; ++i) totals[i] = joined(f, totals[i], totals[piece * cut.width + i]);
    }
    finish(block, totals);
  }
}

double result_of(Reduction f, double total, int64_t terms) {
  switch (f) {
    case Reduction::kMean: return total / static_cast<double>(terms);
    case Reduction::kNorm2: return std::sqrt(total);
    case Reduction::kLogSum:
    case Reduction::kLogSumExp: return std::log(total);
    default: return total;
  }
}

// Neighbours that lie one inside the other are one axis.
void add_merged(std::vector<ReduceAxis>& axes, const ReduceAxis& axis) {
  if (!axes.empty() && axes.back().x == axis.size * axis.x && axes.back().y == axis.size * axis.y) {
    axes.back() = {axes.back().size * axis.size, axis.x, axis.y, axis.reduced};
  } else {
    axes.push_back(axis);
  }
}

}  // namespace

ReduceLoop::ReduceLoop(const std::vector<ReduceAxis>& axes) {
  std::vector<ReduceAxis> sorted;
  std::copy_if(axes.begin(), axes.end(), std::back_inserter(sorted),
               [](const ReduceAxis& axis) { return axis.size != 1; });
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const ReduceAxis& a, const ReduceAxis& b) { return std::abs(a.x) > std::abs(b.x); });
  const bool rows = !sorted.empty() && sorted.back().reduced;
  for (const ReduceAxis& axis : sorted) {
    if (axis.reduced) {
      add_merged(reduced_, {axis.size, axis.x, 0, true});
    } else {
      add_merged(kept_, axis);
    }
  }
  if (!reduced_.empty()) {
    run_ = reduced_.back();
    reduced_.pop_back();
  }
  if (!rows && !kept_.empty()) {
    columns_ = kept_.back();
    kept_.pop_back();
  }
  for (const ReduceAxis& axis : kept_) kept_count_ *= axis.size;
  for (const ReduceAxis& axis : reduced_) reduced_count_ *= axis.size;
}

ReduceLoop::Offset ReduceLoop::at(const std::vector<ReduceAxis>& axes, int64_t index) {
  Offset offset{0, 0};
  for (size_t d = axes.size(); d-- > 0; index /= axes[d].size) {
    offset.x += index % axes[d].size * axes[d].x;
    offset.y += index % axes[d].size * axes[d].y;
  }
  return offset;
}

void reduce_forward(Reduction f, const ReduceLoop& loop, const float* x, float* y) {
  if (loop.results() == 0) return;
  const Cut cut(loop);
  const int64_t partials = cut.pieces > 1 ? cut.items * cut.width : 0;
  const int64_t shifts = f == Reduction::kLogSumExp ? loop.results() : 0;
  Scratch scratch(Scratch::bytes_of<double>(partials) + Scratch::bytes_of<float>(shifts));
  double* const partial = scratch.take<double>(partials);
  float* const shift = shifts > 0 ? scratch.take<float>(shifts) : nullptr;
  if (shift != nullptr) {
    fold_terms(Fold::kMax, loop, cut, x, nullptr, partial, [&](int64_t index, double total, int64_t) {
      shift[index] = std::isfinite(total) ? static_cast<float>(total) : 0.0f;
    });
  }
  fold_terms(fold_of(f), loop, cut, x, shift, partial, [&](int64_t index, double total, int64_t to) {
    const double value = result_of(f, total, loop.terms());
    y[to] = static_cast<float>(shift == nullptr ? value : value + static_cast<double>(shift[index]));
  });
}

}  // namespace neocog
