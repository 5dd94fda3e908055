// Chooses lanes or pixels, builds the tables, and shares blocks of rows among the threads.
#include "ops/resample/resample.h"

#include <cstdint>
#include <limits>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"
#include "ops/resample/tables.h"

namespace neocog {
namespace {

// Elements that are worth a thread's while.
constexpr int64_t kItem = 32768;
// A block's columns: two rows of them stay in the second cache beside what is read and written.
constexpr int64_t kColumns = 8192;
// Fewer rows to a block would expand too many rows of x twice: once in each of two blocks.
constexpr int64_t kRows = 16;

// A plane (channels first) or an image (channels last) as rows of pixels.
struct Planes {
  int64_t count, run;  // planes, elements of a pixel
  bool lanes;          // rows are handled as single elements
};

template <class T>
Planes planes_of(const ResampleGeometry& g, bool channels_last, const ResampleKernels<T>& kernels) {
  if (!channels_last) return {g.batch * g.channels, 1, true};
  // Fewer channels than a register would leave most of it idle; lane indices are 32 bits long.
  const bool few = g.channels < kernels.lanes;
  const bool narrow = max64(g.w.in, g.w.out) <= std::numeric_limits<int32_t>::max() / max64(1, g.channels);
  return {g.batch, g.channels, few && narrow};
}

// How the result's planes are cut: blocks of rows by columns, or several whole planes at once where they are
// small.
struct Cut {
  int64_t rows, columns;              // of a block
  int64_t row_blocks, column_blocks;  // of a plane
  int64_t planes, plane_blocks;       // planes to an item, and items of planes

