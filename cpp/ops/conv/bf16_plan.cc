#include "ops/conv/bf16_plan.h"

#include <algorithm>
#include <limits>

#include "core/parallel.h"

namespace neocog {
namespace {

// A strip, a panel of weights and the results of a panel share the second-level cache.
constexpr int64_t kStripElements = (384 << 10) / static_cast<int64_t>(sizeof(uint16_t));
constexpr int64_t kTilePixels = 768;
// A tile of fewer pixels cannot pay for reading its weights.
constexpr int64_t kSmallTile = 64;
// Weights that stay in that cache while the runs of a tile go past, and results of a tile before they are
// stored as planes.
constexpr int64_t kPanelElements = (512 << 10) / static_cast<int64_t>(sizeof(uint16_t));
constexpr int64_t kBlockElements = (128 << 10) / static_cast<int64_t>(sizeof(float));
// The most that a strip may have for a run of outputs: 32 MB.
constexpr int64_t kMostElements = int64_t{1} << 24;
// Zeros that a pixel may be given for fewer steps.
constexpr int64_t kMoreChannels = 16;

// Rows or columns under so many outputs that are `stride` apart.
int64_t span(const WindowAxis& axis, int64_t stride, int64_t outputs) {
  return (outputs - 1) * stride + (axis.kernel - 1) * axis.dilation + 1;
}

}  // namespace

bool bf16_strip_fits(const ConvGeometry& g) {
  const int64_t channels = g.in_channels / g.groups + kMoreChannels;
  const int64_t cols = span(g.w, g.w.stride, min64(g.w.out(), kBf16Columns));
  // Divided, because the product may be too large to count.
  return span(g.h, 1, 1) <= kMostElements / channels / cols;
}

Bf16Depth bf16_depth(int64_t channels, const WindowAxis& h, const WindowAxis& w) {
  const int64_t taps = h.kernel * w.kernel;
  Bf16Depth best{0, taps, 0, 0, 0};
  int64_t fewest = std::numeric_limits<int64_t>::max();
  for (int64_t wide = round_up(channels, 2); wide < channels + kMoreChannels; wide += 2) {
    for (const int64_t merged : {int64_t{1}, w.dilation == 1 ? w.kernel : 1}) {
      const int64_t run = wide * merged;
      int64_t steps = ceil_div(run, kBf16Depth);
      while (run % (2 * steps) != 0) ++steps;
      if (taps / merged * steps >= fewest) continue;
      fewest = taps / merged * steps;
      best = {wide, taps, taps / merged, steps, run / steps};
    }
  }
  return best;
}

Bf16ConvPlan bf16_conv_plan(const ConvGeometry& g, int64_t tile_rows, Layout x, Layout y) {
  Bf16ConvPlan plan{};
  plan.in_group = g.in_channels / g.groups;
  plan.out_group = g.out_channels / g.groups;
  plan.sum = bf16_depth(plan.in_group, g.h, g.w);
  plan.panels = ceil_div(plan.out_group, kBf16Columns);
  // What no tap reaches is left out where it is easily found: rows, and whole pixels.
  plan.skip_h = g.h.kernel == 1 ? g.h.stride : 1;
  plan.skip_w = g.w.kernel == 1 && x == Layout::kChannelsLast ? g.w.stride : 1;
  plan.stride_h = g.h.stride / plan.skip_h;
  plan.stride_w = g.w.stride / plan.skip_w;
  const int64_t height = g.h.out(), width = g.w.out();
  const auto strip_size = [&](int64_t th, int64_t tw) {
    return span(g.h, plan.stride_h, th) * span(g.w, plan.stride_w, tw) * plan.sum.channels;
  };
  int64_t tw = width;
  while (tw > tile_rows && (tw > kTilePixels || (strip_size(1, tw) > kStripElements &&
                                                 span(g.w, plan.stride_w, tw) > 2 * span(g.w, 1, 1)))) {
    tw = ceil_div(tw, 2);
  }
  plan.tiles_w = ceil_div(width, tw);
  plan.tile_w = ceil_div(width, plan.tiles_w);
  int64_t th = 1;
  while (th < height && strip_size(th + 1, plan.tile_w) <= kStripElements &&
         (th + 1) * plan.tile_w <= kTilePixels) {
    ++th;
  }
  const int64_t threads = threads_for(std::numeric_limits<int64_t>::max());
  const int64_t others = g.batch * g.groups * plan.tiles_w;
  while (th > 1 && others * ceil_div(height, th) < 4 * threads && (th - 1) * plan.tile_w >= kSmallTile) --th;
  plan.tiles_h = ceil_div(height, th);
  plan.tile_h = ceil_div(height, plan.tiles_h);
  const int64_t items = others * plan.tiles_h;
  plan.column_chunks = items < 4 * threads ? std::min(plan.panels, ceil_div(4 * threads, items)) : 1;

  // Pixel by pixel, y is written in the order of its memory; plane by plane, from a block.
  const int64_t most = y == Layout::kChannelsLast
                           ? kPanelElements / (plan.sum.taps * plan.sum.channels * kBf16Columns)
                           : kBlockElements / (plan.tile_h * plan.tile_w * kBf16Columns);
  plan.panels_at_once = std::clamp<int64_t>(most, 1, plan.panels);

  plan.strip_rows = span(g.h, plan.stride_h, plan.tile_h);
  plan.strip_cols = span(g.w, plan.stride_w, plan.tile_w);
  plan.pitch = plan.strip_cols * plan.sum.channels;
  const int64_t merged = plan.sum.taps / plan.sum.runs;
  for (int64_t r = 0; r < g.h.kernel; ++r) {
    for (int64_t s = 0; s < g.w.kernel; s += merged) {
      plan.tap.push_back(r * g.h.dilation * plan.pitch + s * g.w.dilation * plan.sum.channels);
    }
  }
  plan.most_runs = plan.tile_h * ceil_div(plan.tile_w, tile_rows);
  plan.most_out = plan.most_runs * tile_rows;
  return plan;
}

int64_t tile_runs(int64_t tile_rows, int64_t rows, int64_t cols, int64_t a_row, int64_t a_col, int64_t y_row,
                  int64_t y_col, Bf16Run* run, int64_t* out) {
  // From one row of outputs to the next, counted in steps between outputs; 0 where that is no number.
  const int64_t across = a_row % a_col == 0 ? a_row / a_col : 0, all = (rows - 1) * across + cols;
  const bool join = across >= cols && ceil_div(all, tile_rows) < rows * ceil_div(cols, tile_rows);
  const int64_t lines = join ? 1 : rows, length = join ? all : cols;
  const int64_t parts = ceil_div(length, tile_rows);
  int64_t count = 0, p = 0;
  for (int64_t line = 0; line < lines; ++line) {
    for (int64_t part = 0; part < parts; ++part, ++count) {
      const int64_t begin = length * part / parts, end = length * (part + 1) / parts;
      run[count] = {line * a_row + begin * a_col, a_col, p, end - begin};
      for (int64_t i = begin; i < end; ++i, ++p) {
        const int64_t row = join ? i / across : line, col = join ? i % across : i;
        out[p] = col < cols ? row * y_row + col * y_col : -1;
      }
    }
  }
  return count;
}

}  // namespace neocog
