// The weight gradient by Winograd's method: both images are transformed once, and every point is a product
// that is reduced over the tiles.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_weight.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {
namespace {

// Transformed images of a pass, which the third-level cache should hold; fewer tiles would add up the sums
// too often.
constexpr int64_t kPassBytes = 16 << 20, kFewTiles = 128;
// Tiles that are added up in registers before they join the sums: two short chains err less than a long one.
constexpr int64_t kSummed = 32;
// Channels of x whose sums with a panel of dy's stay in the second-level cache: 36 points x 64 x 64.
constexpr int64_t kChannels = 64;

// A panel of dy's channels and a block of x's.
struct WeightItem {
  int64_t panel, group, block;  // panel of all groups, block of the group
  int64_t begin, vectors;       // of the panel in its group
  int64_t c0, channels;         // of the block
};

// How the work is cut: by the geometry alone, so that sums keep their order.
struct WeightPlan {
  int64_t in_group, out_group, groups;
  int64_t depth;     // channels of all phases of x
  PanelSplit split;  // of out_group
  TileAxis h, w;
  int64_t rows, passes, pass_rows;    // of tiles, in all images; passes over them
  int64_t tiles;                      // of a pass
  int64_t point_v, panel_d, point_d;  // distances in the transformed x and dy
  int64_t blocks, panel;              // blocks of channels of a group, widest panel
  int64_t block_c;                    // channels of the largest block
  int64_t points() const { return h.points * w.points; }
  int64_t items() const { return groups * split.panels * blocks; }
  int64_t block_begin(int64_t block) const { return depth * block / blocks; }
  // A block of all groups in the transformed x: (blocks, tiles, block_c) of every point.
  int64_t block_v(int64_t group, int64_t block) const { return (group * blocks + block) * tiles * block_c; }
  WeightItem item(int64_t i) const {
    const int64_t block = i / (groups * split.panels), at = i % (groups * split.panels),
                  part = at % split.panels;
    const int64_t c0 = block_begin(block);
    return {at, at / split.panels,          block, split.begin(part), split.width(part),
            c0, block_begin(block + 1) - c0};
  }
  int64_t size_m() const { return points() * std::min(kChannels, depth) * panel; }
};

template <class T>
WeightPlan make_plan(const ConvGeometry& g) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t in = g.in_channels / g.groups, out = g.out_channels / g.groups;
  const int64_t depth = in * weight_phases(g);
  WeightPlan plan{in,
                  out,
                  g.groups,
                  depth,
                  PanelSplit(out, kernels.lanes, kernels.max_vectors),
                  TileAxis(ceil_div(g.h.out(), winograd_step(g.h)), winograd_taps(g.h)),
                  TileAxis(ceil_div(g.w.out(), winograd_step(g.w)), winograd_taps(g.w)),
                  0,
                  0,
                  0,
                  0,
                  0,
                  0,
                  0,
                  ceil_div(depth, kChannels),
                  kernels.max_vectors * kernels.lanes,
                  ceil_div(depth, ceil_div(depth, kChannels))};
  plan.rows = g.batch * winograd_step(g.h) * winograd_step(g.w) * plan.h.tiles;
  const int64_t columns = g.groups * plan.split.vectors * kernels.lanes;
  const int64_t tile_bytes = plan.points() * (depth * g.groups + columns) * static_cast<int64_t>(sizeof(T));
  const int64_t tiles = std::max(kFewTiles, kPassBytes / tile_bytes);
  plan.passes = ceil_div(plan.rows, std::max<int64_t>(1, tiles / plan.w.tiles));
  plan.pass_rows = ceil_div(plan.rows, plan.passes);
  plan.tiles = plan.pass_rows * plan.w.tiles;
  plan.point_v = plan.tiles * g.groups * plan.blocks * plan.block_c + kWinogradLine;
  plan.point_d = plan.tiles * plan.panel + kWinogradLine;
  plan.panel_d = plan.points() * plan.point_d;
  return plan;
}

}  // namespace

