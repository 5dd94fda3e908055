// The kernels of parts.h on tiles; no include guard on purpose.
#include "core/window.h"
#include "ops/gemm/parts.h"

namespace neocog::NEOCOG_ISA {
namespace {

using V = Vec<float>;

constexpr int64_t kTileRows = 16, kTile = kTileRows * kPartsDepth, kStepTiles = kParts * kTile;
constexpr int64_t kMaxVectors = 4;

// Pairs of three parts each. The second part is rounded to nearest, so that the third has either sign and what is left
// out does not add up; the first is not, because the largest numbers would become infinite.
struct Split {
  __m512i part[kParts];
  NEOCOG_INLINE Split(V low, V high) {
    const __m512i top = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000u)), half = _mm512_set1_epi32(0x8000);
    const V both[2] = {low, high};
    __m512i parts[2][kParts];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      parts[i][0] = _mm512_and_si512(_mm512_castps_si512(both[i].v), top);
      const __m512 rest = _mm512_sub_ps(both[i].v, _mm512_castsi512_ps(parts[i][0]));
      parts[i][1] = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(rest), half), top);
      parts[i][2] = _mm512_castps_si512(_mm512_sub_ps(rest, _mm512_castsi512_ps(parts[i][1])));
    }
#pragma GCC unroll 3
    for (int p = 0; p < kParts; ++p) {
      // (a & top) | b
      part[p] = _mm512_ternarylogic_epi32(parts[1][p], _mm512_srli_epi32(parts[0][p], 16), top, 0xEC);
    }
  }
  NEOCOG_INLINE void store(uint16_t* to, int64_t step) const {
#pragma GCC unroll 3
    for (int p = 0; p < kParts; ++p) _mm512_storeu_si512(to + p * step, part[p]);
  }
};

void split_row(const float* from, int64_t channels, int64_t width, uint16_t* to, int64_t part) {
  int64_t c = 0;
  for (; c + kPartsDepth <= channels; c += kPartsDepth) {
    Split(V::load(from + c), V::load(from + c + V::lanes)).store(to + c, part);
  }
  for (; c < width; c += kPartsDepth) {
    const int64_t n = max64(0, channels - c), low = min64(n, V::lanes);
    Split(V::load_n(from + c, low), n > V::lanes ? V::load_n(from + c + V::lanes, n - V::lanes) : V::zero())
        .store(to + c, part);
  }
}

void split_pixels(const float* from, int64_t from_step, int64_t pixels, int64_t channels, int64_t width, uint16_t* to,
                  int64_t part) {
  if (from_step == channels && channels == width) {
    split_row(from, pixels * width, pixels * width, to, part);
    return;
  }
  for (int64_t p = 0; p < pixels; ++p) split_row(from + p * from_step, channels, width, to + p * width, part);
}

void split_panel(const float* from, int64_t rows, int64_t vectors, uint16_t* to) {
  const int64_t width = vectors * V::lanes;
  for (int64_t k = 0; k < rows; k += kPartsDepth, from += kPartsDepth * width, to += vectors * kStepTiles) {
    for (int64_t i = 0; i < kTileRows; ++i) {
      const float *const low = from + i * width, *const high = low + kTileRows * width;
      for (int64_t j = 0; j < vectors; ++j) {
        Split(V::load(low + j * V::lanes), V::load(high + j * V::lanes))
            .store(to + j * kStepTiles + i * kPartsDepth, kTile);
      }
    }
  }
}

// The sum of three parts: exact, and infinite where the first is.
NEOCOG_INLINE V joined(const __m512i (&part)[kParts]) {
  const V first{_mm512_castsi512_ps(part[0])};
  const V sum = first + V{_mm512_castsi512_ps(part[1])} + V{_mm512_castsi512_ps(part[2])};
  const V none = first * V::zero();
  return select(unordered(none, none), first, sum);
}

// The same sums of one pixel in float32, to sums (vectors * lanes): those that are not finite.
void plain_row(const PartsPanel& g, int64_t at, float* sums) {
  const __m512i top = _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000u));
  for (int64_t j = 0; j < g.vectors; ++j) {
    V sum = V::zero();
    const uint16_t* b = g.b + j * kStepTiles;
    for (int64_t t = 0; t < g.taps; ++t) {
      const uint16_t* a = g.a + at + g.tap[t];
      for (int64_t s = 0; s < g.steps; ++s, a += kPartsDepth, b += g.vectors * kStepTiles) {
        __m512i low[kParts], high[kParts];
        for (int p = 0; p < kParts; ++p) {
          const __m512i pairs = _mm512_loadu_si512(a + p * g.a_part);
          low[p] = _mm512_slli_epi32(pairs, 16);
          high[p] = _mm512_and_si512(pairs, top);
        }
        alignas(64) float x[kPartsDepth];
        joined(low).store(x);
        joined(high).store(x + V::lanes);
        for (int64_t i = 0; i < kTileRows; ++i) {
          for (int p = 0; p < kParts; ++p) {
            const __m512i pairs = _mm512_loadu_si512(b + p * kTile + i * kPartsDepth);
            low[p] = _mm512_slli_epi32(pairs, 16);
            high[p] = _mm512_and_si512(pairs, top);
          }
          sum = fma(V::set1(x[i]), joined(low), sum);
          sum = fma(V::set1(x[i + kTileRows]), joined(high), sum);
        }
      }
    }
    sum.store(sums + j * V::lanes);
  }
}

