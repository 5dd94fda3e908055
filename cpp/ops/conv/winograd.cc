#include "ops/conv/winograd.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/tap_span.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd_filters.h"
#include "ops/conv/winograd_pairs.h"
#include "ops/conv/winograd_plan.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {
namespace {

// One thread's memory.
template <class T>
struct Workspace {
  T *v, *m, *u, *taps, *strip, *results;
  std::array<int64_t*, 4> row, out;  // tiles that have a point: all; those full in height; in width; in both
};

// Terms of a sum; longer ones are sums of such sums, which err less.
constexpr int64_t kMostTerms = 192;

// What every item of a call shares.
template <class T>
struct WinogradCall {
  const WinogradPlan& plan;
  const WinogradFilters<T>& filters;
  WinogradWindow window;
  const ConvGeometry& geometry;
  Image<const T> x;
  const Epilogue<T>& epilogue;
  Image<T> y;
  const T* zeros;  // a pixel of padding
  Finish<T> finish;

  // v: tiles of `part`, which lies inside `block`; channels of the phases at places [begin, end).
  void transform_inputs(int64_t g, const TileBlock& part, const TileBlock& block, int64_t begin, int64_t end,
                        const Workspace<T>& space, T* v) const {
    if (plan.paired) {
      transform_pairs(geometry, x, g * plan.in_group, plan.in_group, window, plan.h, plan.w, part,
                      space.strip, plan.tile_v, plan.point_v, [&](int64_t row) {
                        return v + ((row - block.row0) * block.cols() + part.col0 - block.col0) * plan.tile_v;
                      });
      return;
    }
    const int64_t phase0 = plan.at_once == 1 ? filters.place(begin) : begin;
    each_window<Under::kInputs>(
        x, g * plan.in_group, plan.in_group, window, plan.h, plan.w, part,
        {phase0, phase0 + end - begin, begin == 0}, zeros, space.strip,
        [&](const T* const* pixel, int64_t row, int64_t col, int64_t phase) {
          const int64_t tile = (row - block.row0) * block.cols() + col - block.col0;
          winograd_kernels<T>().input(
              {pixel, plan.in_group, plan.h.taps, plan.w.taps, plan.h.size(row % plan.h.tiles),
               plan.w.size(col), v + tile * plan.tile_v + (filters.place(phase) - begin) * plan.in_group,
               plan.point_v, winograd_finite(geometry.h, phase / window.in_w),
               winograd_finite(geometry.w, phase % window.in_w)});
        });
  }

  // Offsets of the tiles that take part in the products of a point, for the four kinds of points.
  std::array<int64_t, 4> list_tiles(const TileBlock& block, int64_t width, const Workspace<T>& space) const {
    std::array<int64_t, 4> counts{};
    int64_t tile = 0;
    for (int64_t row = block.row0; row < block.row1; ++row) {
      const bool high = plan.h.size(row % plan.h.tiles) == plan.h.tile;
      for (int64_t col = block.col0; col < block.col1; ++col, ++tile) {
        const bool wide = plan.w.size(col) == plan.w.tile;
        for (int kind = 0; kind < 4; ++kind) {
          if (((kind & 1) != 0 && !high) || ((kind & 2) != 0 && !wide)) continue;
          space.row[kind][counts[kind]] = tile * plan.tile_v;
          space.out[kind][counts[kind]++] = tile * plan.points() * width;
        }
      }
    }
    return counts;
  }

