// Kernel bodies of winograd_kernels.h, compiled once per instruction set; no include guard on purpose.
#include "core/constant.h"
#include "core/simd/larger.h"
#include "core/window.h"
#include "ops/conv/winograd_from_taps-inl.h"
#include "ops/conv/winograd_kernels.h"

namespace neocog::NEOCOG_ISA {
namespace {

// f.template operator()<R, S>() for the taps of a kernel.
template <class F>
NEOCOG_INLINE void with_taps(int64_t h, int64_t w, const F& f) {
  if (h == 2 || w == 2) {
    with_constant<1, 2>(h, [&]<int R>() __attribute__((always_inline)) {
      with_constant<1, 2>(w, [&]<int S>() __attribute__((always_inline)) { f.template operator()<R, S>(); });
    });
    return;
  }
  if (h == 4) {  // and w
    f.template operator()<4, 4>();
    return;
  }
  with_constant<1, 3, 5>(h, [&]<int R>() __attribute__((always_inline)) {
    with_constant<1, 3, 5>(w, [&]<int S>() __attribute__((always_inline)) { f.template operator()<R, S>(); });
  });
}

template <class T, int R, int S>
NEOCOG_INLINE void filter_kernels(const T* g, int64_t count, T* u, int64_t u_stride) {
  constexpr int H = winograd_points(R), W = winograd_points(S);
  for (int64_t i = 0; i < count; i += kDoubles) {
    const int64_t n = min64(kDoubles, count - i);
    Doubles points[H][S];
#pragma GCC unroll 5
    for (int s = 0; s < S; ++s) {
      Doubles taps[R], column[H];
#pragma GCC unroll 5
      for (int r = 0; r < R; ++r) load_doubles(g + (r * S + s) * count + i, n, taps[r]);
      filter_points(taps, column);
#pragma GCC unroll 6
      for (int r = 0; r < H; ++r) points[r][s] = column[r];
    }
#pragma GCC unroll 6
    for (int r = 0; r < H; ++r) {
      Doubles row[W];
      filter_points(points[r], row);
#pragma GCC unroll 6
      for (int s = 0; s < W; ++s) store_rounded(row[s], u + (r * W + s) * u_stride + i, n);
    }
  }
}

template <class T>
void winograd_filter(int64_t taps_h, int64_t taps_w, const T* g, int64_t count, T* u, int64_t u_stride) {
  with_taps(taps_h, taps_w, [&]<int R, int S>() __attribute__((always_inline)) {
    filter_kernels<T, R, S>(g, count, u, u_stride);
  });
}

// One vector of channels of H x W inputs; `load` and `store` know how many lanes exist.
template <class T, class H, class W, class Load, class Store>
NEOCOG_INLINE void input_vector(const Load& load, const Store& store) {
  using V = Vec<T>;
  V points[H::count][W::count];
#pragma GCC unroll 6
  for (int s = 0; s < W::count; ++s) {
    V d[H::count], v[H::count];
#pragma GCC unroll 6
    for (int r = 0; r < H::count; ++r) d[r] = load(r * W::full + s);
    data_points_of<H>(d, v);
#pragma GCC unroll 6
    for (int r = 0; r < H::count; ++r) points[r][s] = v[r];
  }
#pragma GCC unroll 6
  for (int r = 0; r < H::count; ++r) {
    V v[W::count];
    data_points_of<W>(points[r], v);
#pragma GCC unroll 6
    for (int s = 0; s < W::count; ++s) store(H::index(r) * W::full + W::index(s), v[s]);
  }
}

template <class T, class H, class W>
NEOCOG_INLINE void input_tile(const WinogradInput<T>& g) {
  using V = Vec<T>;
  for (int64_t c = 0; c < g.channels;) {
    T* const v = g.v + c / g.run * (g.run_stride - g.run);
    const int64_t end = min64(c + g.run, g.channels);
    for (; c + V::lanes <= end; c += V::lanes) {
      input_vector<T, H, W>([&](int p) __attribute__((always_inline)) { return V::load(g.pixel[p] + c); },
                            [&](int p, V x)
                                __attribute__((always_inline)) { x.store(v + p * g.v_stride + c); });
    }
    if (c < end) {
      const int64_t n = end - c;
      input_vector<T, H, W>(
          [&](int p) __attribute__((always_inline)) { return V::load_n(g.pixel[p] + c, n); },
          [&](int p, V x) __attribute__((always_inline)) { x.store_n(v + p * g.v_stride + c, n); });
      c = end;
    }
  }
}

// f.template operator()<P>() for so many points of a tile along an axis; `finite`: without infinity, if it is
// full.
template <int Full, int... Counts, class F>
NEOCOG_INLINE void with_points(int64_t points, bool finite, const F& f) {
  constexpr int kFinite = Full + 1;
  with_constant<1, Counts..., Full, kFinite>(points == Full && finite ? kFinite : points,
                                             [&]<int N>() __attribute__((always_inline)) {
                                               if constexpr (N == kFinite) {
                                                 f.template operator()<FinitePoints<Full>>();
                                               } else {
                                                 f.template operator()<Points<N, N == 1 ? 1 : Full>>();
                                               }
                                             });
}

template <class T>
void winograd_input(const WinogradInput<T>& g) {
  const auto run = [&]<int Full, int... Counts>() __attribute__((always_inline)) {
    with_points<Full, Counts...>(
        g.tile_h + g.taps_h - 1, g.finite_h, [&]<class H>() __attribute__((always_inline)) {
          with_points<Full, Counts...>(g.tile_w + g.taps_w - 1, g.finite_w,
                                       [&]<class W>()
                                           __attribute__((always_inline)) { input_tile<T, H, W>(g); });
        });
  };
  if (g.taps_h == 2 || g.taps_w == 2) {
    run.template operator()<5, 2, 3>();
  } else {
    run.template operator()<6, 4, 5>();
  }
}

// f.template operator()<P>() for the points of a full tile.
template <class F>
NEOCOG_INLINE void with_full_points(int64_t taps, bool finite, const F& f) {
  if (taps == 2) {
    with_points<5>(5, finite, f);
  } else {
    with_points<6>(6, finite, f);
  }
}

template <class T>
void winograd_input_rows(int64_t taps, bool finite, const T* x, int64_t x_stride, int64_t size, T* z,
                         int64_t z_stride) {
  using V = Vec<T>;
  with_full_points(taps, finite, [&]<class P>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < size; i += V::lanes) {
      V d[P::count], v[P::count];
#pragma GCC unroll 6
      for (int r = 0; r < P::count; ++r) d[r] = V::load(x + r * x_stride + i);
      data_points_of<P>(d, v);
#pragma GCC unroll 6
      for (int k = 0; k < P::count; ++k) v[k].store(z + k * z_stride + i);
    }
  });
}