// Sums of one or two runs of pixels by one or two vectors, from vector j on. A tile is loaded for the next product as
// soon as its last product of this one is on its way.
template <int Runs, int Columns>
NEOCOG_INLINE void multiply(const PartsPanel& g, const Bf16Run* run, int64_t j, float* sums) {
  const int64_t step0 = run[0].step * 2, step1 = run[Runs - 1].step * 2;
  const uint16_t *const a0 = g.a + run[0].a, *const a1 = g.a + run[Runs - 1].a;
  const uint16_t* b = g.b + j * kStepTiles;
  int64_t t = 0, s = 0, at = g.tap[0];
  constexpr int64_t kRow = 64;
  const auto load_rows = [&]<int Part>() __attribute__((always_inline)) {
    load_tile<4>(a0 + at + Part * g.a_part, step0);
    if constexpr (Runs == 2) load_tile<5>(a1 + at + Part * g.a_part, step1);
  };
  const auto load_columns = [&]<int Part>() __attribute__((always_inline)) {
    load_tile<6>(b + Part * kTile, kRow);
    if constexpr (Columns == 2) load_tile<7>(b + kStepTiles + Part * kTile, kRow);
  };
  const auto then_rows = [&]<int Part>() __attribute__((always_inline)) {
    multiply_tiles<0>();
    if constexpr (Columns == 2) multiply_tiles<1>();
    load_tile<4>(a0 + at + Part * g.a_part, step0);
    if constexpr (Runs == 2) multiply_tiles<2>();
    if constexpr (Runs == 2 && Columns == 2) multiply_tiles<3>();
    if constexpr (Runs == 2) load_tile<5>(a1 + at + Part * g.a_part, step1);
  };
  const auto then_columns = [&]<int Part>() __attribute__((always_inline)) {
    multiply_tiles<0>();
    if constexpr (Runs == 2) multiply_tiles<2>();
    load_tile<6>(b + Part * kTile, kRow);
    if constexpr (Columns == 2) multiply_tiles<1>();
    if constexpr (Runs == 2 && Columns == 2) multiply_tiles<3>();
    if constexpr (Columns == 2) load_tile<7>(b + kStepTiles + Part * kTile, kRow);
  };
  zero_tile<0>();
  if constexpr (Columns == 2) zero_tile<1>();
  if constexpr (Runs == 2) zero_tile<2>();
  if constexpr (Runs == 2 && Columns == 2) zero_tile<3>();
  load_columns.template operator()<0>();
  load_rows.template operator()<2>();
  const int64_t all = g.taps * g.steps, b_step = g.vectors * kStepTiles;
  for (int64_t k = 0;;) {
    then_rows.template operator()<1>();
    then_columns.template operator()<1>();
    then_rows.template operator()<0>();
    then_columns.template operator()<0>();
    then_columns.template operator()<2>();
    multiply_tiles<0>();
    if constexpr (Columns == 2) multiply_tiles<1>();
    if (++k == all) break;
    b += b_step, at += kPartsDepth;
    if (++s == g.steps) s = 0, at = g.tap[++t];
    load_tile<4>(a0 + at + 2 * g.a_part, step0);
    if constexpr (Runs == 2) multiply_tiles<2>();
    load_tile<6>(b, kRow);
    if constexpr (Runs == 2 && Columns == 2) multiply_tiles<3>();
    if constexpr (Columns == 2) load_tile<7>(b + kStepTiles, kRow);
    if constexpr (Runs == 2) load_tile<5>(a1 + at + 2 * g.a_part, step1);
  }
  if constexpr (Runs == 2) multiply_tiles<2>();
  if constexpr (Runs == 2 && Columns == 2) multiply_tiles<3>();
  const int64_t width = g.vectors * V::lanes, bytes = width * static_cast<int64_t>(sizeof(float));
  float *const first = sums + j * V::lanes, *const second = first + kTileRows * width;
  store_tile<0>(first, bytes);
  if constexpr (Columns == 2) store_tile<1>(first + V::lanes, bytes);
  if constexpr (Runs == 2) store_tile<2>(second, bytes);
  if constexpr (Runs == 2 && Columns == 2) store_tile<3>(second + V::lanes, bytes);
}

