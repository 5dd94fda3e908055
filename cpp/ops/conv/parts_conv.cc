#include "ops/conv/parts_conv.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/bf16_plan.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_conv_plan.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/parts.h"

namespace neocog {
namespace {

// Fewer channels leave too much of a step to zeros, and fewer products or results too little to gain.
constexpr int64_t kFewestChannels = 24, kFewestOutputs = 16, kFewestPixels = 32;

// Axes of one tap meet every in_step-th pixel alone.
int64_t skipped(const TapConvAxis& axis, const Span& span) {
  return span.lo == span.hi ? axis.in_step : 1;
}
TapConvAxis without_skipped(TapConvAxis axis, int64_t skip) {
  axis.in_step /= skip;
  return axis;
}

// What the items of a call share.
struct PartsConv {
  const PartsKernels& kernels;
  const TapConvPlan& plan;
  Image<const float> x;
  int64_t skip_h, skip_w;

  // The strip from that row and column of x on, in parts, zeros outside the image and behind the channels.
  void load(int64_t n, int64_t channel, int64_t row, int64_t col, float* copy, uint16_t* to) const {
    const int64_t width = plan.channels, pitch = plan.pitch;
    if (!x.channels_last()) {  // skip_w is 1
      for (int64_t i = 0; i < plan.strip_rows; i += skip_h == 1 ? plan.strip_rows : 1) {
        const int64_t rows = skip_h == 1 ? plan.strip_rows : 1;
        load_strip(x, n, channel, plan.in_group, {row + i * skip_h, rows, col, plan.strip_cols}, copy);
        kernels.split_pixels(copy, plan.in_group, rows * plan.strip_cols, plan.in_group, width,
                             to + kParts * i * pitch, width);
      }
      return;
    }
    const StripPart rows = inside_of(row, skip_h, plan.strip_rows, x.h),
                    cols = inside_of(col, skip_w, plan.strip_cols, x.w);
    const auto zeros = [&](int64_t begin, int64_t end) {
      std::fill(to + kParts * begin, to + kParts * end, uint16_t{0});
    };
    if (rows.begin == rows.end || cols.begin == cols.end) return zeros(0, plan.strip_rows * pitch);
    zeros(0, rows.begin * pitch);
    zeros(rows.end * pitch, plan.strip_rows * pitch);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      const int64_t line = i * pitch;
      zeros(line, line + cols.begin * width);
      zeros(line + cols.end * width, line + pitch);
      kernels.split_pixels(x.at(n, channel, row + i * skip_h, col + cols.begin * skip_w),
                           x.stride_w() * skip_w, cols.end - cols.begin, plan.in_group, width,
                           to + kParts * (line + cols.begin * width), width);
    }
  }

  // All panels, through a panel of float32 of each thread.
  void pack(int64_t groups, const float* weight, int64_t kernel_size, WeightRole role,
            const std::vector<float*>& panels, uint16_t* to) const {
    const int64_t phases = static_cast<int64_t>(plan.phases.size()),
                  items = groups * phases * plan.split.panels;
    const bool padded = plan.channels > plan.in_group;
    parallel_for(items, static_cast<int>(panels.size()), [&](int64_t item, int thread) {
      const int64_t panel = item % plan.split.panels, p = item / plan.split.panels % phases;
      const int64_t g = item / plan.split.panels / phases, vectors = plan.split.width(panel);
      const TapPhase& phase = plan.phases[p];
      float* const plain = panels[thread];
      if (padded) std::fill_n(plain, phase.rows * vectors * kernels.lanes, 0.0f);
      pack_taps(plan, phase, g, panel, weight, kernel_size, role, plain);
      kernels.split_panel(plain, phase.rows, vectors, to + kParts * offset(phase, g, panel));
    });
  }
  // Elements of all panels before this one.
  int64_t offset(const TapPhase& phase, int64_t g, int64_t panel) const {
    return g * plan.packed_group + phase.packed_offset + phase.rows * plan.split.begin(panel) * kernels.lanes;
  }
};

}  // namespace

bool parts_conv_suits(int64_t in_group, int64_t out_group, int64_t results) {
  return parts_kernels() != nullptr && in_group >= kFewestChannels && out_group >= kFewestOutputs &&
         results >= kFewestPixels;
}

