// The weight gradient: one product per tap, reduced over pixels while the results stay in registers.
#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/far_taps.h"
#include "ops/conv/narrow_groups.h"
#include "ops/conv/parts_conv.h"
#include "ops/conv/space_to_depth.h"
#include "ops/conv/strip.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_groups.h"
#include "ops/depthwise/depthwise.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// dy's panel of one tile (96 pixels x 64 channels x 4 bytes = 24 KB) stays in the first-level cache while
// every tap reads it.
constexpr int64_t kTilePixels = 96;
constexpr int64_t kStripBytes = 256 << 10;
// Pixels are cut by the geometry alone, never by the number of threads: sums keep their order.
constexpr int64_t kPixelChunks = 16;
constexpr int64_t kItemsPerThread = 4;
constexpr int64_t kPixelsPerChunk = 512;
constexpr int64_t kPartialBytes = 32 << 20;

struct WeightGradientPlan {
  int64_t in_group, out_group;
  bool in_place;
  int64_t pixel, pitch;
  int64_t tile_h, tile_w, tiles_h, tiles_w, strip_rows, strip_cols;
  int64_t taps, run;  // taps with merged columns, elements under each
  int64_t pixel_chunks, column_chunks;
  int64_t rows;   // taps * run = R * S * in_group
  int64_t tiles;  // of all images

  // May be empty, at the end of an axis.
  struct Tile {
    int64_t n, i0, j0, rows, cols;
  };
  template <class T>
  Tile tile(int64_t index, const Image<const T>& dy) const {
    const int64_t i0 = index / tiles_w % tiles_h * tile_h, j0 = index % tiles_w * tile_w;
    return {index / tiles_w / tiles_h, i0, j0, std::min(tile_h, dy.h - i0), std::min(tile_w, dy.w - j0)};
  }
};

template <class T>
WeightGradientPlan make_plan(const ConvGeometry& g, const Image<const T>& x, const PanelSplit& split) {
  WeightGradientPlan plan{};
  plan.in_group = g.in_channels / g.groups;
  plan.out_group = g.out_channels / g.groups;
  const auto reaches_inside = [](const WindowAxis& axis) {
    return axis.tap(0, 0) >= 0 && axis.inside(axis.tap(axis.out() - 1, axis.kernel - 1));
  };
  plan.in_place = x.channels_last() && reaches_inside(g.h) && reaches_inside(g.w);
  const int64_t reach_h = (g.h.kernel - 1) * g.h.dilation, reach_w = (g.w.kernel - 1) * g.w.dilation;
  const int64_t budget = kStripBytes / static_cast<int64_t>(sizeof(T));
  const auto strip_size = [&](int64_t th, int64_t tw) {
    return ((th - 1) * g.h.stride + reach_h + 1) * ((tw - 1) * g.w.stride + reach_w + 1) * plan.in_group;
  };
  const int64_t out_h = g.h.out(), out_w = g.w.out();
  int64_t tw = out_w;
  while (tw > 8 && (tw > kTilePixels || (strip_size(1, tw) > budget && tw * g.w.stride > reach_w)))
    tw = ceil_div(tw, 2);
  plan.tiles_w = ceil_div(out_w, tw);
  plan.tile_w = ceil_div(out_w, plan.tiles_w);
  int64_t th = 1;
  while (th < out_h && strip_size(th + 1, plan.tile_w) <= budget && (th + 1) * plan.tile_w <= kTilePixels)
    ++th;
  plan.tiles_h = ceil_div(out_h, th);
  plan.tile_h = ceil_div(out_h, plan.tiles_h);
  plan.strip_rows = (plan.tile_h - 1) * g.h.stride + reach_h + 1;
  plan.strip_cols = (plan.tile_w - 1) * g.w.stride + reach_w + 1;
  plan.pixel = plan.in_place ? g.in_channels : plan.in_group;
  plan.pitch = plan.in_place ? x.w * g.in_channels : plan.strip_cols * plan.in_group;
  const bool merge = g.w.dilation == 1 && plan.pixel == plan.in_group;
  plan.taps = g.h.kernel * (merge ? 1 : g.w.kernel);
  plan.run = plan.in_group * (merge ? g.w.kernel : 1);
  plan.rows = plan.taps * plan.run;

  plan.tiles = g.batch * plan.tiles_h * plan.tiles_w;
  const int64_t bytes =
      g.in_channels * plan.out_group * g.h.kernel * g.w.kernel * static_cast<int64_t>(sizeof(T));
  plan.pixel_chunks = std::clamp<int64_t>(g.batch * out_h * out_w / kPixelsPerChunk, 1, kPixelChunks);
  plan.pixel_chunks = std::min(
      {plan.pixel_chunks, plan.tiles, std::max<int64_t>(1, kPartialBytes / std::max<int64_t>(1, bytes))});
  // Each chunk of columns copies x for itself.
  plan.column_chunks = std::min(
      split.panels,
      ceil_div(kItemsPerThread * threads_for(plan.tiles * split.panels), plan.pixel_chunks * g.groups));
  return plan;
}

