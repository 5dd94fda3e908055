// Kernel bodies of binary.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/elementwise/activations-inl.h"
#include "ops/elementwise/binary.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Lane by lane through the C library.
template <class F>
NEOCOG_INLINE Vec<float> each_lane(Vec<float> a, Vec<float> b, F f) {
  constexpr int64_t kLanes = Vec<float>::lanes;
  float p[kLanes], q[kLanes];
  a.store(p);
  b.store(q);
  for (int64_t i = 0; i < kLanes; ++i) p[i] = f(p[i], q[i]);
  return Vec<float>::load(p);
}

NEOCOG_INLINE float mod(float a, float b) {
  const float r = __builtin_fmodf(a, b);
  if (r == 0) return __builtin_copysignf(r, b);
  return (r < 0) == (b < 0) ? r : r + b;
}

// visit(f) with the function itself.
template <class Visitor>
NEOCOG_INLINE void with_binary(const BinaryRows& r, Visitor&& visit) {
  using V = Vec<float>;
  switch (r.f) {
    case Binary::kAdd:
      with_activation(r.activation, r.alpha, [&](auto g) { visit([g](V a, V b) { return g(a + b); }); });
      break;
    case Binary::kSub: visit([](V a, V b) { return a - b; }); break;
    case Binary::kMul: visit([](V a, V b) { return a * b; }); break;
    case Binary::kDiv: visit([](V a, V b) { return a / b; }); break;
    case Binary::kPow:
      visit([](V a, V b) { return each_lane(a, b, [](float p, float q) { return __builtin_powf(p, q); }); });
      break;
    // max and min take b where one is NaN.
    case Binary::kMaximum: visit([](V a, V b) { return select(unordered(a, a), a, max(a, b)); }); break;
    case Binary::kMinimum: visit([](V a, V b) { return select(unordered(a, a), a, min(a, b)); }); break;
    case Binary::kMod:
      visit([](V a, V b) { return each_lane(a, b, [](float p, float q) { return mod(p, q); }); });
      break;
    case Binary::kPrelu: visit([](V a, V b) { return select(gt(a, V::zero()), a, a * b); }); break;
  }
}

template <class F>
NEOCOG_INLINE void map_pairs(const float* a, const float* b, float* y, int64_t n, F f) {
  using V = Vec<float>;
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) f(V::load(a + i), V::load(b + i)).store(y + i);
  if (i < n) f(V::load_n(a + i, n - i), V::load_n(b + i, n - i)).store_n(y + i, n - i);
}

// Elements of a row that are gathered at a time, where they do not lie side by side.
constexpr int64_t kGathered = 256;

NEOCOG_INLINE const float* gathered(const float* from, int64_t step, int64_t begin, int64_t n, float* tile) {
  if (step == 1) return from + begin;
  if (step != 0) {
    for (int64_t i = 0; i < n; ++i) tile[i] = from[(begin + i) * step];
  } else if (begin == 0) {
    for (int64_t i = 0; i < n; ++i) tile[i] = *from;
  }
  return tile;
}

// Whether rows follow each other without a gap, or are one row again and again.
template <class T>
NEOCOG_INLINE bool follows(const BinaryOperand<T>& o, int64_t n) {
  return o.step == 1 && o.row == n;
}

// Several short rows at a time: an operand that repeats its row is repeated in a tile.
template <class F>
NEOCOG_INLINE void short_rows_of(const BinaryRows& r, F f) {
  float tile_a[kGathered], tile_b[kGathered], row[kGathered];
  const int64_t length = kGathered / r.n * r.n;
  const auto repeat = [&](const BinaryOperand<const float>& o, float* tile) {
    const float* const one = gathered(o.data, o.step, 0, r.n, row);
    for (int64_t i = 0; i < length; i += r.n) {
      for (int64_t j = 0; j < r.n; ++j) tile[i + j] = one[j];
    }
  };
  const bool a_follows = follows(r.a, r.n), b_follows = follows(r.b, r.n);
  if (!a_follows) repeat(r.a, tile_a);
  if (!b_follows) repeat(r.b, tile_b);
  for (int64_t i = 0; i < r.rows * r.n; i += length) {
    map_pairs(a_follows ? r.a.data + i : tile_a, b_follows ? r.b.data + i : tile_b, r.y.data + i,
              min64(length, r.rows * r.n - i), f);
  }
}

template <class F>
NEOCOG_INLINE void long_rows_of(const BinaryRows& r, F f) {
  float tile_a[kGathered], tile_b[kGathered], tile_y[kGathered];
  const float *a = r.a.data, *b = r.b.data;
  float* y = r.y.data;
  const bool plain = r.a.step == 1 && r.b.step == 1 && r.y.step == 1;
  const int64_t length = plain ? r.n : kGathered;
  for (int64_t row = 0; row < r.rows; ++row, a += r.a.row, b += r.b.row, y += r.y.row) {
    for (int64_t i = 0; i < r.n; i += length) {
      const int64_t n = min64(length, r.n - i);
      const float* const p = gathered(a, r.a.step, i, n, tile_a);
      const float* const q = gathered(b, r.b.step, i, n, tile_b);
      map_pairs(p, q, r.y.step == 1 ? y + i : tile_y, n, f);
      if (r.y.step == 1) continue;
      for (int64_t j = 0; j < n; ++j) y[(i + j) * r.y.step] = tile_y[j];
    }
  }
}

void binary_rows(const BinaryRows& r) {
  constexpr int64_t kShort = 64;
  const bool in_tiles = r.n <= kShort && r.rows >= 4 && follows(r.y, r.n) &&
                        (follows(r.a, r.n) || r.a.row == 0) && (follows(r.b, r.n) || r.b.row == 0);
  with_binary(r, [&](auto f) {
    if (in_tiles) {
      short_rows_of(r, f);
    } else {
      long_rows_of(r, f);
    }
  });
}

}  // namespace

extern constinit const BinaryKernels binary_kernels_f32 = {&binary_rows};

}  // namespace neocog::NEOCOG_ISA
