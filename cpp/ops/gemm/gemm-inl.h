// Kernel bodies of gemm.h, compiled once per instruction set; no include guard on purpose.
#include "core/constant.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/moves-inl.h"
#include "ops/gemm/planes-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Rows of a register tile that is `vectors` wide: accumulators plus one row of B plus one broadcast
// fit the register file, and loads per multiply-add stay under 0.7.
template <class T>
constexpr int64_t tile_rows(int64_t vectors) {
  if (Vec<T>::lanes == 16) return vectors == 4 ? 6 : vectors == 1 ? 12 : 8;
  return vectors == 1 ? 8 : vectors == 2 ? 6 : 4;
}
template <class T>
constexpr int64_t kMaxVectors = Vec<T>::lanes == 16 ? 4 : 2;

// Products between two requests for memory: time for a few lines to arrive.
constexpr int64_t kFetchSteps = 32;

// Asks for lines that are needed when this tile's products are done: its results lie further apart than
// hardware looks, and stores that wait for memory would hold up the tiles behind them.
template <int NR, bool kWrite, class T>
NEOCOG_INLINE void fetch_vectors(const T* first) {
  constexpr int64_t line = kLineBytes / static_cast<int64_t>(sizeof(T));
#pragma GCC unroll 8
  for (int64_t i = 0; i < NR * Vec<T>::lanes; i += line) __builtin_prefetch(first + i, kWrite);
}

// Adds what lies where the results of a tile go.
template <int MR, int NR, class T>
NEOCOG_INLINE void add_rows(const TapsPanel<T>& g, int64_t p, const T* from, Vec<T> (&acc)[MR][NR]) {
  using V = Vec<T>;
  const int64_t tail = g.columns - (NR - 1) * V::lanes;
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    const T* row = from + g.out[p + i];
#pragma GCC unroll 8
    for (int j = 0; j < NR; ++j, row += V::lanes) {
      acc[i][j] = acc[i][j] + (j == NR - 1 && tail < V::lanes ? V::load_n(row, tail) : V::load(row));
    }
  }
}

template <class T, int MR, int NR>
NEOCOG_INLINE void taps_tile(const TapsPanel<T>& g, int64_t p, Fetch<T>& fetch, int64_t lines) {
  using V = Vec<T>;
  V acc[MR][NR];
  const int64_t tail = g.columns - (NR - 1) * V::lanes;  // columns of the last vector
#pragma GCC unroll 8
  for (int j = 0; j < NR; ++j) {
    V start = V::zero();
    if (g.bias != nullptr && !g.accumulate) {
      const T* bias = g.bias + j * V::lanes;
      start = j == NR - 1 && tail < V::lanes ? V::load_n(bias, tail) : V::load(bias);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) acc[i][j] = start;
  }
  if (g.ahead_of_y) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) fetch_vectors<NR, true>(g.y + g.out[p + i]);
    if (g.residual != nullptr) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) fetch_vectors<NR, false>(g.residual + g.out[p + i]);
    }
  }
  const T* b = g.b;
  for (int64_t t = 0; t < g.taps; ++t) {
    const T* a[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) a[i] = g.a + g.row[p + i] + g.tap[t];
    for (int64_t k = 0; k < g.run;) {
      fetch.next(lines);
      for (const int64_t end = min64(g.run, k + kFetchSteps); k < end; ++k, b += NR * V::lanes) {
        V col[NR];
#pragma GCC unroll 8
        for (int j = 0; j < NR; ++j) col[j] = V::load(b + j * V::lanes);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) {
          const V x = V::set1(a[i][k]);
#pragma GCC unroll 8
          for (int j = 0; j < NR; ++j) acc[i][j] = fma(x, col[j], acc[i][j]);
        }
      }
    }
  }
  // Sums of their own: the shorter a chain of additions is, the less it errs.
  if (g.accumulate) add_rows<MR, NR>(g, p, g.y, acc);
  if (g.residual != nullptr) add_rows<MR, NR>(g, p, g.residual, acc);
  if (g.clamp) {
    const V lo = V::set1(g.lo), hi = V::set1(g.hi);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
      for (int j = 0; j < NR; ++j) acc[i][j] = min(hi, max(lo, acc[i][j]));
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    T* y = g.y + g.out[p + i];
#pragma GCC unroll 8
    for (int j = 0; j < NR - 1; ++j) acc[i][j].store(y + j * V::lanes);
    if (tail >= V::lanes) {
      acc[i][NR - 1].store(y + (NR - 1) * V::lanes);
    } else {
      acc[i][NR - 1].store_n(y + (NR - 1) * V::lanes, tail);
    }
  }
}

