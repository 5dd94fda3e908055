// Winograd's transforms along one axis, of vectors of channels; no include guard on purpose.
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
NEOCOG_INLINE void data_points_without_infinity(const Vec<T> (&d)[5], Vec<T> (&v)[5]) {
  const Vec<T> even_a = fma(constant<T>(-kB2), d[2], d[4]), odd_a = fma(constant<T>(-kB2), d[1], d[3]);
  const Vec<T> even_b = fma(constant<T>(-kA2), d[2], d[4]), odd_b = fma(constant<T>(-kA2), d[1], d[3]);
  v[0] = fma(constant<T>(kA2 * kB2), d[0], fma(constant<T>(-kA2 - kB2), d[2], d[4]));
  v[1] = fma(constant<T>(kA), odd_a, even_a);
  v[2] = fma(constant<T>(-kA), odd_a, even_a);
  v[3] = fma(constant<T>(kB), odd_b, even_b);
  v[4] = fma(constant<T>(-kB), odd_b, even_b);
}

template <class T>
NEOCOG_INLINE void data_points(const Vec<T> (&d)[6], Vec<T> (&v)[6]) {
  const Vec<T> first[5] = {d[0], d[1], d[2], d[3], d[4]};
  Vec<T> finite[5];
  data_points_without_infinity(first, finite);
#pragma GCC unroll 5
  for (int k = 0; k < 5; ++k) v[k] = finite[k];
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
NEOCOG_INLINE void data_points_without_infinity(const Vec<T> (&d)[4], Vec<T> (&v)[4]) {
  const Vec<T> even_c = fma(constant<T>(-kD2), d[0], d[2]), odd_c = fma(constant<T>(-kD2), d[1], d[3]);
  const Vec<T> even_d = fma(constant<T>(-kC2), d[0], d[2]), odd_d = fma(constant<T>(-kC2), d[1], d[3]);
  v[0] = fma(constant<T>(kC), even_c, odd_c);
  v[1] = fma(constant<T>(-kC), even_c, odd_c);
  v[2] = fma(constant<T>(kD), even_d, odd_d);
  v[3] = fma(constant<T>(-kD), even_d, odd_d);
}

template <class T>
NEOCOG_INLINE void data_points_of_2_taps(const Vec<T> (&d)[5], Vec<T> (&v)[5]) {
  const Vec<T> first[4] = {d[0], d[1], d[2], d[3]};
  Vec<T> finite[4];
  data_points_without_infinity(first, finite);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) v[k] = finite[k];
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
NEOCOG_INLINE void result_points(const Vec<T> (&m)[6], Vec<T> (&y)[3]) {
  const Vec<T> even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  y[0] = m[0] + (even_a + even_b);
  y[1] = fma(constant<T>(kB), odd_b, constant<T>(kA) * odd_a);
  y[2] = fma(constant<T>(kB2), even_b, fma(constant<T>(kA2), even_a, m[5]));
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[5], Vec<T> (&y)[2]) {
  y[0] = m[0] + (m[1] + m[2] + m[3]);
  y[1] = fma(constant<T>(kB), m[3], fma(constant<T>(kA), m[1] - m[2], m[4]));
}

template <class T>
NEOCOG_INLINE void result_points(const Vec<T> (&m)[4], Vec<T> (&y)[1]) {
  y[0] = (m[0] + m[3]) + (m[1] + m[2]);
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
  constexpr int kEven = (R - 1) / 2 * 2, kOdd = R / 2 * 2 - 1;  // the highest powers
  Doubles even_a = g[kEven], even_b = g[kEven], odd_a = g[kOdd], odd_b = g[kOdd];
#pragma GCC unroll 2
  for (int r = kEven - 2; r >= 0; r -= 2) {
    even_a = even_a * kA2 + g[r];
    even_b = even_b * kB2 + g[r];
  }
#pragma GCC unroll 2
  for (int r = kOdd - 2; r >= 0; r -= 2) {
    odd_a = odd_a * kA2 + g[r];
    odd_b = odd_b * kB2 + g[r];
  }
  u[0] = g[0] * kOf0;
  u[1] = kOfA * (even_a + kA * odd_a);
  u[2] = kOfA * (even_a - kA * odd_a);
  u[3] = kOfB * (even_b + kB * odd_b);
  u[4] = kOfB * (even_b - kB * odd_b);
  u[5] = g[R - 1];
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
NEOCOG_INLINE void gradient_points(const Vec<T> (&d)[3], Vec<T> (&v)[6]) {
  const Vec<T> even_a = fma(constant<T>(kA2), d[2], d[0]), even_b = fma(constant<T>(kB2), d[2], d[0]);
  v[0] = d[0];
  v[1] = fma(constant<T>(kA), d[1], even_a);
  v[2] = fma(constant<T>(-kA), d[1], even_a);
  v[3] = fma(constant<T>(kB), d[1], even_b);
  v[4] = fma(constant<T>(-kB), d[1], even_b);
  v[5] = d[2];
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
  static constexpr bool finite = false;
  static constexpr int index(int k) { return k < Count - 1 ? k : Full - 1; }
};
// A full tile whose last tap is zero: nothing at infinity.
template <int Full>
struct FinitePoints {
  static constexpr int count = Full - 1, full = Full;
  static constexpr bool finite = true;
  static constexpr int index(int k) { return k; }
};
template <int Tile, int Taps>
using TilePoints = Points<Tile + Taps - 1, winograd_points(Taps)>;

template <class P, class V>
NEOCOG_INLINE void data_points_of(const V (&d)[P::count], V (&v)[P::count]) {
  if constexpr (P::finite) {
    data_points_without_infinity(d, v);
  } else if constexpr (P::full == 5) {
    data_points_of_2_taps(d, v);
  } else {
    data_points(d, v);
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
