// Windows of channels-last pixels: vectors along the channels, all taps of a window at once; included by
// pool-inl.h.
namespace neocog::NEOCOG_ISA {
namespace {

template <class T>
NEOCOG_INLINE const T* tap_row(const PoolPixels<T>& g, const PoolSpan& columns, int64_t r) {
  return g.x + (g.rows.begin + r * g.row_step) * g.x_row + columns.begin * g.x_column;
}

template <class T>
NEOCOG_INLINE void store_index(Vec<T> offset, int64_t start, int64_t* index, int64_t n) {
  typename PoolBits<T>::Integer bits[Vec<T>::lanes];
  offset.store(reinterpret_cast<T*>(bits));
  for (int64_t i = 0; i < n; ++i) index[i] = start + bits[i];
}

template <class T, bool kIndexed>
NEOCOG_INLINE void max_row_of_pixels(const PoolPixels<T>& g) {
  using Integer = typename PoolBits<T>::Integer;
  constexpr int64_t kLanes = Vec<T>::lanes;
  for (int64_t j = g.begin; j < g.end; ++j) {
    const PoolSpan columns = g.columns[j];
    T* const y = g.y + j * g.y_column;
    if (g.rows.count == 0 || columns.count == 0) {
      fill(Largest<T>::identity(), g.channels, y);
      if constexpr (kIndexed) {
        for (int64_t c = 0; c < g.channels; ++c) g.index[j * g.y_column + c] = -1;
      }
      continue;
    }
    for_blocks<T>(g.channels, [&]<int N>(int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
      Vec<T> best[N], offset[N];
      for (int v = 0; v < N; ++v) {
        best[v] = Vec<T>::set1(Largest<T>::identity());
        offset[v] = Vec<T>::zero();  // the first tap, should every tap be -inf
      }
      for (int64_t r = 0; r < g.rows.count; ++r) {
        const T* x = tap_row(g, columns, r) + c;
        for (int64_t k = 0; k < columns.count; ++k, x += g.column_step * g.x_column) {
          const Integer bits = static_cast<Integer>(r * g.row_step * g.width + k * g.column_step);
          for (int v = 0; v < N; ++v) {
            const Vec<T> value = load(x + v * kLanes, n);
            if constexpr (kIndexed) {
              const auto better = gt(value, best[v]) | unordered(value, value);
              best[v] = select(better, value, best[v]);
              offset[v] = select(better, Vec<T>::set1(__builtin_bit_cast(T, bits)), offset[v]);
            } else {
              best[v] = Largest<T>::combine(best[v], value);
            }
          }
        }
      }
      for (int v = 0; v < N; ++v) {
        store(best[v], y + c + v * kLanes, n);
        if constexpr (kIndexed) {
          const int64_t start = g.rows.begin * g.width + columns.begin;
          store_index(offset[v], start, g.index + j * g.y_column + c + v * kLanes, n);
        }
      }
    });
  }
}

template <class T>
void max_pixels(const PoolPixels<T>& g) {
  if (g.index == nullptr) {
    max_row_of_pixels<T, false>(g);
  } else {
    max_row_of_pixels<T, true>(g);
  }
}

template <class T>
void average_pixels(const PoolPixels<T>& g) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  for (int64_t j = g.begin; j < g.end; ++j) {
    const PoolSpan columns = g.columns[j];
    const Vec<T> divisor = Vec<T>::set1(g.row[0] * g.column[j]);
    for_blocks<T>(g.channels, [&]<int N>(int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
      Vec<T> total[N];
      for (int v = 0; v < N; ++v) total[v] = Vec<T>::zero();
      // A sum per row and a sum of those: errors grow with H + W, not with H * W.
      for (int64_t r = 0; r < g.rows.count; ++r) {
        Vec<T> sum[N];
        for (int v = 0; v < N; ++v) sum[v] = Vec<T>::zero();
        const T* x = tap_row(g, columns, r) + c;
        for (int64_t k = 0; k < columns.count; ++k, x += g.x_column) {
          for (int v = 0; v < N; ++v) sum[v] = sum[v] + load(x + v * kLanes, n);
        }
        for (int v = 0; v < N; ++v) total[v] = total[v] + sum[v];
      }
      T* const y = g.y + j * g.y_column + c;
      for (int v = 0; v < N; ++v) store(total[v] / divisor, y + v * kLanes, n);
    });
  }
}

template <class T>
void spread_pixels(const PoolPixels<T>& g) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  for (int64_t j = g.begin; j < g.end; ++j) {
    const PoolSpan columns = g.columns[j];
    for_blocks<T>(g.channels, [&]<int N>(int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
      Vec<T> sum[N];
      for (int v = 0; v < N; ++v) sum[v] = Vec<T>::zero();
      for (int64_t r = 0; r < g.rows.count; ++r) {
        const T* x = tap_row(g, columns, r) + c;
        for (int64_t k = 0; k < columns.count; ++k, x += g.x_column) {
          const Vec<T> weight = Vec<T>::set1(g.row[g.rows.begin + r] * g.column[columns.begin + k]);
          for (int v = 0; v < N; ++v) sum[v] = fma(load(x + v * kLanes, n), weight, sum[v]);
        }
      }
      T* const y = g.y + j * g.y_column + c;
      for (int v = 0; v < N; ++v) store(sum[v], y + v * kLanes, n);
    });
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
