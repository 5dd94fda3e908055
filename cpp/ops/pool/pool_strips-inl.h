// Windows along rows of memory; included by pool-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

// Walks the rows of a strip.
template <class T>
struct RowCursor {
  const PoolRows<T>& rows;
  int64_t plane, row;

  NEOCOG_INLINE RowCursor(const PoolRows<T>& r, int64_t at)
      : rows(r), plane(at / r.count), row(at % r.count) {}
  NEOCOG_INLINE void next() {
    if (++row == rows.count) {
      row = 0;
      ++plane;
    }
  }
  NEOCOG_INLINE void skip(int64_t steps) {
    row += steps;
    plane += row / rows.count;
    row %= rows.count;
  }
  NEOCOG_INLINE const PoolSpan& span() const { return rows.rows[row]; }
  // Tap r of this row.
  NEOCOG_INLINE const T* tap(int64_t r) const {
    return rows.x + plane * rows.plane + (span().begin + r * rows.step) * rows.row;
  }
  // The row before has the same taps.
  NEOCOG_INLINE bool repeats() const {
    return row > 0 && span().begin == rows.rows[row - 1].begin && span().count == rows.rows[row - 1].count;
  }
};

// Sources of a reduction: evenly spaced rows, or taps.
template <class T>
struct Rows {
  const T* first;
  int64_t step;
  NEOCOG_INLINE const T* operator()(int64_t k) const { return first + k * step; }
};
template <class T>
struct Taps {
  const T* const* tap;
  NEOCOG_INLINE const T* operator()(int64_t k) const { return tap[k]; }
};

struct Unchanged {
  template <class V>
  NEOCOG_INLINE V operator()(V v, int64_t, int64_t) const {
    return v;
  }
};
template <class T>
struct DivideAll {
  Vec<T> divisor;
  NEOCOG_INLINE Vec<T> operator()(Vec<T> v, int64_t, int64_t) const { return v / divisor; }
};
template <class T>
struct MultiplyAll {
  Vec<T> factor;
  NEOCOG_INLINE Vec<T> operator()(Vec<T> v, int64_t, int64_t) const { return v * factor; }
};
// v / (row * column[i]).
template <class T>
struct Divide {
  Vec<T> row;
  const T* column;
  NEOCOG_INLINE Vec<T> operator()(Vec<T> v, int64_t i, int64_t n) const {
    return v / (row * load(column + i, n));
  }
};

// Makes the first `rows` rows of the line readable through its taps.
template <class T>
NEOCOG_INLINE void set_taps(const PoolLine<T>& g, int64_t rows) {
  if (g.gather != nullptr) {
    for (int64_t k = 0; k < g.taps; ++k) {
      const int64_t* gather = g.gather + k * g.group * g.tap_pitch;
      T* y = g.phase + k * g.phase_length;
      for (int64_t i = 0; i < rows * g.tap_pitch; ++i) y[i] = g.line[gather[i]];
    }
  } else if (g.phases > 1) {
    split(g.line, rows * g.pitch, g.phases, g.phase_length, g.phase);
  }
}

template <class T, class Op>
NEOCOG_INLINE void combine_row(const RowCursor<T>& at, int64_t width, T* line) {
  if (at.span().count == 0) {
    fill(Op::identity(), width, line);
  } else {
    const Rows<T> rows{at.tap(0), at.rows.step * at.rows.row};
    reduce<T, Op>(rows, at.span().count, width, line, Unchanged{});
  }
}

// Rows of one to N vectors, of which the last one steps back; without the blocks of longer ones.
template <class T, class Op, int N>
NEOCOG_INLINE void combine_narrow(RowCursor<T> at, int64_t rows, int64_t width, int64_t pitch, T* line) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  const int64_t n = min64(width, kLanes), step = at.rows.step * at.rows.row;
  for (int64_t r = 0; r < rows; ++r, at.next(), line += pitch) {
    const int64_t taps = at.span().count;
    Vec<T> sum[N];
    if (taps == 0) {
      for (int v = 0; v < N; ++v) sum[v] = Vec<T>::set1(Op::identity());
    } else {
      const T* x = at.tap(0);
      for (int v = 0; v < N; ++v)
        sum[v] = N == 1 ? load(x, n) : Vec<T>::load(x + min64(v * kLanes, width - kLanes));
      for (int64_t k = 1; k < taps; ++k) {
        x += step;
        for (int v = 0; v < N; ++v) {
          const Vec<T> more = N == 1 ? load(x, n) : Vec<T>::load(x + min64(v * kLanes, width - kLanes));
          sum[v] = Op::combine(sum[v], more);
        }
      }
    }
    for (int v = 0; v < N; ++v) {
      if constexpr (N == 1) {
        store(sum[v], line, n);
      } else {
        sum[v].store(line + min64(v * kLanes, width - kLanes));
      }
    }
  }
}

