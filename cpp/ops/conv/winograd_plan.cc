#include "ops/conv/winograd_plan.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <type_traits>

#include "core/parallel.h"
#include "core/strict.h"
#include "ops/conv/few_pixels.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_cost.h"
#include "ops/conv/winograd_weight.h"

namespace neocog {
namespace {

constexpr int64_t kLine = kWinogradLine;
// Transformed inputs and sums of a block: a good part of a second-level cache of 2 MB, ...
constexpr int64_t kBlockBytes = 1 << 20;
// ... but reading the inputs from further away costs less than reading the weights more often; and more gains
// nothing.
constexpr int64_t kFewTiles = 32, kManyTiles = 96;
// One row of tiles is cut into so many blocks, if they do not become smaller than this.
constexpr int64_t kLongBlocks = 16, kFewLongTiles = 64;
// Up to here all tiles are one block, and each thread transforms the kernels of the panels that it
// multiplies: they never leave its cache.
constexpr int64_t kOneBlockTiles = 48;
constexpr int64_t kOneBlockVectors = 2;  // of a panel then
// Up to so many tiles kernels are transformed each time they are used, run by run: kept ones, as taps are a
// quarter of what would be read, and others, that would be written first. `More` tiles where so many pairs of
// channels are more than the caches hold; for kernels that are used once, any number.
struct FromTaps {
  int64_t tiles, more, pairs;
};
constexpr FromTaps kTapsKept{16, 48, 512 * 512},
    kTapsOnce{64, std::numeric_limits<int64_t>::max(), 160 * 160};
// From so many on, with as many pairs, they take wider panels and longer runs of channels: products count
// then, not transforms.
constexpr int64_t kWideTiles = 48;
// Tiles of a block of them: each block transforms the kernels, and every chunk of panels the block's inputs,
// which takes less time than to fetch them from another thread's cache.
constexpr int64_t kWideBlock = 128;
// Runs of channels that are long enough to be read from all over the block; shorter ones stay together per
// point.
constexpr int64_t kLongRun = 128;
// Channels of one phase of the inputs from which on the phases are multiplied one after the other: fewer
// tiles' inputs are in the cache at a time, or more tiles; but the sums are loaded and stored by every phase.
constexpr int64_t kLongPhase = 64;
// Groups of fewer channels leave vectors too empty.
constexpr int64_t kLeastChannels = 8, kLeastOfGroup = 16;
// Where few input channels pay (winograd_pairs.h), as measured with AVX-512: these, output channels, pixels
// and the taps of a phase.
struct LeastPaired {
  int64_t in, out, pixels, taps;
};
constexpr LeastPaired kPairedForward{3, 48, 10000, 4}, kPairedWeight{3, 32, 10000, 3};

bool paired_pay(const ConvGeometry& g, const LeastPaired& least) {
  return g.in_channels / g.groups >= least.in && g.out_channels / g.groups >= least.out &&
         g.batch * g.h.out() * g.w.out() >= least.pixels && winograd_taps(g.h) >= least.taps;
}

template <class T>
bool possible(const ConvGeometry& g) {
  if (!std::is_same_v<T, float> || strict()) return false;
  const int64_t phases = winograd_phases(g.h) * winograd_phases(g.w);
  for (const WindowAxis& axis : {g.h, g.w}) {
    if (axis.stride == 1) continue;
    if (axis.stride > 2 || axis.dilation > 1 || axis.kernel < 3) return false;
    if (axis.kernel != 4 && phases != 4) return false;  // along one axis there is little to save
  }
  return winograd_has(winograd_taps(g.h), winograd_taps(g.w)) && g.h.kernel * g.w.kernel > 1;
}

bool plain_3x3(const ConvGeometry& g) {
  return g.h.kernel == 3 && g.w.kernel == 3 && g.h.stride == 1 && g.w.stride == 1;
}

bool enough_channels(const ConvGeometry& g) {
  return std::min(g.in_channels, g.out_channels) / g.groups >=
         (g.groups == 1 ? kLeastChannels : kLeastOfGroup);
}

// Of the smallest image that one tile can lie in, along the transformed axes.
int64_t smaller_side(const ConvGeometry& g, int64_t h, int64_t w) {
  return std::min(g.h.kernel == 1 ? w : h / g.h.dilation, g.w.kernel == 1 ? h : w / g.w.dilation);
}

int64_t channel_pairs(const ConvGeometry& g) {
  return g.in_channels / g.groups * (g.out_channels / g.groups);
}

// About `blocks`, at most `most`, of each of `others`, so that every thread gets as many: the next number
// that does it, or the one before, if that is near.
int64_t dealt_out(int64_t blocks, int64_t others, int64_t threads, int64_t most) {
  const int64_t step = threads / std::gcd(threads, others), fewer = blocks / step * step;
  if (blocks < step || fewer == blocks) return blocks;
  if (blocks - fewer <= blocks / 8) return fewer;
  return fewer + step <= most ? fewer + step : blocks;
}

}  // namespace

bool winograd_reads_taps(const ConvGeometry& g, int64_t tiles, bool kept) {
  const FromTaps& most = kept ? kTapsKept : kTapsOnce;
  return plain_3x3(g) && tiles <= (channel_pairs(g) < most.pairs ? most.tiles : most.more);
}

bool winograd_wide(const ConvGeometry& g, int64_t tiles) {
  return tiles >= kWideTiles && channel_pairs(g) >= kTapsOnce.pairs;
}

template <class T>
WinogradPlan winograd_plan(const ConvGeometry& g, const Image<const T>& x, const Image<T>& y,
                           const WinogradWindow& window, bool kept, int64_t most_terms) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t groups = g.groups, in = x.c / groups, out = y.c / groups;
  const int64_t images = y.n * window.remainders();
  const bool paired = window.in_phases() > 1 && winograd_paired(g);
  const TileAxis h(ceil_div(y.h + window.before_h, window.step_h * window.out_h), winograd_taps(g.h), paired),
      w(ceil_div(y.w + window.before_w, window.step_w * window.out_w), winograd_taps(g.w), paired);
  const int64_t all = images * h.tiles * w.tiles;
  const bool from_taps = winograd_reads_taps(g, all, kept) && !window.beside && w.tiles <= kWideBlock;
  const bool one = !from_taps && !kept && all <= kOneBlockTiles && !window.beside;
  const bool wide = from_taps && winograd_wide(g, all) && most_terms >= kWinogradLongRun &&
                    kernels.max_vectors > kOneBlockVectors;
  const int64_t vectors =
      wide ? std::clamp(ceil_div(ceil_div(out, kernels.lanes), static_cast<int64_t>(threads_for(all))),
                        kOneBlockVectors, kernels.max_vectors)
      : one || from_taps ? std::min(kernels.max_vectors, kOneBlockVectors)
                         : kernels.max_vectors;
  WinogradPlan plan{in,
                    out,
                    kernels.lanes,
                    PanelSplit(out, kernels.lanes, vectors),
                    h,
                    w,
                    window.in_phases(),
                    window.out_phases(),
                    one || in < kLongPhase ? window.in_phases() : 1,
                    paired,
                    0,
                    one,
                    from_taps,
                    1,
                    1,
                    1,
                    w.tiles,
                    all,
                    0,
                    0,
                    0,
                    0,
                    vectors * kernels.lanes};
  const int64_t depth = plan.at_once * in;
  plan.rows = images * plan.h.tiles;
  if (from_taps) {
    // Panels are shared out where that gives each thread as many, else blocks are.
    const int64_t threads = threads_for(all), of_group = ceil_div(threads, groups);
    int64_t blocks = ceil_div(all, kWideBlock);
    if (blocks > 1 || plan.split.panels % of_group != 0) blocks = round_up(blocks, of_group);
    plan.blocks_h =
        std::clamp(blocks, int64_t{1}, std::min(plan.rows, std::max<int64_t>(1, all / kFewTiles)));
    plan.chunks = std::min(plan.split.panels, ceil_div(of_group, plan.blocks_h));
    plan.tiles = ceil_div(plan.rows, plan.blocks_h) * plan.w.tiles;
  } else if (!one) {
    const int64_t sums = plan.at_once < plan.in_phases ? plan.split.vectors * plan.lanes : plan.panel;
    const int64_t bytes = plan.points() * (depth + sums) * static_cast<int64_t>(sizeof(T));
    const int64_t most =
        std::clamp(kBlockBytes / bytes, kFewTiles, kManyTiles * kWinogradMostPoints / plan.points());
    int64_t most_cols = std::max<int64_t>(1, window.beside ? most / window.step_w : most);
    if (plan.h.tiles == 1) {  // whatever the number of threads: statistics are taken block by block
      most_cols = std::min(most_cols, std::max(kFewLongTiles, ceil_div(all, kLongBlocks)));
    }
    plan.cols = ceil_div(plan.w.tiles, ceil_div(plan.w.tiles, most_cols));
    plan.blocks_w = ceil_div(plan.w.tiles, plan.cols);
    // Two blocks for every thread, if they do not become too small for that.
    const int64_t threads = threads_for(all);
    int64_t high = window.beside ? window.step_w : std::max<int64_t>(1, most / plan.cols);
    while (!window.beside && high > 1 && groups * plan.blocks_w * ceil_div(plan.rows, high) < 2 * threads &&
           (high - 1) * plan.cols >= kFewTiles)
      --high;
    plan.blocks_h = ceil_div(plan.rows, high);
    if (!window.beside) plan.blocks_h = dealt_out(plan.blocks_h, groups * plan.blocks_w, threads, plan.rows);
    plan.tiles = ceil_div(plan.rows, plan.blocks_h) * plan.cols;
    const int64_t items = groups * plan.blocks_w * plan.blocks_h;
    if (items < threads) plan.chunks = std::min(plan.split.panels, ceil_div(threads, items));
  }
  plan.run = wide ? kWinogradLongRun : from_taps ? kWinogradRun : depth;
  const bool by_point = from_taps || depth < kLongRun;
  plan.point_v = by_point ? round_up(plan.tiles * plan.run, kLine) + kLine : depth;
  plan.tile_v = by_point ? plan.run : plan.points() * depth;
  plan.run_v = from_taps ? plan.points() * plan.point_v : 0;
  return plan;
}

