#include "ops/conv/tap_conv.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/col2im.h"
#include "ops/conv/far_taps.h"
#include "ops/conv/narrow_groups.h"
#include "ops/conv/parts_conv.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_conv_plan.h"
#include "ops/conv/tap_span.h"
#include "ops/conv/turned.h"

namespace neocog {
namespace {

template <class T>
void pack_weights(const TapConvPlan& plan, int64_t groups, const T* weight, int64_t kernel_size,
                  WeightRole role, T* packed) {
  const int64_t phases = static_cast<int64_t>(plan.phases.size()), lanes = gemm_kernels<T>().lanes;
  parallel_for(groups * phases * plan.split.panels, [&](int64_t item, int) {
    const int64_t panel = item % plan.split.panels, p = item / plan.split.panels % phases;
    const int64_t g = item / plan.split.panels / phases;
    const TapPhase& phase = plan.phases[p];
    pack_taps(
        plan, phase, g, panel, weight, kernel_size, role,
        packed + g * plan.packed_group + phase.packed_offset + phase.rows * plan.split.begin(panel) * lanes);
  });
}

}  // namespace

template <class T>
void tap_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
              std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole role,
              const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  if (narrow_groups_suit<T>(h, w, groups, x.layout, x.c / groups, y.c / groups)) {
    narrow_groups_conv(h, w, groups, x, weight, kernel_h, kernel_w, role, epilogue, y);
    return;
  }
  if (col2im_suits<T>(h, w, x.layout, x.n * x.h * x.w, x.c / groups, y.c / groups)) {
    col2im_conv(h, w, groups, x, weight, kernel_h, kernel_w, role, epilogue, y);
    return;
  }
  if (plane_conv_suits<T>(h, w, y.c / groups)) {
    plane_conv(h, w, groups, x, weight, kernel_h, kernel_w, role, epilogue, y);
    return;
  }
  if (far_taps_suit(h, w, x.h, x.w)) {
    const auto run = [&](const Image<const T>& from, const Epilogue<T>& e, const Image<T>& to) {
      far_taps_conv(h, w, groups, from, weight, kernel_h, kernel_w, role, e, to);
    };
    if (x.channels_last() && y.channels_last()) {
      run(x, epilogue, y);
    } else {
      conv_turned(x, epilogue, y, run);
    }
    return;
  }
  if constexpr (std::is_same_v<T, float>) {
    if (parts_conv_suits(x.c / groups, y.c / groups, y.n * y.h * y.w)) {
      parts_conv(h, w, groups, x, weight, kernel_h, kernel_w, role, epilogue, y);
      return;
    }
  }
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const TapConvPlan plan = tap_conv_plan(h, w, groups, x, y, kernel_h, kernel_w, role, epilogue.moments);
  const Span span_h = span_of(h), span_w = span_of(w);
  const int64_t items = x.n * groups * plan.tiles_h * plan.tiles_w * plan.column_chunks;
  const int threads = threads_for(items);
  const int64_t tile_pixels = plan.tile_h * plan.tile_w;
  const int64_t strip = plan.in_place ? 0 : plan.strip_rows * plan.strip_cols * plan.in_group;
  const int64_t panel_width = kernels.max_vectors * kernels.lanes;
  const int64_t block = y.channels_last() ? 0 : tile_pixels * panel_width;

