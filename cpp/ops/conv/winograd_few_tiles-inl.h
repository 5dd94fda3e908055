// Winograd's method for a few tiles, whose kernels are transformed where they are multiplied; no include
// guard on purpose.
#include "core/constant.h"
#include "ops/conv/winograd_points-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Channels whose taps stay in the first-level cache while all rows of points go past them.
constexpr int64_t kFewChannels = 32;

template <class T>
constexpr bool kHasFewTiles = Vec<T>::lanes == 16;

// Row R of G g, without its factor, of the taps (rows, columns) of a vector of kernels.
template <class T, int R>
NEOCOG_INLINE void filter_row(const T* g, Vec<T> (&row)[3]) {
  using V = Vec<T>;
  constexpr double point = R == 1 ? kA : R == 2 ? -kA : R == 3 ? kB : -kB;
#pragma GCC unroll 3
  for (int s = 0; s < 3; ++s) {
    const auto tap = [&](int r)
                         __attribute__((always_inline)) { return V::load(g + (r * 3 + s) * V::lanes); };
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

// Sums of row R of the points over channels [0, channels) of taps and v, added to m unless they are the
// first. Each run of channels has sums of its own: short chains of additions err less.
template <class T, int R>
NEOCOG_INLINE void few_tiles_row(const T* taps, const T* v, int64_t channels, T* m, bool first,
                                 Fetch<T>& ahead) {
  using V = Vec<T>;
  constexpr int kTiles = kWinogradFewTiles;
  V acc[kTiles][6];
#pragma GCC unroll 4
  for (int t = 0; t < kTiles; ++t) {
#pragma GCC unroll 6
    for (int s = 0; s < 6; ++s) acc[t][s] = V::zero();
  }
  for (int64_t c = 0; c < channels; ++c, taps += 9 * V::lanes, v += kTiles * 6) {
    ahead.template next<2>();
    V row[3], u[6];
    filter_row<T, R>(taps, row);
    filter_points_of_row<T, R>(row, u);
#pragma GCC unroll 6
    for (int s = 0; s < 6; ++s) {
#pragma GCC unroll 4
      for (int t = 0; t < kTiles; ++t) acc[t][s] = fma(V::set1(v[t * 6 + s]), u[s], acc[t][s]);
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTiles; ++t) {
#pragma GCC unroll 6
    for (int s = 0; s < 6; ++s) {
      T* const sums = m + (t * kWinogradMostPoints + R * 6 + s) * V::lanes;
      (first ? acc[t][s] : V::load(sums) + acc[t][s]).store(sums);
    }
  }
}

template <class T>
void winograd_few_tiles(const WinogradFewTiles<T>& g) {
  constexpr int64_t kTaps = 9 * Vec<T>::lanes, kRow = kWinogradFewTiles * 6;
  for (int64_t c = 0; c < g.channels; c += kFewChannels) {
    const int64_t count = min64(kFewChannels, g.channels - c), left = g.channels - c - count;
    // The taps of the next channels; behind the last, those of the next vector of kernels.
    Fetch<T> ahead(left > 0 ? Ahead<T>{g.taps + (c + count) * kTaps, min64(left, kFewChannels) * kTaps}
                            : g.next);
    const auto row = [&]<int R>() __attribute__((always_inline)) {
      few_tiles_row<T, R>(g.taps + c * kTaps, g.v + (R * g.channels + c) * kRow, count, g.m, c == 0, ahead);
    };
    row.template operator()<0>();
    row.template operator()<1>();
    row.template operator()<2>();
    row.template operator()<3>();
    row.template operator()<4>();
    row.template operator()<5>();
  }
}

template <class T>
constexpr auto few_tiles_kernel() -> void (*)(const WinogradFewTiles<T>&) {
  if constexpr (kHasFewTiles<T>) {
    return &winograd_few_tiles<T>;
  } else {
    return nullptr;
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
