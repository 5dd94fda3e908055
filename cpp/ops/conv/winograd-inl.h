// Kernel bodies of winograd_kernels.h, compiled once per instruction set; no include guard on purpose.
#include "core/constant.h"
#include "core/window.h"
#include "ops/conv/winograd_kernels.h"

namespace neocog::NEOCOG_ISA {
namespace {

// The points besides 0 and infinity: +-a, +-b; and of 2 taps.
constexpr double kA = 0.75, kB = 1.5, kA2 = kA * kA, kB2 = kB * kB;
constexpr double kC = 0.5, kD = 1.5, kC2 = kC * kC, kD2 = kD * kD;

template <class T>
NEOCOG_INLINE Vec<T> constant(double value) {
  return Vec<T>::set1(static_cast<T>(value));
}

// An axis of one tap is not transformed.
template <class V>
NEOCOG_INLINE void data_points(const V (&d)[1], V (&v)[1]) {
  v[0] = d[0];
}
template <class V>
NEOCOG_INLINE void result_points(const V (&m)[1], V (&y)[1]) {
  y[0] = m[0];
}
template <class V>
NEOCOG_INLINE void gradient_points(const V (&d)[1], V (&v)[1]) {
  v[0] = d[0];
}
template <class V>
NEOCOG_INLINE void weight_points(const V (&m)[1], V (&w)[1]) {
  w[0] = m[0];
}

// B^T d of the inputs under a tile. A row holds the coefficients of the product of (x - q) over the other
// points q, dropped ones included at x = p: G has the factors of all six points.
template <class T>
NEOCOG_INLINE void data_points(const Vec<T> (&d)[6], Vec<T> (&v)[6]) {
  const Vec<T> even_a = fma(constant<T>(-kB2), d[2], d[4]), odd_a = fma(constant<T>(-kB2), d[1], d[3]);
  const Vec<T> even_b = fma(constant<T>(-kA2), d[2], d[4]), odd_b = fma(constant<T>(-kA2), d[1], d[3]);
  v[0] = fma(constant<T>(kA2 * kB2), d[0], fma(constant<T>(-kA2 - kB2), d[2], d[4]));
  v[1] = fma(constant<T>(kA), odd_a, even_a);
  v[2] = fma(constant<T>(-kA), odd_a, even_a);
  v[3] = fma(constant<T>(kB), odd_b, even_b);
  v[4] = fma(constant<T>(-kB), odd_b, even_b);
  v[5] = fma(constant<T>(kA2 * kB2), d[1], fma(constant<T>(-kA2 - kB2), d[3], d[5]));
}

template <class T>
NEOCOG_INLINE void data_points(const Vec<T> (&d)[5], Vec<T> (&v)[5]) {  // without -b
  const Vec<T> odd = fma(constant<T>(-kA2), d[1], d[3]), even = fma(constant<T>(-kA2), d[0], d[2]);
  v[0] = constant<T>(kB) * fma(constant<T>(-kB), even, odd);
  v[1] = constant<T>(kA + kB) * fma(constant<T>(-kA * kB), d[1], fma(constant<T>(kA - kB), d[2], d[3]));
  v[2] = constant<T>(kB - kA) * fma(constant<T>(kA * kB), d[1], fma(constant<T>(-kA - kB), d[2], d[3]));
  v[3] = constant<T>(2 * kB) * odd;
  v[4] = fma(constant<T>(-kB), odd, fma(constant<T>(-kA2), d[2], d[4]));
}

template <class T>
NEOCOG_INLINE void data_points_of_2_taps(const Vec<T> (&d)[5], Vec<T> (&v)[5]) {
  const Vec<T> even_c = fma(constant<T>(-kD2), d[0], d[2]), odd_c = fma(constant<T>(-kD2), d[1], d[3]);
  const Vec<T> even_d = fma(constant<T>(-kC2), d[0], d[2]), odd_d = fma(constant<T>(-kC2), d[1], d[3]);
  v[0] = fma(constant<T>(kC), even_c, odd_c);
  v[1] = fma(constant<T>(-kC), even_c, odd_c);
  v[2] = fma(constant<T>(kD), even_d, odd_d);
  v[3] = fma(constant<T>(-kD), even_d, odd_d);
  v[4] = fma(constant<T>(kC2 * kD2), d[0], fma(constant<T>(-kC2 - kD2), d[2], d[4]));
}

template <class T>
NEOCOG_INLINE void data_points_of_2_taps(const Vec<T> (&d)[3], Vec<T> (&v)[3]) {  // without +-d
  v[0] = constant<T>(kC2 - kD2) * fma(constant<T>(kC), d[0], d[1]);
  v[1] = constant<T>(kC2 - kD2) * fma(constant<T>(-kC), d[0], d[1]);
  v[2] = fma(constant<T>(-kC2), d[0], d[2]);
}

template <class T>
NEOCOG_INLINE void data_points_of_2_taps(const Vec<T> (&d)[2], Vec<T> (&v)[2]) {  // without -c, too
  v[0] = constant<T>(2 * kC * (kC2 - kD2)) * d[0];
  v[1] = fma(constant<T>(-kC), d[0], d[1]);
}

template <class T>
NEOCOG_INLINE void data_points(const Vec<T> (&d)[4], Vec<T> (&v)[4]) {  // without +-b
  v[0] = constant<T>(-kB2) * fma(constant<T>(-kA2), d[0], d[2]);
  v[1] = constant<T>(kA2 - kB2) * fma(constant<T>(kA), d[1], d[2]);
  v[2] = constant<T>(kA2 - kB2) * fma(constant<T>(-kA), d[1], d[2]);
  v[3] = fma(constant<T>(-kA2), d[1], d[3]);
}

// A^T m: powers of the points.
template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[6], Vec<T> (&y)[4]) {
  const Vec<T> even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + (even_a + even_b);
  y[1] = fma(constant<T>(kB), odd_b, constant<T>(kA) * odd_a);
  y[2] = fma(constant<T>(kB2), even_b, constant<T>(kA2) * even_a);
  y[3] = fma(constant<T>(kB2 * kB), odd_b, fma(constant<T>(kA2 * kA), odd_a, m[5]));
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[5], Vec<T> (&y)[3]) {
  const Vec<T> even = m[1] + m[2], odd = m[1] - m[2];
  y[0] = m[0] + (even + m[3]);
  y[1] = fma(constant<T>(kB), m[3], constant<T>(kA) * odd);
  y[2] = fma(constant<T>(kB2), m[3], fma(constant<T>(kA2), even, m[4]));
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[4], Vec<T> (&y)[2]) {
  y[0] = m[0] + (m[1] + m[2]);
  y[1] = fma(constant<T>(kA), m[1] - m[2], m[3]);
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[5], Vec<T> (&y)[4]) {  // of 2 taps
  const Vec<T> even_c = m[0] + m[1], odd_c = m[0] - m[1], even_d = m[2] + m[3], odd_d = m[2] - m[3];
  y[0] = even_c + even_d;
  y[1] = fma(constant<T>(kD), odd_d, constant<T>(kC) * odd_c);
  y[2] = fma(constant<T>(kD2), even_d, constant<T>(kC2) * even_c);
  y[3] = fma(constant<T>(kD2 * kD), odd_d, fma(constant<T>(kC2 * kC), odd_c, m[4]));
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[6], Vec<T> (&y)[2]) {
  y[0] = m[0] + ((m[1] + m[2]) + (m[3] + m[4]));
  y[1] = fma(constant<T>(kB), m[3] - m[4], fma(constant<T>(kA), m[1] - m[2], m[5]));
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[3], Vec<T> (&y)[2]) {
  y[0] = m[0] + m[1];
  y[1] = fma(constant<T>(kC), m[0] - m[1], m[2]);
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[2], Vec<T> (&y)[1]) {
  y[0] = m[0] + m[1];
}

// Eight values in float64, whatever the instruction set: the compiler knows these vectors.
typedef double Doubles __attribute__((vector_size(64)));
constexpr int64_t kDoubles = 8;

template <class T>
NEOCOG_INLINE void load_doubles(const T* from, int64_t n, Doubles& to) {
  typedef T Block __attribute__((vector_size(kDoubles * sizeof(T))));
  Block block{};
  if (n == kDoubles) {
    __builtin_memcpy(&block, from, sizeof(Block));
  } else {
    for (int64_t i = 0; i < n; ++i) block[i] = from[i];
  }
  to = __builtin_convertvector(block, Doubles);
}

template <class T>
NEOCOG_INLINE void store_rounded(const Doubles& values, T* to, int64_t n) {
  typedef T Block __attribute__((vector_size(kDoubles * sizeof(T))));
  const Block block = __builtin_convertvector(values, Block);
  if (n == kDoubles) {
    __builtin_memcpy(to, &block, sizeof(Block));
  } else {
    for (int64_t i = 0; i < n; ++i) to[i] = block[i];
  }
}

// What even and odd powers of +-a and +-b are divided by in G: the product of a point's distances to the
// others.
constexpr double kOf0 = 1 / (kA2 * kB2), kOfA = 1 / (2 * kA2 * (kA2 - kB2)),
                 kOfB = 1 / (2 * kB2 * (kB2 - kA2)), kOfC = 1 / (2 * kC * (kC2 - kD2)),
                 kOfD = 1 / (2 * kD * (kD2 - kC2));

// G g: powers of a point over the product of its distances to the others.
NEOCOG_INLINE void filter_points(const Doubles (&g)[1], Doubles (&u)[1]) {
  u[0] = g[0];
}

NEOCOG_INLINE void filter_points(const Doubles (&g)[2], Doubles (&u)[5]) {
  u[0] = kOfC * (g[0] + kC * g[1]);
  u[1] = -kOfC * (g[0] - kC * g[1]);
  u[2] = kOfD * (g[0] + kD * g[1]);
  u[3] = -kOfD * (g[0] - kD * g[1]);
  u[4] = g[1];
}

template <int R>
NEOCOG_INLINE void filter_points(const Doubles (&g)[R], Doubles (&u)[6]) {
  Doubles even_a = g[R - 1], even_b = g[R - 1], odd_a = g[R - 2], odd_b = g[R - 2];
#pragma GCC unroll 2
  for (int r = R - 3; r >= 0; r -= 2) {
    even_a = even_a * kA2 + g[r];
    even_b = even_b * kB2 + g[r];
    if (r == 0) continue;
    odd_a = odd_a * kA2 + g[r - 1];
    odd_b = odd_b * kB2 + g[r - 1];
  }
  u[0] = g[0] * kOf0;
  u[1] = kOfA * (even_a + kA * odd_a);
  u[2] = kOfA * (even_a - kA * odd_a);
  u[3] = kOfB * (even_b + kB * odd_b);
  u[4] = kOfB * (even_b - kB * odd_b);
  u[5] = g[R - 1];
}

// f.template operator()<R, S>() for the taps of a kernel.
template <class F>
NEOCOG_INLINE void with_taps(int64_t h, int64_t w, const F& f) {
  if (h == 2 || w == 2) {
    with_constant<1, 2>(h, [&]<int R>() __attribute__((always_inline)) {
      with_constant<1, 2>(w, [&]<int S>() __attribute__((always_inline)) { f.template operator()<R, S>(); });
    });
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

// A d: a result's powers of the points.
template <class T>
NEOCOG_INLINE void gradient_points(const Vec<T> (&d)[4], Vec<T> (&v)[6]) {
  const Vec<T> even_a = fma(constant<T>(kA2), d[2], d[0]), odd_a = fma(constant<T>(kA2), d[3], d[1]);
  const Vec<T> even_b = fma(constant<T>(kB2), d[2], d[0]), odd_b = fma(constant<T>(kB2), d[3], d[1]);
  v[0] = d[0];
  v[1] = fma(constant<T>(kA), odd_a, even_a);
  v[2] = fma(constant<T>(-kA), odd_a, even_a);
  v[3] = fma(constant<T>(kB), odd_b, even_b);
  v[4] = fma(constant<T>(-kB), odd_b, even_b);
  v[5] = d[3];
}

template <class T>
NEOCOG_INLINE void gradient_points(const Vec<T> (&d)[4], Vec<T> (&v)[5]) {  // of 2 taps
  const Vec<T> even_c = fma(constant<T>(kC2), d[2], d[0]), odd_c = fma(constant<T>(kC2), d[3], d[1]);
  const Vec<T> even_d = fma(constant<T>(kD2), d[2], d[0]), odd_d = fma(constant<T>(kD2), d[3], d[1]);
  v[0] = fma(constant<T>(kC), odd_c, even_c);
  v[1] = fma(constant<T>(-kC), odd_c, even_c);
  v[2] = fma(constant<T>(kD), odd_d, even_d);
  v[3] = fma(constant<T>(-kD), odd_d, even_d);
  v[4] = d[3];
}

template <class T>
NEOCOG_INLINE void gradient_points(const Vec<T> (&d)[2], Vec<T> (&v)[6]) {
  v[0] = d[0];
  v[1] = fma(constant<T>(kA), d[1], d[0]);
  v[2] = fma(constant<T>(-kA), d[1], d[0]);
  v[3] = fma(constant<T>(kB), d[1], d[0]);
  v[4] = fma(constant<T>(-kB), d[1], d[0]);
  v[5] = d[1];
}

// G^T m.
template <class T, int R>
NEOCOG_INLINE void weight_points(const Vec<T> (&m)[6], Vec<T> (&w)[R]) {
  const Vec<T> even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  w[0] = fma(constant<T>(kOf0), m[0], fma(constant<T>(kOfA), even_a, constant<T>(kOfB) * even_b));
  double of_a = kOfA * kA, of_b = kOfB * kB;
#pragma GCC unroll 4
  for (int r = 1; r < R; ++r) {
    const Vec<T> a = r % 2 == 0 ? even_a : odd_a, b = r % 2 == 0 ? even_b : odd_b;
    w[r] = fma(constant<T>(of_a), a, constant<T>(of_b) * b);
    of_a *= kA;
    of_b *= kB;
  }
  w[R - 1] = w[R - 1] + m[5];
}

template <class T>
NEOCOG_INLINE void weight_points(const Vec<T> (&m)[5], Vec<T> (&w)[2]) {
  w[0] = fma(constant<T>(kOfC), m[0] - m[1], constant<T>(kOfD) * (m[2] - m[3]));
  w[1] = fma(constant<T>(kOfC * kC), m[0] + m[1], fma(constant<T>(kOfD * kD), m[2] + m[3], m[4]));
}

// Count points of a tile along an axis where a full one has Full, and where they stand among those.
template <int Count, int Full>
struct Points {
  static constexpr int count = Count, full = Full;
  static constexpr int index(int k) { return k < Count - 1 ? k : Full - 1; }
};
template <int Tile, int Taps>
using TilePoints = Points<Tile + Taps - 1, winograd_points(Taps)>;

template <class P, class V>
NEOCOG_INLINE void data_points_of(const V (&d)[P::count], V (&v)[P::count]) {
  if constexpr (P::full == 5) {
    data_points_of_2_taps(d, v);
  } else {
    data_points(d, v);
  }
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
  int64_t c = 0;
  for (; c + V::lanes <= g.channels; c += V::lanes) {
    input_vector<T, H, W>([&](int p) __attribute__((always_inline)) { return V::load(g.pixel[p] + c); },
                          [&](int p, V x)
                              __attribute__((always_inline)) { x.store(g.v + p * g.v_stride + c); });
  }
  if (c < g.channels) {
    const int64_t n = g.channels - c;
    input_vector<T, H, W>([&](int p) __attribute__((always_inline)) { return V::load_n(g.pixel[p] + c, n); },
                          [&](int p, V x)
                              __attribute__((always_inline)) { x.store_n(g.v + p * g.v_stride + c, n); });
  }
}

template <class T>
void winograd_input(const WinogradInput<T>& g) {
  const auto run = [&]<class H, class W>() __attribute__((always_inline)) { input_tile<T, H, W>(g); };
  const int64_t h = g.tile_h + g.taps_h - 1, w = g.tile_w + g.taps_w - 1;
  if (g.taps_h == 2 || g.taps_w == 2) {
    with_constant<1, 2, 3, 5>(h, [&]<int H>() __attribute__((always_inline)) {
      with_constant<1, 2, 3, 5>(w, [&]<int W>() __attribute__((always_inline)) {
        run.template operator()<Points<H, H == 1 ? 1 : 5>, Points<W, W == 1 ? 1 : 5>>();
      });
    });
    return;
  }
  with_constant<1, 4, 5, 6>(h, [&]<int H>() __attribute__((always_inline)) {
    with_constant<1, 4, 5, 6>(w, [&]<int W>() __attribute__((always_inline)) {
      run.template operator()<Points<H, H == 1 ? 1 : 6>, Points<W, W == 1 ? 1 : 6>>();
    });
  });
}

// Tiles of HT x WT outputs of kernels of HR x WR taps.
template <class T, int HT, int HR, int WT, int WR, class Load, class Store>
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
#pragma GCC unroll 4
  for (int r = 0; r < HT; ++r) {
    if (r >= g.rows) break;
    V y[WT];
    result_points(points[r], y);
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

template <class T, int HT, int HR, int WT, int WR>
NEOCOG_INLINE void output_tile(const WinogradOutput<T>& g) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; c + V::lanes <= g.columns; c += V::lanes) {
    output_vector<T, HT, HR, WT, WR>(
        g, [=](const T* p) __attribute__((always_inline)) { return V::load(p + c); },
        [=](T* p, V x) __attribute__((always_inline)) { x.store(p + c); });
  }
  if (c < g.columns) {
    const int64_t n = g.columns - c;
    output_vector<T, HT, HR, WT, WR>(
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

template <class T>
void winograd_output(const WinogradOutput<T>& g) {
  const auto with = [&]<int... Tiles>() __attribute__((always_inline)) {
    with_tile<Tiles...>(g.tile_h, g.taps_h, [&]<int HT, int HR>() __attribute__((always_inline)) {
      with_tile<Tiles...>(g.tile_w, g.taps_w, [&]<int WT, int WR>() __attribute__((always_inline)) {
        output_tile<T, HT, HR, WT, WR>(g);
      });
    });
  };
  if (g.taps_h == 2 || g.taps_w == 2) {
    with.template operator()<11, 12, 22, 42>();
  } else {
    with.template operator()<11, 23, 33, 43, 25>();
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
constexpr WinogradKernels<T> kWinogradTable = {&winograd_filter<T>, &winograd_input<T>, &winograd_output<T>,
                                               &winograd_gradient<T>, &winograd_weight<T>};

}  // namespace

extern constinit const WinogradKernels<float> winograd_kernels_f32 = kWinogradTable<float>;

}  // namespace neocog::NEOCOG_ISA
