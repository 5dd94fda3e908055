// What every item of a call of Winograd's method does with its tiles: transform the inputs, multiply,
// transform the sums back. Private to winograd.cc, which has the schedules.
#pragma once

#include <algorithm>
#include <array>

#include "ops/conv/tap_span.h"
#include "ops/conv/winograd_filters.h"
#include "ops/conv/winograd_pairs.h"
#include "ops/conv/winograd_plan.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {

// One thread's memory.
template <class T>
struct WinogradWorkspace {
  T *v, *m, *u, *taps, *strip, *results;
  std::array<int64_t*, 4> row, out;  // tiles that have a point, by its kind
};

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
  int64_t most_terms;  // of a sum; longer ones are sums of such sums, which err less

  // v: tiles of `part`, which lies inside `block`; channels of the phases at places [begin, end).
  void transform_inputs(int64_t g, const TileBlock& part, const TileBlock& block, int64_t begin, int64_t end,
                        const WinogradWorkspace<T>& space, T* v) const {
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
          const int64_t tile = place(row, col, block);
          winograd_kernels<T>().input(
              {pixel, plan.in_group, plan.h.taps, plan.w.taps, plan.h.size(row % plan.h.tiles),
               plan.w.size(col), v + tile * plan.tile_v + (filters.place(phase) - begin) * plan.in_group,
               plan.point_v, plan.run, plan.run_v, winograd_finite(geometry.h, phase / window.in_w),
               winograd_finite(geometry.w, phase % window.in_w)});
        });
  }

  // Where a tile of a block lies among its inputs and its sums.
  int64_t place(int64_t row, int64_t col, const TileBlock& block) const {
    return plan.from_taps ? plan.place(row, col, block)
                          : (row - block.row0) * block.cols() + col - block.col0;
  }

  // Which tiles have a point: all; those full in height; in width; in both.
  int kind_of(int64_t point) const {
    return (plan.h.last_has(point / plan.w.points) ? 0 : 1) +
           (plan.w.last_has(point % plan.w.points) ? 0 : 2);
  }

  // Offsets of the tiles that take part in the products of a point, for the four kinds of points.
  std::array<int64_t, 4> list_tiles(const TileBlock& block, int64_t width,
                                    const WinogradWorkspace<T>& space) const {
    std::array<int64_t, 4> counts{};
    int64_t tile = 0;
    for (int64_t row = block.row0; row < block.row1; ++row) {
      const bool high = plan.h.size(row % plan.h.tiles) == plan.h.tile;
      for (int64_t col = block.col0; col < block.col1; ++col, ++tile) {
        const bool wide = plan.w.size(col) == plan.w.tile;
        for (int kind = 0; kind < 4; ++kind) {
          if (((kind & 1) != 0 && !high) || ((kind & 2) != 0 && !wide)) continue;
          space.row[kind][counts[kind]] = tile * plan.tile_v;
          space.out[kind][counts[kind]++] = tile * width;
        }
      }
    }
    return counts;
  }

  // m: the sums of one panel of one block, of the phases of the inputs at places [begin, end), whose v begins
  // at the first; they join those of the places before.
  void multiply(int64_t panel, int64_t begin, int64_t end, const TileBlock& block, const T* v, const T* u,
                T* m, Ahead<T> after, const WinogradWorkspace<T>& space) const {
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const int64_t columns = filters.width(panel), point_u = plan.point_u(columns);
    const std::array<int64_t, 4> counts = list_tiles(block, columns, space);
    const int64_t no_tap = 0;
    for (int64_t p = 0; p < plan.points(); ++p) {
      const int64_t row = p / plan.w.points, col = p % plan.w.points;
      const int kind = kind_of(p);
      const bool infinite_h = row == plan.h.points - 1, infinite_w = col == plan.w.points - 1;
      if (no_output(panel % plan.out_phases, infinite_h, infinite_w)) {
        for (int64_t i = 0; i < counts[kind]; ++i)
          std::fill_n(m + p * plan.point_m(columns) + space.out[kind][i], columns, T(0));
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
      const int64_t terms = (last - first) * plan.in_group, sums = ceil_div(terms, most_terms);
      for (int64_t i = 0; i < sums; ++i) {
        const int64_t k0 = terms * i / sums, k1 = terms * (i + 1) / sums;
        kernels.taps_panel({v + p * plan.point_v + (first - begin) * plan.in_group + k0, space.row[kind],
                            &no_tap, counts[kind], 1, k1 - k0,
                            u + p * point_u + first * of_place + k0 * columns, columns / kernels.lanes,
                            columns, nullptr, m + p * plan.point_m(columns), space.out[kind], false, T(0),
                            T(0), next.part(i, i + 1, sums), begin > span.begin || i > 0});
      }
    }
  }

  // The same of all phases, from the taps of the panel.
  void multiply_from_taps(int64_t panel, const TileBlock& block, const T* v, const T* taps, Ahead<T> after,
                          const WinogradWorkspace<T>& space) const {
    const int64_t columns = filters.width(panel);
    const TilePlaces places = plan.places(block);
    WinogradFromTaps<T> products{
        taps, v,  plan.run, plan.point_v,          plan.run_v, plan.in_group, columns / plan.lanes,
        {},   {}, space.m,  plan.point_m(columns), space.u,    after};
    for (int64_t p = 0; p < plan.points(); ++p) {
      const bool low = (kind_of(p) & 1) == 0, narrow = (kind_of(p) & 2) == 0;
      products.begin[p] = narrow ? 0 : places.narrow;
      products.end[p] = places.narrow + places.full + (low ? places.low + (narrow ? places.corners : 0) : 0);
    }
    winograd_kernels<T>().from_taps(products);
  }

  // Whether a phase of the outputs has no products at a point.
  bool no_output(int64_t phase, bool infinite_h, bool infinite_w) const {
    return plan.out_phases > 1 && ((infinite_h && winograd_uneven(geometry.h) && phase / window.out_w == 0) ||
                                   (infinite_w && winograd_uneven(geometry.w) && phase % window.out_w == 0));
  }

  // y of the sums m of a panel.
  void finish_panel(int64_t g, int64_t panel, const TileBlock& block, const T* m,
                    const WinogradWorkspace<T>& space) const {
    const int64_t part = panel / plan.out_phases, first = plan.split.begin(part) * plan.lanes;
    transform_sums(g * plan.out_group + first, std::min(filters.width(panel), plan.out_group - first),
                   panel % plan.out_phases, filters.width(panel), block, m, space);
  }

  // y of the sums of a panel, `columns` of which exist, from `channel` on.
  void transform_sums(int64_t channel, int64_t columns, int64_t phase, int64_t width, const TileBlock& block,
                      const T* m, const WinogradWorkspace<T>& space) const {
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
                                plan.point_m(width),
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
            if (y.data != nullptr) base = y.at(n, channel, top, left);
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
              out.m = m + place(block.row0 + first_row + i, block.col0 + j, block) * width;
              if (base != nullptr)
                out.y = base + i * plan.h.tile * out.stride_h + j * plan.w.tile * out.stride_w;
              if (epilogue.pooled != nullptr) {  // no phases, and tiles begin at even pixels
                const Image<T>& to = epilogue.pooled->y;
                const int64_t row = (top + i * plan.h.tile) / 2, col = (left + j * plan.w.tile) / 2;
                // A last tile of one pixel may have none.
                out.pooled = to.at(n, channel, std::min(row, to.h), std::min(col, to.w));
                out.pooled_h = to.stride_h();
                out.pooled_w = to.stride_w();
                winograd_kernels<T>().output_pooled(out);
                continue;
              }
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

}  // namespace neocog
