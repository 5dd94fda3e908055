#include "ops/conv/winograd.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd_call.h"

namespace neocog {
namespace {

// All tiles are one block: inputs first, then the panels, each with the transform of its kernels.
template <class T>
void run_one_block(const WinogradCall<T>& call, T* v, const std::vector<WinogradWorkspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int threads = static_cast<int>(spaces.size());
  const TileBlock whole = plan.block(0, 0);
  parallel_for(call.geometry.groups * plan.rows, threads, [&](int64_t item, int thread) {
    const int64_t g = item / plan.rows, row = item % plan.rows;
    call.transform_inputs(g, {row, row + 1, 0, plan.w.tiles}, whole, 0, plan.in_phases, spaces[thread],
                          v + g * plan.size_v());
  });
  const int64_t items = call.geometry.groups * plan.split.panels;
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t g = item / plan.split.panels, first = item % plan.split.panels * plan.out_phases;
    const T* const group = v + g * plan.size_v();
    const WinogradWorkspace<T>& space = spaces[thread];
    for (int64_t panel = first; panel < first + plan.out_phases; ++panel) {
      for (int64_t c = 0; c < plan.in_group; c += kFilterChannels) {
        call.filters.transform_kernels(g, panel, c, std::min(plan.in_group, c + kFilterChannels), space.taps,
                                       space.u);
      }
      call.multiply(panel, 0, plan.in_phases, whole, group, space.u, space.m, {}, space);
      call.finish_panel(g, panel, whole, space.m, space);
    }
  });
}

// All kernels: u of every panel of every group, or its taps.
template <class T>
void prepare_all(const WinogradCall<T>& call, T* all, const std::vector<WinogradWorkspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int64_t parts = plan.from_taps ? 1 : ceil_div(plan.in_group, kFilterChannels);
  parallel_for(call.geometry.groups * plan.panels() * parts, static_cast<int>(spaces.size()),
               [&](int64_t item, int thread) {
                 const int64_t part = item % parts, index = item / parts;
                 const int64_t g = index / plan.panels(), panel = index % plan.panels();
                 T* const to = all + index * plan.size_kernels();
                 if (plan.from_taps) return call.filters.pack_panel(g, panel, to);
                 call.filters.transform_kernels(g, panel, plan.in_group * part / parts,
                                                plan.in_group * (part + 1) / parts, spaces[thread].taps, to);
               });
}

template <class T>
void run_blocks(const WinogradCall<T>& call, const T* all, const std::vector<WinogradWorkspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int threads = static_cast<int>(spaces.size());
  const auto kernels = [&](int64_t g, int64_t panel) {
    return all + (g * plan.panels() + panel) * plan.size_kernels();
  };
  parallel_for(
      call.geometry.groups * plan.blocks_h * plan.blocks_w * plan.chunks, threads,
      [&](int64_t item, int thread) {
        const int64_t chunk = item % plan.chunks;
        item /= plan.chunks;
        const TileBlock block = plan.block(item / plan.blocks_w % plan.blocks_h, item % plan.blocks_w);
        const int64_t g = item / plan.blocks_w / plan.blocks_h;
        const WinogradWorkspace<T>& space = spaces[thread];
        const int64_t panel0 = plan.split.panels * chunk / plan.chunks * plan.out_phases;
        const int64_t panel1 = plan.split.panels * (chunk + 1) / plan.chunks * plan.out_phases;
        const auto panel_m = [&](int64_t panel) {
          if (plan.at_once == plan.in_phases) return space.m;
          return space.m + plan.panel_m(panel) - plan.panel_m(panel0);
        };
        for (int64_t place = 0; place < plan.in_phases; place += plan.at_once) {
          const int64_t end = place + plan.at_once;
          call.transform_inputs(g, block, block, place, end, space, space.v);
          for (int64_t panel = panel0; panel < panel1; ++panel) {
            const bool last = panel + 1 == panel1;
            if (plan.from_taps) {
              if (all == nullptr) call.filters.pack_panel(g, panel, space.taps);
              const Ahead<T> after =
                  all == nullptr || last ? Ahead<T>{} : Ahead<T>{kernels(g, panel + 1), plan.size_run()};
              call.multiply_from_taps(panel, block, space.v, all == nullptr ? space.taps : kernels(g, panel),
                                      after, space);
              call.finish_panel(g, panel, block, space.m, space);
              continue;
            }
            const int64_t next = last ? panel0 : panel + 1, then = last ? end % plan.in_phases : place;
            const int64_t of_place = plan.in_group * call.filters.width(next);
            const Ahead<T> after{kernels(g, next) + then * of_place, plan.at_once * of_place};
            call.multiply(panel, place, end, block, space.v, kernels(g, panel), panel_m(panel), after, space);
            if (end == plan.in_phases) call.finish_panel(g, panel, block, panel_m(panel), space);
          }
        }
      });
}

