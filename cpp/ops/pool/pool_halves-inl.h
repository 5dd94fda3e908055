// Windows of two columns, two columns apart, without padding along the rows: halved in registers, without a
// line; included by pool-inl.h. This is the pooling of most networks.
namespace neocog::NEOCOG_ISA {
namespace {

// Calls body(j, n) for blocks of n outputs, all of them one vector but for rows of less.
template <class T, class Body>
NEOCOG_INLINE void for_outputs(int64_t count, const Body& body) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  if (count < kLanes) {
    body(0, count);
    return;
  }
  for (int64_t j = 0; j + kLanes <= count; j += kLanes) body(j, kLanes);
  if (count % kLanes != 0) body(count - kLanes, kLanes);
}

// The 2n elements under n outputs.
template <class T>
struct Pair {
  Vec<T> a, b;
};
template <class T>
NEOCOG_INLINE Pair<T> load_pair(const T* x, int64_t n) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  if (n == kLanes) return {load_ahead(x, kLanes), load_ahead(x + kLanes, kLanes)};
  if (2 * n <= kLanes) return {load_ahead(x, 2 * n), Vec<T>::zero()};
  return {load_ahead(x, kLanes), load_ahead(x + kLanes, 2 * n - kLanes)};
}

// The sum of `taps` rows under n outputs from x on, halved.
template <class T, class Op>
NEOCOG_INLINE Vec<T> halve(const T* x, int64_t taps, int64_t step, int64_t n) {
  Pair<T> sum = load_pair(x, n);
  for (int64_t r = 1; r < taps; ++r) {
    const Pair<T> more = load_pair(x + r * step, n);
    sum = {Op::combine(sum.a, more.a), Op::combine(sum.b, more.b)};
  }
  Vec<T> even, odd;
  split_pair(sum.a, sum.b, even, odd);
  return Op::combine(even, odd);
}

// finish(row) gives what ends the outputs of a row of a plane.
template <class T, class Op, class Finish>
NEOCOG_INLINE void halve_rows(const PoolStrip<T>& g, const Finish& finish) {
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    const int64_t taps = at.span().count;
    T* const y = g.y + i * g.y_row;
    if (taps == 0) {
      fill(Op::identity(), g.count, y);
      continue;
    }
    const T* const x = at.tap();
    const auto end = finish(at.row);
    for_outputs<T>(g.count, [&](int64_t j, int64_t n) NEOCOG_LAMBDA_INLINE {
      store_some(end(halve<T, Op>(x + 2 * j, taps, at.tap_step, n), j, n), y + j, n);
    });
  }
}

// Rows shorter than a vector that follow each other in memory: what a whole vector holds or writes past a row
// belongs to the next rows, and rows are written in their order. The last ones of the strip are left to
// halve_rows; returns how many rows are done.
template <class T, class Op, class Finish>
NEOCOG_INLINE int64_t halve_short_rows(const PoolStrip<T>& g, const Finish& finish) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  const int64_t planes = ceil_div(g.rows.end, g.rows.count);
  const T* const x_end = g.rows.x + planes * g.rows.plane - 2 * kLanes;
  const T* const y_end = g.y + g.rows.end * g.y_row - kLanes;
  const bool one = 2 * g.count <= kLanes;
  RowCursor<T> at(g.rows, g.rows.begin);
  const int64_t begin = g.rows.begin, end = g.rows.end, y_row = g.y_row;
  T* y = g.y + begin * y_row;
  int64_t i = begin;
  for (; i < end; ++i, at.next(), y += y_row) {
    const int64_t taps = at.span().count;
    if (taps == 0 || at.tap() + (taps - 1) * at.tap_step > x_end || y > y_end) break;
    const Vec<T> sum = one ? halve<T, Op>(at.tap(), taps, at.tap_step, kLanes / 2)
                           : halve<T, Op>(at.tap(), taps, at.tap_step, kLanes);
    finish(sum, 0, kLanes).store(y);
  }
  return i - begin;
}

template <class T>
NEOCOG_INLINE void halve_rows_indexed(const PoolIndexedStrip<T>& g) {
  using Integer = typename PoolBits<T>::Integer;
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    const int64_t taps = at.span().count;
    T* const y = g.y + i * g.y_row;
    int64_t* const index = g.index + i * g.y_row;
    if (taps == 0) {
      fill(Largest<T>::identity(), g.count, y);
      for (int64_t j = 0; j < g.count; ++j) index[j] = -1;
      continue;
    }
    const T* const x = at.tap();
    const int64_t start = at.span().begin * at.row_step;
    for_outputs<T>(g.count, [&](int64_t j, int64_t n) NEOCOG_LAMBDA_INLINE {
      Vec<T> best = Vec<T>::set1(Largest<T>::identity()), offset = Vec<T>::zero();
      for (int64_t r = 0; r < taps; ++r) {
        const Pair<T> row = load_pair(x + r * at.tap_step + 2 * j, n);
        Vec<T> value[2];
        split_pair(row.a, row.b, value[0], value[1]);
        for (int k = 0; k < 2; ++k) {
          const auto bits = static_cast<Integer>(r * at.tap_step + k);
          const auto better = gt(value[k], best) | unordered(value[k], value[k]);
          best = select(better, value[k], best);
          offset = select(better, Vec<T>::set1(__builtin_bit_cast(T, bits)), offset);
        }
      }
      store_some(best, y + j, n);
      Integer bits[Vec<T>::lanes];
      offset.store(reinterpret_cast<T*>(bits));
      for (int64_t o = 0; o < n; ++o) index[j + o] = start + g.start[j + o] + bits[o];
    });
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
