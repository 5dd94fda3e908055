// The transforms of Winograd's minimal filtering F(m x n, 3 x 3): y = A^T [(G g G^T) * (B^T d B)] A on tiles
// of m x n outputs and the (m + 2) x (n + 2) inputs under them, * being element by element. A tile of 4 takes
// the points 0, 3/4, -3/4, 3/2, -3/2 and infinity: A and B are short binary fractions, and the rounding
// errors are half those of 0, +-1,
// +-2. Tiles of 3 and 2, at the edges, leave out the points before infinity, so all share the transformed
// kernels.
#pragma once

#include "core/isa.h"

namespace neocog {

inline constexpr int64_t kWinogradTile = 4;                    // outputs of a full tile along an axis
inline constexpr int64_t kWinogradPixels = kWinogradTile + 2;  // inputs under it, and points
inline constexpr int64_t kWinogradPoints = kWinogradPixels * kWinogradPixels;

// Whether a tile of `m` outputs along an axis has the point of this index.
constexpr bool winograd_has_point(int64_t m, int64_t point) {
  return point <= m || point == kWinogradPixels - 1;
}

template <class T>
struct WinogradInput {
  const T* const* pixel;  // (6, 6) where the channels of a pixel begin; smaller tiles need fewer
  int64_t channels;
  int64_t tile_h, tile_w;  // outputs along each axis: 2, 3 or 4
  T* v;                    // (36) points `v_stride` apart, channels contiguous
  int64_t v_stride;
};

template <class T>
struct WinogradOutput {
  const T* m;  // (36) sums of products, `m_stride` apart, columns contiguous
  int64_t m_stride;
  int64_t columns;
  int64_t tile_h, tile_w;
  const T* bias;  // (columns) or null
  bool clamp;     // y = min(hi, max(lo, y)), NaN stays NaN
  T lo, hi;
  T* y;  // columns of a pixel are contiguous
  int64_t stride_h, stride_w;
  int64_t rows, cols;  // pixels of the tile that exist, at least 1
};

template <class T>
struct WinogradKernels {
  // u[p * u_stride + i] = (G g_i G^T)[p] of the kernels g_i[t] = g[t * g_stride + i], i < count, in float64.
  void (*filter)(const T* g, int64_t g_stride, int64_t count, T* u, int64_t u_stride);
  void (*input)(const WinogradInput<T>&);
  void (*output)(const WinogradOutput<T>&);
  // The weight gradient, F(3 x 3, 4 x 4) on the same tiles and points: G^T [sum of (A dy A^T) * (B^T x B)] G.
  // v[p * v_stride + c] = (A d_c A^T)[p] with d_c[t] = pixel[t][c], t of (4, 4), c < channels.
  void (*gradient)(const T* const* pixel, int64_t channels, T* v, int64_t v_stride);
  // dw[t * count + i] = (G^T m_i G)[t], t of (3, 3), of the sums m_i[p] = m[p * m_stride + i], i < count, a
  // multiple of the lanes.
  void (*weight)(const T* m, int64_t m_stride, int64_t count, T* dw);
};

NEOCOG_DECLARE_TABLES(WinogradKernels, winograd_kernels)

}  // namespace neocog
