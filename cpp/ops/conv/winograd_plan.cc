#include "ops/conv/winograd_plan.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <type_traits>

#include "core/parallel.h"
#include "core/strict.h"
#include "ops/conv/winograd.h"
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
// channels are more than the caches hold. All tiles are one block, and every thread transforms the inputs for
// its panels: that takes less time than to fetch them from another one's cache.
struct Few {
  int64_t tiles, more, pairs;
};
constexpr Few kFewKept{16, 48, 512 * 512}, kFewOnce{64, 128, 256 * 256};
// Where the method pays then and not else: channels per group on both sides, output pixels, and those of four
// tiles.
constexpr int64_t kFewChannels = 64, kFewPixels = 36, kPixelsOfFour = 25;
// Runs of channels that are long enough to be read from all over the block; shorter ones stay together per
// point.
constexpr int64_t kLongRun = 128;
// Channels of one phase of the inputs from which on the phases are multiplied one after the other: fewer
// tiles' inputs are in the cache at a time, or more tiles; but the sums are loaded and stored by every phase.
constexpr int64_t kLongPhase = 64;
// Where the method pays, as measured against tap_conv with AVX-512: from so many channels, per group
// on both sides, and output pixels on.
struct Least {
  int64_t channels, pixels;
};
using Steps = std::array<Least, 3>;
struct Leasts {
  Steps of_3x3;
  Least of_5x5, of_3, of_5;  // 5x5 or 3x5, one axis of 3 or 5 taps
  Least of_2x2, of_2;
  Steps of_4x4;
  // Stride 2, pixels of one phase: 4x4 or 1x4, 3x3, 5 to 8 taps along both axes.
  Least of_4x4_apart;
  Steps of_3x3_apart, of_more_apart;
  // Of the last two, for every channel of the larger side: transformed kernels are many times the weights,
  // and the more channels, the fewer tiles share a read of them.
  int64_t pixels_of_3x3, pixels_of_more;
  // Few input channels: output channels and pixels, and the taps of a phase.
  Least of_paired;
  int64_t taps_of_paired;
};
constexpr int64_t kFewestPaired = 3;
constexpr Leasts kForward{{{{16, 400}, {40, 144}, {64, 100}}},
                          {32, 150},
                          {48, 200},
                          {96, 200},
                          {32, 2048},
                          {64, 8192},
                          {{{16, 3000}, {32, 600}, {64, 150}}},
                          {32, 2048},
                          {{{64, 16384}, {96, 8192}, {128, 4096}}},
                          {{{16, 3000}, {32, 1500}, {64, 700}}},
                          16,
                          8,
                          {48, 10000},
                          4};
constexpr Leasts kWeight{{{{24, 400}, {32, 150}, {32, 150}}},
                         {32, 150},
                         {48, 200},
                         {48, 200},
                         {32, 2048},
                         {64, 8192},
                         {{{16, 3000}, {32, 600}, {64, 150}}},
                         {32, 1024},
                         {{{64, 16384}, {128, 2048}, {256, 784}}},
                         {{{16, 3000}, {32, 700}, {64, 700}}},
                         0,
                         0,
                         {32, 10000},
                         3};

bool enough(const ConvGeometry& g, const Leasts& leasts, int64_t pixels) {
  const int64_t channels = std::min(g.in_channels, g.out_channels) / g.groups;
  const auto has = [&](const Least& least) { return channels >= least.channels && pixels >= least.pixels; };
  const auto any = [&](const Steps& steps) { return std::any_of(steps.begin(), steps.end(), has); };
  const int64_t phases = winograd_phases(g.h) * winograd_phases(g.w);
  if (winograd_paired(g)) {
    return g.in_channels / g.groups >= kFewestPaired && winograd_taps(g.h) >= leasts.taps_of_paired &&
           g.out_channels / g.groups >= leasts.of_paired.channels && pixels >= leasts.of_paired.pixels;
  }
  const int64_t most = std::max(g.h.kernel, g.w.kernel), few = std::min(g.h.kernel, g.w.kernel);
  if (phases == 4) {
    const int64_t larger = std::max(g.in_channels, g.out_channels) / g.groups;
    if (most > 4) return pixels >= leasts.pixels_of_more * larger && any(leasts.of_more_apart);
    if (few == 3) return pixels >= leasts.pixels_of_3x3 * larger && any(leasts.of_3x3_apart);
    return has(leasts.of_4x4_apart);
  }
  if (std::max(winograd_taps(g.h), winograd_taps(g.w)) == 2)
    return has(few == 1 ? leasts.of_2 : leasts.of_2x2);
  if (most == 4) return any(leasts.of_4x4);
  if (few == 1) return has(most == 5 ? leasts.of_5 : leasts.of_3);
  return most == 5 ? has(leasts.of_5x5) : any(leasts.of_3x3);
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

// Images of h x w outputs, not dilated.
bool few_pay(const ConvGeometry& g, int64_t h, int64_t w) {
  constexpr int64_t tile = winograd_tile(3);
  const int64_t tiles = g.batch * ceil_div(h, tile) * ceil_div(w, tile), pixels = g.batch * h * w;
  return plain_3x3(g) && g.h.dilation == 1 && g.w.dilation == 1 && tiles <= kFewKept.tiles &&
         pixels >= kFewPixels && 4 * pixels >= kPixelsOfFour * tiles &&
         std::min(g.in_channels, g.out_channels) / g.groups >= kFewChannels;
}

// Of the smallest image that one tile can lie in, along the transformed axes.
int64_t smaller_side(const ConvGeometry& g, int64_t h, int64_t w) {
  return std::min(g.h.kernel == 1 ? w : h / g.h.dilation, g.w.kernel == 1 ? h : w / g.w.dilation);
}

}  // namespace

