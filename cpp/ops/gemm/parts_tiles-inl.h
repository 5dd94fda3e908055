// The tiles of a step of parts.h; included by parts-inl.h.
#include "ops/gemm/parts.h"

namespace neocog::NEOCOG_ISA {
namespace {

using V = Vec<float>;

constexpr int64_t kTileRows = 16, kTile = kTileRows * kPartsDepth, kStepTiles = kParts * kTile;

// One or two row tiles, one or two column tiles, and the sums of their products.
template <int Runs, int Columns>
struct Tiles {
  const uint16_t *a0, *a1, *b;  // of a step
  int64_t bytes0, bytes1;       // from a row to the next

  static NEOCOG_INLINE void zero() {
    zero_tile<0>();
    if constexpr (Columns == 2) zero_tile<1>();
    if constexpr (Runs == 2) zero_tile<2>();
    if constexpr (Runs == 2 && Columns == 2) zero_tile<3>();
  }
  template <int Part>
  NEOCOG_INLINE void rows0() const {
    load_tile<4>(a0 + Part * kPartsDepth, bytes0);
  }
  template <int Part>
  NEOCOG_INLINE void rows1() const {
    if constexpr (Runs == 2) load_tile<5>(a1 + Part * kPartsDepth, bytes1);
  }
  template <int Part>
  NEOCOG_INLINE void columns0() const {
    load_tile<6>(b + Part * kTile, kColumnBytes);
  }
  template <int Part>
  NEOCOG_INLINE void columns1() const {
    if constexpr (Columns == 2) load_tile<7>(b + kStepTiles + Part * kTile, kColumnBytes);
  }
  static NEOCOG_INLINE void product0() { multiply_tiles<0>(); }
  static NEOCOG_INLINE void product1() {
    if constexpr (Columns == 2) multiply_tiles<1>();
  }
  static NEOCOG_INLINE void product2() {
    if constexpr (Runs == 2) multiply_tiles<2>();
  }
  static NEOCOG_INLINE void product3() {
    if constexpr (Runs == 2 && Columns == 2) multiply_tiles<3>();
  }
  // To rows of y, `y_row` apart.
  static NEOCOG_INLINE void store(float* y, int64_t y_row) {
    const int64_t bytes = y_row * static_cast<int64_t>(sizeof(float));
    float* const y1 = y + kTileRows * y_row;
    store_tile<0>(y, bytes);
    if constexpr (Columns == 2) store_tile<1>(y + V::lanes, bytes);
    if constexpr (Runs == 2) store_tile<2>(y1, bytes);
    if constexpr (Runs == 2 && Columns == 2) store_tile<3>(y1 + V::lanes, bytes);
    after_tiles(y);
  }

 private:
  static constexpr int64_t kColumnBytes = 64;
};

}  // namespace
}  // namespace neocog::NEOCOG_ISA