template <class T>
void winograd_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw,
                              const OperandSums<T>& sums_of) {
  const bool parts = winograd_parts_suit<T>(g), dilated = winograd_step(g.h) * winograd_step(g.w) > 1;
  if (dilated && !(parts && winograd_beside(g, dy.h)) && !(x.channels_last() && dy.channels_last())) {
    gradient_turned(x, dy, [&](const Image<const T>& from, const Image<const T>& with) {
      winograd_backward_weight(g, from, with, dw, sums_of);
    });
    return;
  }
  if (parts) {
    winograd_weight_by_parts(g, x, dy, dw, sums_of);
    return;
  }
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const WinogradKernels<T>& transforms = winograd_kernels<T>();
  const WeightPlan plan = make_plan<T>(g);
  const WinogradWindow under = weight_window(g, false);
  const WinogradWindow outputs{0, 0, under.step_h, under.step_w};
  const int64_t points = plan.points(), kernel_size = g.h.kernel * g.w.kernel;
  const int64_t panels = g.groups * plan.split.panels, jobs = plan.pass_rows * (1 + panels);
  // Few items are shared out by their points; the sums of a point are the same whoever adds them up.
  const int64_t chunks = std::clamp<int64_t>(ceil_div(4 * threads_for(points), plan.items()), 1, points);
  const bool kept = plan.passes > 1 || chunks > 1;  // sums outlive a job, else each thread has its own
  const int threads = threads_for(std::max(plan.items() * chunks, jobs));
  // Taps of an item, and of phases once more, turned.
  const int64_t taps = plan.h.taps * plan.w.taps * (weight_phases(g) == 1 ? 1 : 2) * plan.panel *
                       std::min(kChannels, plan.depth);
  const int64_t strip =
      std::max(window_strip<Under::kInputs>(x, x.c, under, plan.h, plan.w, 1, plan.w.tiles),
               window_strip<Under::kOutputs>(dy, plan.panel, outputs, plan.h, plan.w, 1, plan.w.tiles));
  const int64_t sums = kept ? plan.items() * plan.size_m() : 0, own = kept ? 0 : plan.size_m(),
                longest = std::max(x.c, plan.panel);
  Scratch scratch(Scratch::bytes_of<T>(points * plan.point_v) + Scratch::bytes_of<T>(panels * plan.panel_d) +
                  Scratch::bytes_of<T>(sums) + Scratch::bytes_of<T>(longest) +
                  threads *
                      (Scratch::bytes_of<T>(own) + Scratch::bytes_of<T>(taps) + Scratch::bytes_of<T>(strip)));
  T* const v = scratch.take<T>(points * plan.point_v);
  T* const d = scratch.take<T>(panels * plan.panel_d);
  T* const m = scratch.take<T>(sums);
  T* const zeros = scratch.take<T>(longest);
  std::fill_n(zeros, longest, T(0));
  int64_t row_of_tile[kSummed];
  for (int64_t t = 0; t < kSummed; ++t) row_of_tile[t] = t * plan.block_c;
  struct Workspace {
    T *m, *taps, *strip;
  };
  std::vector<Workspace> spaces(threads);
  for (Workspace& space : spaces)
    space = {scratch.take<T>(own), scratch.take<T>(taps), scratch.take<T>(strip)};
  // Lanes behind the last channel of a panel: their sums are dropped, but they must be numbers.
  if (plan.out_group % kernels.lanes != 0) std::fill_n(d, panels * plan.panel_d, T(0));

  // Channels [begin, end) of an item.
  const auto finish = [&](const WeightItem& item, const T* sum, int64_t begin, int64_t end, T* space) {
    const int64_t first = item.begin * kernels.lanes, width = item.vectors * kernels.lanes;
    taps_of_sums(plan.h, plan.w, sum, item.channels, width, begin, end, space);
    store_weights(g, plan.h, plan.w, space, width, plan.out_group - first, item.c0 + begin, item.c0 + end,
                  space + (end - begin) * plan.h.taps * plan.w.taps * width,
                  dw + (item.group * plan.out_group + first) * plan.in_group * kernel_size);
  };

  // A dilated kernel's pixels lie apart.
  ChannelSums<T>* const x_sums = !dilated && tiles_cover_all(g) ? sums_of.x : nullptr;
  ChannelSums<T>* const dy_sums = dilated ? nullptr : sums_of.dy;
  for (ChannelSums<T>* taken : {x_sums, dy_sums}) {
    if (taken != nullptr) taken->cut(plan.rows);
  }
  for (int64_t pass = 0; pass < plan.passes; ++pass) {
    const int64_t first = plan.rows * pass / plan.passes, rows = plan.rows * (pass + 1) / plan.passes - first;
    const int64_t tiles = rows * plan.w.tiles;
    parallel_for(rows * (1 + panels), threads, [&](int64_t job, int thread) {
      const int64_t row = first + job % rows, panel = job / rows - 1;
      const TileBlock block{row, row + 1, 0, plan.w.tiles};
      T* const space = spaces[thread].strip;
      if (panel < 0) {
        each_window<Under::kInputs>(
            x, 0, x.c, under, plan.h, plan.w, block, {0, under.in_phases()}, zeros, space,
            [&](const T* const* pixel, int64_t at, int64_t col, int64_t phase) {
              const int64_t tile = (at - first) * plan.w.tiles + col;
              const int64_t depth0 = winograd_place(g, phase) * plan.in_group,
                            depth1 = depth0 + plan.in_group;
              for (int64_t group = 0; group < g.groups; ++group) {
                for (int64_t part = 0; part < plan.blocks; ++part) {
                  const int64_t c0 = plan.block_begin(part);
                  const int64_t begin = std::max(c0, depth0),
                                end = std::min(plan.block_begin(part + 1), depth1);
                  if (begin >= end) continue;
                  const T* shifted[kWinogradMostPoints];
                  for (int64_t t = 0; t < points; ++t) {
                    shifted[t] = pixel[t] + group * plan.in_group + begin - depth0;
                  }
                  transforms.input({shifted, end - begin, plan.h.taps, plan.w.taps, plan.h.tile, plan.w.tile,
                                    v + plan.block_v(group, part) + tile * plan.block_c + begin - c0,
                                    plan.point_v, end - begin, 0, winograd_finite(g.h, phase / under.in_w),
                                    winograd_finite(g.w, phase % under.in_w)});
                }
              }
            },
            [&](const T* pixels, int64_t pixel, int64_t count) {
              if (x_sums != nullptr) x_sums->take(row, 0, x.c, pixels, pixel, count);
            });
        return;
      }
      const int64_t group = panel / plan.split.panels, part = panel % plan.split.panels;
      const int64_t begin = plan.split.begin(part) * kernels.lanes,
                    width = plan.split.width(part) * kernels.lanes;
      const int64_t columns = std::min(width, plan.out_group - begin);
      each_window<Under::kOutputs>(
          dy, group * plan.out_group + begin, columns, outputs, plan.h, plan.w, block, {}, zeros, space,
          [&](const T* const* pixel, int64_t at, int64_t col, int64_t) {
            const int64_t tile = (at - first) * plan.w.tiles + col;
            transforms.gradient(plan.h.taps, plan.w.taps, pixel, columns,
                                d + panel * plan.panel_d + tile * width, plan.point_d);
          },
          [&](const T* pixels, int64_t pixel, int64_t count) {
            if (dy_sums == nullptr) return;
            dy_sums->take(row, group * plan.out_group + begin, columns, pixels, pixel, count);
          });
    });
    parallel_for(plan.items() * chunks, threads, [&](int64_t job, int thread) {
      const int64_t chunk = job / plan.items(), index = job % plan.items();
      const WeightItem item = plan.item(index);
      const int64_t width = item.vectors * kernels.lanes, point_m = item.channels * width;
      T* const sum = kept ? m + index * plan.size_m() : spaces[thread].m;
      for (int64_t p = points * chunk / chunks; p < points * (chunk + 1) / chunks; ++p) {
        const ChannelSpan span = weight_span(g, plan.h, plan.w, p);
        const int64_t begin = std::max<int64_t>(0, span.begin - item.c0),
                      end = std::min(item.channels, span.end - item.c0);
        if (begin >= end) continue;
        const T* const from = v + p * plan.point_v + plan.block_v(item.group, item.block) + begin;
        const T* const with = d + item.panel * plan.panel_d + p * plan.point_d;
        for (int64_t t = 0; t < tiles; t += kSummed) {
          // The next tiles, of this point or the next one, come from the third-level cache.
          const bool last = t + kSummed >= tiles;
          const int64_t next = last ? 0 : t + kSummed,
                        ahead = last && p + 1 == points ? 0 : std::min(kSummed, tiles - next);
          kernels.outer_panel({from + t * plan.block_c,
                               row_of_tile,
                               std::min(kSummed, tiles - t),
                               end - begin,
                               with + t * width,
                               item.vectors,
                               sum + p * point_m + begin * width,
                               pass > 0 || t > 0,
                               {from + (last ? plan.point_v : 0) + next * plan.block_c, ahead * plan.block_c},
                               {with + (last ? plan.point_d : 0) + next * width, ahead * width}});
        }
      }
      if (!kept) finish(item, sum, 0, item.channels, spaces[thread].taps);
    });
  }
  if (!kept) return;
  constexpr int64_t kPiece = 16;  // channels that a job finishes
  const int64_t pieces = ceil_div(std::min(kChannels, plan.depth), kPiece);
  parallel_for(plan.items() * pieces, threads, [&](int64_t job, int thread) {
    const WeightItem item = plan.item(job / pieces);
    const int64_t begin = std::min(item.channels, job % pieces * kPiece);
    finish(item, m + job / pieces * plan.size_m(), begin, std::min(item.channels, begin + kPiece),
           spaces[thread].taps);
  });
}

template void winograd_backward_weight<float>(const ConvGeometry&, Image<const float>, Image<const float>,
                                              float*, const OperandSums<float>&);

}  // namespace neocog