// Combines `rows` rows from `at` on into the line, and moves on.
template <class T, class Op>
NEOCOG_INLINE void combine_rows(RowCursor<T>& at, int64_t rows, const PoolLine<T>& g) {
  T* const line = g.line + g.margin;
  const int64_t vectors = ceil_div(g.width, Vec<T>::lanes);
  switch (rows == 1 ? 0 : vectors) {
    case 1: combine_narrow<T, Op, 1>(at, rows, g.width, g.pitch, line); break;
    case 2: combine_narrow<T, Op, 2>(at, rows, g.width, g.pitch, line); break;
    case 3: combine_narrow<T, Op, 3>(at, rows, g.width, g.pitch, line); break;
    case 4: combine_narrow<T, Op, 4>(at, rows, g.width, g.pitch, line); break;
    default:
      for (int64_t r = 0; r < rows; ++r, at.next()) combine_row<T, Op>(at, g.width, line + r * g.pitch);
      return;
  }
  at.skip(rows);
}

// finish(row) gives what ends the outputs of a row of a plane; `finish_all`, if they are contiguous, those of
// any rows.
template <class T, class Op, class Finish, class FinishAll>
NEOCOG_INLINE void strip(const PoolStrip<T>& g, const Finish& finish, const FinishAll& finish_all,
                         bool whole) {
  const PoolLine<T>& line = g.line;
  const Taps<T> taps{line.tap};
  const bool contiguous = whole && line.tap_pitch == g.count && g.y_row == g.count;
  RowCursor<T> at(g.rows, g.rows.begin), out = at;
  for (int64_t begin = g.rows.begin; begin < g.rows.end; begin += line.group) {
    const int64_t rows = min64(line.group, g.rows.end - begin);
    combine_rows<T, Op>(at, rows, line);
    set_taps(line, rows);
    T* const y = g.y + begin * g.y_row;
    const int64_t count = (rows - 1) * line.tap_pitch + g.count;
    if (contiguous) {
      reduce<T, Op>(taps, line.taps, count, y, finish_all);
    } else if (rows == 1) {
      reduce<T, Op>(taps, line.taps, count, y, finish(out.row));
      out.next();
    } else {
      reduce<T, Op>(taps, line.taps, count, g.result, Unchanged{});
      for (int64_t r = 0; r < rows; ++r, out.next()) {
        const Rows<T> row{g.result + r * line.tap_pitch, 0};
        reduce<T, Op>(row, 1, g.count, y + r * g.y_row, finish(out.row));
      }
    }
  }
}

template <class T>
void max_strip(const PoolStrip<T>& g) {
  strip<T, Largest<T>>(g, [](int64_t) { return Unchanged{}; }, Unchanged{}, true);
}

template <class T>
void average_strip(const PoolStrip<T>& g) {
  const auto divide = [&](int64_t row) {
    return Divide<T>{Vec<T>::set1(g.row_divisor[row]), g.column_divisor};
  };
  if (g.factor != 0) {
    strip<T, Sum<T>>(g, divide, MultiplyAll<T>{Vec<T>::set1(g.factor)}, true);
  } else {
    strip<T, Sum<T>>(g, divide, DivideAll<T>{Vec<T>::set1(g.divisor)}, g.divisor != 0);
  }
}

