// Winograd's products with kernels that are transformed where they are multiplied, from their taps; no
// include guard on purpose.
#include "core/constant.h"
#include "ops/conv/winograd_points-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Tiles whose sums are made together, for so many vectors of columns: half of the registers and more, as long
// as 16 unrolled steps leave none of them in memory.
template <class T, int NR>
constexpr int kTapsRows = Vec<T>::lanes < 16 ? 6
                          : NR == 4          ? 5
                          : NR == 3          ? 7
                                             : 8;

// Row R of G g, without its factor, of the taps (rows, columns) of a vector of kernels, `apart` elements from
// each other.
template <class T, int R>
NEOCOG_INLINE void filter_row(const T* g, int64_t apart, Vec<T> (&row)[3]) {
  using V = Vec<T>;
  constexpr double point = R == 1 ? kA : R == 2 ? -kA : R == 3 ? kB : -kB;
#pragma GCC unroll 3
  for (int s = 0; s < 3; ++s) {
    const auto tap = [&](int r) __attribute__((always_inline)) { return V::load(g + (r * 3 + s) * apart); };
    if constexpr (R == 0) {
      row[s] = tap(0);
    } else if constexpr (R == 5) {
      row[s] = tap(2);
    } else {
      row[s] = fma(constant<T>(point), tap(1), fma(constant<T>(point * point), tap(2), tap(0)));
    }
  }
}

// The same along the other axis, with the factors of both.
template <class T, int R>
NEOCOG_INLINE void filter_points_of_row(const Vec<T> (&g)[3], Vec<T> (&u)[6]) {
  constexpr double of_row[] = {kOf0, kOfA, kOfA, kOfB, kOfB, 1};
  constexpr double f0 = of_row[R] * kOf0, fa = of_row[R] * kOfA, fb = of_row[R] * kOfB;
  const Vec<T> even_a = fma(constant<T>(fa * kA2), g[2], constant<T>(fa) * g[0]);
  const Vec<T> even_b = fma(constant<T>(fb * kB2), g[2], constant<T>(fb) * g[0]);
  u[0] = constant<T>(f0) * g[0];
  u[1] = fma(constant<T>(fa * kA), g[1], even_a);
  u[2] = fma(constant<T>(-fa * kA), g[1], even_a);
  u[3] = fma(constant<T>(fb * kB), g[1], even_b);
  u[4] = fma(constant<T>(-fb * kB), g[1], even_b);
  u[5] = R == 5 ? g[2] : constant<T>(of_row[R]) * g[2];
}

// u (6 points of row R, Run channels, NR vectors of columns) of taps (channels, 9, NR vectors).
template <class T, int NR, int Run, int R>
NEOCOG_INLINE void filter_run(const T* taps, int64_t channels, T* u) {
  using V = Vec<T>;
  for (int64_t c = 0; c < channels; ++c, taps += 9 * NR * V::lanes, u += NR * V::lanes) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) {
      V row[3], points[6];
      filter_row<T, R>(taps + j * V::lanes, NR * V::lanes, row);
      filter_points_of_row<T, R>(row, points);
#pragma GCC unroll 6
      for (int s = 0; s < 6; ++s) points[s].store(u + (s * Run * NR + j) * V::lanes);
    }
  }
}

// Sums of MR tiles at a point over a run of channels, added to m unless they are the first: each run has sums
// of its own, as short chains of additions err less.
template <class T, int MR, int NR, int Run>
NEOCOG_INLINE void taps_sums(const T* v, const T* u, int64_t channels, T* m, bool first) {
  using V = Vec<T>;
  V acc[MR][NR];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) acc[i][j] = V::zero();
  }
  const auto add_channel = [&](int64_t c) __attribute__((always_inline)) {
    V col[NR];
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j) col[j] = V::load(u + (c * NR + j) * V::lanes);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const V x = V::set1(v[i * Run + c]);
#pragma GCC unroll 4
      for (int j = 0; j < NR; ++j) acc[i][j] = fma(x, col[j], acc[i][j]);
    }
  };
  int64_t at = 0;
  for (; at + kWinogradRun <= channels; at += kWinogradRun) {  // branches miss the end of so short a loop
#pragma GCC unroll 16
    for (int c = 0; c < kWinogradRun; ++c) add_channel(at + c);
  }
  for (; at < channels; ++at) add_channel(at);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NR; ++j, m += V::lanes) (first ? acc[i][j] : V::load(m) + acc[i][j]).store(m);
  }
}

template <class T, int NR, int Run>
NEOCOG_INLINE void from_taps(const WinogradFromTaps<T>& g) {
  using V = Vec<T>;
  constexpr int64_t kColumns = NR * V::lanes, kTaps = 9 * kColumns;
  constexpr int kMost = kTapsRows<T, NR>;
  const T *taps = g.taps, *v = g.v;
  for (int64_t c = 0; c < g.channels; c += Run, taps += Run * kTaps, v += g.run_v) {
    const int64_t count = min64(Run, g.channels - c), left = g.channels - c - count;
    Fetch<T> ahead(left > 0 ? Ahead<T>{taps + count * kTaps, min64(left, Run) * kTaps} : g.next);
    const int64_t blocks = kWinogradMostPoints * ceil_div(g.end[0] - g.begin[0], kMost);
    const int64_t lines = ceil_div(ahead.end - ahead.at, kLineBytes * blocks);
    for (int64_t row = 0; row < 6; ++row) {
      with_constant<0, 1, 2, 3, 4, 5>(
          row, [&]<int R>() __attribute__((always_inline)) { filter_run<T, NR, Run, R>(taps, count, g.u); });
      const T* u = g.u;
      for (int64_t p = row * 6; p < (row + 1) * 6; ++p, u += Run * kColumns) {
        const int64_t begin = g.begin[p], all = g.end[p] - begin, parts = ceil_div(all, kMost);
        for (int64_t i = 0; i < parts; ++i) {
          ahead.next(lines);
          const int64_t t = begin + all * i / parts, end = begin + all * (i + 1) / parts;
          with_size<kMost>(end - t, [&]<int MR>() __attribute__((always_inline)) {
            taps_sums<T, MR, NR, Run>(v + p * g.point_v + t * Run, u, count,
                                      g.m + p * g.point_m + t * kColumns, c == 0);
          });
        }
      }
    }
  }
}

template <class T>
void winograd_from_taps(const WinogradFromTaps<T>& g) {
  const auto run = [&]<int Run, int... Vectors>() __attribute__((always_inline)) {
    with_constant<Vectors...>(g.vectors,
                              [&]<int NR>() __attribute__((always_inline)) { from_taps<T, NR, Run>(g); });
  };
  if constexpr (Vec<T>::lanes == 16) {
    if (g.run == kWinogradLongRun) return run.template operator()<kWinogradLongRun, 1, 2, 3, 4>();
  }
  run.template operator()<kWinogradRun, 1, 2>();
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
