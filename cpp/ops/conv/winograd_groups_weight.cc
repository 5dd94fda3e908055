// The weight gradient in groups of few channels: the groups of a block share vectors of channels, and the
// images under a run of tiles are never transformed but in the caches nearest to the core.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/strict.h"
#include "ops/conv/winograd_groups.h"
#include "ops/conv/winograd_groups_kernels.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {
namespace {

constexpr int64_t kTile = kGroupTile, kTaps = 9;
constexpr int64_t kWidth = kMostGroupChannels;  // of a pixel, for the kernels
// Tiles of a run: more take away from the caches what fewer do not repay, the sums that each run adds to.
constexpr int64_t kRunTiles = 16;
// Blocks that are read one after the other where their channels lie side by side.
constexpr int64_t kChunkBlocks = 4;
// Partial sums, whatever the number of threads: they are added in order.
constexpr int64_t kItems = 64, kRunsOfPart = 4;
// Where the method pays, as measured against narrow_groups and outer_panel with AVX-512: from so many
// channels of a group, on either side, and output pixels on.
constexpr int64_t kLeastChannels = 5, kLeastPixels = 49;

// How the work is cut: by the geometry alone, so that sums keep their order.
struct WeightPlan {
  int64_t groups, in_group, out_group;
  int64_t per_block, blocks, chunks, chunk;
  TileAxis h, w;
  int64_t rows, blocks_h, blocks_w, high, cols;  // rows of tiles in all images; runs of high x cols tiles
  int64_t parts;
  int64_t lanes;
  WeightPlan(const ConvGeometry& g, int64_t vector, bool side_by_side)
      : groups(g.groups),
        in_group(g.in_channels / groups),
        out_group(g.out_channels / groups),
        per_block(std::min(groups, kMostGroupChannels / std::max(in_group, out_group))),
        blocks(ceil_div(groups, per_block)),
        chunks(side_by_side ? ceil_div(blocks, kChunkBlocks) : blocks),
        chunk(ceil_div(blocks, chunks)),
        h(g.h.out(), 3),
        w(g.w.out(), 3),
        rows(g.batch * h.tiles),
        lanes(vector) {
    blocks_w = ceil_div(w.tiles, kRunTiles);
    cols = ceil_div(w.tiles, blocks_w);
    high = std::min(rows, std::max<int64_t>(1, kRunTiles / cols));
    blocks_h = ceil_div(rows, high);
    parts = std::clamp<int64_t>(std::min(runs() / kRunsOfPart, ceil_div(kItems, chunks)), 1, runs());
  }
  int64_t runs() const { return blocks_h * blocks_w; }
  TileBlock run(int64_t i) const {
    const int64_t row = i / blocks_w, col = i % blocks_w;
    return {row * high, std::min(rows, row * high + high), w.tiles * col / blocks_w,
            w.tiles * (col + 1) / blocks_w};
  }
  int64_t tiles() const { return high * cols; }
  // Sums of a group and of a block, whose points lie one after the other.
  int64_t group_m() const { return group_sums(in_group, out_group, lanes); }
  int64_t size_m() const { return kGroupPoints * per_block * group_m(); }
  int64_t first_group(int64_t block) const { return block * per_block; }
  int64_t groups_in(int64_t block) const { return std::min(per_block, groups - first_group(block)); }
};

// One thread's memory for x or dy: pixels under the tiles, if they have to be copied, their columns, and a
// row of points.
template <class T>
struct Workspace {
  T *strip, *space, *columns, *points;
};

// What a run reads: x under the tiles, or dy.
template <class T, Under under>
struct RunImage {
  const WeightPlan& plan;
  Image<const T> image;
  int64_t pad_h, pad_w;
  int64_t of_group;  // channels of a group

