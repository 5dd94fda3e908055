#include "ops/conv/winograd_cost.h"

#include <atomic>
#include <numeric>

#include "ops/conv/parts_conv.h"
#include "ops/conv/winograd_plan.h"

namespace neocog {
namespace {

constexpr int64_t kVector = 16;

std::atomic<bool> always{false};

// Nanoseconds of a core with AVX-512; only their ratios matter.
struct CountWeights {
  decltype(ConvCounts::direct) direct;
  decltype(ConvCounts::winograd) winograd;
};
constexpr CountWeights kSums{{0.122, 0.115, 0.00243, 0.788, 5.67, 1.99, 0.0605, 0.0577, 2.99, 19.2, 0},
                             {0.128, 0.156, 2.58, 1.27, 3.4, 4.42, 0.915, 0.31, 0.876}};
constexpr CountWeights kGradients{{0.122, 0, 0.5, 1.55, 5.25, 0, 0.0717, 0, 17.3, 7.04, 0.54},
                                  {0.146, 0, 2.36, 1.07, 2.17, 7.96, 0, 0.335, 0.555}};

// Tiles and points of an axis, in all remainders of a step.
struct AxisTiles {
  double tiles = 0, points = 0;
  AxisTiles(int64_t outputs, int64_t step, int64_t taps, bool whole) {
    const int64_t longer = outputs % step;
    add(longer, outputs / step + 1, taps, whole);
    add(step - longer, outputs / step, taps, whole);
  }

 private:
  void add(int64_t images, int64_t outputs, int64_t taps, bool whole) {
    if (images * outputs == 0) return;
    const TileAxis axis(outputs, taps, whole);
    tiles += static_cast<double>(images * axis.tiles);
    points += static_cast<double>(images * ((axis.tiles - 1) * axis.points + axis.last + taps - 1));
  }
};

// The part of the points that phases of unequal length have.
double known(const WindowAxis& axis) {
  const auto points = static_cast<double>(winograd_points(winograd_taps(axis)));
  return winograd_uneven(axis) ? 1 - 0.5 / points : 1;
}

template <class Counts>
double cost(const Counts& counts, const Counts& weights) {
  return std::inner_product(counts.begin(), counts.end(), weights.begin(), 0.0);
}

}  // namespace

ConvCounts conv_counts(const ConvGeometry& g, ConvUse use) {
  const bool transposed = use == ConvUse::kTransposed, weight = use == ConvUse::kWeight;
  const int64_t in = (transposed ? g.out_channels : g.in_channels) / g.groups,
                out = (transposed ? g.in_channels : g.out_channels) / g.groups;
  const auto groups = static_cast<double>(g.groups), batch = static_cast<double>(g.batch);
  const auto channels = static_cast<double>(in), in_vectors = static_cast<double>(ceil_div(in, kVector)),
             vectors = static_cast<double>(ceil_div(out, kVector));
  const double larger = batch * static_cast<double>(g.h.in * g.w.in),
               smaller = batch * static_cast<double>(g.h.out() * g.w.out());
  const auto taps = static_cast<double>(g.h.kernel * g.w.kernel);
  const bool apart = g.h.stride * g.w.stride > 1;
  ConvCounts counts;
  auto& direct = counts.direct;
  const double products = groups * smaller * taps * channels * vectors;
  const double written = groups * (transposed ? larger : smaller);
  const double packed = groups * taps * channels * vectors;
  direct[ConvCounts::kStored] = written * vectors;
  if (!weight && parts_conv_suits(in, out, static_cast<int64_t>(written / groups))) {
    direct[transposed && apart ? ConvCounts::kProductsInPartsApart : ConvCounts::kProductsInParts] = products;
    direct[ConvCounts::kLoadedInParts] = groups * (transposed ? smaller : larger) * in_vectors;
    direct[ConvCounts::kPackedInParts] = packed;
    // Every phase reads lines that hold others' taps.
    if (transposed && apart)
      direct[ConvCounts::kPackedApart] = packed * static_cast<double>(g.h.stride * g.w.stride);
  } else {
    direct[transposed && apart ? ConvCounts::kProductsApart : ConvCounts::kProducts] = products;
    direct[ConvCounts::kLoaded] = groups * (transposed ? smaller : larger) * in_vectors;
    if (transposed && apart) {
      direct[ConvCounts::kPackedApart] = packed * static_cast<double>(g.h.stride * g.w.stride);
    } else {
      direct[ConvCounts::kPacked] = packed;
    }
  }
  if (weight && parts_weight_possible(g)) {
    auto in_parts = direct;
    in_parts[ConvCounts::kProducts] = in_parts[ConvCounts::kLoaded] = in_parts[ConvCounts::kPacked] = 0;
    in_parts[ConvCounts::kProductsInParts] = products;
    in_parts[ConvCounts::kPackedInParts] = packed;
    // One image is turned, and the pixels of the other are split under each tap.
    const bool other = parts_weight_turns_x(g);
    in_parts[ConvCounts::kLoadedInParts] = groups * smaller * (other ? in_vectors : vectors);
    in_parts[ConvCounts::kSplitUnderTaps] = groups * smaller * taps * (other ? vectors : in_vectors);
    if (cost(in_parts, kGradients.direct) < cost(direct, kGradients.direct)) direct = in_parts;
  }

  const int64_t taps_h = winograd_taps(g.h), taps_w = winograd_taps(g.w);
  if (!winograd_has(taps_h, taps_w)) return counts;
  const auto outputs = [&](const WindowAxis& axis) {
    return transposed ? ceil_div(axis.in, winograd_phases(axis)) + winograd_phases(axis) - 1 : axis.out();
  };
  const AxisTiles h(outputs(g.h), winograd_step(g.h), taps_h, weight),
      w(outputs(g.w), winograd_step(g.w), taps_w, weight);
  const auto phases = static_cast<double>(winograd_phases(g.h) * winograd_phases(g.w));
  const double points = groups * batch * h.points * w.points, part = known(g.h) * known(g.w);
  const double kernels = groups * static_cast<double>(winograd_points(taps_h) * winograd_points(taps_w)) *
                         phases * part * channels * vectors;
  const auto tiles = static_cast<int64_t>(batch * h.tiles * w.tiles);
  const bool from_taps = !weight && winograd_reads_taps(g, tiles, false) && !winograd_wide(g, tiles);
  auto& winograd = counts.winograd;
  winograd[from_taps ? ConvCounts::kProductsFromTaps : ConvCounts::kPointProducts] =
      points * phases * part * channels * vectors;
  winograd[ConvCounts::kInputs] = points * (transposed ? 1 : phases) * in_vectors;
  winograd[ConvCounts::kOutputs] = points * (transposed ? phases : 1) * vectors;
  winograd[from_taps    ? ConvCounts::kKernelsFromTaps
           : phases > 1 ? ConvCounts::kKernelsApart
                        : ConvCounts::kKernels] = kernels;
  return counts;
}

bool parts_weight_pays(const ConvGeometry& g) {
  return conv_counts(g, ConvUse::kWeight).direct[ConvCounts::kProductsInParts] > 0;
}

bool winograd_pays(const ConvCounts& counts, ConvUse use) {
  if (always.load(std::memory_order_relaxed)) return true;
  const CountWeights& weights = use == ConvUse::kWeight ? kGradients : kSums;
  return cost(counts.winograd, weights.winograd) < cost(counts.direct, weights.direct);
}

void set_winograd_always(bool value) {
  always.store(value, std::memory_order_relaxed);
}

}  // namespace neocog
