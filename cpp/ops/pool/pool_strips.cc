#include "ops/pool/pool_strips.h"

#include <algorithm>

namespace neocog {
namespace {

// Elements of a line: with its phases and results it stays in the level-1 cache.
constexpr int64_t kLineElements = 512;

// With more phases of dx than this, to gather them one by one is as fast.
constexpr int64_t kMostPhases = 4;

// Columns of a strip, given how many of them at least; one strip rather than two of which the second is
// small.
int64_t strip_columns(int64_t least, int64_t columns) {
  return columns <= least + least / 2 ? columns : least;
}

int64_t line_group(int64_t pitch) {
  return std::max<int64_t>(1, kLineElements / pitch);
}

// In each row of a line, `width` elements at `margin` are about to be overwritten; the others become `value`.
template <class T>
void fill_around(const PoolLine<T>& g, T value) {
  for (int64_t r = 0; r < g.group; ++r) {
    T* const row = g.line + r * g.pitch;
    std::fill(row, row + g.margin, value);
    std::fill(row + g.margin + g.width, row + g.pitch, value);
  }
}

int64_t most_taps(const std::vector<PoolSpan>& span) {
  int64_t taps = 1;
  for (const PoolSpan& s : span) taps = std::max(taps, s.count);
  return taps;
}

// Columns and rows of a strip of irregular windows: their taps and the table of them stay in the cache.
constexpr int64_t kGathered = 2048;
int64_t irregular_columns(int64_t taps, int64_t columns) {
  return std::clamp<int64_t>(kGathered / taps, 1, columns);
}
int64_t irregular_group(int64_t taps, int64_t columns, int64_t pitch) {
  return std::clamp<int64_t>(kGathered / (taps * columns), 1, line_group(pitch));
}

// gather[(k * group + r) * block + j] is the element of a line that tap k of window j of row r reads, or the
// one past the row.
void set_gather(const PoolSpan* span, int64_t windows, int64_t taps, int64_t step, int64_t block,
                int64_t pitch, int64_t group, int64_t* gather) {
  for (int64_t k = 0; k < taps; ++k) {
    for (int64_t r = 0; r < group; ++r) {
      for (int64_t j = 0; j < block; ++j) {
        const bool exists = j < windows && k < span[j].count;
        *gather++ = r * pitch + (exists ? span[j].begin + k * step : pitch - 1);
      }
    }
  }
}

}  // namespace

template <class T>
PoolLines<T>::PoolLines(const PoolAxis& axis, int64_t unit, T identity, bool indexed)
    : axis_(axis),
      unit_(unit),
      lanes_(pool_kernels<T>().lanes),
      identity_(identity),
      regular_(axis.regular),
      indexed_(indexed) {
  if (regular_) {
    const int64_t reach = (axis.kernel - 1) * axis.dilation / axis.stride;  // in outputs
    block_ = strip_columns(std::max(4 * reach, kLineElements / (axis.stride * unit)) + 1, axis.out());
    taps_ = axis.kernel;
    phases_ = axis.stride;
    tap_pitch_ = (block_ + reach) * unit;
    pitch_ = tap_pitch_ * phases_;
  } else {
    phases_ = taps_ = most_taps(axis.span);
    block_ = tap_pitch_ = irregular_columns(taps_, axis.out());
    pitch_ = axis.in + 1;  // the last element changes nothing
  }
  group_ = regular_ ? line_group(pitch_) : irregular_group(taps_, block_, pitch_);
  // Whole vectors are read and written, up to two too many.
  phase_length_ = round_up(group_ * tap_pitch_, lanes_) + 2 * lanes_;
  if (!indexed) return;
  for (int64_t j = 0; j < axis.out(); ++j) {
    const int64_t start = axis.regular ? j * axis.stride - axis.pad_lo : axis.span[j].begin;
    start_.push_back(axis.span[j].count == 0 ? kNoPixel : start);
    some_empty_ = some_empty_ || axis.span[j].count == 0;
    first_offset_.push_back(static_cast<Integer>(axis.span[j].begin - start));
  }
  for (int64_t k = 0; k < taps_; ++k) tap_offset_.push_back(static_cast<Integer>(k * axis.dilation));
}

template <class T>
void PoolLines<T>::allocate(int64_t threads) {
  const int64_t line = group_ * pitch_ + 4 * lanes_;
  const int64_t phase = phases_ > 1 || !regular_ ? phases_ * phase_length_ : 0;
  const int64_t offset = indexed_ ? 2 * phase_length_ : 0,
                gather = regular_ ? 0 : taps_ * group_ * tap_pitch_;
  const size_t bytes = Scratch::bytes_of<T>(line) + Scratch::bytes_of<T>(phase) +
                       Scratch::bytes_of<T>(phase_length_) + Scratch::bytes_of<T>(offset) +
                       Scratch::bytes_of<int64_t>(gather);
  scratch_.emplace(static_cast<size_t>(threads) * bytes);
  for (int64_t t = 0; t < threads; ++t) {
    Buffers b{scratch_->template take<T>(line),          scratch_->template take<T>(phase),
              scratch_->template take<T>(phase_length_), scratch_->template take<T>(offset),
              scratch_->template take<int64_t>(gather),  {}};
    for (int64_t k = 0; k < taps_; ++k) {
      const int64_t column = k * axis_.dilation;
      b.tap.push_back(!regular_      ? b.phase + k * phase_length_
                      : phases_ == 1 ? b.line + column * unit_
                                     : b.phase + column % phases_ * phase_length_ + column / phases_);
    }
    // What lies past the last row is read and never used.
    std::fill_n(b.line, line, identity_);
    buffers_.push_back(std::move(b));
  }
}

template <class T>
void PoolLines<T>::place(const PoolTile& tile, int thread, PoolStrip<T>* strip) const {
  const Buffers& b = buffers_[thread];
  strip->y += tile.column * unit_;
  strip->count = (tile.column_end - tile.column) * unit_;
  strip->result = b.result;
  PoolLine<T>& line = strip->line;
  line = {b.line, pitch_,     group_,  0,       axis_.in * unit_, b.tap.data(),
          taps_,  tap_pitch_, b.phase, phases_, phase_length_,    regular_ ? nullptr : b.gather,
          false};
  if (!regular_) {
    set_gather(axis_.span.data() + tile.column, strip->count, taps_, axis_.dilation, block_, pitch_, group_,
               b.gather);
  } else {
    const int64_t first = tile.column * axis_.stride - axis_.pad_lo;
    const int64_t last =
        (tile.column_end - 1) * axis_.stride - axis_.pad_lo + (axis_.kernel - 1) * axis_.dilation + 1;
    const int64_t lo = std::clamp<int64_t>(first, 0, axis_.in), hi = std::clamp<int64_t>(last, lo, axis_.in);
    strip->rows.x += lo * unit_;
    line.width = (hi - lo) * unit_;
    line.margin = hi > lo ? (lo - first) * unit_ : 0;
    line.halves = axis_.kernel == 2 && axis_.stride == 2 && axis_.dilation == 1 && lo == first && hi == last;
    if (line.halves) return;
  }
  fill_around(line, identity_);
}

template <class T>
void PoolLines<T>::place(const PoolTile& tile, int thread, PoolIndexedStrip<T>* strip) const {
  place(tile, thread, static_cast<PoolStrip<T>*>(strip));
  const Buffers& b = buffers_[thread];
  strip->index += tile.column;
  strip->start = start_.data() + tile.column;
  strip->some_empty = some_empty_;
  strip->tap_offset = tap_offset_.data();
  strip->offset = b.offset;
  Integer* const first = reinterpret_cast<Integer*>(b.offset + phase_length_);
  std::fill_n(first, phase_length_, Integer{0});
  for (int64_t r = 0; r < group_; ++r) {
    std::copy_n(first_offset_.data() + tile.column, strip->count, first + r * tap_pitch_);
  }
  strip->first_offset = first;
}

template <class T>
PoolSpreadLines<T>::PoolSpreadLines(const PoolAxis& axis, const std::vector<PoolSpan>& covering, int64_t unit)
    : axis_(axis), covering_(covering), regular_(axis.regular && axis.stride <= kMostPhases), unit_(unit) {
  const int64_t lanes = pool_kernels<T>().lanes;
  if (regular_) {
    phases_ = axis.stride;
    taps_ = ceil_div(axis.kernel, phases_);
    tap_count_.assign(phases_, 0);
    tap_window_.assign(phases_ * taps_, 0);
    for (int64_t p = 0; p < phases_; ++p) {
      // Input column u * phases + p is tap k of window u + window.
      for (int64_t k = (p + axis.pad_lo) % phases_; k < axis.kernel; k += phases_) {
        const int64_t window = floor_div(p + axis.pad_lo - k, phases_);
        tap_window_[p * taps_ + tap_count_[p]++] = window;
        first_ = std::min(first_, window);
        last_ = std::max(last_, window);
      }
    }
    const int64_t reach = last_ - first_;
    block_ = round_up(std::max(4 * reach * phases_, kLineElements / unit) + 1, phases_);
    block_ = strip_columns(block_, axis.in);
    pitch_ = tap_pitch_ = (ceil_div(block_, phases_) + reach) * unit;
  } else {
    phases_ = taps_ = most_taps(covering);
    block_ = tap_pitch_ = irregular_columns(taps_, axis.in);
    pitch_ = axis.out() + 1;
  }
  group_ = regular_ ? line_group(tap_pitch_ * phases_) : irregular_group(taps_, block_, pitch_);
  phase_length_ = round_up(group_ * tap_pitch_, lanes) + lanes;
}

template <class T>
void PoolSpreadLines<T>::allocate(int64_t threads) {
  const int64_t line = group_ * pitch_;
  const int64_t phase = phases_ > 1 || !regular_ ? phases_ * phase_length_ : 0;
  const int64_t result = phase_length_ * (regular_ ? phases_ : 1),
                gather = regular_ ? 0 : taps_ * group_ * tap_pitch_;
  const size_t bytes = Scratch::bytes_of<T>(line) + Scratch::bytes_of<T>(phase) +
                       Scratch::bytes_of<T>(result) + Scratch::bytes_of<int64_t>(gather);
  scratch_.emplace(static_cast<size_t>(threads) * bytes);
  for (int64_t t = 0; t < threads; ++t) {
    Buffers b{scratch_->template take<T>(line),
              scratch_->template take<T>(phase),
              scratch_->template take<T>(result),
              scratch_->template take<int64_t>(gather),
              {}};
    for (const int64_t window : tap_window_) b.tap.push_back(b.line + (window - first_) * unit_);
    if (!regular_) {
      for (int64_t k = 0; k < taps_; ++k) b.tap.push_back(b.phase + k * phase_length_);
    }
    buffers_.push_back(std::move(b));
  }
}

template <class T>
void PoolSpreadLines<T>::place(const PoolTile& tile, int thread, const T* weight,
                               PoolSpreadStrip<T>* strip) const {
  const Buffers& b = buffers_[thread];
  strip->tap_count = tap_count_.data();
  strip->y += tile.column * unit_;
  strip->count = (tile.column_end - tile.column) * unit_;
  strip->result = b.result;
  strip->column_weight = weight;
  PoolLine<T>& line = strip->line;
  line = {b.line, pitch_,     group_,  0,       axis_.out() * unit_, b.tap.data(),
          taps_,  tap_pitch_, b.phase, phases_, phase_length_,       regular_ ? nullptr : b.gather,
          false};
  if (!regular_) {
    set_gather(covering_.data() + tile.column, strip->count, taps_, 1, block_, pitch_, group_, b.gather);
  } else {
    const int64_t start = tile.column / phases_ + first_;  // the window at the start of the line
    const int64_t end = start + ceil_div(tile.column_end - tile.column, phases_) + last_ - first_;
    const int64_t lo = std::clamp<int64_t>(start, 0, axis_.out()),
                  hi = std::clamp<int64_t>(end, lo, axis_.out());
    strip->rows.x += lo * unit_;
    line.width = (hi - lo) * unit_;
    line.margin = hi > lo ? (lo - start) * unit_ : 0;
    strip->column_weight += lo * unit_;
  }
  fill_around(line, T{0});
}

template class PoolLines<float>;
template class PoolLines<double>;
template class PoolSpreadLines<float>;
template class PoolSpreadLines<double>;

}  // namespace neocog
