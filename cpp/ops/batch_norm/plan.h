// How the passes of batch normalisation are cut, kept in caches and shared among threads; private to
// batch_norm.cc.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"
#include "ops/batch_norm/batch_norm.h"

namespace neocog {

// Values read twice by the statistics: half a first-level cache of float64.
inline constexpr int64_t kChunk = 1 << 12;
// Values one thread takes at a time.
inline constexpr int64_t kItem = 1 << 16;
// Channels last: values of a cache line of float32; rows shorter than kShortRow are joined, those longer than
// kLongRow lose little to a ragged end.
inline constexpr int64_t kLine = 16, kShortRow = 128, kLongRow = 1024;
// Bytes of one channel that the first pass leaves in the second-level cache for the second.
inline constexpr int64_t kKeptBytes = int64_t{1} << 20;

// How the work is cut: a function of the geometry, so that results do not depend on threads.
struct Plan {
  BatchNormGeometry g;
  bool columns;  // channels last: items are blocks of rows; else they are parts of one channel
  // Channels last: a row holds `fold` pixels, so that rows are whole vectors and not too short; `tail` values
  // remain.
  int64_t fold = 1, width = 1, height = 0, tail = 0;
  // Channels first: a chunk is `rows` images, `length` pixels of each.
  int64_t rows = 1, length = 1, pieces = 1, chunks = 0;
  int64_t step;    // chunks, or rows, of an item
  int64_t splits;  // items of a channel, or in all

  explicit Plan(const BatchNormGeometry& geometry) : g(geometry) {
    if (g.channels == 1) {  // one run, whatever the layout says
      g = {1, 1, g.batch * g.pixels, Layout::kChannelsFirst};
    } else if (g.pixels == 1) {
      g.layout = Layout::kChannelsLast;
    }
    columns = g.layout == Layout::kChannelsLast;
    if (columns) {
      if (g.channels <= kLongRow) fold = kLine / std::gcd(g.channels, kLine);
      while (fold * g.channels < kShortRow) fold *= 2;
      width = fold * g.channels;
      height = g.batch * g.pixels / fold;
      tail = g.batch * g.pixels * g.channels - height * width;
      step = round_up(max64(1, kItem / width), 64);
      splits = max64(1, ceil_div(height, step));
      return;
    }
    width = g.channels;
    pieces = ceil_div(g.pixels, kChunk);
    length = round_up(ceil_div(g.pixels, pieces), 16);  // whole cache lines
    pieces = ceil_div(g.pixels, length);
    rows = min64(g.batch, max64(1, kChunk / length));
    chunks = ceil_div(g.batch, rows) * pieces;
    step = max64(1, kItem / (rows * length));
    splits = ceil_div(chunks, step);
  }

  double count() const { return static_cast<double>(g.batch) * static_cast<double>(g.pixels); }

  // f(offset, rows, n) for the chunks of item `split` of a channel; runs are `stride()` apart.
  template <class F>
  void each_chunk(int64_t channel, int64_t split, F&& f) const {
    for (int64_t i = split * step; i < min64(chunks, (split + 1) * step); ++i) {
      const int64_t image = i / pieces * rows, pixel = i % pieces * length;
      f((image * g.channels + channel) * g.pixels + pixel, min64(rows, g.batch - image),
        min64(length, g.pixels - pixel));
    }
  }
  int64_t stride() const { return g.channels * g.pixels; }
  // f(offset, rows, columns) for block `split` of rows.
  template <class F>
  void block(int64_t split, F&& f) const {
    const int64_t first = split * step, count = min64(step, height - first);
    if (count > 0) f(first * width, count, width);
    if (tail > 0 && split == splits - 1) f(height * width, 1, tail);
  }
  // Whether a result of this geometry goes past the caches; every run or row must start a cache line.
  template <class T>
  bool streams(const T* result) const {
    const int64_t bytes = g.batch * g.channels * g.pixels * static_cast<int64_t>(sizeof(T));
    const int64_t run = (columns ? width : g.pixels) * static_cast<int64_t>(sizeof(T));
    return run % 64 == 0 && streams_past_caches(result, bytes);
  }
};

// Two float64 sums per channel, of every item and then in all.
struct Sums {
  double *first, *second;
};

// Per-channel workspace of one call; `width` entries, channels repeated `fold` times.
template <class T>
struct Workspace {
  BatchNormLines<T> lines;
  BatchNormLines<T> forward;  // backward, those of the normalisation itself; the same centers
  T* pivot;
  Sums sums;  // (splits, width) with channels last, (C, splits) with channels first