// The pixels of a window that exist, where they lie in one piece.
template <class T>
Ahead<T> piece(const Image<const T>& x, int64_t n, const StripWindow& window) {
  if (!x.channels_last()) return {};
  const int64_t row0 = std::clamp<int64_t>(window.row, 0, x.h),
                col0 = std::clamp<int64_t>(window.col, 0, x.w);
  const int64_t rows = std::clamp<int64_t>(window.row + window.rows, row0, x.h) - row0;
  const int64_t cols = std::clamp<int64_t>(window.col + window.cols, col0, x.w) - col0;
  if (rows > 1 && cols < x.w) return {};
  return {x.at(n, 0, row0, col0), rows * cols * x.c};
}

// The pixels of x that a tile, and no other, takes the sums of: those from its first tap to that of the next.
StripWindow own_pixels(const ConvGeometry& g, const WeightGradientPlan::Tile& tile) {
  const auto along = [](const WindowAxis& axis, int64_t first, int64_t count) {
    const int64_t end = first + count;
    return std::pair(first == 0 ? 0 : std::clamp<int64_t>(axis.tap(first, 0), 0, axis.in),
                     end == axis.out() ? axis.in : std::clamp<int64_t>(axis.tap(end, 0), 0, axis.in));
  };
  const auto [row0, row1] = along(g.h, tile.i0, tile.rows);
  const auto [col0, col1] = along(g.w, tile.j0, tile.cols);
  return {row0, row1 - row0, col0, col1 - col0};
}

// Whether those of all tiles are all pixels, and lie in the strips.
bool own_all_pixels(const ConvGeometry& g) {
  const auto own_all = [](const WindowAxis& axis) {
    return (axis.kernel - 1) * axis.dilation + 1 >= axis.stride && reaches_the_end(axis);
  };
  return own_all(g.h) && own_all(g.w);
}

}  // namespace