template <int Runs>
NEOCOG_INLINE void multiply_vectors(const PartsPanel& g, const Bf16Run* run, float* sums) {
  int64_t j = 0;
  for (; j + 2 <= g.vectors; j += 2) multiply<Runs, 2>(g, run, j, sums);
  if (j < g.vectors) multiply<Runs, 1>(g, run, j, sums);
  after_tiles(sums);
}

// y of the sums of one pixel; false where one is not finite.
template <int Vectors, bool kCheck>
NEOCOG_INLINE bool store_pixel(const PartsPanel& g, const float* sums, int64_t at) {
  V acc[Vectors];
  const int64_t tail = g.columns - (Vectors - 1) * V::lanes;
  const auto load = [&](const float* from, int j) __attribute__((always_inline)) {
    return j == Vectors - 1 && tail < V::lanes ? V::load_n(from + j * V::lanes, tail) : V::load(from + j * V::lanes);
  };
  V check = V::zero();
#pragma GCC unroll 4
  for (int j = 0; j < Vectors; ++j) {
    acc[j] = V::load(sums + j * V::lanes);
    if constexpr (kCheck) check = fma(acc[j], V::zero(), check);
  }
  if constexpr (kCheck) {
    if (unordered(check, check).m != 0) return false;
  }
  if (g.accumulate) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) acc[j] = acc[j] + load(g.y + at, j);
  } else if (g.bias != nullptr) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) acc[j] = acc[j] + load(g.bias, j);
  }
  if (g.residual != nullptr) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) acc[j] = acc[j] + load(g.residual + at, j);
  }
  if (g.clamp) {
    const V hi = V::set1(g.hi);
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) acc[j] = min(hi, max(V::zero(), acc[j]));
  }
  float* const y = g.y + at;
#pragma GCC unroll 4
  for (int j = 0; j < Vectors; ++j) {
    if (j == Vectors - 1 && tail < V::lanes) {
      acc[j].store_n(y + j * V::lanes, tail);
    } else {
      acc[j].store(y + j * V::lanes);
    }
  }
  return true;
}

template <int Vectors>
NEOCOG_INLINE void store_run(const PartsPanel& g, const Bf16Run& run, const float* sums) {
  const int64_t* const out = g.out + run.first;
  for (int64_t i = 0; i < run.count; ++i, sums += Vectors * V::lanes) {
    if (out[i] < 0 || store_pixel<Vectors, true>(g, sums, out[i])) continue;
    alignas(64) float plain[Vectors * V::lanes];
    plain_row(g, run.a + i * run.step, plain);
    store_pixel<Vectors, false>(g, plain, out[i]);
  }
}

template <int Vectors>
void taps_vectors(const PartsPanel& g) {
  alignas(64) float sums[2 * kTileRows * Vectors * V::lanes];
  int64_t rows0 = 0, rows1 = 0;  // of the configuration: to load one takes as long as a few products
  Fetch<float> fetch(g.next);
  const int64_t pairs = ceil_div(g.run_count, 2);
  const int64_t lines = ceil_div(g.next.size * static_cast<int64_t>(sizeof(float)), kLineBytes * max64(1, pairs));
  for (int64_t i = 0; i < g.run_count; i += 2) {
    const Bf16Run* const run = g.runs + i;
    const int64_t runs = min64(2, g.run_count - i);
    if (rows0 != run[0].count || (runs == 2 && rows1 != run[1].count)) {
      rows0 = run[0].count, rows1 = run[runs - 1].count;
      TileSizes(rows0, rows1, kPartsDepth).load();
    }
    fetch.next(lines);
    if (runs == 2) {
      multiply_vectors<2>(g, run, sums);
      store_run<Vectors>(g, run[0], sums);
      store_run<Vectors>(g, run[1], sums + kTileRows * Vectors * V::lanes);
    } else {
      multiply_vectors<1>(g, run, sums);
      store_run<Vectors>(g, run[0], sums);
    }
  }
  release_tiles();
}

void taps_panel(const PartsPanel& g) {
  switch (g.vectors) {
    case 1: taps_vectors<1>(g); break;
    case 2: taps_vectors<2>(g); break;
    case 3: taps_vectors<3>(g); break;
    default: taps_vectors<4>(g); break;
  }
}

}  // namespace

extern constinit const PartsKernels parts_kernels = {V::lanes,    kMaxVectors,   kTileRows,
                                                     &taps_panel, &split_pixels, &split_panel};

}  // namespace neocog::NEOCOG_ISA
