// Kernel bodies of winograd_kernels.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/conv/winograd_kernels.h"

namespace neocog::NEOCOG_ISA {
namespace {

// The points besides 0 and infinity: +-a, +-b.
constexpr double kA = 0.75, kB = 1.5, kA2 = kA * kA, kB2 = kB * kB;

template <class T>
NEOCOG_INLINE Vec<T> constant(double value) {
  return Vec<T>::set1(static_cast<T>(value));
}

// B^T d for a tile of M outputs. A row holds the coefficients of the product of (x - q) over the other points
// q, dropped ones included at x = p: G has the factors of all six points.
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

// G g: powers of a point over the product of its distances to the others.
NEOCOG_INLINE void filter_points(const Doubles (&g)[3], Doubles (&u)[6]) {
  constexpr double kOfA = 1 / (2 * kA2 * (kA2 - kB2)), kOfB = 1 / (2 * kB2 * (kB2 - kA2));
  const Doubles even_a = kOfA * g[0] + kOfA * kA2 * g[2], odd_a = kOfA * kA * g[1];
  const Doubles even_b = kOfB * g[0] + kOfB * kB2 * g[2], odd_b = kOfB * kB * g[1];
  u[0] = g[0] * (1 / (kA2 * kB2));
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
  u[5] = g[2];
}

template <class T>
void winograd_filter(const T* g, int64_t g_stride, int64_t count, T* u, int64_t u_stride) {
  for (int64_t i = 0; i < count; i += kDoubles) {
    const int64_t n = min64(kDoubles, count - i);
    Doubles points[6][3];
#pragma GCC unroll 3
    for (int s = 0; s < 3; ++s) {
      Doubles taps[3], column[6];
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) load_doubles(g + (3 * r + s) * g_stride + i, n, taps[r]);
      filter_points(taps, column);
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) points[r][s] = column[r];
    }
#pragma GCC unroll 6
    for (int r = 0; r < 6; ++r) {
      Doubles row[6];
      filter_points(points[r], row);
#pragma GCC unroll 6
      for (int s = 0; s < 6; ++s) store_rounded(row[s], u + (r * 6 + s) * u_stride + i, n);
    }
  }
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

// G^T m.
template <class T>
NEOCOG_INLINE void weight_points(const Vec<T> (&m)[6], Vec<T> (&w)[3]) {
  constexpr double kOfA = 1 / (2 * kA2 * (kA2 - kB2)), kOfB = 1 / (2 * kB2 * (kB2 - kA2));
  const Vec<T> even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  w[0] = fma(constant<T>(1 / (kA2 * kB2)), m[0], fma(constant<T>(kOfA), even_a, constant<T>(kOfB) * even_b));
  w[1] = fma(constant<T>(kOfA * kA), odd_a, constant<T>(kOfB * kB) * odd_b);
  w[2] = fma(constant<T>(kOfA * kA2), even_a, fma(constant<T>(kOfB * kB2), even_b, m[5]));
}

// Where the k-th point of a tile of M outputs stands among the six.
template <int M>
constexpr int point_index(int k) {
  return k <= M ? k : 5;
}

// One vector of channels; `load` and `store` know how many lanes exist.
template <class T, int H, int W, class Load, class Store>
NEOCOG_INLINE void input_vector(const Load& load, const Store& store) {
  using V = Vec<T>;
  V points[H + 2][W + 2];
#pragma GCC unroll 6
  for (int s = 0; s < W + 2; ++s) {
    V d[H + 2], v[H + 2];
#pragma GCC unroll 6
    for (int r = 0; r < H + 2; ++r) d[r] = load(r * 6 + s);
    data_points<T>(d, v);
#pragma GCC unroll 6
    for (int r = 0; r < H + 2; ++r) points[r][s] = v[r];
  }
#pragma GCC unroll 6
  for (int r = 0; r < H + 2; ++r) {
    V v[W + 2];
    data_points<T>(points[r], v);
#pragma GCC unroll 6
    for (int s = 0; s < W + 2; ++s) store(point_index<H>(r) * 6 + point_index<W>(s), v[s]);
  }
}

template <class T, int H, int W>
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

template <class T, int H, int W, class Load, class Store>
NEOCOG_INLINE void output_vector(const WinogradOutput<T>& g, const Load& load, const Store& store) {
  using V = Vec<T>;
  V points[H][W + 2];
#pragma GCC unroll 6
  for (int s = 0; s < W + 2; ++s) {
    V m[H + 2], y[H];
#pragma GCC unroll 6
    for (int r = 0; r < H + 2; ++r)
      m[r] = load(g.m + (point_index<H>(r) * 6 + point_index<W>(s)) * g.m_stride);
    result_points<T>(m, y);
#pragma GCC unroll 4
    for (int r = 0; r < H; ++r) points[r][s] = y[r];
  }
  const V bias = g.bias == nullptr ? V::zero() : load(g.bias);
  const V lo = V::set1(g.lo), hi = V::set1(g.hi);
#pragma GCC unroll 4
  for (int r = 0; r < H; ++r) {
    if (r >= g.rows) break;
    V y[W];
    result_points<T>(points[r], y);
    T* to = g.y + r * g.stride_h;
#pragma GCC unroll 4
    for (int s = 0; s < W; ++s, to += g.stride_w) {
      if (s >= g.cols) break;
      V value = y[s] + bias;
      if (g.clamp) value = min(hi, max(lo, value));
      store(to, value);
    }
  }
}

template <class T, int H, int W>
NEOCOG_INLINE void output_tile(const WinogradOutput<T>& g) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; c + V::lanes <= g.columns; c += V::lanes) {
    output_vector<T, H, W>(
        g, [=](const T* p) __attribute__((always_inline)) { return V::load(p + c); },
        [=](T* p, V x) __attribute__((always_inline)) { x.store(p + c); });
  }
  if (c < g.columns) {
    const int64_t n = g.columns - c;
    output_vector<T, H, W>(
        g, [=](const T* p) __attribute__((always_inline)) { return V::load_n(p + c, n); },
        [=](T* p, V x) __attribute__((always_inline)) { x.store_n(p + c, n); });
  }
}