template <class T>
void winograd_input_row(int64_t taps, const T* z, int64_t size, int64_t tiles, T* v, int64_t tile_v,
                        int64_t point_v) {
  using V = Vec<T>;
  const int64_t step = winograd_tile(taps) * size;
  with_full_points(taps, false, [&]<class P>() __attribute__((always_inline)) {
    for (int64_t tile = 0; tile < tiles; ++tile, z += step, v += tile_v) {
      for (int64_t i = 0; i < size; i += V::lanes) {
        const int64_t n = min64(V::lanes, size - i);
        V d[P::count], points[P::count];
#pragma GCC unroll 6
        for (int s = 0; s < P::count; ++s) d[s] = V::load(z + s * size + i);
        data_points_of<P>(d, points);
#pragma GCC unroll 6
        for (int l = 0; l < P::count; ++l) points[l].store_n(v + l * point_v + i, n);
      }
    }
  });
}

// Tiles of HT x WT outputs of kernels of HR x WR taps.
template <bool kPooled, class T, int HT, int HR, int WT, int WR, class Load, class Store>
NEOCOG_INLINE void output_vector(const WinogradOutput<T>& g, const Load& load, const Store& store) {
  using V = Vec<T>;
  using H = TilePoints<HT, HR>;
  using W = TilePoints<WT, WR>;
  V points[HT][W::count];
#pragma GCC unroll 6
  for (int s = 0; s < W::count; ++s) {
    V m[H::count], y[HT];
#pragma GCC unroll 6
    for (int r = 0; r < H::count; ++r) m[r] = load(g.m + (H::index(r) * W::full + W::index(s)) * g.m_stride);
    result_points(m, y);
#pragma GCC unroll 4
    for (int r = 0; r < HT; ++r) points[r][s] = y[r];
  }
  const V bias = g.bias == nullptr ? V::zero() : load(g.bias);
  const V lo = V::set1(g.lo), hi = V::set1(g.hi);
  [[maybe_unused]] V upper[WT / 2 + 1];  // the larger of two pixels of the row before
#pragma GCC unroll 4
  for (int r = 0; r < HT; ++r) {
    if (r >= g.rows) break;
    V y[WT];
    result_points(points[r], y);
    if constexpr (kPooled) {
#pragma GCC unroll 4
      for (int s = 0; s < WT; ++s) {
        y[s] = y[s] + bias;
        if (g.clamp) y[s] = min(hi, max(lo, y[s]));
        if (s < g.cols && g.y != nullptr) store(g.y + r * g.stride_h + s * g.stride_w, y[s]);
      }
#pragma GCC unroll 2
      for (int s = 0; s + 1 < WT; s += 2) {
        if (r % 2 == 0) {
          upper[s / 2] = larger(y[s], y[s + 1]);
        } else if (s + 1 < g.cols) {
          store(g.pooled + r / 2 * g.pooled_h + s / 2 * g.pooled_w,
                larger(larger(upper[s / 2], y[s]), y[s + 1]));
        }
      }
      continue;
    }
    if (r < g.row0) continue;
    T* to = g.y + r * g.stride_h;
#pragma GCC unroll 4
    for (int s = 0; s < WT; ++s, to += g.stride_w) {
      if (s >= g.cols) break;
      if (s < g.col0) continue;
      V value = y[s] + bias;
      if (g.clamp) value = min(hi, max(lo, value));
      store(to, value);
    }
  }
}

