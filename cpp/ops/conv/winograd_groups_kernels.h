// Inner loops of winograd_groups.h: F(4x4, 3x3) with a tile in every lane, on the points of
// winograd_kernels.h. Weights are broadcast from memory, and nothing is permuted between products.
#pragma once

#include "core/isa.h"
#include "core/window.h"
#include "ops/conv/winograd_kernels.h"

namespace neocog {

inline constexpr int64_t kGroupTile = winograd_tile(3), kGroupPixels = kWinogradPixels,
                         kGroupPoints = kGroupPixels * kGroupPixels;
// Channels of a group, on either side.
inline constexpr int64_t kMostGroupChannels = 16;

// A vector of tiles, of groups with at most `slots` channels on either side. x and y are planes with room for
// whole tiles; two more pixels are read behind the six of a row.
template <class T>
struct WinogradGroups {
  const T* x;
  const int64_t* x_tile;  // (lanes) the first pixel under each tile
  int64_t x_row, x_plane;
  T* y;
  const int64_t* y_tile;  // (lanes)
  int64_t y_row, y_plane;
  int64_t groups, in_group, out_group;
  const T* u;     // (groups, points, in_group, out_group)
  const T* bias;  // (groups, out_group) or null
  bool clamp;     // y = min(hi, max(lo, y)), NaN stays NaN
  T lo, hi;
  T* work;  // winograd_groups_work elements
};

// What passes through the first-level cache together.
constexpr int64_t winograd_groups_slots(int64_t in_group, int64_t out_group) {
  constexpr int64_t half = kMostGroupChannels / 2;
  return in_group > half || out_group > half ? kMostGroupChannels : half;
}
// Sums of a point take the place of the point before it. A line more keeps the points out of each other's
// cache sets.
constexpr int64_t winograd_groups_point(int64_t slots, int64_t lanes) {
  return slots * lanes + 16;
}
constexpr int64_t winograd_groups_work(int64_t slots, int64_t lanes) {
  return (kGroupPoints + 1) * winograd_groups_point(slots, lanes);
}

// to[i * to_plane + j * to_row + l] = from[i * from_plane + j * from_row + l], i < planes, j < rows, l <
// cols.
template <class T>
struct CopyPlanes {
  const T* from;
  int64_t from_plane, from_row;
  T* to;
  int64_t to_plane, to_row;
  int64_t planes, rows, cols;
};

// The weight gradient has channels in the lanes: lanes / 2 of dy's by two of x's are a vector of products. A
// pixel has kMostGroupChannels channels, of several groups. A run is a few tiles, all of them whole, and what
// is under them is transformed along the columns first.

// A row of tiles, and the pixels under it that exist: rows [row0, row1) of a tile's window, and `cols`
// columns from column `left` of the first one on; the others are zeros.
template <class T>
struct GroupColumns {
  const T* pixels;     // the first that exists
  int64_t plane;       // from a channel to the next, if there are at least four columns; or 0: side by side
  int64_t pixel, row;  // from a pixel to the next one of a row, and of a column
  int64_t row0, row1, left, cols;
  int64_t tiles;
  T* space;      // kGroupSpace elements: a few columns, side by side
  T* columns;    // (kGroupPixels, group_columns(tiles)) pixels
  double* wide;  // (kMostGroupChannels) += all pixels of dy, or null
};
inline constexpr int64_t kGroupSpace = kGroupPixels * kGroupTile * kMostGroupChannels;
constexpr int64_t group_columns(int64_t tiles) {
  return tiles * kGroupTile + kGroupPixels - kGroupTile;
}

// The other half of the transforms, and the products: sums[p, g, group_sum(c, o)] (+)= sum over tiles of
// v[p, t, g * in_group + c] * d[p, t, g * out_group + o].
template <class T>
struct GroupRun {
  const T *x, *dy;     // (rows) of columns
  int64_t rows, cols;  // of tiles
  int64_t groups, in_group, out_group;
  T *v, *d;  // group_points elements
  T* sums;
  bool add;
};
// A row of points; a vector is read from the last channel too.
constexpr int64_t group_points(int64_t tiles) {
  return (tiles * kGroupPixels + 1) * kMostGroupChannels;
}

// Vectors of dy's channels whose sums wait in registers together.
inline constexpr int64_t kGroupPanels = 2;
constexpr int64_t group_sums(int64_t in_group, int64_t out_group, int64_t lanes) {
  return ceil_div(in_group, 2) * ceil_div(out_group, lanes / 2) * lanes;
}
// Where the sum of a pair stands: (panels, pairs of c, vectors of a panel, lanes).
constexpr int64_t group_sum(int64_t in_group, int64_t out_group, int64_t lanes, int64_t c, int64_t o) {
  const int64_t half = lanes / 2, vectors = ceil_div(out_group, half), vector = o / half;
  const int64_t first = vector / kGroupPanels * kGroupPanels, wide = min64(kGroupPanels, vectors - first);
  const int64_t before = first * ceil_div(in_group, 2) + c / 2 * wide + vector - first;
  return before * lanes + o % half * 2 + c % 2;
}

template <class T>
struct WinogradGroupsKernels {
  int64_t lanes;
  void (*tiles)(const WinogradGroups<T>&);
  void (*copy_planes)(const CopyPlanes<T>&);
  void (*input_columns)(const GroupColumns<T>&);
  void (*gradient_columns)(const GroupColumns<T>&);
  void (*products)(const GroupRun<T>&);
};

NEOCOG_DECLARE_TABLES(WinogradGroupsKernels, winograd_groups_kernels)

}  // namespace neocog