template <class T>
WinogradPlan winograd_plan(const ConvGeometry& g, const Image<const T>& x, const Image<T>& y,
                           const WinogradWindow& window, bool kept) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t groups = g.groups, in = x.c / groups, out = y.c / groups;
  const int64_t images = y.n * window.remainders();
  const bool paired = window.in_phases() > 1 && winograd_paired(g);
  const TileAxis h(ceil_div(y.h + window.before_h, window.step_h * window.out_h), winograd_taps(g.h), paired),
      w(ceil_div(y.w + window.before_w, window.step_w * window.out_w), winograd_taps(g.w), paired);
  const int64_t all = images * h.tiles * w.tiles;
  const Few& most = kept ? kFewKept : kFewOnce;
  const bool few = plain_3x3(g) && !window.beside && all <= (in * out < most.pairs ? most.tiles : most.more);
  const bool one = !few && !kept && all <= kOneBlockTiles && !window.beside;
  const int64_t vectors = one || few ? std::min(kernels.max_vectors, kOneBlockVectors) : kernels.max_vectors;
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
                    few,
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
  if (few) {
    plan.chunks = std::min(plan.split.panels, ceil_div(threads_for(groups * plan.split.panels), groups));
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
    plan.tiles = ceil_div(plan.rows, plan.blocks_h) * plan.cols;
    const int64_t items = groups * plan.blocks_w * plan.blocks_h;
    if (items < threads) plan.chunks = std::min(plan.split.panels, ceil_div(threads, items));
  }
  plan.run = few ? kWinogradRun : depth;
  const bool by_point = few || depth < kLongRun;
  plan.point_v = by_point ? round_up(plan.tiles * plan.run, kLine) + kLine : depth;
  plan.tile_v = by_point ? plan.run : plan.points() * depth;
  plan.run_v = few ? plan.points() * plan.point_v : 0;
  return plan;
}

template <class T>
bool winograd_suits(const ConvGeometry& g, WeightRole role) {
  if (!possible<T>(g)) return false;
  const bool forward = role == WeightRole::kForward;
  const int64_t h = forward ? g.h.out() : g.h.in / winograd_phases(g.h);
  const int64_t w = forward ? g.w.out() : g.w.in / winograd_phases(g.w);
  return (forward || !winograd_paired(g)) && smaller_side(g, h, w) >= 2 &&
         (enough(g, kForward, g.batch * h * w) || few_pay(g, h, w));
}

template <class T>
bool winograd_suits_weight(const ConvGeometry& g) {
  if (!possible<T>(g) || smaller_side(g, g.h.out(), g.w.out()) < 3) return false;
  if constexpr (std::is_same_v<T, float>) {
    if (winograd_paired(g) && !winograd_parts_suit<T>(g)) return false;
  }
  return enough(g, kWeight, g.batch * g.h.out() * g.w.out());
}

#define NEOCOG_INSTANTIATE(T)                                                                         \
  template WinogradPlan winograd_plan<T>(const ConvGeometry&, const Image<const T>&, const Image<T>&, \
                                         const WinogradWindow&, bool);                                \
  template bool winograd_suits<T>(const ConvGeometry&, WeightRole);                                   \
  template bool winograd_suits_weight<T>(const ConvGeometry&);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
