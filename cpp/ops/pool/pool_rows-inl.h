// What kernels along rows of memory share; included by pool-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

// Walks the rows of a strip. A copy, not a reference: the compiler must assume that vectors stored elsewhere
// change the strip.
template <class T>
struct RowCursor {
  const PoolSpan* rows;
  const T* base;  // the plane
  int64_t row, count, plane_step, row_step, tap_step;

  NEOCOG_INLINE RowCursor(const PoolRows<T>& r, int64_t at)
      : rows(r.rows),
        base(r.x + at / r.count * r.plane),
        row(at % r.count),
        count(r.count),
        plane_step(r.plane),
        row_step(r.row),
        tap_step(r.step * r.row) {}
  NEOCOG_INLINE void next() {
    if (++row == count) {
      row = 0;
      base += plane_step;
    }
  }
  NEOCOG_INLINE const PoolSpan& span() const { return rows[row]; }
  // The first tap of this row; others are tap_step apart.
  NEOCOG_INLINE const T* tap() const { return base + rows[row].begin * row_step; }
  // The row before has the same taps.
  NEOCOG_INLINE bool repeats() const {
    return row > 0 && rows[row].begin == rows[row - 1].begin && rows[row].count == rows[row - 1].count;
  }
};

// Sources of a reduction: evenly spaced rows of an image, or taps of a line.
template <class T>
struct Rows {
  const T* first;
  int64_t step;
  NEOCOG_INLINE const T* operator()(int64_t k) const { return first + k * step; }
  static NEOCOG_INLINE Vec<T> load(const T* p, int64_t n) { return load_ahead(p, n); }
};
template <class T>
struct Taps {
  const T* const* tap;
  NEOCOG_INLINE const T* operator()(int64_t k) const { return tap[k]; }
  static NEOCOG_INLINE Vec<T> load(const T* p, int64_t n) { return load_some(p, n); }
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
    return v / (row * load_some(column + i, n));
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

}  // namespace
}  // namespace neocog::NEOCOG_ISA
