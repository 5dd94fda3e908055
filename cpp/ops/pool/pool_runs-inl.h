// Windows as wide as the image, runs of memory; included by pool-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

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
    for (int v = 0; v < N; ++v) best[v] = Largest<T>::combine(best[v], load_some(x + i + v * kLanes, n));
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
    const T* const x = at.tap();
    const int64_t count = at.span().count * at.row_step;
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
    g.index[i] = count == 0 ? -1 : at.span().begin * at.row_step + place;
  }
}

template <class T>
void average_runs(const PoolRuns<T>& g) {
  RowCursor<T> at(g.rows, g.rows.begin);
  for (int64_t i = g.rows.begin; i < g.rows.end; ++i, at.next()) {
    g.y[i] = sum_run(at.tap(), at.span().count * at.row_step) / g.divisor[at.row];
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
