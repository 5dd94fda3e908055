// The weight gradient by Winograd's method for few channels: each part of the tiles has sums of its own.
#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/winograd_pairs.h"
#include "ops/conv/winograd_weight.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {
namespace {

// Sums that may stay, of both axes and of one, whose parts are read more often.
constexpr int64_t kSums = kWinogradMostPoints * 64 * 64, kSumsOfRows = kWinogradPixels * 256 * 256;
constexpr int64_t kStripBytes = 512 << 10;             // of transformed images, beside the sums
constexpr int64_t kManyTiles = 64, kManyBeside = 256;  // of a strip
constexpr int64_t kSummed = 64;                        // a longer chain of additions would err more
constexpr int64_t kParts = 16, kStripsOfPart = 4;      // the sums of the parts have to be added up in the end
constexpr int64_t kPartsBytes = 32 << 20;  // of the sums of all parts, of which their taps are kept
constexpr int64_t kPiece = 8;              // channels of x that a job finishes

// How the work is cut: by the geometry alone, so that sums keep their order.
struct PartsPlan {
  int64_t in_group, out_group;
  int64_t depth;     // channels of all phases of x
  PanelSplit split;  // of out_group
  TileAxis h, w;
  int64_t rows, blocks_h, blocks_w, parts;  // rows of tiles in all images, strips, parts of a group
  int64_t tiles;                            // of the largest strip
  int64_t lanes;
  int64_t points() const { return h.points * w.points; }
  int64_t columns() const { return split.vectors * lanes; }
  int64_t point_v() const { return tiles * depth + kWinogradLine; }
  int64_t point_d() const { return tiles * columns() + kWinogradLine; }
  int64_t size_m() const { return points() * depth * columns(); }
  int64_t size_taps() const { return h.taps * w.taps * depth * columns(); }
  TileBlock strip(int64_t i) const {
    const int64_t row = i / blocks_w, column = i % blocks_w;
    return {rows * row / blocks_h, rows * (row + 1) / blocks_h, w.tiles * column / blocks_w,
            w.tiles * (column + 1) / blocks_w};
  }
};

template <class T>
PartsPlan make_plan(const ConvGeometry& g) {
  const bool beside = winograd_beside(g, g.h.out());
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t in = g.in_channels / g.groups, out = g.out_channels / g.groups;
  PartsPlan plan{in,
                 out,
                 in * weight_phases(g),
                 PanelSplit(out, kernels.lanes, kernels.max_vectors),
                 TileAxis(ceil_div(g.h.out(), winograd_step(g.h)), winograd_taps(g.h)),
                 TileAxis(ceil_div(g.w.out(), winograd_step(g.w)), winograd_taps(g.w)),
                 0,
                 0,
                 0,
                 0,
                 0,
                 kernels.lanes};
  plan.rows = g.batch * winograd_step(g.h) * winograd_step(g.w) * plan.h.tiles;
  const int64_t tile_bytes = plan.points() * (plan.depth + plan.columns()) * static_cast<int64_t>(sizeof(T));
  const int64_t most = std::clamp<int64_t>(kStripBytes / tile_bytes, 1, beside ? kManyBeside : kManyTiles);
  plan.blocks_w = ceil_div(plan.w.tiles, std::max<int64_t>(1, beside ? most / g.w.dilation : most));
  const int64_t cols = ceil_div(plan.w.tiles, plan.blocks_w);
  plan.blocks_h = ceil_div(plan.rows, beside ? g.w.dilation : std::max<int64_t>(1, most / cols));
  plan.tiles = ceil_div(plan.rows, plan.blocks_h) * cols;
  const int64_t affordable = kPartsBytes / (g.groups * plan.size_m() * static_cast<int64_t>(sizeof(T)));
  plan.parts =
      std::clamp<int64_t>(std::min(affordable, plan.blocks_h * plan.blocks_w / kStripsOfPart), 1, kParts);
  return plan;
}

}  // namespace

template <class T>
bool winograd_parts_suit(const ConvGeometry& g) {
  const PartsPlan plan = make_plan<T>(g);
  return plan.size_m() <= (plan.points() == kWinogradMostPoints ? kSums : kSumsOfRows) && plan.parts > 1;
}