template <bool kPooled, class T, int HT, int HR, int WT, int WR>
NEOCOG_INLINE void output_tile(const WinogradOutput<T>& g) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; c + V::lanes <= g.columns; c += V::lanes) {
    output_vector<kPooled, T, HT, HR, WT, WR>(
        g, [=](const T* p) __attribute__((always_inline)) { return V::load(p + c); },
        [=](T* p, V x) __attribute__((always_inline)) { x.store(p + c); });
  }
  if (c < g.columns) {
    const int64_t n = g.columns - c;
    output_vector<kPooled, T, HT, HR, WT, WR>(
        g, [=](const T* p) __attribute__((always_inline)) { return V::load_n(p + c, n); },
        [=](T* p, V x) __attribute__((always_inline)) { x.store_n(p + c, n); });
  }
}

// f.template operator()<outputs, taps>() for a tile along an axis.
template <int... Tiles, class F>
NEOCOG_INLINE void with_tile(int64_t tile, int64_t taps, const F& f) {
  with_constant<Tiles...>(tile * 10 + taps, [&]<int K>() __attribute__((always_inline)) {
    f.template operator()<K / 10, K % 10>();
  });
}

// Tiles, as `with_tile` names them, that an axis may have.
template <bool kPooled, int... Tiles, class T>
NEOCOG_INLINE void output_of(const WinogradOutput<T>& g) {
  with_tile<Tiles...>(g.tile_h, g.taps_h, [&]<int HT, int HR>() __attribute__((always_inline)) {
    with_tile<Tiles...>(g.tile_w, g.taps_w, [&]<int WT, int WR>() __attribute__((always_inline)) {
      output_tile<kPooled, T, HT, HR, WT, WR>(g);
    });
  });
}

template <class T>
void winograd_output(const WinogradOutput<T>& g) {
  if (g.taps_h == 2 || g.taps_w == 2) {
    output_of<false, 11, 12, 22, 42>(g);
  } else if (g.taps_h == 4) {
    output_of<false, 14, 24, 34>(g);
  } else {
    output_of<false, 11, 23, 33, 43, 25>(g);
  }
}

// Kernels of as many taps along both axes, whose tiles have even sides.
template <class T>
void winograd_output_pooled(const WinogradOutput<T>& g) {
  if (g.taps_h == 2) {
    output_of<true, 12, 22, 42>(g);
  } else if (g.taps_h == 3) {
    output_of<true, 23, 33, 43>(g);
  } else {
    output_of<true, 25>(g);
  }
}