  // m: the sums of one panel of one block, of the phases of the inputs at places [begin, end), whose v begins
  // at the first; they join those of the places before.
  void multiply(int64_t panel, int64_t begin, int64_t end, const TileBlock& block, const T* v, const T* u,
                T* m, Ahead<T> after, const Workspace<T>& space) const {
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const int64_t columns = filters.width(panel), point_u = plan.point_u(columns);
    const std::array<int64_t, 4> counts = list_tiles(block, columns, space);
    const int64_t no_tap = 0;
    for (int64_t p = 0; p < plan.points(); ++p) {
      const int64_t row = p / plan.w.points, col = p % plan.w.points;
      const int kind = (plan.h.last_has(row) ? 0 : 1) + (plan.w.last_has(col) ? 0 : 2);
      const bool infinite_h = row == plan.h.points - 1, infinite_w = col == plan.w.points - 1;
      if (no_output(panel % plan.out_phases, infinite_h, infinite_w)) {
        for (int64_t i = 0; i < counts[kind]; ++i)
          std::fill_n(m + p * columns + space.out[kind][i], columns, T(0));
        continue;
      }
      const PlaceSpan span =
          plan.in_phases > 1 ? winograd_places(geometry, infinite_h, infinite_w) : PlaceSpan{0, 1};
      const int64_t first = std::max(begin, span.begin), last = std::min(end, span.end);
      if (first >= last) continue;
      const int64_t of_place = plan.in_group * columns;
      const Ahead<T> next = p + 1 < plan.points()
                                ? Ahead<T>{u + (p + 1) * point_u + begin * of_place, (end - begin) * of_place}
                                : after;
      const int64_t terms = (last - first) * plan.in_group, sums = ceil_div(terms, kMostTerms);
      for (int64_t i = 0; i < sums; ++i) {
        const int64_t k0 = terms * i / sums, k1 = terms * (i + 1) / sums;
        kernels.taps_panel({v + p * plan.point_v + (first - begin) * plan.in_group + k0, space.row[kind],
                            &no_tap, counts[kind], 1, k1 - k0,
                            u + p * point_u + first * of_place + k0 * columns, columns / kernels.lanes,
                            columns, nullptr, m + p * columns, space.out[kind], false, T(0), T(0),
                            next.part(i, i + 1, sums), begin > span.begin || i > 0});
      }
    }
  }

  // Whether a phase of the outputs has no products at a point.
  bool no_output(int64_t phase, bool infinite_h, bool infinite_w) const {
    return plan.out_phases > 1 && ((infinite_h && winograd_uneven(geometry.h) && phase / window.out_w == 0) ||
                                   (infinite_w && winograd_uneven(geometry.w) && phase % window.out_w == 0));
  }

  // y of the sums m of a panel.
  void finish_panel(int64_t g, int64_t panel, const TileBlock& block, const T* m,
                    const Workspace<T>& space) const {
    const int64_t part = panel / plan.out_phases, first = plan.split.begin(part) * plan.lanes;
    transform_sums(g * plan.out_group + first, std::min(filters.width(panel), plan.out_group - first),
                   panel % plan.out_phases, filters.width(panel), block, m, space);
  }

