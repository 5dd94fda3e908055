// Gradients of averages along rows of memory; included by pool-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

// The sum of the gradients that reach this row, times what their windows divided by.
template <class T>
NEOCOG_INLINE void collect_rows(const PoolSpreadStrip<T>& g, const RowCursor<T>& at, T* line) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  const PoolSpan rows = at.span();
  for_blocks<T>(g.line.width, [&]<int N>(int64_t i, int64_t n) NEOCOG_LAMBDA_INLINE {
    Vec<T> sum[N];
    for (int v = 0; v < N; ++v) sum[v] = Vec<T>::zero();
    for (int64_t r = 0; r < rows.count; ++r) {
      const T* dy = at.tap() + r * at.tap_step + i;
      const Vec<T> weight = Vec<T>::set1(g.row_weight[rows.begin + r]);
      for (int v = 0; v < N; ++v) sum[v] = fma(load_some(dy + v * kLanes, n), weight, sum[v]);
    }
    for (int v = 0; v < N; ++v) {
      const int64_t c = i + v * kLanes;
      store_some(sum[v] * load_some(g.column_weight + c, n), line + c, n);
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

// The gradient where one window spans all columns: every row of dx is one value.
template <class T>
void spread_runs(const PoolSpreadStrip<T>& g) {
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    T sum = 0;
    for (int64_t r = 0; r < at.span().count; ++r)
      sum += at.tap()[r * at.tap_step] * g.row_weight[at.span().begin + r];
    fill(sum * *g.column_weight, g.count, g.y + i * g.y_row);
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