// The outputs of a full tile, for R x S taps.
template <class T, int R, int S, class Load, class Store>
NEOCOG_INLINE void gradient_vector(const Load& load, const Store& store) {
  using V = Vec<T>;
  constexpr int H = winograd_tile(R), W = winograd_tile(S), NH = winograd_points(R), NW = winograd_points(S);
  V points[NH][W];
#pragma GCC unroll 4
  for (int s = 0; s < W; ++s) {
    V d[H], v[NH];
#pragma GCC unroll 4
    for (int r = 0; r < H; ++r) d[r] = load(r * W + s);
    gradient_points(d, v);
#pragma GCC unroll 6
    for (int r = 0; r < NH; ++r) points[r][s] = v[r];
  }
#pragma GCC unroll 6
  for (int r = 0; r < NH; ++r) {
    V v[NW];
    gradient_points(points[r], v);
#pragma GCC unroll 6
    for (int s = 0; s < NW; ++s) store(r * NW + s, v[s]);
  }
}

template <class T, int R, int S>
NEOCOG_INLINE void gradient_tile(const T* const* pixel, int64_t channels, T* v, int64_t v_stride) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; c + V::lanes <= channels; c += V::lanes) {
    gradient_vector<T, R, S>([&](int p) __attribute__((always_inline)) { return V::load(pixel[p] + c); },
                             [&](int p, V x)
                                 __attribute__((always_inline)) { x.store(v + p * v_stride + c); });
  }
  if (c < channels) {
    const int64_t n = channels - c;
    gradient_vector<T, R, S>([&](int p) __attribute__((always_inline)) { return V::load_n(pixel[p] + c, n); },
                             [&](int p, V x)
                                 __attribute__((always_inline)) { x.store_n(v + p * v_stride + c, n); });
  }
}

template <class T>
void winograd_gradient(int64_t taps_h, int64_t taps_w, const T* const* pixel, int64_t channels, T* v,
                       int64_t v_stride) {
  with_taps(taps_h, taps_w, [&]<int R, int S>() __attribute__((always_inline)) {
    gradient_tile<T, R, S>(pixel, channels, v, v_stride);
  });
}

template <class T, int R, int S>
NEOCOG_INLINE void weight_taps(const T* m, int64_t m_stride, int64_t count, T* dw) {
  using V = Vec<T>;
  constexpr int H = winograd_points(R), W = winograd_points(S);
  for (int64_t i = 0; i < count; i += V::lanes) {
    V points[R][W];
#pragma GCC unroll 6
    for (int s = 0; s < W; ++s) {
      V column[H], w[R];
#pragma GCC unroll 6
      for (int r = 0; r < H; ++r) column[r] = V::load(m + (r * W + s) * m_stride + i);
      weight_points(column, w);
#pragma GCC unroll 5
      for (int r = 0; r < R; ++r) points[r][s] = w[r];
    }
#pragma GCC unroll 5
    for (int r = 0; r < R; ++r) {
      V w[S];
      weight_points(points[r], w);
#pragma GCC unroll 5
      for (int s = 0; s < S; ++s) w[s].store(dw + (r * S + s) * count + i);
    }
  }
}

template <class T>
void winograd_weight(int64_t taps_h, int64_t taps_w, const T* m, int64_t m_stride, int64_t count, T* dw) {
  with_taps(taps_h, taps_w, [&]<int R, int S>() __attribute__((always_inline)) {
    weight_taps<T, R, S>(m, m_stride, count, dw);
  });
}

template <class T>
constexpr WinogradKernels<T> kWinogradTable = {
    &winograd_filter<T>,    &winograd_input<T>,    &winograd_input_rows<T>,
    &winograd_input_row<T>, &winograd_output<T>,   &winograd_output_pooled<T>,
    &winograd_from_taps<T>, &winograd_gradient<T>, &winograd_weight<T>};

}  // namespace

extern constinit const WinogradKernels<float> winograd_kernels_f32 = kWinogradTable<float>;

}  // namespace neocog::NEOCOG_ISA