template <class T>
bool winograd_suits(const ConvGeometry& g, WeightRole role) {
  if (!possible<T>(g)) return false;
  const bool forward = role == WeightRole::kForward;
  const int64_t h = forward ? g.h.out() : g.h.in / winograd_phases(g.h);
  const int64_t w = forward ? g.w.out() : g.w.in / winograd_phases(g.w);
  if (smaller_side(g, h, w) < 2) return false;
  if (winograd_paired(g)) return forward && paired_pay(g, kPairedForward);
  if (forward && few_pixels_suit(g)) return false;
  const ConvUse use = forward ? ConvUse::kForward : ConvUse::kTransposed;
  return enough_channels(g) && winograd_pays(conv_counts(g, use), use);
}

template <class T>
bool winograd_suits_weight(const ConvGeometry& g) {
  if (!possible<T>(g) || smaller_side(g, g.h.out(), g.w.out()) < 3) return false;
  if constexpr (std::is_same_v<T, float>) {
    if (winograd_paired(g)) return winograd_parts_suit<T>(g) && paired_pay(g, kPairedWeight);
  }
  return enough_channels(g) && winograd_pays(conv_counts(g, ConvUse::kWeight), ConvUse::kWeight);
}

#define NEOCOG_INSTANTIATE(T)                                                                         \
  template WinogradPlan winograd_plan<T>(const ConvGeometry&, const Image<const T>&, const Image<T>&, \
                                         const WinogradWindow&, bool, int64_t);                       \
  template bool winograd_suits<T>(const ConvGeometry&, WeightRole);                                   \
  template bool winograd_suits_weight<T>(const ConvGeometry&);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