  static size_t bytes(const Plan& plan) {
    return 7 * Scratch::bytes_of<T>(plan.width) + 2 * Scratch::bytes_of<double>(plan.width * plan.splits);
  }
  Workspace(const Plan& plan, Scratch& scratch) {
    for (T** array : arrays()) {
      *array = scratch.take<T>(plan.width);
      std::fill_n(*array, plan.width, T(0));
    }
    forward.center = lines.center;
    forward.slope = nullptr;
    for (double** array : {&sums.first, &sums.second}) {
      *array = scratch.take<double>(plan.width * plan.splits);
      std::fill_n(*array, plan.width * plan.splits, 0.0);
    }
  }
  BatchNormLine<T> line(int64_t c) const {
    return {lines.center[c], lines.scale[c], lines.slope[c], lines.shift[c]};
  }
  BatchNormLine<T> forward_line(int64_t c) const {
    return {forward.center[c], forward.scale[c], T(0), forward.shift[c]};
  }
  // Copies what was set for the C channels to all pixels of a row.
  void repeat(const Plan& plan) const {
    for (T* array :
         {lines.center, lines.scale, lines.slope, lines.shift, forward.scale, forward.shift, pivot}) {
      for (int64_t i = plan.g.channels; i < plan.width; ++i) array[i] = array[i - plan.g.channels];
    }
  }

 private:
  std::array<T**, 7> arrays() {
    return {&lines.center, &lines.scale, &lines.slope, &lines.shift, &forward.scale, &forward.shift, &pivot};
  }
};

// reduce(channel, split) adds into sums, finish(channel, sum, sum) sets the channel's line, apply(channel,
// split) writes. Where a channel's data stay in the cache of the core that read them, its passes follow each
// other.
template <class Reduce, class Finish, class Apply>
void by_channel(const Plan& plan, const Sums& sums, int64_t bytes_per_value, Reduce&& reduce, Finish&& finish,
                Apply&& apply) {
  const auto end = [&](int64_t c) {
    double first = 0, second = 0;
    for (int64_t i = c * plan.splits; i < (c + 1) * plan.splits; ++i) {
      first += sums.first[i];
      second += sums.second[i];
    }
    finish(c, first, second);
  };
  const int64_t channels = plan.g.channels, items = channels * plan.splits;
  const int64_t kept = plan.g.batch * plan.g.pixels * bytes_per_value;
  if (kept <= kKeptBytes && (channels >= 2 * get_num_threads() || plan.splits == 1)) {
    // A few channels at a time where they are small: handing one out costs as much as normalising it.
    const int64_t block = max64(1, kItem / 4 / max64(1, plan.g.batch * plan.g.pixels));
    parallel_for(ceil_div(channels, block), [&](int64_t item, int) {
      for (int64_t c = item * block; c < min64(channels, (item + 1) * block); ++c) {
        for (int64_t split = 0; split < plan.splits; ++split) reduce(c, split);
        end(c);
        for (int64_t split = 0; split < plan.splits; ++split) apply(c, split);
      }
    });
    return;
  }
  parallel_for(items, [&](int64_t item, int) { reduce(item / plan.splits, item % plan.splits); });
  for (int64_t c = 0; c < channels; ++c) end(c);
  parallel_for(items, [&](int64_t item, int) { apply(item / plan.splits, item % plan.splits); });
}

// The same with channels last: reduce(split) and apply(split) take all channels at once.
template <class T, class Reduce, class Finish, class Apply>
void by_rows(const Plan& plan, const Workspace<T>& space, Reduce&& reduce, Finish&& finish, Apply&& apply) {
  parallel_for(plan.splits, [&](int64_t split, int) { reduce(split); });
  double *const first = space.sums.first, *const second = space.sums.second;
  for (int64_t split = 1; split < plan.splits; ++split) {
    for (int64_t i = 0; i < plan.width; ++i) {
      first[i] += first[split * plan.width + i];
      second[i] += second[split * plan.width + i];
    }
  }
  const int64_t channels = plan.g.channels;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = c + channels; i < plan.width; i += channels) {
      first[c] += first[i];
      second[c] += second[i];
    }
    finish(c, first[c], second[c]);
  }
  space.repeat(plan);
  // Backwards: the rows read last are still cached.
  parallel_for_backwards(plan.splits, [&](int64_t split, int) { apply(split); });
}

}  // namespace neocog