// result[j] and offset[j] become those of the largest so far, given the taps of one more row of each window.
template <class T>
NEOCOG_INLINE void update_largest(const PoolIndexedStrip<T>& g, int64_t count, bool first,
                                  int64_t row_offset) {
  using Integer = typename PoolBits<T>::Integer;
  constexpr int64_t kLanes = Vec<T>::lanes;
  constexpr int kVectors = 2;
  const T* const start_best = first ? nullptr : g.result;
  const T* const start_offset = first ? reinterpret_cast<const T*>(g.first_offset) : g.offset;
  for (int64_t j = 0; j < count; j += kVectors * kLanes) {
    Vec<T> best[kVectors], offset[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      best[v] = first ? Vec<T>::set1(Largest<T>::identity()) : Vec<T>::load(start_best + j + v * kLanes);
      offset[v] = Vec<T>::load(start_offset + j + v * kLanes);
    }
    for (int64_t k = 0; k < g.line.taps; ++k) {
      const T* x = g.line.tap[k] + j;
      const auto bits = static_cast<Integer>(row_offset + g.tap_offset[k]);
      const Vec<T> here = Vec<T>::set1(__builtin_bit_cast(T, bits));
      for (int v = 0; v < kVectors; ++v) {
        const Vec<T> value = Vec<T>::load(x + v * kLanes);
        const auto better = gt(value, best[v]) | unordered(value, value);
        best[v] = select(better, value, best[v]);
        offset[v] = select(better, here, offset[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) {
      best[v].store(g.result + j + v * kLanes);
      offset[v].store(g.offset + j + v * kLanes);
    }
  }
}

// Where the maxima of one row lie, for windows that begin at row_start = row * width of the image.
template <class T>
NEOCOG_INLINE void set_index(const PoolIndexedStrip<T>& g, const T* offset, int64_t row_start,
                             int64_t* index) {
  typedef typename PoolBits<T>::Integer Bits __attribute__((may_alias));
  const Bits* const bits = reinterpret_cast<const Bits*>(offset);
  for (int64_t j = 0; j < g.count; ++j) index[j] = row_start + g.start[j] + bits[j];
  if (!g.some_empty) return;
  for (int64_t j = 0; j < g.count; ++j) {
    if (g.start[j] == kNoPixel) index[j] = -1;
  }
}

template <class T>
void indexed_max_strip(const PoolIndexedStrip<T>& g) {
  const PoolLine<T>& line = g.line;
  RowCursor<T> first(g.rows, g.rows.begin);
  for (int64_t begin = g.rows.begin; begin < g.rows.end; begin += line.group) {
    const int64_t rows = min64(line.group, g.rows.end - begin);
    int64_t taps = 1;
    for (int64_t tap = 0; tap < taps; ++tap) {
      RowCursor<T> at = first;
      for (int64_t r = 0; r < rows; ++r, at.next()) {
        T* const to = line.line + r * line.pitch + line.margin;
        if (tap < at.span().count) {
          copy(at.tap(tap), line.width, to);
        } else {
          fill(Largest<T>::identity(), line.width, to);
        }
        taps = max64(taps, at.span().count);
      }
      set_taps(line, rows);
      const int64_t count = (rows - 1) * line.tap_pitch + g.count;
      update_largest(g, count, tap == 0, tap * g.rows.step * g.rows.row);
    }
    for (int64_t r = 0; r < rows; ++r, first.next()) {
      copy(static_cast<const T*>(g.result + r * line.tap_pitch), g.count, g.y + (begin + r) * g.y_row);
      int64_t* const index = g.index + (begin + r) * g.y_row;
      if (first.span().count > 0) {
        set_index(g, g.offset + r * line.tap_pitch, first.span().begin * g.rows.row, index);
      } else {
        for (int64_t j = 0; j < g.count; ++j) index[j] = -1;
      }
    }
  }
}

// The sum of the gradients that reach this row, times what their windows divided by.
template <class T>
NEOCOG_INLINE void collect_rows(const PoolSpreadStrip<T>& g, const RowCursor<T>& at, T* line) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  const PoolSpan rows = at.span();
  for_blocks<T>(g.line.width, [&]<int N>(int64_t i, int64_t n) NEOCOG_LAMBDA_INLINE {
    Vec<T> sum[N];
    for (int v = 0; v < N; ++v) sum[v] = Vec<T>::zero();
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* dy = at.tap(r) + i;
      const Vec<T> weight = Vec<T>::set1(g.row_weight[rows.begin + r]);
      for (int v = 0; v < N; ++v) sum[v] = fma(load(dy + v * kLanes, n), weight, sum[v]);
    }
    for (int v = 0; v < N; ++v) {
      const int64_t c = i + v * kLanes;
      store(sum[v] * load(g.column_weight + c, n), line + c, n);
    }
  });
}

// Rows of dx from the first `rows` rows of the line; row r starts at y + r * tap_pitch * phases.
template <class T>
NEOCOG_INLINE void spread_rows(const PoolSpreadStrip<T>& g, int64_t rows, T* y) {
  const PoolLine<T>& line = g.line;
  if (line.gather != nullptr) {
    set_taps(line, rows);
    reduce<T, Sum<T>>(Taps<T>{line.tap}, line.taps, (rows - 1) * line.tap_pitch + g.count, y, Unchanged{});
    return;
  }
  const int64_t count = (rows - 1) * line.tap_pitch + ceil_div(g.count, line.phases);
  for (int64_t p = 0; p < line.phases; ++p) {
    T* const phase = line.phases == 1 ? y : line.phase + p * line.phase_length;
    if (g.tap_count[p] == 0) {
      fill(T{0}, count, phase);
    } else {
      reduce<T, Sum<T>>(Taps<T>{line.tap + p * line.taps}, g.tap_count[p], count, phase, Unchanged{});
    }
  }
  if (line.phases == 1) return;
  join(static_cast<const T*>(line.phase), line.phase_length, line.phases,
       (rows - 1) * line.tap_pitch * line.phases + g.count, y);
}

template <class T>
void spread_strip(const PoolSpreadStrip<T>& g) {
  const PoolLine<T>& line = g.line;
  const int64_t row_step = line.tap_pitch * (line.gather == nullptr ? line.phases : 1);
  RowCursor<T> at(g.rows, g.rows.begin), out = at;
  for (int64_t begin = g.rows.begin, end = begin; begin < g.rows.end; begin = end) {
    // Rows with the same taps as the one before need no row of the line.
    int64_t rows = 0;
    for (; end < g.rows.end; ++end, at.next()) {
      if (end > begin && at.repeats()) continue;
      if (rows == line.group) break;
      collect_rows(g, at, line.line + rows * line.pitch + line.margin);
      ++rows;
    }
    T* const y = g.y + begin * g.y_row;
    const T* const result = rows == 1 ? y : g.result;
    spread_rows(g, rows, rows == 1 ? y : g.result);
    for (int64_t r = 0, row = -1; r < end - begin; ++r, out.next()) {
      if (r == 0 || !out.repeats()) ++row;
      if (rows > 1 || r > 0) copy(result + row * row_step, g.count, y + r * g.y_row);
    }
  }
}

// A run of memory as one window.
template <class T>
NEOCOG_INLINE T max_run(const T* x, int64_t count) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  if (count < kLanes) {
    T result = Largest<T>::identity();
    for (int64_t i = 0; i < count; ++i) result = Largest<T>::combine(result, x[i]);
    return result;
  }
  Vec<T> best[4];
  for (int v = 0; v < 4; ++v) best[v] = Vec<T>::load(x);
  for_blocks<T>(count, [&]<int N>(int64_t i, int64_t n) NEOCOG_LAMBDA_INLINE {
    for (int v = 0; v < N; ++v) best[v] = Largest<T>::combine(best[v], load(x + i + v * kLanes, n));
  });
  for (int v = 1; v < 4; ++v) best[0] = Largest<T>::combine(best[0], best[v]);
  return largest_lane(best[0]);
}