template <class T, class Load, class Store>
NEOCOG_INLINE void gradient_vector(const Load& load, const Store& store) {
  using V = Vec<T>;
  V points[6][4];
#pragma GCC unroll 4
  for (int s = 0; s < 4; ++s) {
    V d[4], v[6];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) d[r] = load(r * 4 + s);
    gradient_points<T>(d, v);
#pragma GCC unroll 6
    for (int r = 0; r < 6; ++r) points[r][s] = v[r];
  }
#pragma GCC unroll 6
  for (int r = 0; r < 6; ++r) {
    V v[6];
    gradient_points<T>(points[r], v);
#pragma GCC unroll 6
    for (int s = 0; s < 6; ++s) store(r * 6 + s, v[s]);
  }
}

template <class T>
void winograd_gradient(const T* const* pixel, int64_t channels, T* v, int64_t v_stride) {
  using V = Vec<T>;
  int64_t c = 0;
  for (; c + V::lanes <= channels; c += V::lanes) {
    gradient_vector<T>([&](int p) __attribute__((always_inline)) { return V::load(pixel[p] + c); },
                       [&](int p, V x) __attribute__((always_inline)) { x.store(v + p * v_stride + c); });
  }
  if (c < channels) {
    const int64_t n = channels - c;
    gradient_vector<T>([&](int p) __attribute__((always_inline)) { return V::load_n(pixel[p] + c, n); },
                       [&](int p, V x)
                           __attribute__((always_inline)) { x.store_n(v + p * v_stride + c, n); });
  }
}

template <class T>
void winograd_weight(const T* m, int64_t m_stride, int64_t count, T* dw) {
  using V = Vec<T>;
  for (int64_t i = 0; i < count; i += V::lanes) {
    V points[3][6];
#pragma GCC unroll 6
    for (int s = 0; s < 6; ++s) {
      V column[6], w[3];
#pragma GCC unroll 6
      for (int r = 0; r < 6; ++r) column[r] = V::load(m + (r * 6 + s) * m_stride + i);
      weight_points<T>(column, w);
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) points[r][s] = w[r];
    }
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      V w[3];
      weight_points<T>(points[r], w);
#pragma GCC unroll 3
      for (int s = 0; s < 3; ++s) w[s].store(dw + (r * 3 + s) * count + i);
    }
  }
}

// Calls f.template operator()<H, W>() for the sizes of a tile.
template <int H, class F>
NEOCOG_INLINE void with_width(int64_t w, const F& f) {
  switch (w) {
    case 2: f.template operator()<H, 2>(); break;
    case 3: f.template operator()<H, 3>(); break;
    default: f.template operator()<H, 4>(); break;
  }
}
template <class F>
NEOCOG_INLINE void with_tile(int64_t h, int64_t w, const F& f) {
  switch (h) {
    case 2: with_width<2>(w, f); break;
    case 3: with_width<3>(w, f); break;
    default: with_width<4>(w, f); break;
  }
}

template <class T>
void winograd_input(const WinogradInput<T>& g) {
  with_tile(g.tile_h, g.tile_w,
            [&]<int H, int W>() __attribute__((always_inline)) { input_tile<T, H, W>(g); });
}

template <class T>
void winograd_output(const WinogradOutput<T>& g) {
  with_tile(g.tile_h, g.tile_w,
            [&]<int H, int W>() __attribute__((always_inline)) { output_tile<T, H, W>(g); });
}

template <class T>
constexpr WinogradKernels<T> kWinogradTable = {&winograd_filter<T>, &winograd_input<T>, &winograd_output<T>,
                                               &winograd_gradient<T>, &winograd_weight<T>};

}  // namespace

extern constinit const WinogradKernels<float> winograd_kernels_f32 = kWinogradTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const WinogradKernels<double> winograd_kernels_f64 = kWinogradTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
