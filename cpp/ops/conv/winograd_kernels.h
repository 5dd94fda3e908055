// The transforms of Winograd's minimal filtering, y = A^T [(G g G^T) * (B^T d B)] A, * being element by
// element, on tiles of outputs and the inputs under them. An axis with a kernel of 3 taps is F(4, 3), 4
// outputs from 6 inputs; of 5 taps F(2, 5); of one tap F(1, 1), which transforms nothing. Both take the
// points 0, 3/4, -3/4, 3/2, -3/2 and infinity: A and B are short binary fractions, and the rounding errors
// are half those of 0, +-1,
// +-2. Tiles of 3 and 2 outputs of 3 taps, at the edges, leave out the points before infinity, so all share
// the transformed kernels.
#pragma once

#include "core/isa.h"

namespace neocog {

inline constexpr int64_t kWinogradPixels =
    6;  // inputs under a full tile along a transformed axis, and points
inline constexpr int64_t kWinogradMostPoints = kWinogradPixels * kWinogradPixels;

// An axis, by the taps of its kernel: 1, 3 or 5.
constexpr bool winograd_has_axis(int64_t taps) {
  return taps == 1 || taps == 3 || taps == 5;
}
constexpr int64_t winograd_points(int64_t taps) {
  return taps == 1 ? 1 : kWinogradPixels;
}
// Outputs of a full tile.
constexpr int64_t winograd_tile(int64_t taps) {
  return winograd_points(taps) + 1 - taps;
}

template <class T>
struct WinogradInput {
  const T* const*
      pixel;  // (points_h, points_w) where the channels of a pixel begin; smaller tiles need fewer
  int64_t channels;
  int64_t taps_h, taps_w;
  int64_t tile_h, tile_w;  // outputs along each axis: winograd_tile, and for 3 taps 2 or 3, too
  T* v;                    // (points_h, points_w) values `v_stride` apart, channels contiguous
  int64_t v_stride;
};

template <class T>
struct WinogradOutput {
  const T* m;  // (points_h, points_w) sums of products, `m_stride` apart, columns contiguous
  int64_t m_stride;
  int64_t columns;
  int64_t taps_h, taps_w, tile_h, tile_w;
  const T* bias;  // (columns) or null
  bool clamp;     // y = min(hi, max(lo, y)), NaN stays NaN
  T lo, hi;
  T* y;  // columns of a pixel are contiguous
  int64_t stride_h, stride_w;
  int64_t rows, cols;  // pixels of the tile that exist, at least 1
};

// Kernels of (taps_h, taps_w).
template <class T>
struct WinogradKernels {
  // u[p * u_stride + i] = (G g_i G^T)[p] of the kernels g_i[t] = g[t * count + i], i < count, in float64.
  void (*filter)(int64_t taps_h, int64_t taps_w, const T* g, int64_t count, T* u, int64_t u_stride);
  void (*input)(const WinogradInput<T>&);
  void (*output)(const WinogradOutput<T>&);
  // The weight gradient on the same tiles and points: G^T [sum of (A dy A^T) * (B^T x B)] G.
  // v[p * v_stride + c] = (A d_c A^T)[p] with d_c[t] = pixel[t][c], t of a full tile, c < channels.
  void (*gradient)(int64_t taps_h, int64_t taps_w, const T* const* pixel, int64_t channels, T* v,
                   int64_t v_stride);
  // dw[t * count + i] = (G^T m_i G)[t] of the sums m_i[p] = m[p * m_stride + i], i < count, a multiple of the
  // lanes.
  void (*weight)(int64_t taps_h, int64_t taps_w, const T* m, int64_t m_stride, int64_t count, T* dw);
};

NEOCOG_DECLARE_TABLES(WinogradKernels, winograd_kernels)

}  // namespace neocog
