// Windows along rows of memory; included by pool-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

template <class T, class Op>
NEOCOG_INLINE void combine_row(const RowCursor<T>& at, int64_t width, T* line) {
  if (at.span().count == 0) {
    fill(Op::identity(), width, line);
  } else {
    const Rows<T> rows{at.tap(), at.tap_step};
    reduce<T, Op>(rows, at.span().count, width, line, Unchanged{});
  }
}

// Rows of one to N vectors, of which the last one steps back; without the blocks of longer ones.
template <class T, class Op, int N>
NEOCOG_INLINE void combine_narrow(RowCursor<T>& at, int64_t rows, int64_t width, int64_t pitch, T* line) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  const int64_t n = min64(width, kLanes);
  const auto place = [&](int v)
                         NEOCOG_LAMBDA_INLINE { return N == 1 ? 0 : min64(v * kLanes, width - kLanes); };
  for (int64_t r = 0; r < rows; ++r, at.next(), line += pitch) {
    const int64_t taps = at.span().count;
    Vec<T> sum[N];
    for (int v = 0; v < N; ++v) sum[v] = Vec<T>::set1(Op::identity());
    if (taps > 0) {
      const T* x = at.tap();
      for (int v = 0; v < N; ++v) sum[v] = load_ahead(x + place(v), n);
      for (int64_t k = 1; k < taps; ++k) {
        x += at.tap_step;
        for (int v = 0; v < N; ++v) sum[v] = Op::combine(sum[v], load_ahead(x + place(v), n));
      }
    }
    for (int v = 0; v < N; ++v) store_some(sum[v], line + place(v), n);
  }
}

// Combines `rows` rows from `at` on into the line, and moves on.
template <class T, class Op>
NEOCOG_INLINE void combine_rows(RowCursor<T>& at, int64_t rows, const PoolLine<T>& g) {
  T* const line = g.line + g.margin;
  const int64_t width = g.width, pitch = g.pitch;
  switch (rows == 1 ? 0 : ceil_div(width, Vec<T>::lanes)) {
    case 1: combine_narrow<T, Op, 1>(at, rows, width, pitch, line); break;
    case 2: combine_narrow<T, Op, 2>(at, rows, width, pitch, line); break;
    case 3: combine_narrow<T, Op, 3>(at, rows, width, pitch, line); break;
    case 4: combine_narrow<T, Op, 4>(at, rows, width, pitch, line); break;
    default:
      for (int64_t r = 0; r < rows; ++r, at.next()) combine_row<T, Op>(at, width, line + r * pitch);
  }
}

// finish(row) gives what ends the outputs of a row of a plane; `finish_all`, if they are contiguous, those of
// any rows.
template <class T, class Op, class Finish, class FinishAll>
NEOCOG_INLINE void strip(const PoolStrip<T>& g, const Finish& finish, const FinishAll& finish_all,
                         bool whole) {
  const PoolLine<T>& line = g.line;
  if (line.halves) {
    if (whole) {
      PoolStrip<T> rest = g;
      const bool together = g.count < Vec<T>::lanes && g.y_row == g.count;
      if (together) rest.rows.begin += halve_short_rows<T, Op>(g, finish_all);
      halve_rows<T, Op>(rest, [&](int64_t) NEOCOG_LAMBDA_INLINE { return finish_all; });
    } else {
      halve_rows<T, Op>(g, finish);
    }
    return;
  }
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
  // Copies of what the compiler must assume an index to overwrite, or it would use no vectors.
  const int64_t count = g.count;
  const int64_t* const start = g.start;
#pragma GCC ivdep
  for (int64_t j = 0; j < count; ++j) index[j] = row_start + start[j] + bits[j];
  if (!g.some_empty) return;
  for (int64_t j = 0; j < count; ++j) {
    if (start[j] == kNoPixel) index[j] = -1;
  }
}

template <class T>
void indexed_max_strip(const PoolIndexedStrip<T>& g) {
  const PoolLine<T>& line = g.line;
  if (line.halves) {
    halve_rows_indexed(g);
    return;
  }
  RowCursor<T> first(g.rows, g.rows.begin);
  for (int64_t begin = g.rows.begin; begin < g.rows.end; begin += line.group) {
    const int64_t rows = min64(line.group, g.rows.end - begin);
    int64_t taps = 1;
    for (int64_t tap = 0; tap < taps; ++tap) {
      RowCursor<T> at = first;
      for (int64_t r = 0; r < rows; ++r, at.next()) {
        T* const to = line.line + r * line.pitch + line.margin;
        if (tap < at.span().count) {
          reduce<T, Largest<T>>(Rows<T>{at.tap() + tap * at.tap_step, 0}, 1, line.width, to, Unchanged{});
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
        set_index(g, g.offset + r * line.tap_pitch, first.span().begin * first.row_step, index);
      } else {
        for (int64_t j = 0; j < g.count; ++j) index[j] = -1;
      }
    }
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