void parts_conv(const TapConvAxis& whole_h, const TapConvAxis& whole_w, int64_t groups, Image<const float> x,
                Weights<float> weight, int64_t kernel_h, int64_t kernel_w, WeightRole role,
                const Epilogue<float>& epilogue, Image<float> y) {
  const PartsKernels& kernels = *parts_kernels();
  const Span span_h = span_of(whole_h), span_w = span_of(whole_w);
  const int64_t skip_h = skipped(whole_h, span_h), skip_w = x.channels_last() ? skipped(whole_w, span_w) : 1;
  const TapConvAxis h = without_skipped(whole_h, skip_h), w = without_skipped(whole_w, skip_w);
  const TapConvPlan plan =
      tap_conv_plan(h, w, groups, x, y, kernel_h, kernel_w, role, epilogue.moments, true);
  const int64_t items = x.n * groups * plan.tiles_h * plan.tiles_w * plan.column_chunks;
  const int threads = threads_for(items);
  const int64_t strip = plan.strip_rows * plan.pitch;
  const PartsConv call{kernels, plan, x, skip_h, skip_w};
  const int64_t copy =
      x.channels_last() ? 0 : (skip_h == 1 ? plan.strip_rows : 1) * plan.strip_cols * plan.in_group;
  const int64_t panel_width = kernels.max_vectors * kernels.lanes;
  const int64_t block = y.channels_last() ? 0 : plan.tile_h * plan.tile_w * panel_width;
  const int64_t most_runs = plan.tile_h * ceil_div(plan.tile_w, kernels.tile_rows),
                most_out = most_runs * kernels.tile_rows;
  int64_t most_rows = 0;
  for (const TapPhase& phase : plan.phases) most_rows = std::max(most_rows, phase.rows);
  const int64_t plain = most_rows * panel_width;

  const int64_t packed_size = kParts * groups * plan.packed_group;
  Scratch scratch(Scratch::bytes_of<uint16_t>(weight.scratch(packed_size)) +
                  threads * (Scratch::bytes_of<uint16_t>(kParts * strip) + Scratch::bytes_of<float>(copy) +
                             Scratch::bytes_of<float>(block) + Scratch::bytes_of<float>(plain) +
                             Scratch::bytes_of<Bf16Run>(most_runs) + Scratch::bytes_of<int64_t>(most_out)));
  struct Workspace {
    uint16_t* strip;
    float *copy, *block;
    Bf16Run* run;
    int64_t* out;
    // The tile whose pixels `run` and `out` hold; most tiles are alike.
    int64_t rows = 0, cols = 0, width = 0, runs = 0;
  };
  std::vector<Workspace> workspaces(threads);
  for (Workspace& space : workspaces) {
    space = {scratch.take<uint16_t>(kParts * strip), scratch.take<float>(copy), scratch.take<float>(block),
             scratch.take<Bf16Run>(most_runs), scratch.take<int64_t>(most_out)};
  }
  std::vector<float*> panels(threads);
  for (float*& panel : panels) panel = scratch.take<float>(plain);
  const uint16_t* const packed = weight.form<uint16_t>(
      tap_panels_key(kTapParts, kernels.lanes, plan, groups, kernel_h * kernel_w, role), packed_size, scratch,
      [&](uint16_t* to) { call.pack(groups, weight.data, kernel_h * kernel_w, role, panels, to); });

  // A residual that lies as the sums do is added while they are in registers.
  const bool near = y.channels_last() && h.complete && w.complete;
  const float* const residual = near ? epilogue.residual : nullptr;
  const Epilogue<float> after = near ? without_residual(epilogue) : epilogue;
  const Finish<float> finish(after);
  // Blocks are nearer than what was stored from them, and have the channels next to each other.
  const bool from_blocks = epilogue.moments != nullptr && !finish.elementwise && !y.channels_last() &&
                           h.out_step == 1 && w.out_step == 1;
  const bool resident =
      kParts * plan.packed_group * static_cast<int64_t>(sizeof(uint16_t)) < kResidentWeights;
  fill_untapped(h, w, epilogue.bias, finish, y);

  parallel_for(items, threads, [&](int64_t item, int thread) {
    Workspace& space = workspaces[thread];
    const int64_t begun = first_item(items, thread, threads), next_item = item + 1;
    const bool warm = item < begun || item - begun >= plan.column_chunks;
    const int64_t chunk = item % plan.column_chunks;
    item /= plan.column_chunks;
    const int64_t tile_j = item % plan.tiles_w, tile_i = item / plan.tiles_w % plan.tiles_h;
    const int64_t g = item / plan.tiles_w / plan.tiles_h % groups;
    const int64_t n = item / plan.tiles_w / plan.tiles_h / groups;
    const int64_t i0 = tile_i * plan.tile_h, j0 = tile_j * plan.tile_w;
    call.load(n, g * plan.in_group, i0 * whole_h.in_step + span_h.lo, j0 * whole_w.in_step + span_w.lo,
              space.copy, space.strip);
    const uint16_t* const a = space.strip - kParts * (span_h.lo * plan.pitch + span_w.lo * plan.pixel);
    // The panels after these: of the next phase, or of the item that this thread is likely to have next.
    // Those that stay in the cache come to it once.
    const bool there = resident && warm;
    const int64_t later = plan.split.panels * (next_item % plan.column_chunks) / plan.column_chunks;
    const int64_t panel0 = plan.split.panels * chunk / plan.column_chunks;
    const int64_t panel1 = plan.split.panels * (chunk + 1) / plan.column_chunks;
    const auto next_panel = [&](const TapPhase& phase, int64_t panel) -> Ahead<uint16_t> {
      if (there) return {};
      const bool last = &phase == &plan.phases.back();
      const TapPhase& then = panel + 1 < panel1 ? phase : last ? plan.phases.front() : *(&phase + 1);
      const int64_t next = panel + 1 < panel1 ? panel + 1 : last ? later : panel0;
      const int64_t taps = std::min(then.taps_at_once, static_cast<int64_t>(then.tap.size()));
      return {packed + kParts * call.offset(then, g, next),
              kParts * taps * then.run * plan.split.width(next) * kernels.lanes};
    };
    for (const TapPhase& phase : plan.phases) {
      const int64_t i1 = std::min(i0 + plan.tile_h, phase.h->count),
                    j1 = std::min(j0 + plan.tile_w, phase.w->count);
      if (i0 >= i1 || j0 >= j1) continue;
      const int64_t row0 = phase.h->start + i0 * h.out_step, col0 = phase.w->start + j0 * w.out_step;
      float* const y0 = y.channels_last() ? y.at(n, g * plan.out_group, row0, col0) : space.block;
      const int64_t rows = i1 - i0, cols = j1 - j0;
      for (int64_t panel = panel0; panel < panel1; ++panel) {
        const int64_t first = plan.split.begin(panel) * kernels.lanes, vectors = plan.split.width(panel),
                      width = vectors * kernels.lanes, columns = std::min(width, plan.out_group - first),
                      channel = g * plan.out_group + first;
        const int64_t row_y = y.channels_last() ? h.out_step * y.stride_h() : cols * width,
                      col_y = y.channels_last() ? w.out_step * y.stride_w() : width;
        if (space.rows != rows || space.cols != cols || space.width != col_y) {
          space.rows = rows, space.cols = cols, space.width = col_y;
          space.runs = tile_runs(kernels.tile_rows, rows, cols, h.in_step * plan.pitch,
                                 w.in_step * plan.pixel, row_y, col_y, space.run, space.out);
        }
        PartsPanel product{a,
                           space.run,
                           space.runs,
                           phase.tap.data(),
                           0,
                           phase.run / kPartsDepth,
                           packed + kParts * call.offset(phase, g, panel),
                           vectors,
                           columns,
                           epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                           y.channels_last() ? y0 + first : y0,
                           space.out,
                           false,
                           finish.clamp_hi};
        const int64_t taps = static_cast<int64_t>(phase.tap.size());
        for (int64_t tap = 0; tap < taps; tap += phase.taps_at_once) {
          product.taps = std::min(phase.taps_at_once, taps - tap);
          const bool last = tap + phase.taps_at_once >= taps;
          product.clamp = finish.clamp && last;
          product.residual = last && residual != nullptr ? residual + (product.y - y.data) : nullptr;
          product.next =
              last ? next_panel(phase, panel)
                   : Ahead<uint16_t>{product.b + kParts * product.taps * phase.run * width,
                                     kParts * std::min(phase.taps_at_once, taps - tap - product.taps) *
                                         phase.run * width};
          kernels.taps_panels(&product, 1);
          product.tap += product.taps;
          product.b += kParts * product.taps * phase.run * width;
          product.accumulate = true;
        }
        if (from_blocks) {
          epilogue.moments->take_pixels(space.block, cols * width, width, n, channel, columns, row0,
                                        row0 + rows, col0, col0 + cols);
        }
        if (!y.channels_last()) {
          store_strip(space.block, width, y, n, channel, columns, {row0, rows, col0, cols}, h.out_step,
                      w.out_step);
        }
      }
    }
    if (finish.rectangle && !from_blocks) {
      const int64_t c0 = plan.split.begin(panel0) * kernels.lanes;
      const int64_t c1 = std::min(plan.split.begin(panel1) * kernels.lanes, plan.out_group);
      finish_rectangle(after, y, n, g * plan.out_group + c0, c1 - c0, i0 * h.out_step,
                       std::min((i0 + plan.tile_h) * h.out_step, y.h), j0 * w.out_step,
                       std::min((j0 + plan.tile_w) * w.out_step, y.w));
    }
  });
}

}  // namespace neocog