  // A whole vector is read from the last pixel too.
  int64_t strip() const {
    return window_size<under>(plan.h) * window_pixels<under>(plan.w, plan.cols) * kWidth + kWidth;
  }
  int64_t row_columns() const { return kGroupPixels * group_columns(plan.cols) * kWidth; }
  int64_t columns() const { return plan.high * row_columns(); }
  int64_t points() const { return group_points(plan.tiles()); }
  size_t bytes() const {
    return Scratch::bytes_of<T>(strip()) + Scratch::bytes_of<T>(kGroupSpace) +
           Scratch::bytes_of<T>(columns()) + Scratch::bytes_of<T>(points());
  }
  // Lanes behind the last channel: their sums are dropped, but they should be numbers of common size.
  Workspace<T> take(Scratch& scratch) const {
    const Workspace<T> space{scratch.take<T>(strip()), scratch.take<T>(kGroupSpace),
                             scratch.take<T>(columns()), scratch.take<T>(points())};
    std::fill_n(space.strip, strip(), T(0));
    std::fill_n(space.points, points(), T(0));
    return space;
  }

  // The columns under a run, of one block of channels, whose pixels are added up too.
  void load(const TileBlock& run, int64_t block, const Workspace<T>& space, double* wide) const {
    const int64_t channel = plan.first_group(block) * of_group, channels = plan.groups_in(block) * of_group;
    const int64_t high = window_size<under>(plan.h), col = run.col0 * kTile - pad_w;
    const int64_t left = std::clamp<int64_t>(-col, 0, window_pixels<under>(plan.w, run.cols()));
    const int64_t cols =
        std::clamp<int64_t>(image.w - col, left, window_pixels<under>(plan.w, run.cols())) - left;
    for (int64_t i = run.row0; i < run.row1; ++i) {
      const int64_t n = i / plan.h.tiles, row = i % plan.h.tiles * kTile - pad_h;
      const int64_t row0 = std::clamp<int64_t>(-row, 0, high),
                    row1 = std::clamp<int64_t>(image.h - row, row0, high);
      GroupColumns<T> job{nullptr,
                          0,
                          0,
                          0,
                          row0,
                          row1,
                          left,
                          cols,
                          run.cols(),
                          space.space,
                          space.columns + (i - run.row0) * kGroupPixels * group_columns(run.cols()) * kWidth,
                          wide};
      if (row0 == row1 || cols == 0) {
        job.row0 = job.row1 = job.cols = 0;
      } else if (channels == kWidth && (image.channels_last() || cols >= kTile)) {
        job.pixels = image.at(n, channel, row + row0, col + left);
        job.plane = image.channels_last() ? 0 : image.stride_c();
        job.pixel = image.channels_last() ? image.c : 1;
        job.row = image.w * job.pixel;
      } else {
        load_strip(image, n, channel, channels, {row + row0, row1 - row0, col + left, cols}, space.strip);
        job.pixels = space.strip;
        job.pixel = channels;
        job.row = cols * channels;
      }
      (under == Under::kInputs ? winograd_groups_kernels<T>().input_columns
                               : winograd_groups_kernels<T>().gradient_columns)(job);
    }
  }
};

}  // namespace

template <class T>
bool winograd_groups_suit_weight(const ConvGeometry& g) {
  if (!std::is_same_v<T, float> || strict() || g.groups == 1) return false;
  for (const WindowAxis& axis : {g.h, g.w}) {
    if (axis.kernel != 3 || axis.stride != 1 || axis.dilation != 1) return false;
  }
  const int64_t in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
  return std::max(in_group, out_group) <= kMostGroupChannels &&
         std::min(in_group, out_group) >= kLeastChannels && std::min(g.h.out(), g.w.out()) >= 3 &&
         g.batch * g.h.out() * g.w.out() >= kLeastPixels;
}