template <class T>
void conv_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw,
                          const OperandSums<T>& sums_of) {
  const int64_t kernel_size = g.h.kernel * g.w.kernel;
  const int64_t weights = g.out_channels * (g.in_channels / g.groups) * kernel_size;
  if (weights == 0) return;
  if (dy.size() == 0) {
    std::memset(dw, 0, sizeof(T) * weights);
    return;
  }
  if (is_depthwise(g)) {
    depthwise_backward_weight(g, x, dy, dw);
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (winograd_groups_suit_weight<T>(g)) {
      winograd_groups_backward_weight(g, x, dy, dw, sums_of);
      return;
    }
  }
  if (narrow_groups_suit_weight<T>(g)) {
    narrow_groups_backward_weight(g, x, dy, dw);
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (x.layout == dy.layout && winograd_suits_weight<T>(g)) {
      winograd_backward_weight(g, x, dy, dw, sums_of);
      return;
    }
  }
  if constexpr (std::is_same_v<T, float>) {
    if (space_to_depth_suits_weight<T>(g)) {
      space_to_depth_backward_weight(g, x, dy, dw, sums_of);
      return;
    }
    // What is not finite is for vectors.
    if (parts_backward_weight_suits(g, x, dy) && parts_backward_weight(g, x, dy, dw, sums_of)) return;
  }
  if (far_taps_suit(forward_axis(g.h), forward_axis(g.w), x.h, x.w)) {
    if (x.channels_last() && dy.channels_last()) {
      far_taps_backward_weight(g, x, dy, dw);
      return;
    }
    gradient_turned(x, dy, [&](const Image<const T>& from, const Image<const T>& with) {
      far_taps_backward_weight(g, from, with, dw);
    });
    return;
  }
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const PanelSplit split(g.out_channels / g.groups, kernels.lanes, kernels.max_vectors);
  const WeightGradientPlan plan = make_plan(g, x, split);
  const int64_t group_size = plan.rows * split.vectors * kernels.lanes;  // one packed gradient of one group
  const int64_t items = plan.pixel_chunks * g.groups * plan.column_chunks;
  const int threads = threads_for(std::max(items, g.groups * split.panels));
  const int64_t tile_pixels = plan.tile_h * plan.tile_w;
  const int64_t strip = plan.in_place ? 0 : plan.strip_rows * plan.strip_cols * plan.in_group;
  const int64_t block = tile_pixels * kernels.max_vectors * kernels.lanes;
  const int64_t finished = plan.rows * kernels.max_vectors * kernels.lanes;

  Scratch scratch(Scratch::bytes_of<T>(plan.pixel_chunks * g.groups * group_size) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(block) +
                             Scratch::bytes_of<T>(finished) + Scratch::bytes_of<int64_t>(tile_pixels)));
  T* const partial = scratch.take<T>(plan.pixel_chunks * g.groups * group_size);
  struct Workspace {
    T *strip, *block, *finished;
    int64_t* row;
  };
  std::vector<Workspace> workspaces(threads);
  for (Workspace& space : workspaces) {
    space = {scratch.take<T>(strip), scratch.take<T>(block), scratch.take<T>(finished),
             scratch.take<int64_t>(tile_pixels)};
  }

  const bool x_sums = sums_of.x != nullptr && own_all_pixels(g);
  if (x_sums) sums_of.x->cut(plan.pixel_chunks);
  if (sums_of.dy != nullptr) sums_of.dy->cut(plan.pixel_chunks);
  const int64_t taps_w = plan.taps / g.h.kernel;
  const auto strip_of = [&](const WeightGradientPlan::Tile& tile) -> StripWindow {
    return {g.h.tap(tile.i0, 0), plan.strip_rows, g.w.tap(tile.j0, 0), plan.strip_cols};
  };
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = workspaces[thread];
    const int64_t column_chunk = item % plan.column_chunks, group = item / plan.column_chunks % g.groups;
    const int64_t pixel_chunk = item / plan.column_chunks / g.groups;
    const int64_t panel0 = split.panels * column_chunk / plan.column_chunks;
    const int64_t panel1 = split.panels * (column_chunk + 1) / plan.column_chunks;
    T* const sums = partial + (pixel_chunk * g.groups + group) * group_size;
    const int64_t tile0 = plan.tiles * pixel_chunk / plan.pixel_chunks;
    const int64_t tile1 = plan.tiles * (pixel_chunk + 1) / plan.pixel_chunks;
    bool written = false;
    for (int64_t index = tile0; index < tile1; ++index) {
      const WeightGradientPlan::Tile tile = plan.tile(index, dy);
      if (tile.rows <= 0 || tile.cols <= 0) continue;
      const T* a = space.strip;
      if (plan.in_place) {
        a = x.at(tile.n, group * plan.in_group, g.h.tap(tile.i0, 0), g.w.tap(tile.j0, 0));
      } else {
        load_strip(x, tile.n, group * plan.in_group, plan.in_group, strip_of(tile), space.strip);
      }
      if (x_sums && column_chunk == 0) {
        const StripWindow own = own_pixels(g, tile);
        const T* const first = a + (own.col - g.w.tap(tile.j0, 0)) * plan.pixel;
        for (int64_t row = own.row - g.h.tap(tile.i0, 0), i = 0; i < own.rows; ++i, ++row) {
          sums_of.x->take(pixel_chunk, group * plan.in_group, plan.in_group, first + row * plan.pitch,
                          plan.pixel, own.cols);
        }
      }
      int64_t pixels = 0;
      for (int64_t i = 0; i < tile.rows; ++i) {
        for (int64_t j = 0; j < tile.cols; ++j) {
          space.row[pixels++] = i * g.h.stride * plan.pitch + j * g.w.stride * plan.pixel;
        }
      }
      Ahead<T> next_x,
          next_dy;  // of the next tile; of several groups, each would ask for the others' channels
      if (index + 1 < tile1 && g.groups == 1) {
        const WeightGradientPlan::Tile next = plan.tile(index + 1, dy);
        next_x = piece(x, next.n, strip_of(next));
        next_dy = piece(dy, next.n, {next.i0, next.rows, next.j0, next.cols});
      }
      const int64_t calls = (panel1 - panel0) * plan.taps;
      for (int64_t panel = panel0, call = 0; panel < panel1; ++panel) {
        const int64_t vectors = split.width(panel), width = vectors * kernels.lanes;
        const int64_t first = split.begin(panel) * kernels.lanes;
        load_pixels(dy, tile.n, group * plan.out_group + first, std::min(width, plan.out_group - first),
                    {tile.i0, tile.rows, tile.j0, tile.cols}, width, space.block);
        if (sums_of.dy != nullptr) {
          sums_of.dy->take(pixel_chunk, group * plan.out_group + first,
                           std::min(width, plan.out_group - first), space.block, width, pixels);
        }
        for (int64_t tap = 0; tap < plan.taps; ++tap, ++call) {
          const int64_t offset =
              tap / taps_w * g.h.dilation * plan.pitch + tap % taps_w * g.w.dilation * plan.pixel;
          kernels.outer_panel({a + offset, space.row, pixels, plan.run, space.block, vectors,
                               sums + plan.rows * first + tap * plan.run * width, written,
                               next_x.part(call, call + 1, calls), next_dy.part(call, call + 1, calls)});
        }
      }
      written = true;
    }
    if (!written) {
      const int64_t first0 = split.begin(panel0) * kernels.lanes,
                    first1 = split.begin(panel1) * kernels.lanes;
      std::memset(sums + plan.rows * first0, 0, sizeof(T) * plan.rows * (first1 - first0));
    }
  });

  // Adds the chunks in their order and turns (r, s, c; o) into (o, c, r, s).
  parallel_for(g.groups * split.panels, threads, [&](int64_t item, int thread) {
    const int64_t panel = item % split.panels, group = item / split.panels;
    const int64_t width = split.width(panel) * kernels.lanes, first = split.begin(panel) * kernels.lanes;
    const int64_t count = plan.rows * width;
    T* const sum = partial + group * group_size + plan.rows * first;
    for (int64_t chunk = 1; chunk < plan.pixel_chunks; ++chunk) {
      const T* part = sum + chunk * g.groups * group_size;
      for (int64_t i = 0; i < count; ++i) sum[i] += part[i];
    }
    T* const turned = workspaces[thread].finished;  // (o, r, s, c)
    kernels.transpose(sum, width, turned, plan.rows, plan.rows, width);
    const int64_t columns = std::min(width, plan.out_group - first);
    for (int64_t o = 0; o < columns; ++o) {
      T* const to = dw + (group * plan.out_group + first + o) * plan.rows;
      if (kernel_size == 1) {
        std::memcpy(to, turned + o * plan.rows, sizeof(T) * plan.rows);
      } else {
        kernels.transpose(turned + o * plan.rows, plan.in_group, to, kernel_size, kernel_size, plan.in_group);
      }
    }
  });
}

template void conv_backward_weight<float>(const ConvGeometry&, Image<const float>, Image<const float>, float*,
                                          const OperandSums<float>&);
template void conv_backward_weight<double>(const ConvGeometry&, Image<const double>, Image<const double>,
                                           double*, const OperandSums<double>&);

}  // namespace neocog