  // y of the sums of a panel, `columns` of which exist, from `channel` on.
  void transform_sums(int64_t channel, int64_t columns, int64_t phase, int64_t width, const TileBlock& block,
                      const T* m, const Workspace<T>& space) const {
    // From an output of a tile to the next, and those of this phase before the image.
    const int64_t step_h = window.step_h * window.out_h, step_w = window.step_w * window.out_w;
    const int64_t row0 = phase / window.out_w - window.before_h,
                  col0 = phase % window.out_w - window.before_w;
    each_image(
        block, plan.h.tiles, [&](int64_t index, int64_t tile_row, int64_t tile_rows, int64_t first_row) {
          // Outputs: every step-th row and column of y from (top, left) on.
          const int64_t n = window.image(index), shift = window.col(index);
          const int64_t top = window.row(index) + tile_row * plan.h.tile * step_h + row0;
          const int64_t begin = block.col0 * plan.w.tile * step_w, left = begin + shift + col0;
          const int64_t rows = std::min(ceil_div(y.h - top, step_h), tile_rows * plan.h.tile);
          const int64_t cols = std::min(ceil_div(y.w - left, step_w), block.cols() * plan.w.tile);
          WinogradOutput<T> out{nullptr,
                                width,
                                columns,
                                plan.h.taps,
                                plan.w.taps,
                                0,
                                0,
                                epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                                finish.clamp,
                                T(0),
                                finish.clamp_hi,
                                nullptr,
                                step_h * y.stride_h(),
                                step_w * y.stride_w(),
                                0,
                                0,
                                0,
                                0};
          // All phases of the outputs, together.
          const int64_t above = tile_row * plan.h.tile * step_h - window.before_h,
                        before = begin - window.before_w;
          const int64_t all_top = std::max<int64_t>(0, above), all_left = std::max<int64_t>(0, before);
          const int64_t all_rows = std::min(y.h, above + tile_rows * plan.h.tile * step_h) - all_top;
          const int64_t all_cols = std::min(y.w, before + block.cols() * plan.w.tile * step_w) - all_left;
          T *base = nullptr, *results = space.results;
          if (y.channels_last()) {
            base = y.at(n, channel, top, left);
          } else if (plan.out_phases > 1) {
            results += first_row * block.cols() * plan.h.tile * plan.w.tile * plan.out_phases * width;
            base = results + ((top - all_top) * all_cols + left - all_left) * width;
            out.stride_w = step_w * width;
            out.stride_h = step_h * all_cols * width;
          } else {
            const int64_t apart = window.beside_step();
            base = space.results + (apart > 1 ? shift * width : 0);
            out.stride_w = apart * width;
            out.stride_h = cols * width;
          }
          for (int64_t i = 0; i < tile_rows; ++i) {
            out.tile_h = plan.h.size(tile_row + i);
            out.rows = std::min(plan.h.tile, rows - i * plan.h.tile);
            out.row0 = top < 0 && i == 0 ? 1 : 0;
            for (int64_t j = 0; j < block.cols(); ++j) {
              out.tile_w = plan.w.size(block.col0 + j);
              out.cols = std::min(plan.w.tile, cols - j * plan.w.tile);
              out.col0 = left < 0 && j == 0 ? 1 : 0;
              if (out.rows <= out.row0 || out.cols <= out.col0) continue;
              out.m = m + ((first_row + i) * block.cols() + j) * plan.points() * width;
              out.y = base + i * plan.h.tile * out.stride_h + j * plan.w.tile * out.stride_w;
              if (plan.h.taps == 1 && y.channels_last() && step_w <= kWinogradNear) {
                prefetch_pixels<true>(out.y + kWinogradAhead * plan.w.tile * out.stride_w, out.stride_w,
                                      plan.w.tile, columns);
              }
              winograd_kernels<T>().output(out);
            }
          }
          if (plan.out_phases > 1) {
            if (phase == plan.out_phases - 1) {
              finish_outputs(n, channel, columns, {all_top, all_rows, all_left, all_cols}, 1, 1, width,
                             results);
            }
          } else if (!window.beside) {
            finish_outputs(n, channel, columns, {top, rows, left, cols}, window.step_h, window.step_w, width,
                           space.results);
          } else if (shift == window.step_w - 1) {
            const int64_t all = std::min(y.w - begin, block.cols() * plan.w.tile * window.step_w);
            finish_outputs(n, channel, columns, {top, rows, begin, all}, 1, 1, width, space.results);
          }
        });
  }