template <class T>
void winograd_groups_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw,
                                     const OperandSums<T>& sums_of) {
  const WinogradGroupsKernels<T>& kernels = winograd_groups_kernels<T>();
  const WeightPlan plan(g, kernels.lanes, x.channels_last() || dy.channels_last());
  const int64_t in_group = plan.in_group, out_group = plan.out_group, size_m = plan.size_m();
  const RunImage<T, Under::kInputs> inputs{plan, x, g.h.pad_lo, g.w.pad_lo, in_group};
  const RunImage<T, Under::kOutputs> outputs{plan, dy, 0, 0, out_group};
  const int64_t items = plan.chunks * plan.parts, taps = kTaps * plan.per_block * plan.group_m();
  const int threads = threads_for(std::max(items, plan.blocks));
  Scratch scratch(Scratch::bytes_of<T>(plan.parts * plan.blocks * size_m) +
                  threads * (inputs.bytes() + outputs.bytes() + Scratch::bytes_of<T>(taps)));
  T* const m = scratch.take<T>(plan.parts * plan.blocks * size_m);
  std::vector<Workspace<T>> of_x(threads), of_dy(threads);
  std::vector<T*> taps_of(threads);
  for (int t = 0; t < threads; ++t) {
    of_x[t] = inputs.take(scratch);
    of_dy[t] = outputs.take(scratch);
    taps_of[t] = scratch.take<T>(taps);
  }
  ChannelSums<T>* const sums = sums_of.dy;
  if (sums != nullptr) sums->cut(plan.parts);

  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace<T>&in = of_x[thread], &out = of_dy[thread];
    const int64_t chunk = item % plan.chunks, part = item / plan.chunks;
    const int64_t first = plan.runs() * part / plan.parts, last = plan.runs() * (part + 1) / plan.parts;
    const int64_t block0 = chunk * plan.chunk, block1 = std::min(plan.blocks, block0 + plan.chunk);
    for (int64_t i = first; i < last; ++i) {
      const TileBlock run = plan.run(i);
      for (int64_t block = block0; block < block1; ++block) {
        double wide[kWidth] = {};
        inputs.load(run, block, in, nullptr);
        outputs.load(run, block, out, sums == nullptr ? nullptr : wide);
        if (sums != nullptr) {
          sums->add(part, plan.first_group(block) * out_group, plan.groups_in(block) * out_group, wide);
        }
        kernels.products({in.columns, out.columns, run.row1 - run.row0, run.cols(), plan.groups_in(block),
                          in_group, out_group, in.points, out.points,
                          m + (part * plan.blocks + block) * size_m, i > first});
      }
    }
  });

  const int64_t pairs = in_group * out_group;
  std::vector<int64_t> place;  // of a pair's sum among those of a group
  for (int64_t o = 0; o < out_group; ++o) {
    for (int64_t c = 0; c < in_group; ++c) place.push_back(group_sum(in_group, out_group, plan.lanes, c, o));
  }
  // Adds the parts in their order and turns the sums into (o, c, r, s).
  parallel_for(plan.blocks, threads, [&](int64_t block, int thread) {
    const int64_t group = plan.first_group(block), count = plan.groups_in(block) * plan.group_m();
    T* const sum = m + block * size_m;
    for (int64_t part = 1; part < plan.parts; ++part) {
      const T* const other = sum + part * plan.blocks * size_m;
      for (int64_t i = 0; i < kGroupPoints * count; ++i) sum[i] += other[i];
    }
    T* const taps = taps_of[thread];
    winograd_kernels<T>().weight(3, 3, sum, count, count, taps);
    T* to = dw + group * pairs * kTaps;
    for (int64_t i = 0; i < plan.groups_in(block); ++i) {
      for (const int64_t at : place) {
        const T* const from = taps + i * plan.group_m() + at;
        for (int64_t t = 0; t < kTaps; ++t) *to++ = from[t * count];
      }
    }
  });
}

template bool winograd_groups_suit_weight<float>(const ConvGeometry&);
template bool winograd_groups_suit_weight<double>(const ConvGeometry&);
template void winograd_groups_backward_weight<float>(const ConvGeometry&, Image<const float>,
                                                     Image<const float>, float*, const OperandSums<float>&);

}  // namespace neocog
