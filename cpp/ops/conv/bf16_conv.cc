#include "ops/conv/bf16_conv.h"

#include <algorithm>
#include <vector>

#include "core/held_block.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/bf16_plan.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/linear.h"

namespace neocog {
namespace {

// Groups of fewer channels fill too little of a tile, and so do fewer outputs, and sums of fewer products
// (measured on AMX against float32).
constexpr int64_t kGroupChannels = 16, kOutputs = 4, kProducts = 16;
// Rows of a linear layer up to which weights are not packed for one call.
constexpr int64_t kDotRows = 12;
// Elements of a piece of x or of the weights that a thread rounds.
constexpr int64_t kPiece = 1 << 15;

// dst (strip_rows, strip_cols, channels of the strip) = x[n, channel : channel + in_group] from that row and
// column on, rounded, zeros outside the image and behind the channels.
void load_rounded(const Bf16Kernels& kernels, const Bf16ConvPlan& plan, const Image<const float>& x,
                  int64_t n, int64_t channel, int64_t row, int64_t col, uint16_t* dst) {
  const int64_t width = plan.sum.channels, pitch = plan.pitch;
  const StripPart rows = inside_of(row, plan.skip_h, plan.strip_rows, x.h);
  const StripPart cols = inside_of(col, plan.skip_w, plan.strip_cols, x.w);
  const auto zeros = [](uint16_t* to, int64_t count) { std::fill_n(to, count, uint16_t{0}); };
  if (rows.begin == rows.end || cols.begin == cols.end) return zeros(dst, plan.strip_rows * pitch);
  zeros(dst, rows.begin * pitch);
  zeros(dst + rows.end * pitch, (plan.strip_rows - rows.end) * pitch);
  // Whole rows of the image are one.
  const bool whole = cols.end - cols.begin == plan.strip_cols && plan.strip_cols == x.w && plan.skip_h == 1;
  const int64_t lines = whole ? 1 : rows.end - rows.begin;
  const int64_t pixels = (cols.end - cols.begin) * (whole ? rows.end - rows.begin : 1);
  for (int64_t i = rows.begin; i < rows.begin + lines; ++i) {
    uint16_t* const line = dst + i * pitch;
    uint16_t* const to = line + cols.begin * width;
    if (!whole) {
      zeros(line, cols.begin * width);
      zeros(line + cols.end * width, (plan.strip_cols - cols.end) * width);
    }
    const float* const from = x.at(n, channel, row + i * plan.skip_h, col + cols.begin * plan.skip_w);
    if (!x.channels_last()) {
      kernels.round_planes(from, x.stride_c(), pixels, plan.in_group, width, to, width);
    } else if (plan.in_group == x.c && x.c == width && plan.skip_w == 1) {
      kernels.round(from, pixels * width, to);
    } else {
      kernels.round_pixels(from, x.c * plan.skip_w, pixels, plan.in_group, width, to, width);
    }
  }
}

// The pixels under the tile that begins at row i0, where they lie in one piece and are not read elsewhere
// too.
Ahead<float> under_tile(const Bf16ConvPlan& plan, const ConvGeometry& g, const Image<const float>& x,
                        int64_t n, int64_t i0) {
  if (!x.channels_last() || g.groups > 1 || plan.tiles_w > 1 || plan.column_chunks > 1 || n >= x.n) return {};
  const int64_t row0 = std::clamp<int64_t>(g.h.tap(i0, 0), 0, x.h);
  const int64_t row1 = std::clamp<int64_t>(g.h.tap(i0, 0) + plan.strip_rows * plan.skip_h, row0, x.h);
  return {x.at(n, 0, row0, 0), (row1 - row0) * x.stride_h()};
}

const uint16_t* packed_weights(const Bf16Kernels& kernels, const Bf16ConvPlan& plan, int64_t groups,
                               const Weights<float>& weight, Scratch& scratch) {
  const Bf16Depth& sum = plan.sum;
  const int64_t row = plan.in_group * sum.taps, panel_size = sum.taps * sum.channels * kBf16Columns;
  return weight.form<uint16_t>(
      {kBf16Panels, groups, plan.in_group, sum.channels, plan.out_group, sum.taps},
      groups * plan.panels * panel_size, scratch, [&](uint16_t* to) {
        parallel_for(groups * plan.panels, [&](int64_t item, int) {
          const int64_t first = item % plan.panels * kBf16Columns;
          const float* const from = weight.data + (item / plan.panels * plan.out_group + first) * row;
          kernels.pack_panel(from, std::min(kBf16Columns, plan.out_group - first), plan.in_group, sum.taps,
                             sum.channels, to + item * panel_size);
        });
      });
}

void unit_conv(const Bf16Kernels& kernels, const ConvGeometry& g, const Image<const float>& x,
               const Weights<float>& weight, const Epilogue<float>& epilogue, const Image<float>& y) {
  const Bf16ConvPlan plan = bf16_conv_plan(g, kernels.tile_rows, x.layout, y.layout);
  const Bf16Depth& sum = plan.sum;
  const int64_t items = g.batch * g.groups * plan.tiles_h * plan.tiles_w * plan.column_chunks;
  const int threads = threads_for(items);
  const int64_t strip = plan.strip_rows * plan.pitch;
  const int64_t pixel = plan.panels_at_once * kBf16Columns;  // of a block
  const int64_t block = y.channels_last() ? 0 : plan.tile_h * plan.tile_w * pixel;
  const int64_t panel_size = sum.taps * sum.channels * kBf16Columns;
  Scratch scratch(Scratch::bytes_of<uint16_t>(weight.scratch(g.groups * plan.panels * panel_size)) +
                  threads * (Scratch::bytes_of<uint16_t>(strip) + Scratch::bytes_of<float>(block) +
                             Scratch::bytes_of<Bf16Run>(plan.most_runs) +
                             Scratch::bytes_of<int64_t>(plan.most_out)));
  struct Workspace {
    uint16_t* strip;
    float* block;
    Bf16Run* run;
    int64_t* out;
    int64_t rows, cols, runs;  // of the tile that `run` and `out` hold; most tiles are alike
  };
  std::vector<Workspace> workspaces(threads);
  for (Workspace& space : workspaces) {
    space = {scratch.take<uint16_t>(strip),
             scratch.take<float>(block),
             scratch.take<Bf16Run>(plan.most_runs),
             scratch.take<int64_t>(plan.most_out),
             0,
             0,
             0};
  }
  const uint16_t* const packed = packed_weights(kernels, plan, g.groups, weight, scratch);
  const Finish<float> finish(epilogue);

  parallel_for(items, threads, [&](int64_t item, int thread) {
    Workspace& space = workspaces[thread];
    const int64_t chunk = item % plan.column_chunks;
    item /= plan.column_chunks;
    const int64_t i0 = item / plan.tiles_w % plan.tiles_h * plan.tile_h,
                  j0 = item % plan.tiles_w * plan.tile_w;
    const int64_t group = item / plan.tiles_w / plan.tiles_h % g.groups;
    const int64_t n = item / plan.tiles_w / plan.tiles_h / g.groups;
    const int64_t rows = std::min(plan.tile_h, y.h - i0), cols = std::min(plan.tile_w, y.w - j0);
    if (rows <= 0 || cols <= 0) return;
    load_rounded(kernels, plan, x, n, group * plan.in_group, g.h.tap(i0, 0), g.w.tap(j0, 0), space.strip);
    if (space.rows != rows || space.cols != cols) {
      space.rows = rows, space.cols = cols;
      const int64_t y_row = y.channels_last() ? y.stride_h() : cols * pixel;
      const int64_t y_col = y.channels_last() ? y.stride_w() : pixel;
      space.runs = tile_runs(kernels.tile_rows, rows, cols, plan.stride_h * plan.pitch,
                             plan.stride_w * plan.sum.channels, y_row, y_col, space.run, space.out);
    }
    // What this thread will most likely read next.
    const Ahead<float> next =
        under_tile(plan, g, x, (item + 1) / plan.tiles_h, (item + 1) % plan.tiles_h * plan.tile_h);
    const int64_t panel0 = plan.panels * chunk / plan.column_chunks;
    const int64_t panel1 = plan.panels * (chunk + 1) / plan.column_chunks;
    for (int64_t panel = panel0; panel < panel1; panel += plan.panels_at_once) {
      const int64_t first = panel * kBf16Columns, channel = group * plan.out_group + first;
      const int64_t end = std::min(panel + plan.panels_at_once, panel1);
      const int64_t columns = std::min(end * kBf16Columns, plan.out_group) - first;
      const bool last = end == panel1;
      kernels.taps_panels({space.strip, space.run, space.runs, plan.tap.data(), sum.runs, sum.steps,
                           sum.depth, packed + (group * plan.panels + panel) * panel_size, columns,
                           epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                           y.channels_last() ? y.at(n, channel, i0, j0) : space.block, space.out,
                           finish.clamp, finish.clamp_hi, last ? next : Ahead<float>{}});
      if (!y.channels_last()) {
        store_strip(space.block, pixel, y, n, channel, columns, {i0, rows, j0, cols}, 1, 1);
      }
    }
    if (finish.rectangle) {
      const int64_t c0 = panel0 * kBf16Columns, c1 = std::min(panel1 * kBf16Columns, plan.out_group);
      finish_rectangle(epilogue, y, n, group * plan.out_group + c0, c1 - c0, i0, i0 + rows, j0, j0 + cols);
    }
  });
}

// Weights that are not kept, and used so rarely that they are read where they lie.
void few_rows(const Bf16Kernels& kernels, int64_t rows, int64_t in, int64_t out, const float* x,
              const float* weight, const float* bias, Activation f, float alpha, float* y) {
  const int64_t x_row = round_up(in, kBf16Depth);
  Scratch scratch(Scratch::bytes_of<uint16_t>(rows * x_row));
  uint16_t* const rounded = scratch.take<uint16_t>(rows * x_row);
  kernels.round_pixels(x, in, rows, in, x_row, rounded, x_row);
  parallel_for(ceil_div(out, kBf16Columns), [&](int64_t item, int) {
    const int64_t o = item * kBf16Columns, count = std::min(kBf16Columns, out - o);
    kernels.dot_block(rounded, x_row, rows, weight + o * in, count, in, bias == nullptr ? nullptr : bias + o,
                      y + o, out);
    if (f == Activation::kIdentity) return;
    for (int64_t r = 0; r < rows; ++r) {
      float* const row = y + r * out + o;
      elementwise_kernels<float>().activate(f, alpha, row, row, count);
    }
  });
}

void round_all(const float* from, int64_t count, float* to) {
  parallel_for(ceil_div(count, kPiece), [&](int64_t item, int) {
    const int64_t end = std::min(count, (item + 1) * kPiece);
    for (int64_t i = item * kPiece; i < end; ++i) to[i] = rounded_to_bf16(from[i]);
  });
}

// The float32 kernels on rounded copies: products of two bfloat16 numbers are exact in float32.
void emulated_conv(const ConvGeometry& g, const Image<const float>& x, const Weights<float>& weight,
                   const Epilogue<float>& epilogue, const Image<float>& y) {
  const int64_t weights = g.out_channels * (g.in_channels / g.groups) * g.h.kernel * g.w.kernel;
  const HeldBlock x_block(static_cast<size_t>(x.size()) * sizeof(float)),
      weight_block(static_cast<size_t>(weights) * sizeof(float));
  float *const rounded_x = x_block.as<float>(), *const rounded_weight = weight_block.as<float>();
  round_all(x.data, x.size(), rounded_x);
  round_all(weight.data, weights, rounded_weight);
  conv_forward<float>(g, {rounded_x, x.n, x.c, x.h, x.w, x.layout}, rounded_weight, epilogue, y,
                      ConvMethod::kDirect);
}

}  // namespace

bool bf16_suits(const ConvGeometry& g) {
  const int64_t in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
  if (out_group < kOutputs || in_group * g.h.kernel * g.w.kernel < kProducts) return false;
  return g.groups == 1 || (in_group >= kGroupChannels && out_group >= kGroupChannels);
}

const char* bf16_conv_name(const ConvGeometry& g) {
  return bf16_strip_fits(g) ? bf16_linear_name() : "bf16, emulated";
}

const char* bf16_linear_name() {
  switch (active_bf16_unit()) {
    case Bf16Unit::kAmx: return "bf16, AMX tiles";
    case Bf16Unit::kAvx512: return "bf16, AVX-512 pairs";
    default: return "bf16, emulated";
  }
}

void bf16_conv(const ConvGeometry& g, Image<const float> x, Weights<float> weight,
               const Epilogue<float>& epilogue, Image<float> y) {
  if (y.size() == 0) return;
  const Bf16Kernels* const kernels = bf16_kernels();
  if (!bf16_suits(g)) {
    conv_forward<float>(g, x, weight, epilogue, y);
  } else if (kernels == nullptr || !bf16_strip_fits(g)) {
    emulated_conv(g, x, weight, epilogue, y);
  } else {
    unit_conv(*kernels, g, x, weight, epilogue, y);
  }
}

bool bf16_linear_suits(int64_t in, int64_t out) {
  return in >= kProducts && out >= kOutputs;
}

void bf16_linear(int64_t rows, int64_t in, int64_t out, const float* x, const Weights<float>& weight,
                 const float* bias, Activation f, float alpha, float* y) {
  if (!bf16_linear_suits(in, out)) {
    linear_forward<float>(rows, in, out, x, weight, bias, f, alpha, y);
    return;
  }
  const Bf16Kernels* const kernels = bf16_kernels();
  if (kernels != nullptr && weight.kept == nullptr && rows <= kDotRows) {
    few_rows(*kernels, rows, in, out, x, weight.data, bias, f, alpha, y);
    return;
  }
  const ConvGeometry g{1, in, out, 1, {1, 1, 1, 1, 0, 0}, {rows, 1, 1, 1, 0, 0}};
  bf16_conv(g, {x, 1, in, 1, rows, Layout::kChannelsLast}, weight, {bias, nullptr, f, alpha},
            {y, 1, out, 1, rows, Layout::kChannelsLast});
}

}  // namespace neocog