  // A rectangle of outputs, `step` rows and columns apart: from `results` to y where that is channels-first,
  // and what comes after the sums.
  void finish_outputs(int64_t n, int64_t channel, int64_t columns, const StripWindow& at, int64_t step_h,
                      int64_t step_w, int64_t width, const T* results) const {
    if (at.rows <= 0 || at.cols <= 0) return;
    const int64_t bottom = at.row + at.rows, right = at.col + at.cols;
    const bool from_results = epilogue.moments != nullptr && !finish.elementwise && !y.channels_last();
    if (from_results) {  // nearer than what is stored from them, and the channels are next to each other
      epilogue.moments->take_pixels(results, at.cols * width, width, n, channel, columns, at.row, bottom,
                                    at.col, right);
    }
    if (!y.channels_last()) store_strip(results, width, y, n, channel, columns, at, step_h, step_w);
    if (!finish.rectangle || from_results) return;
    if (step_h * step_w == 1) {
      finish_rectangle(epilogue, y, n, channel, columns, at.row, bottom, at.col, right);
      return;
    }
    for (int64_t i = 0; i < at.rows; ++i) {
      for (int64_t j = 0; j < at.cols; ++j) {
        const int64_t row = at.row + i * step_h, col = at.col + j * step_w;
        finish_rectangle(epilogue, y, n, channel, columns, row, row + 1, col, col + 1);
      }
    }
  }
};

// All tiles are one block: inputs first, then the panels, each with the transform of its kernels, if they are
// not kept.
template <class T>
void run_one_block(const WinogradCall<T>& call, T* v, const T* kept,
                   const std::vector<Workspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int threads = static_cast<int>(spaces.size());
  const TileBlock whole = plan.block(0, 0);
  parallel_for(call.geometry.groups * plan.rows, threads, [&](int64_t item, int thread) {
    const int64_t g = item / plan.rows, row = item % plan.rows;
    call.transform_inputs(g, {row, row + 1, 0, plan.w.tiles}, whole, 0, plan.in_phases, spaces[thread],
                          v + g * plan.size_v());
  });
  parallel_for(call.geometry.groups * plan.split.panels, threads, [&](int64_t item, int thread) {
    const int64_t g = item / plan.split.panels, first = item % plan.split.panels * plan.out_phases;
    const Workspace<T>& space = spaces[thread];
    for (int64_t panel = first; panel < first + plan.out_phases; ++panel) {
      const T* u = space.u;
      if (kept != nullptr) {
        u = kept + (g * plan.panels() + panel) * plan.size_u();
      } else {
        for (int64_t c = 0; c < plan.in_group; c += kFilterChannels) {
          call.filters.transform_kernels(g, panel, c, std::min(plan.in_group, c + kFilterChannels),
                                         space.taps, space.u);
        }
      }
      call.multiply(panel, 0, plan.in_phases, whole, v + g * plan.size_v(), u, space.m, {}, space);
      call.finish_panel(g, panel, whole, space.m, space);
    }
  });
}

// Taps of the next panel that are asked for before it begins.
constexpr int64_t kFewAhead = 32 * 9 * 16;

// So few tiles that kernels are transformed in registers, each time they are used.
template <class T>
void run_few_tiles(const WinogradCall<T>& call, T* v, T* turned, const T* kept,
                   const std::vector<Workspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int threads = static_cast<int>(spaces.size());
  const TileBlock whole = plan.block(0, 0);
  const int64_t side = plan.w.points, pixel = kWinogradFewTiles * side;
  const int64_t size_turned = plan.points() * plan.in_group * kWinogradFewTiles;  // of so many tiles
  parallel_for(call.geometry.groups * plan.rows, threads, [&](int64_t item, int thread) {
    const int64_t g = item / plan.rows, row = item % plan.rows;
    T* const group = v + g * plan.size_v();
    call.transform_inputs(g, {row, row + 1, 0, plan.w.tiles}, whole, 0, 1, spaces[thread], group);
    for (int64_t tile = row * plan.w.tiles; tile < (row + 1) * plan.w.tiles; ++tile) {
      for (int64_t r = 0; r < plan.h.points; ++r) {
        gemm_kernels<T>().transpose(group + tile * plan.tile_v + r * side * plan.point_v, plan.point_v,
                                    turned + (g * plan.tiles + tile) / kWinogradFewTiles * size_turned +
                                        r * plan.in_group * pixel + tile % kWinogradFewTiles * side,
                                    pixel, side, plan.in_group);
      }
    }
  });
  const int64_t panels = plan.split.panels;
  parallel_for(call.geometry.groups * panels, threads, [&](int64_t item, int thread) {
    const int64_t g = item / panels, panel = item % panels;
    const Workspace<T>& space = spaces[thread];
    const T* taps = space.taps;
    Ahead<T> next;
    if (kept == nullptr) {
      call.filters.pack_panel(g, panel, space.taps);
    } else {
      taps = kept + item * plan.size_taps();
      if (item + threads < call.geometry.groups * panels)
        next = {taps + threads * plan.size_taps(), kFewAhead};
    }
    for (int64_t tile = 0; tile < plan.tiles; tile += kWinogradFewTiles) {
      const bool last = tile + kWinogradFewTiles == plan.tiles;
      winograd_kernels<T>().few_tiles(
          {taps, turned + (g * plan.tiles + tile) / kWinogradFewTiles * size_turned, plan.in_group,
           space.m + tile * plan.points() * plan.lanes, last ? next : Ahead<T>{}});
    }
    call.finish_panel(g, panel, whole, space.m, space);
  });
}

// All kernels: u of every panel of every group.
template <class T>
void transform_all(const WinogradCall<T>& call, T* all, const std::vector<Workspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int64_t parts = ceil_div(plan.in_group, kFilterChannels);
  parallel_for(call.geometry.groups * plan.panels() * parts, static_cast<int>(spaces.size()),
               [&](int64_t item, int thread) {
                 const int64_t part = item % parts, panel = item / parts;
                 call.filters.transform_kernels(
                     panel / plan.panels(), panel % plan.panels(), plan.in_group * part / parts,
                     plan.in_group * (part + 1) / parts, spaces[thread].taps, all + panel * plan.size_u());
               });
}

template <class T>
void run_blocks(const WinogradCall<T>& call, const T* all, const std::vector<Workspace<T>>& spaces) {
  const WinogradPlan& plan = call.plan;
  const int threads = static_cast<int>(spaces.size());
  const auto panel_u = [&](int64_t g, int64_t panel) {
    return all + (g * plan.panels() + panel) * plan.size_u();
  };
  parallel_for(
      call.geometry.groups * plan.blocks_h * plan.blocks_w * plan.chunks, threads,
      [&](int64_t item, int thread) {
        const int64_t chunk = item % plan.chunks;
        item /= plan.chunks;
        const TileBlock block = plan.block(item / plan.blocks_w % plan.blocks_h, item % plan.blocks_w);
        const int64_t g = item / plan.blocks_w / plan.blocks_h;
        const Workspace<T>& space = spaces[thread];
        const int64_t panel0 = plan.split.panels * chunk / plan.chunks * plan.out_phases;
        const int64_t panel1 = plan.split.panels * (chunk + 1) / plan.chunks * plan.out_phases;
        const auto panel_m = [&](int64_t panel) {
          if (plan.at_once == plan.in_phases) return space.m;
          return space.m + plan.tiles * plan.points() * plan.lanes *
                               (plan.split.begin(panel) - plan.split.begin(panel0));
        };
        for (int64_t place = 0; place < plan.in_phases; place += plan.at_once) {
          const int64_t end = place + plan.at_once;
          call.transform_inputs(g, block, block, place, end, space, space.v);
          for (int64_t panel = panel0; panel < panel1; ++panel) {
            const bool last = panel + 1 == panel1;
            const int64_t next = last ? panel0 : panel + 1, then = last ? end % plan.in_phases : place;
            const int64_t of_place = plan.in_group * call.filters.width(next);
            const Ahead<T> after{panel_u(g, next) + then * of_place, plan.at_once * of_place};
            call.multiply(panel, place, end, block, space.v, panel_u(g, panel), panel_m(panel), after, space);
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

}  // namespace

template <class T>
void winograd_conv(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                   WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  const bool beside = winograd_beside(g, y.h);
  if (winograd_step(g.h) * winograd_step(g.w) > 1 && !beside && !(x.channels_last() && y.channels_last())) {
    // Strips hold neighbouring pixels.
    conv_turned(x, epilogue, y, [&](const Image<const T>& from, const Epilogue<T>& e, const Image<T>& to) {
      winograd_conv(g, from, weight, role, e, to);
    });
    return;
  }
  const int64_t groups = g.groups;
  const WinogradWindow window = winograd_window(g, role, beside);
  const WinogradPlan plan = winograd_plan(g, x, y, window);
  const int threads = threads_for(plan.one_block ? groups * std::max(plan.rows, plan.split.panels)
                                                 : groups * plan.blocks_h * plan.blocks_w * plan.chunks);
  const bool kept = weight.kept != nullptr;
  const int64_t all_kernels = groups * plan.panels() * plan.size_u();
  const int64_t shared = plan.one_block ? groups * plan.size_v() : weight.scratch(all_kernels);
  const int64_t size_v = plan.one_block ? 0 : plan.size_v(),
                size_u = plan.one_block && !kept && !plan.few ? plan.size_u() : 0;
  const int64_t taps =
      plan.few ? (kept ? 0 : plan.size_taps()) : plan.h.taps * plan.w.taps * kFilterChannels * plan.panel;
  const int64_t turned = plan.few ? groups * plan.points() * plan.tiles * plan.in_group : 0;
  // Channels first: the pixels under the tiles, and the results of a panel, turned.
  const int64_t strip_rows = plan.one_block ? 1 : ceil_div(plan.rows, plan.blocks_h);
  const int64_t strip = plan.paired ? pairs_strip(plan.in_group, plan.h, plan.w, strip_rows, plan.cols)
                                    : window_strip<Under::kInputs>(x, plan.in_group, window, plan.h, plan.w,
                                                                   strip_rows, plan.cols);
  const int64_t results =
      y.channels_last() ? 0 : plan.tiles * plan.h.tile * plan.w.tile * plan.panel * plan.out_phases;

  Scratch scratch(
      Scratch::bytes_of<T>(shared) + Scratch::bytes_of<T>(turned) + Scratch::bytes_of<T>(plan.in_group) +
      threads * (Scratch::bytes_of<T>(size_v) + Scratch::bytes_of<T>(plan.size_m()) +
                 Scratch::bytes_of<T>(size_u) + Scratch::bytes_of<T>(taps) + Scratch::bytes_of<T>(strip) +
                 Scratch::bytes_of<T>(results) + 8 * Scratch::bytes_of<int64_t>(plan.tiles)));
  T* const one_v = plan.one_block ? scratch.take<T>(shared) : nullptr;
  T* const one_turned = scratch.take<T>(turned);
  T* const zeros = scratch.take<T>(plan.in_group);
  std::fill_n(zeros, plan.in_group, T(0));
  std::vector<Workspace<T>> spaces(threads);
  for (Workspace<T>& space : spaces) {
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
  const WinogradCall<T> call{plan, filters, window, g, x, epilogue, y, zeros, Finish<T>(epilogue)};
  const T* all = nullptr;
  if (plan.few) {
    if (kept) {
      const KeptWeights::Key key{kWinogradTaps, gemm_kernels<T>().lanes, static_cast<int64_t>(role), groups,
                                 plan.split.panels};
      all = weight.form(key, groups * plan.split.panels * plan.size_taps(), scratch, [&](T* to) {
        parallel_for(groups * plan.split.panels, threads, [&](int64_t item, int) {
          filters.pack_panel(item / plan.split.panels, item % plan.split.panels,
                             to + item * plan.size_taps());
        });
      });
    }
  } else if (kept || !plan.one_block) {
    const KeptWeights::Key key{kWinogradKernels, gemm_kernels<T>().lanes, static_cast<int64_t>(role),
                               groups,           plan.split.panels,       plan.size_u()};
    all = weight.form(key, all_kernels, scratch, [&](T* to) { transform_all(call, to, spaces); });
  }
  if (plan.few) {
    run_few_tiles(call, one_v, one_turned, all, spaces);
  } else if (plan.one_block) {
    run_one_block(call, one_v, all, spaces);
  } else {
    run_blocks(call, all, spaces);
  }
}

template void winograd_conv<float>(const ConvGeometry&, Image<const float>, Weights<float>, WeightRole,
                                   const Epilogue<float>&, Image<float>);

}  // namespace neocog