// The window of one axis: where it begins, phases of inputs and outputs, outputs before the image.
struct AxisWindow {
  int64_t pad, in_phases, out_phases, before;
};
AxisWindow axis_window(const WindowAxis& axis, WeightRole role) {
  const int64_t phases = winograd_phases(axis);
  if (role == WeightRole::kForward) return {axis.pad_lo, phases, 1, 0};
  // Turned, the tap that met input i + r * dilation - pad meets i - r * dilation + pad.
  if (phases == 1) return {winograd_reach(axis) - axis.pad_lo, 1, 1, 0};
  // Output 2 u + phase - pad meets inputs u, u - 1 and so on, for both phases.
  const int64_t pad = axis.pad_lo + winograd_lead(axis, role), first = floor_div(pad, phases);
  return {winograd_taps(axis) - 1 - first, 1, phases, pad - phases * first};
}

WinogradWindow winograd_window(const ConvGeometry& g, WeightRole role, bool beside) {
  const AxisWindow h = axis_window(g.h, role), w = axis_window(g.w, role);
  return {h.pad,       w.pad,        winograd_step(g.h), winograd_step(g.w), beside,  h.in_phases,
          w.in_phases, h.out_phases, w.out_phases,       h.before,           w.before};
}

// Whether windows of an axis are pairs of outputs, none of which lies in two tiles.
bool in_pairs(const WindowAxis& axis, const PoolAxis& windows) {
  return winograd_tile(winograd_taps(axis)) % 2 == 0 && winograd_step(axis) == 1 && windows.kernel == 2 &&
         windows.stride == 2 && windows.pad_lo == 0 && windows.dilation == 1 &&
         windows.out() == windows.in / 2;
}

}  // namespace

bool winograd_pools(const ConvGeometry& g, Activation activation, const PoolGeometry& windows) {
  return in_pairs(g.h, windows.h) && in_pairs(g.w, windows.w) && winograd_taps(g.h) == winograd_taps(g.w) &&
         !Finish<float>(Epilogue<float>{.activation = activation}).rectangle;
}

