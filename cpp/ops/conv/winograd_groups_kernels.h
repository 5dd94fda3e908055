// Inner loops of winograd_groups.h: F(4x4, 3x3) with a tile in every lane, on the points of
// winograd_kernels.h. Weights are broadcast from memory, and nothing is permuted between products.
#pragma once

#include "core/isa.h"
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

template <class T>
struct WinogradGroupsKernels {
  int64_t lanes;
  void (*tiles)(const WinogradGroups<T>&);
  void (*copy_planes)(const CopyPlanes<T>&);
};

NEOCOG_DECLARE_TABLES(WinogradGroupsKernels, winograd_groups_kernels)

}  // namespace neocog
