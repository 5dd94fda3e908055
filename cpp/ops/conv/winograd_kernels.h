// The transforms of Winograd's minimal filtering, y = A^T [(G g G^T) * (B^T d B)] A, * being element by
// element, on tiles of outputs and the inputs under them. An axis with a kernel of 3 taps is F(4, 3), 4
// outputs from 6 inputs; of 4 taps F(3, 4); of 5 F(2, 5); of 2 F(4, 2); of one tap F(1, 1), which transforms
// nothing. The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity, for 2 taps 1/2, -1/2, 3/2, -3/2 and infinity:
// A and B are short binary fractions, and the rounding errors are half those of 0, +-1, +-2. Smaller tiles at
// the edges leave out the points before infinity, so all share the transformed kernels.
#pragma once

#include <array>

#include "core/fetch.h"
#include "core/isa.h"

namespace neocog {

// Inputs under a full tile along a transformed axis, and points; at most.
inline constexpr int64_t kWinogradPixels = 6;
inline constexpr int64_t kWinogradMostPoints = kWinogradPixels * kWinogradPixels;

// Channels whose taps, and transformed kernels of one row of points, stay in the first-level cache; and in
// the second-level one, for panels of up to 4 vectors of AVX-512.
inline constexpr int kWinogradRun = 16, kWinogradLongRun = 64;

// A kernel, by its taps along each axis: 1, 3 or 5; or 1 or 2; or 4 and 4.
constexpr bool winograd_has(int64_t taps_h, int64_t taps_w) {
  const auto odd = [](int64_t taps) { return taps == 1 || taps == 3 || taps == 5; };
  const auto few = [](int64_t taps) { return taps == 1 || taps == 2; };
  return (odd(taps_h) && odd(taps_w)) || (few(taps_h) && few(taps_w)) || (taps_h == 4 && taps_w == 4);
}
constexpr int64_t winograd_points(int64_t taps) {
  return taps == 1 ? 1 : taps == 2 ? 5 : kWinogradPixels;
}
// Outputs of a full tile.
constexpr int64_t winograd_tile(int64_t taps) {
  return winograd_points(taps) + 1 - taps;
}

// Outputs of the smallest tile that has so many, at least 1.
constexpr int64_t winograd_tile(int64_t taps, int64_t outputs) {
  const int64_t full = winograd_tile(taps);
  if (taps == 3) return outputs < 2 ? 2 : outputs < full ? outputs : full;
  if (taps == 4) return outputs;
  if (taps == 2) return outputs < 3 ? outputs : full;
  return full;
}

template <class T>
struct WinogradInput {
  const T* const*
      pixel;  // (points_h, points_w) where the channels of a pixel begin; smaller tiles need fewer
  int64_t channels;
  int64_t taps_h, taps_w;
  int64_t tile_h, tile_w;  // outputs along each axis, winograd_tile
  T* v;                    // (points_h, points_w) values `v_stride` apart, channels contiguous
  int64_t v_stride;
  int64_t run, run_stride;  // so many of them, that is; from each run to the next
  bool finite_h = false,
       finite_w = false;  // 2 taps, the last of which is zero: points at infinity are not wanted
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
  int64_t row0, col0, rows, cols;  // pixels of the tile that exist: [row0, rows) x [col0, cols), at least 1
  // Maxima of 2x2 pixels, the first of them at (0, 0), or null; y may be null then.
  T* pooled = nullptr;
  int64_t pooled_h = 0, pooled_w = 0;  // strides
};

// For so few tiles, or kernels that are used so seldom, that reading transformed ones would take longer than
// to transform them again.
template <class T>
struct WinogradFromTaps {
  const T* taps;  // (channels, 9, vectors * lanes) of a panel of kernels
  const T* v;     // (runs of `run` channels, one of the above, 36 points, tiles, channels of the run)
  int64_t run, point_v, run_v, channels, vectors;       // distances in v; vectors as in gemm.h's panels
  std::array<int64_t, kWinogradMostPoints> begin, end;  // tiles that have a point
  T* m;  // (36 points, tiles, vectors * lanes) sums of products
  int64_t point_m;
  T* u;           // workspace: 6 * run * vectors * lanes
  Ahead<T> next;  // what will be needed after this
};

// Kernels of (taps_h, taps_w).
template <class T>
struct WinogradKernels {
  // u[p * u_stride + i] = (G g_i G^T)[p] of the kernels g_i[t] = g[t * count + i], i < count, in float64.
  void (*filter)(int64_t taps_h, int64_t taps_w, const T* g, int64_t count, T* u, int64_t u_stride);
  void (*input)(const WinogradInput<T>&);
  // The same one axis after the other. Rows: z[k * z_stride + i] = (B^T d_i)[k], with d_i[r] = x[r * x_stride
  // + i], i < size; reads and writes whole vectors.
  void (*input_rows)(int64_t taps, bool finite, const T* x, int64_t x_stride, int64_t size, T* z,
                     int64_t z_stride);
  // A row: v[tile * tile_v + l * point_v + i] = (B^T d_i)[l], with d_i[s] = z[(tile * outputs + s) * size +
  // i], i < size; reads whole vectors.
  void (*input_row)(int64_t taps, const T* z, int64_t size, int64_t tiles, T* v, int64_t tile_v,
                    int64_t point_v);
  void (*output)(const WinogradOutput<T>&);
  void (*output_pooled)(const WinogradOutput<T>&);  // with maxima, for tiles that may have some
  // Products with kernels of 3x3 that are transformed, in T, at each use, a run of channels at a time: the
  // taps are a quarter of the transformed kernels.
  void (*from_taps)(const WinogradFromTaps<T>&);
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