  Cut(int64_t height, int64_t width, int64_t count, int64_t unit_columns, int64_t unit_elements,
      int64_t item) {
    columns = min64(width, unit_columns);
    column_blocks = ceil_div(width, columns);
    const int64_t elements = columns * unit_elements;
    rows = min64(height, max64(kRows, item / elements));
    row_blocks = ceil_div(height, rows);
    planes = row_blocks * column_blocks > 1 ? 1 : max64(1, item / (rows * elements));
    plane_blocks = ceil_div(count, planes);
  }
  int64_t items() const { return plane_blocks * row_blocks * column_blocks; }
};

// Calls body(block of one plane, thread) for all blocks; `block` says what is the same for all planes.
template <class T, class Body>
void for_blocks(const Cut& cut, int threads, const ResampleBlock<T>& whole, int64_t count, int64_t x_plane,
                int64_t y_plane, const Body& body) {
  parallel_for(cut.items(), threads, [&](int64_t item, int thread) {
    ResampleBlock<T> block = whole;
    const int64_t column = item % cut.column_blocks, row = item / cut.column_blocks % cut.row_blocks;
    const int64_t plane = item / cut.column_blocks / cut.row_blocks * cut.planes;
    block.row_begin = row * cut.rows;
    block.row_end = min64(whole.row_end, block.row_begin + cut.rows);
    block.column_begin = column * cut.columns;
    block.column_end = min64(whole.column_end, block.column_begin + cut.columns);
    for (int64_t p = plane; p < min64(count, plane + cut.planes); ++p) {
      block.x = whole.x + p * x_plane;
      block.y = whole.y + p * y_plane;
      body(block, thread);
    }
  });
}

}  // namespace

template <class T>
void resample_forward(const ResampleGeometry& g, Image<const T> x, Image<T> y) {
  if (y.size() == 0) return;
  const ResampleKernels<T>& kernels = resample_kernels<T>();
  const Planes planes = planes_of<T>(g, x.channels_last(), kernels);
  const auto row_samples = resample_samples(g.h, g.mode, g.align_corners, g.planar);
  const auto column_samples = resample_samples(g.w, g.mode, g.align_corners, g.planar);
  const PixelTableOf<T> rows(row_samples);
  const int64_t run = planes.run, x_row = g.w.in * run, y_row = g.w.out * run;
  const bool linear = g.mode == ResampleMode::kLinear;

  const int64_t width = planes.lanes ? y_row : g.w.out, unit = planes.lanes ? 1 : run;
  const int64_t columns = planes.lanes ? round_up(kColumns, kernels.lanes) : max64(1, kColumns / run);
  const Cut cut(g.h.out, width, planes.count, columns, unit, kItem);
  const bool held = linear && planes.lanes && g.planar && g.h.in < 2 * g.h.out;
  const int64_t workspace = held ? 2 * round_up(cut.columns, kernels.lanes) : 0;
  const int threads = threads_for(cut.items());
  Scratch scratch(static_cast<size_t>(threads) * Scratch::bytes_of<T>(workspace));
  std::vector<T*> workspaces;
  for (int t = 0; t < threads; ++t) workspaces.push_back(scratch.take<T>(workspace));

  const ResampleBlock<T> whole{x.data, x_row, y.data, y_row, 0, g.h.out, 0, width, unit, g.planar, nullptr};
  const auto run_blocks = [&](auto kernel, const auto& table) {
    for_blocks(cut, threads, whole, planes.count, g.h.in * x_row, g.h.out * y_row,
               [&](ResampleBlock<T>& block, int thread) {
                 block.workspace = workspaces[static_cast<size_t>(thread)];
                 kernel(block, rows.view(), table);
               });
  };
  if (planes.lanes) {
    const LaneTableOf<T> table(column_samples, g.w.in, run, kernels);
    const auto linear_kernel = held || !g.planar ? kernels.linear_lanes : kernels.linear_lanes_shrink;
    run_blocks(linear ? linear_kernel : kernels.nearest_lanes, table.view());
  } else {
    const PixelTableOf<T> table(column_samples);
    run_blocks(linear ? kernels.linear_pixels : kernels.nearest_pixels, table.view());
  }
}

template <class T>
void resample_backward(const ResampleGeometry& g, Image<const T> dy, Image<T> dx) {
  if (dx.size() == 0) return;
  const ResampleKernels<T>& kernels = resample_kernels<T>();
  const Planes planes = planes_of<T>(g, dy.channels_last(), kernels);
  const PixelCopiesOf<T> rows(resample_samples(g.h, g.mode, g.align_corners, g.planar), g.h.in);
  const PixelCopiesOf<T> columns(resample_samples(g.w, g.mode, g.align_corners, g.planar), g.w.in);
  const int64_t run = planes.run, dx_row = g.w.in * run, dy_row = g.w.out * run;

  // An element of dx costs as much as the elements of dy that it is made of.
  const int64_t growth = 1 + (g.h.out * g.w.out) / (g.h.in * g.w.in);
  const int64_t width = planes.lanes ? dx_row : g.w.in, unit = planes.lanes ? 1 : run;
  const int64_t stretch = ceil_div(g.w.out, g.w.in);
  const int64_t block_columns = planes.lanes ? round_up(max64(1, kColumns / stretch), kernels.lanes)
                                             : max64(1, kColumns / (run * stretch));
  const Cut cut(g.h.in, width, planes.count, block_columns, unit, max64(1, kItem / growth));
  const auto readers = [&](int64_t begin, int64_t end) {  // elements or pixels of dy that a block reads
    if (!planes.lanes) return columns.readers(begin, end);
    const auto pixels = columns.readers(begin / run, ceil_div(end, run));
    return typename PixelCopiesOf<T>::Range{pixels.begin * run, pixels.end * run};
  };
  int64_t workspace = 0;
  if (g.planar && planes.lanes) workspace = dy_row;
  for (int64_t c = 0; g.planar && !planes.lanes && c < width; c += cut.columns) {
    const auto range = readers(c, min64(width, c + cut.columns));
    workspace = max64(workspace, (range.end - range.begin) * run);
  }
  const int threads = threads_for(cut.items());
  Scratch scratch(static_cast<size_t>(threads) * Scratch::bytes_of<T>(workspace));
  std::vector<T*> workspaces;
  for (int t = 0; t < threads; ++t) workspaces.push_back(scratch.take<T>(workspace));

  const ResampleBlock<T> whole{dy.data, dy_row, dx.data, dx_row,   0,      g.h.in,
                               0,       width,  unit,    g.planar, nullptr};
  const auto run_blocks = [&](auto kernel, const auto& table) {
    for_blocks(cut, threads, whole, planes.count, g.h.out * dy_row, g.h.in * dx_row,
               [&](ResampleBlock<T>& block, int thread) {
                 block.workspace = workspaces[static_cast<size_t>(thread)];
                 const auto range = readers(block.column_begin, block.column_end);
                 kernel(block, rows.view(), table, range.begin, range.end);
               });
  };
  if (planes.lanes) {
    const LaneCopiesOf<T> table(columns.view(), g.w.in, g.w.out, run, kernels);
    run_blocks(kernels.backward_lanes, table.view());
  } else {
    run_blocks(kernels.backward_pixels, columns.view());
  }
}

#define NEOCOG_INSTANTIATE(T)                                                           \
  template void resample_forward<T>(const ResampleGeometry&, Image<const T>, Image<T>); \
  template void resample_backward<T>(const ResampleGeometry&, Image<const T>, Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