template <class T>
void winograd_conv(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                   WeightRole role, const Epilogue<T>& epilogue, Image<T> y, int64_t most_terms) {
  if (y.size() == 0) return;
  const bool beside = winograd_beside(g, y.h);
  if (winograd_step(g.h) * winograd_step(g.w) > 1 && !beside && !(x.channels_last() && y.channels_last())) {
    // Strips hold neighbouring pixels.
    conv_turned(x, epilogue, y, [&](const Image<const T>& from, const Epilogue<T>& e, const Image<T>& to) {
      winograd_conv(g, from, weight, role, e, to, most_terms);
    });
    return;
  }
  const int64_t groups = g.groups;
  const WinogradWindow window = winograd_window(g, role, beside);
  const bool kept = weight.kept != nullptr;
  const WinogradPlan plan = winograd_plan(g, x, y, window, kept, most_terms);
  const int threads = threads_for(plan.one_block ? groups * std::max(plan.rows, plan.split.panels)
                                                 : groups * plan.blocks_h * plan.blocks_w * plan.chunks);
  // Else each thread prepares those of its panels.
  const bool shared_kernels = kept || !(plan.one_block || (plan.from_taps && plan.blocks_h == 1));
  const int64_t all_kernels = shared_kernels ? groups * plan.panels() * plan.size_kernels() : 0;
  const int64_t shared = plan.one_block ? groups * plan.size_v() : weight.scratch(all_kernels);
  const int64_t size_v = plan.one_block ? 0 : plan.size_v(),
                size_u = plan.from_taps   ? plan.w.points * plan.run * plan.panel
                         : plan.one_block ? plan.size_u()
                                          : 0;
  const int64_t taps = !plan.from_taps  ? plan.h.taps * plan.w.taps * kFilterChannels * plan.panel
                       : shared_kernels ? 0
                                        : plan.size_taps();
  // Channels first: the pixels under the tiles, and the results of a panel, turned.
  const int64_t strip_rows = plan.one_block ? 1 : ceil_div(plan.rows, plan.blocks_h);
  const int64_t strip = plan.paired ? pairs_strip(plan.in_group, plan.h, plan.w, strip_rows, plan.cols)
                                    : window_strip<Under::kInputs>(x, plan.in_group, window, plan.h, plan.w,
                                                                   strip_rows, plan.cols);
  const int64_t results =
      y.channels_last() ? 0 : plan.tiles * plan.h.tile * plan.w.tile * plan.panel * plan.out_phases;

  Scratch scratch(Scratch::bytes_of<T>(shared) + Scratch::bytes_of<T>(plan.in_group) +
                  threads * (Scratch::bytes_of<T>(size_v) + Scratch::bytes_of<T>(plan.size_m()) +
                             Scratch::bytes_of<T>(size_u) + Scratch::bytes_of<T>(taps) +
                             Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(results) +
                             8 * Scratch::bytes_of<int64_t>(plan.tiles)));
  T* const one_v = plan.one_block ? scratch.take<T>(shared) : nullptr;
  T* const zeros = scratch.take<T>(plan.in_group);
  std::fill_n(zeros, plan.in_group, T(0));
  std::vector<WinogradWorkspace<T>> spaces(threads);
  for (WinogradWorkspace<T>& space : spaces) {
    space.v = scratch.take<T>(size_v);
    space.m = scratch.take<T>(plan.size_m());
    space.u = scratch.take<T>(size_u);
    space.taps = scratch.take<T>(taps);
    space.strip = scratch.take<T>(strip);
    space.results = scratch.take<T>(results);
    for (int64_t*& list : space.row) list = scratch.take<int64_t>(plan.tiles);
    for (int64_t*& list : space.out) list = scratch.take<int64_t>(plan.tiles);
  }
  // Where outputs lie apart, who asked reads y once more.
  if (epilogue.moments != nullptr && plan.out_phases == 1 && (window.remainders() == 1 || window.beside)) {
    epilogue.moments->cut(y, std::min(y.w, plan.cols * plan.w.tile * window.step_w), true, plan.h.tile);
  }
  const WinogradFilters<T> filters{plan, g, weight.data, role};
  const WinogradCall<T> call{plan,      filters, window, g, x, epilogue, y, zeros, Finish<T>(epilogue),
                             most_terms};
  const T* all = nullptr;
  if (shared_kernels) {
    const KeptWeights::Key key{plan.from_taps ? kWinogradTaps : kWinogradKernels,
                               gemm_kernels<T>().lanes,
                               static_cast<int64_t>(role),
                               groups,
                               plan.split.panels,
                               plan.size_kernels()};
    all = weight.form(key, all_kernels, scratch, [&](T* to) { prepare_all(call, to, spaces); });
  }
  if (plan.one_block) {
    run_one_block(call, one_v, spaces);
  } else {
    run_blocks(call, all, spaces);
  }
}

template void winograd_conv<float>(const ConvGeometry&, Image<const float>, Weights<float>, WeightRole,
                                   const Epilogue<float>&, Image<float>, int64_t);

}  // namespace neocog
