// AMX: eight tiles of at most sixteen rows of 64 bytes. They live in the thread that configured them, and the
// kernel's saving of threads gets slower until they are released.
#pragma once

#include "core/simd/avx512bf16.h"

namespace neocog::amx {

using namespace avx512bf16;

// Sums 0 1 / 2 3 of two row tiles (4, 5) with two column tiles (6, 7).
struct alignas(64) TileSizes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  // Tiles 4 and 5 have `rows0` and `rows1` pixels, all of them `depth` elements of the sum.
  NEOCOG_INLINE TileSizes(int64_t rows0, int64_t rows1, int64_t depth) {
    const int64_t pixels[6] = {rows0, rows0, rows1, rows1, rows0, rows1};
    for (int i = 0; i < 6; ++i) {
      rows[i] = static_cast<uint8_t>(pixels[i]);
      row_bytes[i] = static_cast<uint16_t>(i < 4 ? 64 : depth * 2);
    }
    for (int i = 6; i < 8; ++i) {
      rows[i] = static_cast<uint8_t>(depth / 2);
      row_bytes[i] = 64;
    }
  }
  NEOCOG_INLINE void load() const {
    // GCC's intrinsic names the first bytes alone as read.
    __asm__ volatile("" : : "r"(this) : "memory");
    _tile_loadconfig(this);
  }
};

NEOCOG_INLINE void release_tiles() {
  _tile_release();
}

// The intrinsics take the number of a tile as a token.
template <int Tile>
NEOCOG_INLINE void zero_tile() {
  static_assert(0 <= Tile && Tile < 4);
  if constexpr (Tile == 0) _tile_zero(0);
  if constexpr (Tile == 1) _tile_zero(1);
  if constexpr (Tile == 2) _tile_zero(2);
  if constexpr (Tile == 3) _tile_zero(3);
}

template <int Tile>
NEOCOG_INLINE void load_tile(const uint16_t* p, int64_t stride_bytes) {
  static_assert(4 <= Tile && Tile < 8);
  if constexpr (Tile == 4) _tile_loadd(4, p, stride_bytes);
  if constexpr (Tile == 5) _tile_loadd(5, p, stride_bytes);
  if constexpr (Tile == 6) _tile_loadd(6, p, stride_bytes);
  if constexpr (Tile == 7) _tile_loadd(7, p, stride_bytes);
}

// Adds the product of row tile 4 + Tile / 2 and column tile 6 + Tile % 2.
template <int Tile>
NEOCOG_INLINE void multiply_tiles() {
  static_assert(0 <= Tile && Tile < 4);
  if constexpr (Tile == 0) _tile_dpbf16ps(0, 4, 6);
  if constexpr (Tile == 1) _tile_dpbf16ps(1, 4, 7);
  if constexpr (Tile == 2) _tile_dpbf16ps(2, 5, 6);
  if constexpr (Tile == 3) _tile_dpbf16ps(3, 5, 7);
}

template <int Tile>
NEOCOG_INLINE void store_tile(float* p, int64_t stride_bytes) {
  static_assert(0 <= Tile && Tile < 4);
  if constexpr (Tile == 0) _tile_stored(0, p, stride_bytes);
  if constexpr (Tile == 1) _tile_stored(1, p, stride_bytes);
  if constexpr (Tile == 2) _tile_stored(2, p, stride_bytes);
  if constexpr (Tile == 3) _tile_stored(3, p, stride_bytes);
}

// Sixteen pairs of float32 numbers as three bfloat16 numbers each, whose sum they are. The second part is
// rounded to nearest, so that the third has either sign and what products leave out does not add up; the
// first is not, because the largest numbers would become infinite.
struct Split {
  __m512i part[3];

  NEOCOG_INLINE Split() = default;
  NEOCOG_INLINE Split(Vec<float> low, Vec<float> high) {
    const __m512i half = _mm512_set1_epi32(0x8000);
    const Vec<float> both[2] = {low, high};
    __m512i parts[2][3];
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      parts[i][0] = _mm512_and_si512(_mm512_castps_si512(both[i].v), upper());
      const __m512 rest = _mm512_sub_ps(both[i].v, _mm512_castsi512_ps(parts[i][0]));
      parts[i][1] = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(rest), half), upper());
      parts[i][2] = _mm512_castps_si512(_mm512_sub_ps(rest, _mm512_castsi512_ps(parts[i][1])));
    }
#pragma GCC unroll 3
    for (int p = 0; p < 3; ++p) {
      // (a & c) | b: the third part of a NaN has lower bits.
      part[p] = _mm512_ternarylogic_epi32(parts[1][p], _mm512_srli_epi32(parts[0][p], 16), upper(), 0xEC);
    }
  }
  // Parts `step` elements apart.
  static NEOCOG_INLINE Split load(const uint16_t* from, int64_t step) {
    Split result;
#pragma GCC unroll 3
    for (int p = 0; p < 3; ++p) result.part[p] = _mm512_loadu_si512(from + p * step);
    return result;
  }
  NEOCOG_INLINE void store(uint16_t* to, int64_t step) const {
#pragma GCC unroll 3
    for (int p = 0; p < 3; ++p) _mm512_storeu_si512(to + p * step, part[p]);
  }
  // The numbers again: exact, and not finite where the first part is not.
  NEOCOG_INLINE void join(Vec<float>& low, Vec<float>& high) const {
    __m512i parts[2][3];
#pragma GCC unroll 3
    for (int p = 0; p < 3; ++p) {
      parts[0][p] = _mm512_slli_epi32(part[p], 16);
      parts[1][p] = _mm512_and_si512(part[p], upper());
    }
    low = sum(parts[0]);
    high = sum(parts[1]);
  }

 private:
  static NEOCOG_INLINE __m512i upper() { return _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000u)); }
  static NEOCOG_INLINE Vec<float> sum(const __m512i (&parts)[3]) {
    const Vec<float> first{_mm512_castsi512_ps(parts[0])}, none = first * Vec<float>::zero();
    const Vec<float> all =
        first + Vec<float>{_mm512_castsi512_ps(parts[1])} + Vec<float>{_mm512_castsi512_ps(parts[2])};
    return select(unordered(none, none), first, all);
  }
};

// What tiles stored becomes visible to the compiler.
NEOCOG_INLINE void after_tiles(float* p) {
  __asm__ volatile("" : : "r"(p) : "memory");
}

}  // namespace neocog::amx

#undef NEOCOG_ISA
#define NEOCOG_ISA amx
