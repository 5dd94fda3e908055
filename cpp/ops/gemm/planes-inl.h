// Kernel bodies of gemm.h with vectors along the pixels; no include guard on purpose.
#include "core/constant.h"
#include "ops/gemm/gemm.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class T>
constexpr int kPlaneOutputs = Vec<T>::lanes == 16 ? kMostPlaneOutputs : 4;
// Vectors of pixels beside `outputs` accumulator rows: together they fill the registers that B and the
// broadcast leave.
template <class T>
constexpr int plane_vectors(int outputs) {
  const int registers = Vec<T>::lanes == 16 ? 24 : 12;
  return registers / outputs < 6 ? registers / outputs : 6;
}
template <class T>
constexpr int64_t kPlaneSlack = 6 * Vec<T>::lanes;

template <class T, int MR, int NV>
NEOCOG_INLINE void planes_tile(const PlanesPanel<T>& g, int64_t q) {
  using V = Vec<T>;
  V acc[MR][NV];
#pragma GCC unroll 8
  for (int o = 0; o < MR; ++o) {
    const V start = g.bias == nullptr ? V::zero() : V::set1(g.bias[o]);
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      acc[o][j] = g.accumulate ? V::load(g.y + o * g.y_plane + q + j * V::lanes) : start;
    }
  }
  const T* w = g.w;
  const T* plane = g.x + q;
  for (int64_t c = 0; c < g.channels; ++c, plane += g.plane) {
    for (int64_t t = 0; t < g.taps; ++t, w += MR) {
      const T* x = plane + g.tap[t];
      V value[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) value[j] = V::load(x + j * V::lanes);
#pragma GCC unroll 8
      for (int o = 0; o < MR; ++o) {
        const V weight = V::set1(w[o]);
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[o][j] = fma(value[j], weight, acc[o][j]);
      }
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < MR; ++o) {
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      if (g.clamp) acc[o][j] = min(V::set1(g.hi), max(V::set1(g.lo), acc[o][j]));
      acc[o][j].store(g.y + o * g.y_plane + q + j * V::lanes);
    }
  }
}

// Tiles of about equal width: a last one of one vector would share its broadcasts with no other.
template <class T, int MR>
NEOCOG_INLINE void planes_rows(const PlanesPanel<T>& g) {
  constexpr int kVectors = plane_vectors<T>(MR);
  constexpr int64_t lanes = Vec<T>::lanes;
  const int64_t vectors = ceil_div(g.count, lanes), tiles = ceil_div(vectors, kVectors);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t q = vectors * i / tiles;
    with_size<kVectors>(vectors * (i + 1) / tiles - q, [&]<int NV>() __attribute__((always_inline)) {
      planes_tile<T, MR, NV>(g, q * lanes);
    });
  }
}

template <class T>
void planes_panel(const PlanesPanel<T>& g) {
  switch (g.outputs) {
    case 1: planes_rows<T, 1>(g); break;
    case 2: planes_rows<T, 2>(g); break;
    case 3: planes_rows<T, 3>(g); break;
    case 4: planes_rows<T, 4>(g); break;
    case 5:
      if constexpr (kPlaneOutputs<T> >= 5) planes_rows<T, 5>(g);
      break;
    case 6:
      if constexpr (kPlaneOutputs<T> >= 6) planes_rows<T, 6>(g);
      break;
    case 7:
      if constexpr (kPlaneOutputs<T> >= 7) planes_rows<T, 7>(g);
      break;
    default:
      if constexpr (kPlaneOutputs<T> >= 8) planes_rows<T, 8>(g);
      break;
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