// Runs tiles of at most MR rows over all pixels, as equal as they can be: a last tile of one row
// would cost as much as a full one.
template <class T, int NR>
NEOCOG_INLINE void taps_rows(const TapsPanel<T>& g) {
  constexpr int kRows = static_cast<int>(tile_rows<T>(NR));
  const int64_t tiles = ceil_div(g.pixels, kRows);
  Fetch<T> fetch(g.next);
  const int64_t lines = ceil_div(g.next.size * static_cast<int64_t>(sizeof(T)),
                                 kLineBytes * max64(1, tiles * g.taps * ceil_div(g.run, kFetchSteps)));
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t p = g.pixels * i / tiles;
    with_size<kRows>(g.pixels * (i + 1) / tiles - p, [&]<int R>() __attribute__((always_inline)) {
      taps_tile<T, R, NR>(g, p, fetch, lines);
    });
  }
}

template <class T>
void taps_panel(const TapsPanel<T>& g) {
  switch (g.vectors) {
    case 1: taps_rows<T, 1>(g); break;
    case 2: taps_rows<T, 2>(g); break;
    case 3:
      if constexpr (kMaxVectors<T> >= 3) taps_rows<T, 3>(g);
      break;
    default:
      if constexpr (kMaxVectors<T> >= 4) taps_rows<T, 4>(g);
      break;
  }
}

// What a call of outer_panel asks for, a few lines every kFetchSteps pixels.
template <class T>
struct OuterFetch {
  Fetch<T> a, dy;
  int64_t lines_a, lines_dy;

  NEOCOG_INLINE OuterFetch(const OuterPanel<T>& g, int64_t tiles)
      : a(g.next_a),
        dy(g.next_dy),
        lines_a(share(g.next_a, g, tiles)),
        lines_dy(share(g.next_dy, g, tiles)) {}
  NEOCOG_INLINE void next() {
    a.next(lines_a);
    dy.next(lines_dy);
  }

 private:
  static NEOCOG_INLINE int64_t share(const Ahead<T>& next, const OuterPanel<T>& g, int64_t tiles) {
    return ceil_div(next.size * static_cast<int64_t>(sizeof(T)),
                    kLineBytes * max64(1, tiles * ceil_div(g.pixels, kFetchSteps)));
  }
};

template <class T, int MR, int NR>
NEOCOG_INLINE void outer_tile(const OuterPanel<T>& g, int64_t f, OuterFetch<T>& fetch) {
  using V = Vec<T>;
  T* dw = g.dw + f * NR * V::lanes;
  V acc[MR][NR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < NR; ++j) acc[i][j] = V::zero();
  }
  const T* dy = g.dy;
  const T* base = g.a + f;
  for (int64_t p = 0; p < g.pixels;) {
    fetch.next();
    for (const int64_t end = min64(g.pixels, p + kFetchSteps); p < end; ++p, dy += NR * V::lanes) {
      const T* a = base + g.row[p];
      V col[NR];
#pragma GCC unroll 8
      for (int j = 0; j < NR; ++j) col[j] = V::load(dy + j * V::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const V x = V::set1(a[i]);
#pragma GCC unroll 8
        for (int j = 0; j < NR; ++j) acc[i][j] = fma(x, col[j], acc[i][j]);
      }
    }
  }
  if (g.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const T* sums = dw + i * NR * V::lanes;
#pragma GCC unroll 8
      for (int j = 0; j < NR; ++j) acc[i][j] = V::load(sums + j * V::lanes) + acc[i][j];
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < NR; ++j, dw += V::lanes) acc[i][j].store(dw);
  }
}

