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
NEOCOG_INLINE void max_window(const PoolPixels<T>& g, const PoolSpan& columns, T* y, int64_t* index) {
  using Integer = typename PoolBits<T>::Integer;
  constexpr int64_t kLanes = Vec<T>::lanes;
  const int64_t start = g.rows.begin * g.width + columns.begin;
  for_blocks<T>(g.channels, [&]<int N>(int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
    Vec<T> best[N], offset[N];
    for (int v = 0; v < N; ++v) {
      best[v] = Vec<T>::set1(Largest<T>::identity());
      offset[v] = Vec<T>::zero();  // the first tap, should every tap be -inf
    }
    for (int64_t r = 0; r < g.rows.count; ++r) {
      const T* x = tap_row(g, columns, r) + c;
      for (int64_t k = 0; k < columns.count; ++k, x += g.column_step * g.x_column) {
        const auto bits = static_cast<Integer>(r * g.row_step * g.width + k * g.column_step);
        for (int v = 0; v < N; ++v) {
          const Vec<T> value = load_some(x + v * kLanes, n);
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
      store_some(best[v], y + c + v * kLanes, n);
      if constexpr (kIndexed) store_index(offset[v], start, index + c + v * kLanes, n);
    }
  });
}

template <class T>
NEOCOG_INLINE void average_window(const PoolPixels<T>& g, const PoolSpan& columns, Vec<T> divisor, T* y) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  for_blocks<T>(g.channels, [&]<int N>(int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
    Vec<T> sum[N];
    for (int v = 0; v < N; ++v) sum[v] = Vec<T>::zero();
    for (int64_t r = 0; r < g.rows.count; ++r) {
      const T* x = tap_row(g, columns, r) + c;
      for (int64_t k = 0; k < columns.count; ++k, x += g.x_column) {
        for (int v = 0; v < N; ++v) sum[v] = sum[v] + load_some(x + v * kLanes, n);
      }
    }
    for (int v = 0; v < N; ++v) store_some(sum[v] / divisor, y + c + v * kLanes, n);
  });
}

// y[c] = f(c, n) in vectors of n channels that do not overlap, so that f may read y.
template <class T, class F>
NEOCOG_INLINE void for_channels(int64_t channels, T* y, const F& f) {
  int64_t c = 0;
  for (; c + Vec<T>::lanes <= channels; c += Vec<T>::lanes) f(c, Vec<T>::lanes).store(y + c);
  if (c < channels) f(c, channels - c).store_n(y + c, channels - c);
}

// sum[c] = combination of x[k * step + c] over k < N and, unless `first`, of what it was.
template <class T, class Op, int N>
NEOCOG_INLINE void add_taps(const T* x, int64_t step, bool first, int64_t channels, T* sum) {
  for_channels(channels, sum, [&](int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
    Vec<T> total = load_some(x + c, n);
    for (int k = 1; k < N; ++k) total = Op::combine(total, load_some(x + k * step + c, n));
    return first ? total : Op::combine(load_some(static_cast<const T*>(sum + c), n), total);
  });
}

// One window tap by tap, each tap along all channels: large windows read memory in long runs that way. A
// combination per row and one of those: errors of sums grow with H + W, not with H * W.
template <class T, class Op>
NEOCOG_INLINE void large_window(const PoolPixels<T>& g, const PoolSpan& columns, T* y) {
  constexpr int64_t kChannels = 512;
  T row[kChannels];
  const int64_t step = g.column_step * g.x_column;
  for (int64_t begin = 0; begin < g.channels; begin += kChannels) {
    const int64_t channels = min64(kChannels, g.channels - begin);
    for (int64_t r = 0; r < g.rows.count; ++r) {
      const T* x = tap_row(g, columns, r) + begin;
      int64_t k = 0;
      for (; k + 4 <= columns.count; k += 4) add_taps<T, Op, 4>(x + k * step, step, k == 0, channels, row);
      for (; k < columns.count; ++k) add_taps<T, Op, 1>(x + k * step, step, k == 0, channels, row);
      add_taps<T, Op, 1>(static_cast<const T*>(row), 0, r == 0, channels, y + begin);
    }
  }
}

// Taps from which on that pays.
constexpr int64_t kLargeWindow = 16;

template <class T>
void max_pixels(const PoolPixels<T>& g) {
  for (int64_t j = g.begin; j < g.end; ++j) {
    const PoolSpan columns = g.columns[j];
    T* const y = g.y + j * g.y_column;
    int64_t* const index = g.index == nullptr ? nullptr : g.index + j * g.y_column;
    const int64_t taps = g.rows.count * columns.count;
    if (index == nullptr) {
      if (taps < kLargeWindow) {
        max_window<T, false>(g, columns, y, nullptr);
      } else {
        large_window<T, Largest<T>>(g, columns, y);
      }
    } else if (taps > 0) {
      max_window<T, true>(g, columns, y, index);
    } else {
      fill(Largest<T>::identity(), g.channels, y);
      for (int64_t c = 0; c < g.channels; ++c) index[c] = -1;
    }
  }
}

template <class T>
void average_pixels(const PoolPixels<T>& g) {
  for (int64_t j = g.begin; j < g.end; ++j) {
    const PoolSpan columns = g.columns[j];
    T* const y = g.y + j * g.y_column;
    const Vec<T> divisor = Vec<T>::set1(g.row[0] * g.column[j]);
    if (g.rows.count * columns.count < kLargeWindow) {
      average_window(g, columns, divisor, y);
      continue;
    }
    large_window<T, Sum<T>>(g, columns, y);
    for_channels(g.channels, y, [&](int64_t c, int64_t n) NEOCOG_LAMBDA_INLINE {
      return load_some(static_cast<const T*>(y + c), n) / divisor;
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
          for (int v = 0; v < N; ++v) sum[v] = fma(load_some(x + v * kLanes, n), weight, sum[v]);
        }
      }
      T* const y = g.y + j * g.y_column + c;
      for (int v = 0; v < N; ++v) store_some(sum[v], y + v * kLanes, n);
    });
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