template <class T>
void winograd_weight_by_parts(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw,
                              const OperandSums<T>& sums_of) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const WinogradKernels<T>& transforms = winograd_kernels<T>();
  const bool beside = winograd_beside(g, dy.h);
  const PartsPlan plan = make_plan<T>(g);
  const WinogradWindow under = weight_window(g, beside);
  const WinogradWindow outputs{0, 0, under.step_h, under.step_w, beside};
  const int64_t points = plan.points(), kernel_size = g.h.kernel * g.w.kernel,
                taps = plan.h.taps * plan.w.taps;
  const int64_t strips = plan.blocks_h * plan.blocks_w, items = g.groups * plan.parts;
  const int64_t pieces = ceil_div(plan.depth, kPiece), jobs = g.groups * plan.split.panels * pieces;
  const int threads = threads_for(std::max(items, jobs));
  const int64_t size_v = points * plan.point_v(), size_d = points * plan.point_d();
  const int64_t longest = std::max(plan.in_group, plan.columns());
  const int64_t rows = ceil_div(plan.rows, plan.blocks_h), cols = ceil_div(plan.w.tiles, plan.blocks_w);
  const bool paired = winograd_paired(g);
  const int64_t window =
      std::max(paired ? pairs_strip(plan.in_group, plan.h, plan.w, rows, cols)
                      : window_strip<Under::kInputs>(x, plan.in_group, under, plan.h, plan.w, rows, cols),
               window_strip<Under::kOutputs>(dy, plan.columns(), outputs, plan.h, plan.w, rows, cols));
  const int64_t turned =
      weight_phases(g) == 1 ? 0 : kPiece * plan.h.taps * plan.w.taps * kernels.max_vectors * kernels.lanes;
  Scratch scratch(Scratch::bytes_of<T>(items * plan.size_taps()) + Scratch::bytes_of<T>(longest) +
                  Scratch::bytes_of<int64_t>(plan.tiles) +
                  threads * (Scratch::bytes_of<T>(size_v) + Scratch::bytes_of<T>(size_d) +
                             Scratch::bytes_of<T>(plan.size_m()) + Scratch::bytes_of<T>(window) +
                             Scratch::bytes_of<T>(turned)));
  T* const parts = scratch.take<T>(items * plan.size_taps());
  T* const zeros = scratch.take<T>(longest);
  std::fill_n(zeros, longest, T(0));
  int64_t* const row_of_tile = scratch.take<int64_t>(plan.tiles);
  for (int64_t t = 0; t < plan.tiles; ++t) row_of_tile[t] = t * plan.depth;
  struct Workspace {
    T *v, *d, *m, *window, *turned;
  };
  std::vector<Workspace> spaces(threads);
  for (Workspace& space : spaces) {
    space = {scratch.take<T>(size_v), scratch.take<T>(size_d), scratch.take<T>(plan.size_m()),
             scratch.take<T>(window), scratch.take<T>(turned)};
    // Lanes behind the last channel of dy: their sums are dropped, but they must be numbers.
    if (plan.out_group % kernels.lanes != 0) std::fill_n(space.d, size_d, T(0));
  }

  // A dilated kernel finds the pixels of a block next to each other only where it holds all remainders.
  ChannelSums<T>* const dy_sums = beside || outputs.remainders() == 1 ? sums_of.dy : nullptr;
  ChannelSums<T>* const x_sums =
      (beside || outputs.remainders() == 1) && tiles_cover_all(g) && !paired ? sums_of.x : nullptr;
  for (ChannelSums<T>* sums : {x_sums, dy_sums}) {
    if (sums != nullptr) sums->cut(plan.parts);
  }
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = spaces[thread];
    const int64_t group = item / plan.parts, part = item % plan.parts;
    T* const sums = space.m;
    const int64_t first_strip = strips * part / plan.parts;
    for (int64_t i = first_strip; i < strips * (part + 1) / plan.parts; ++i) {
      const TileBlock strip = plan.strip(i);
      const auto tile = [&](int64_t row, int64_t col) {
        return (row - strip.row0) * strip.cols() + col - strip.col0;
      };
      if (paired) {
        transform_pairs(g, x, group * plan.in_group, plan.in_group, under, plan.h, plan.w, strip,
                        space.window, plan.depth, plan.point_v(),
                        [&](int64_t row) { return space.v + tile(row, strip.col0) * plan.depth; });
      } else {
        each_window<Under::kInputs>(
            x, group * plan.in_group, plan.in_group, under, plan.h, plan.w, strip, {0, under.in_phases()},
            zeros, space.window,
            [&](const T* const* pixel, int64_t row, int64_t col, int64_t phase) {
              transforms.input(
                  {pixel, plan.in_group, plan.h.taps, plan.w.taps, plan.h.tile, plan.w.tile,
                   space.v + tile(row, col) * plan.depth + winograd_place(g, phase) * plan.in_group,
                   plan.point_v(), plan.in_group, 0, winograd_finite(g.h, phase / under.in_w),
                   winograd_finite(g.w, phase % under.in_w)});
            },
            [&](const T* pixels, int64_t pixel, int64_t count) {
              if (x_sums == nullptr) return;
              x_sums->take(part, group * plan.in_group, plan.in_group, pixels, pixel, count);
            });
      }
      each_window<Under::kOutputs>(
          dy, group * plan.out_group, plan.out_group, outputs, plan.h, plan.w, strip, {}, zeros, space.window,
          [&](const T* const* pixel, int64_t row, int64_t col, int64_t) {
            for (int64_t panel = 0; panel < plan.split.panels; ++panel) {
              const int64_t first = plan.split.begin(panel) * kernels.lanes;
              const int64_t width = plan.split.width(panel) * kernels.lanes;
              const T* shifted[kWinogradMostPoints];
              for (int64_t t = 0; t < plan.h.tile * plan.w.tile; ++t) shifted[t] = pixel[t] + first;
              transforms.gradient(plan.h.taps, plan.w.taps, shifted, std::min(width, plan.out_group - first),
                                  space.d + plan.tiles * first + tile(row, col) * width, plan.point_d());
            }
          },
          [&](const T* pixels, int64_t pixel, int64_t count) {
            if (dy_sums == nullptr) return;
            dy_sums->take(part, group * plan.out_group, plan.out_group, pixels, pixel, count);
          });
      for (int64_t panel = 0; panel < plan.split.panels; ++panel) {
        const int64_t first = plan.split.begin(panel) * kernels.lanes, vectors = plan.split.width(panel);
        const int64_t point_m = plan.depth * vectors * kernels.lanes;
        for (int64_t p = 0; p < points; ++p) {
          const ChannelSpan span = weight_span(g, plan.h, plan.w, p);
          for (int64_t t = 0; t < strip.tiles(); t += kSummed) {
            kernels.outer_panel(
                {space.v + p * plan.point_v() + span.begin, row_of_tile + t,
                 std::min(kSummed, strip.tiles() - t), span.end - span.begin,
                 space.d + plan.tiles * first + p * plan.point_d() + t * vectors * kernels.lanes, vectors,
                 sums + points * plan.depth * first + p * point_m + span.begin * vectors * kernels.lanes,
                 i > first_strip || t > 0});
          }
        }
      }
    }
    // The taps of a part are fewer than its sums, which are still near.
    for (int64_t panel = 0; panel < plan.split.panels; ++panel) {
      const int64_t first = plan.split.begin(panel) * kernels.lanes,
                    width = plan.split.width(panel) * kernels.lanes;
      taps_of_sums(plan.h, plan.w, sums + points * plan.depth * first, plan.depth, width, 0, plan.depth,
                   parts + item * plan.size_taps() + taps * plan.depth * first);
    }
  });

  parallel_for(jobs, threads, [&](int64_t job, int thread) {
    const int64_t piece = job % pieces, panel = job / pieces % plan.split.panels;
    const int64_t group = job / pieces / plan.split.panels;
    const int64_t c0 = piece * kPiece, c1 = std::min(plan.depth, c0 + kPiece);
    const int64_t first = plan.split.begin(panel) * kernels.lanes,
                  width = plan.split.width(panel) * kernels.lanes;
    T* const sum = parts + group * plan.parts * plan.size_taps() + taps * (plan.depth * first + c0 * width);
    for (int64_t part = 1; part < plan.parts; ++part) {
      const T* const other = sum + part * plan.size_taps();
      for (int64_t i = 0; i < (c1 - c0) * taps * width; ++i) sum[i] += other[i];
    }
    store_weights(g, plan.h, plan.w, sum, width, plan.out_group - first, c0, c1, spaces[thread].turned,
                  dw + (group * plan.out_group + first) * plan.in_group * kernel_size);
  });
}

template bool winograd_parts_suit<float>(const ConvGeometry&);
template void winograd_weight_by_parts<float>(const ConvGeometry&, Image<const float>, Image<const float>,
                                              float*, const OperandSums<float>&);

}  // namespace neocog