template <class T>
NEOCOG_INLINE T sum_run(const T* x, int64_t count) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  // Sums of at most this many terms per lane are added to the total: errors grow with that, not with the
  // count.
  constexpr int64_t kTerms = 64;
  Vec<T> total = Vec<T>::zero();
  int64_t i = 0;
  while (count - i >= 4 * kLanes) {
    Vec<T> sum[4] = {Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero(), Vec<T>::zero()};
    const int64_t end = i + min64(count - i, 4 * kLanes * kTerms) / (4 * kLanes) * (4 * kLanes);
    for (; i < end; i += 4 * kLanes) {
      for (int v = 0; v < 4; ++v) sum[v] = sum[v] + Vec<T>::load(x + i + v * kLanes);
    }
    total = total + ((sum[0] + sum[1]) + (sum[2] + sum[3]));
  }
  for (; i + kLanes <= count; i += kLanes) total = total + Vec<T>::load(x + i);
  if (i < count) total = total + Vec<T>::load_n(x + i, count - i);
  return total.sum();
}

template <class T>
void max_runs(const PoolRuns<T>& g) {
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    const T* const x = at.tap(0);
    const int64_t count = at.span().count * g.rows.row;
    const T largest = max_run(x, count);
    g.y[i] = largest;
    if (g.index == nullptr) continue;
    int64_t place = 0;
    if (count == 0) {
      place = -1;
    } else if (largest != largest) {
      for (place = count - 1; x[place] == x[place];) --place;
    } else {
      while (x[place] != largest) ++place;
    }
    g.index[i] = count == 0 ? -1 : at.span().begin * g.rows.row + place;
  }
}

template <class T>
void average_runs(const PoolRuns<T>& g) {
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    g.y[i] = sum_run(at.tap(0), at.span().count * g.rows.row) / g.divisor[at.row];
  }
}

// The gradient where one window spans all columns: every row of dx is one value.
template <class T>
void spread_runs(const PoolSpreadStrip<T>& g) {
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    T sum = 0;
    for (int64_t r = 0; r < at.span().count; ++r) sum += *at.tap(r) * g.row_weight[at.span().begin + r];
    fill(sum * *g.column_weight, g.count, g.y + i * g.y_row);
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