  const int64_t packed_size = groups * plan.packed_group;
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(packed_size)) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(block) +
                             2 * Scratch::bytes_of<int64_t>(tile_pixels)));
  struct Workspace {
    T *strip, *block;
    int64_t *row, *out;
    // The tile whose pixels `row` and `out` hold; most tiles are alike.
    const TapPhase* phase = nullptr;
    int64_t rows = 0, cols = 0;
  };
  std::vector<Workspace> workspaces(threads);
  for (Workspace& space : workspaces) {
    space = {scratch.take<T>(strip), scratch.take<T>(block), scratch.take<int64_t>(tile_pixels),
             scratch.take<int64_t>(tile_pixels)};
  }
  const T* const packed = weight.form(
      tap_panels_key(kTapPanels, kernels.lanes, plan, groups, kernel_h * kernel_w, role), packed_size,
      scratch, [&](T* to) { pack_weights(plan, groups, weight.data, kernel_h * kernel_w, role, to); });

  // A residual that lies as the sums do is added while they are in registers.
  const bool near = y.channels_last() && h.complete && w.complete;
  const T* const residual = near ? epilogue.residual : nullptr;
  const Epilogue<T> after = near ? without_residual(epilogue) : epilogue;
  const Finish<T> finish(after);
  // Blocks are nearer than what was stored from them, and have the channels next to each other.
  const bool from_blocks = epilogue.moments != nullptr && !finish.elementwise && !y.channels_last() &&
                           h.out_step == 1 && w.out_step == 1;
  const bool resident = plan.packed_group * static_cast<int64_t>(sizeof(T)) < kResidentWeights;
  fill_untapped(h, w, epilogue.bias, finish, y);
  // Items share no rows of x by panels, and need all of them.
  const bool rows_ahead = x.channels_last() && groups == 1 && plan.tiles_w == 1 && plan.column_chunks == 1 &&
                          span_h.hi - span_h.lo + 1 >= h.in_step;
  const int64_t calls = static_cast<int64_t>(plan.phases.size()) * plan.split.panels;

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

    const T* a = x.at(n, g * plan.in_group, 0, 0);
    int64_t origin = 0;  // offset of position (i0, j0) under a tap offset of zero
    if (plan.in_place) {
      origin = i0 * h.in_step * plan.pitch + j0 * w.in_step * plan.pixel;
    } else {
      const StripWindow window{i0 * h.in_step + span_h.lo, plan.strip_rows, j0 * w.in_step + span_w.lo,
                               plan.strip_cols};
      load_strip(x, n, g * plan.in_group, plan.in_group, window, space.strip);
      a = space.strip;
      origin = -span_h.lo * plan.pitch - span_w.lo * plan.pixel;
    }

    const auto weights_of = [&](const TapPhase& phase, int64_t panel) {
      return packed + g * plan.packed_group + phase.packed_offset +
             phase.rows * plan.split.begin(panel) * kernels.lanes;
    };
    const int64_t panel0 = plan.split.panels * chunk / plan.column_chunks;
    const int64_t panel1 = plan.split.panels * (chunk + 1) / plan.column_chunks;
    // The weights after these: of the next panel, of the next phase, or of the item that this thread is
    // likely to have next. Those that stay in the cache come to it once.
    const int64_t later = plan.split.panels * (next_item % plan.column_chunks) / plan.column_chunks;
    const bool there = resident && warm;
    // With all weights at hand, the rows of x for that item, in as many parts as it has calls.
    Ahead<T> x_of_next;
    if (there && rows_ahead && next_item < items) {
      const int64_t from = next_item % plan.tiles_h * plan.tile_h * h.in_step + span_h.lo;
      const int64_t begin = std::clamp<int64_t>(from, 0, x.h),
                    end = std::clamp<int64_t>(from + plan.strip_rows, begin, x.h);
      x_of_next = {x.at(next_item / plan.tiles_h, 0, begin, 0), (end - begin) * x.stride_h()};
    }
    const auto next_panel = [&](const TapPhase& phase, int64_t panel, int64_t call) -> Ahead<T> {
      if (there) return x_of_next.part(call, call + 1, calls);
      const bool last = &phase == &plan.phases.back();
      const TapPhase& then = panel + 1 < panel1 ? phase : last ? plan.phases.front() : *(&phase + 1);
      const int64_t next = panel + 1 < panel1 ? panel + 1 : last ? later : panel0;
      const int64_t taps = std::min(then.taps_at_once, static_cast<int64_t>(then.tap.size()));
      return {weights_of(then, next), taps * then.run * plan.split.width(next) * kernels.lanes};
    };
    int64_t call = 0;
    for (const TapPhase& phase : plan.phases) {
      const int64_t i1 = std::min(i0 + plan.tile_h, phase.h->count),
                    j1 = std::min(j0 + plan.tile_w, phase.w->count);
      if (i0 >= i1 || j0 >= j1) continue;
      const int64_t row0 = phase.h->start + i0 * h.out_step, col0 = phase.w->start + j0 * w.out_step;
      T* const y0 = y.channels_last() ? y.at(n, g * plan.out_group, row0, col0) : space.block;
      const int64_t rows = i1 - i0, cols = j1 - j0, pixels = rows * cols;
      if (space.phase != &phase || space.rows != rows || space.cols != cols) {
        space.phase = &phase, space.rows = rows, space.cols = cols;
        for (int64_t i = 0, p = 0; i < rows; ++i) {
          for (int64_t j = 0; j < cols; ++j, ++p) {
            space.row[p] = i * h.in_step * plan.pitch + j * w.in_step * plan.pixel;
            space.out[p] = i * h.out_step * y.stride_h() + j * w.out_step * y.stride_w();
          }
        }
      }
      for (int64_t panel = panel0; panel < panel1; ++panel) {
        const int64_t first = plan.split.begin(panel) * kernels.lanes;
        const int64_t vectors = plan.split.width(panel), width = vectors * kernels.lanes,
                      columns = std::min(width, plan.out_group - first);
        const int64_t channel = g * plan.out_group + first;
        if (!y.channels_last()) {
          for (int64_t p = 0; p < pixels; ++p) space.out[p] = p * vectors * kernels.lanes;
        }
        TapsPanel<T> product{a + origin,
                             space.row,
                             phase.tap.data(),
                             pixels,
                             0,
                             phase.run,
                             weights_of(phase, panel),
                             vectors,
                             columns,
                             epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                             y.channels_last() ? y0 + first : y0,
                             space.out,
                             false,
                             T(0),
                             finish.clamp_hi};
        const int64_t taps = static_cast<int64_t>(phase.tap.size());
        for (int64_t tap = 0; tap == 0 || tap < taps; tap += phase.taps_at_once) {
          product.taps = std::min(phase.taps_at_once, taps - tap);
          const bool last = tap + phase.taps_at_once >= taps;
          product.clamp = finish.clamp && last;
          product.ahead_of_y = last && y.channels_last() && ahead_of_y_pays(calls, product.taps * phase.run);
          product.residual = last && residual != nullptr ? residual + (product.y - y.data) : nullptr;
          product.next =
              last ? next_panel(phase, panel, call)
                   : Ahead<T>{product.b + product.taps * phase.run * width,
                              std::min(phase.taps_at_once, taps - tap - product.taps) * phase.run * width};
          kernels.taps_panel(product);
          product.tap += product.taps;
          product.b += product.taps * phase.run * width;
          product.accumulate = true;
        }
        ++call;
        if (from_blocks) {
          epilogue.moments->take_pixels(space.block, (j1 - j0) * vectors * kernels.lanes,
                                        vectors * kernels.lanes, n, channel, columns, row0, row0 + i1 - i0,
                                        col0, col0 + j1 - j0);
        }
        if (!y.channels_last()) {
          store_strip(space.block, vectors * kernels.lanes, y, n, channel, columns,
                      {row0, i1 - i0, col0, j1 - j0}, h.out_step, w.out_step);
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

template void tap_conv<float>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const float>,
                              Weights<float>, int64_t, int64_t, WeightRole, const Epilogue<float>&,
                              Image<float>);
template void tap_conv<double>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const double>,
                               Weights<double>, int64_t, int64_t, WeightRole, const Epilogue<double>&,
                               Image<double>);

}  // namespace neocog