template <class T, int NR>
NEOCOG_INLINE void outer_rows(const OuterPanel<T>& g) {
  constexpr int kRows = static_cast<int>(tile_rows<T>(NR));
  const int64_t tiles = ceil_div(g.rows, kRows);
  OuterFetch<T> fetch(g, tiles);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t f = g.rows * i / tiles;
    with_size<kRows>(g.rows * (i + 1) / tiles - f,
                     [&]<int R>() __attribute__((always_inline)) { outer_tile<T, R, NR>(g, f, fetch); });
  }
}

template <class T>
void outer_panel(const OuterPanel<T>& g) {
  switch (g.vectors) {
    case 1: outer_rows<T, 1>(g); break;
    case 2: outer_rows<T, 2>(g); break;
    case 3:
      if constexpr (kMaxVectors<T> >= 3) outer_rows<T, 3>(g);
      break;
    default:
      if constexpr (kMaxVectors<T> >= 4) outer_rows<T, 4>(g);
      break;
  }
}

template <class T, int MR, int NR>
NEOCOG_INLINE void dot_tile(const T* x, const T* w, int64_t k_size, const T* bias, T* y, int64_t y_stride) {
  using V = Vec<T>;
  V acc[MR][NR];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) acc[i][j] = V::zero();
  }
  const auto step = [&](int64_t k, auto load) __attribute__((always_inline)) {
    V a[MR];
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) a[i] = load(x + i * k_size + k);
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) {
      const V b = load(w + j * k_size + k);
#pragma GCC unroll 4
      for (int i = 0; i < MR; ++i) acc[i][j] = fma(a[i], b, acc[i][j]);
    }
  };
  int64_t k = 0;
  for (; k + V::lanes <= k_size; k += V::lanes) {
    step(k, [](const T* p) __attribute__((always_inline)) { return V::load(p); });
  }
  if (k < k_size) {
    const int64_t n = k_size - k;
    step(k, [n](const T* p) __attribute__((always_inline)) { return V::load_n(p, n); });
  }
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) y[i * y_stride + j] = acc[i][j].sum() + (bias == nullptr ? T(0) : bias[j]);
  }
}

template <class T>
void dot_block(const T* x, int64_t rows, const T* w, int64_t columns, int64_t k_size, const T* bias, T* y,
               int64_t y_stride) {
  for (int64_t r = 0; r < rows; r += 4) {
    const T* xr = x + r * k_size;
    for (int64_t o = 0; o < columns;) {
      const T* wo = w + o * k_size;
      const T* b = bias == nullptr ? nullptr : bias + o;
      T* to = y + r * y_stride + o;
      // Fixed tiles: which sums share a tile must not change their bits, and does not.
      if (columns - o >= 4) {
        switch (min64(4, rows - r)) {
          case 1: dot_tile<T, 1, 4>(xr, wo, k_size, b, to, y_stride); break;
          case 2: dot_tile<T, 2, 4>(xr, wo, k_size, b, to, y_stride); break;
          case 3: dot_tile<T, 3, 4>(xr, wo, k_size, b, to, y_stride); break;
          default: dot_tile<T, 4, 4>(xr, wo, k_size, b, to, y_stride); break;
        }
        o += 4;
      } else {
        for (int64_t i = 0; i < min64(4, rows - r); ++i) {
          dot_tile<T, 1, 1>(xr + i * k_size, wo, k_size, b, to + i * y_stride, y_stride);
        }
        o += 1;
      }
    }
  }
}

template <class T>
constexpr GemmKernels<T> kGemmTable = {Vec<T>::lanes,  kMaxVectors<T>,   kPlaneOutputs<T>, kPlaneSlack<T>,
                                       &taps_panel<T>, &planes_panel<T>, &outer_panel<T>,  &dot_block<T>,
                                       &pack_panel<T>, &transpose<T>,    &add_runs<T>};

}  // namespace

extern constinit const GemmKernels<float> gemm_kernels_f32 = kGemmTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const GemmKernels<double> gemm_kernels_f64 = kGemmTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
