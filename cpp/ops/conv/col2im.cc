#include "ops/conv/col2im.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Pixels whose columns are made together.
constexpr int64_t kPixels = 112;
// The part of y that an item adds up.
constexpr int64_t kStripBytes = 512 << 10;
// Items that give every thread a share where the batch is small.
constexpr int64_t kFewItems = 16;
// More columns per pixel would leave the nearest cache.
constexpr int64_t kMostColumns = 512;
// Fewer would not outweigh the packing of weights.
constexpr int64_t kLeastPixels = 96;

// Taps of one axis by where they reach: output p of input i is at step * i + first + t for tap kernel[t].
struct Reaches {
  int64_t first = 0;
  std::vector<int64_t> kernel;
};

// Empty if the taps do not follow each other.
Reaches reaches_of(const TapConvAxis& axis) {
  std::vector<std::pair<int64_t, int64_t>> taps;
  for (const TapPhaseAxis& phase : axis.phases) {
    for (size_t t = 0; t < phase.offset.size(); ++t) {
      taps.emplace_back(phase.start - axis.out_step * phase.offset[t], phase.kernel[t]);
    }
  }
  std::sort(taps.begin(), taps.end());
  Reaches reaches;
  for (const auto& [reach, kernel] : taps) {
    if (reaches.kernel.empty()) reaches.first = reach;
    if (reach != reaches.first + static_cast<int64_t>(reaches.kernel.size())) return {};
    reaches.kernel.push_back(kernel);
  }
  return reaches;
}

// Tiles of an axis of y, in positions, and the inputs that reach outputs [begin, end).
struct Tiles {
  int64_t step, in, first, taps, size, count;
  std::pair<int64_t, int64_t> inputs(int64_t begin, int64_t end) const {
    const int64_t lo = std::clamp<int64_t>(ceil_div(begin - first - taps + 1, step), 0, in);
    return {lo, std::clamp<int64_t>(floor_div(end - 1 - first, step) + 1, lo, in)};
  }
};

// Where the weights of all columns (r, s, o) of one channel of x lie, and how far apart those of two
// channels.
struct ColumnSource {
  std::vector<int64_t> element;
  int64_t step;
  ColumnSource(const Reaches& h, const Reaches& w, int64_t kernel_size, int64_t kernel_w, int64_t in_group,
               int64_t out_group, WeightRole role)
      : step((role == WeightRole::kForward ? 1 : out_group) * kernel_size) {
    const int64_t output = (role == WeightRole::kForward ? in_group : 1) * kernel_size;
    for (const int64_t r : h.kernel) {
      for (const int64_t s : w.kernel) {
        for (int64_t o = 0; o < out_group; ++o) element.push_back(o * output + r * kernel_w + s);
      }
    }
  }
};

// Columns [first, first + width) of every channel, zeros behind the last.
template <class T>
void pack_columns(const T* weight, const ColumnSource& source, int64_t channels, int64_t first, int64_t width,
                  T* to) {
  const int64_t count = std::min(width, static_cast<int64_t>(source.element.size()) - first);
  for (int64_t c = 0; c < channels; ++c, weight += source.step, to += width) {
    for (int64_t f = 0; f < count; ++f) to[f] = weight[source.element[first + f]];
    std::fill(to + count, to + width, T(0));
  }
}

}  // namespace

template <class T>
bool col2im_suits(const TapConvAxis& h, const TapConvAxis& w, Layout layout, int64_t pixels, int64_t in_group,
                  int64_t out_group) {
  const int64_t lanes = gemm_kernels<T>().lanes;
  if (h.in_step != 1 || w.in_step != 1 || lanes < 8 || 4 * out_group > 3 * lanes) return false;
  const int64_t taps_h = static_cast<int64_t>(reaches_of(h).kernel.size()),
                taps_w = static_cast<int64_t>(reaches_of(w).kernel.size());
  const int64_t taps = taps_h * taps_w, columns = taps * out_group;
  if (taps < 2 || columns > kMostColumns || pixels < kLeastPixels) return false;
  const bool last = layout == Layout::kChannelsLast;
  // Phases of one row that all meet the same taps are one product of plane_conv, which turns nothing.
  if (!last && taps_h == 1 && out_group == 1) return false;
  if (taps_h <= h.out_step && taps_w <= w.out_step) return in_group >= (last ? 8 : 16);
  if (h.out_step * w.out_step == 1) return in_group >= (last && columns <= 256 ? 32 : 64);
  return in_group >= (columns > 256 ? 64 : last && columns <= 128 ? 16 : 32);
}

template <class T>
void col2im_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                 std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole role,
                 const Epilogue<T>& epilogue, Image<T> y) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t in_group = x.c / groups, out_group = y.c / groups, kernel_size = kernel_h * kernel_w;
  const Reaches reach_h = reaches_of(h), reach_w = reaches_of(w);
  const int64_t taps_h = static_cast<int64_t>(reach_h.kernel.size()),
                taps_w = static_cast<int64_t>(reach_w.kernel.size());
  const int64_t run = taps_w * out_group, columns = taps_h * run;
  const PanelSplit split(columns, kernels.lanes, kernels.max_vectors);
  const int64_t width = split.vectors * kernels.lanes, packed_group = in_group * width;

  // Tiles a few times as large as what neighbours both compute, and no larger than the strip may be.
  const auto tiles_of = [](const TapConvAxis& axis, const Reaches& reach, int64_t in, int64_t wanted) {
    const int64_t taps = static_cast<int64_t>(reach.kernel.size()), both = ceil_div(taps - 1, axis.out_step);
    const int64_t least = std::min(axis.positions, 1 + 8 * both);
    const int64_t size = std::clamp<int64_t>(wanted, least, axis.positions);
    const int64_t count = ceil_div(axis.positions, size);
    return Tiles{axis.out_step, in, reach.first, taps, ceil_div(axis.positions, count), count};
  };
  const int64_t row_bytes =
      w.positions * w.out_step * out_group * h.out_step * static_cast<int64_t>(sizeof(T));
  const int64_t few_h = ceil_div(h.positions, ceil_div(kFewItems, x.n * groups));
  const Tiles tiles_h = tiles_of(h, reach_h, x.h, std::min(few_h, kStripBytes / row_bytes));
  const int64_t few_w = ceil_div(w.positions, ceil_div(kFewItems, x.n * groups * tiles_h.count));
  const Tiles tiles_w =
      tiles_of(w, reach_w, x.w,
               std::min(std::max(few_w, kPixels), w.positions * kStripBytes / (row_bytes * tiles_h.size)));
  const int64_t margin = (taps_w - 1) * out_group;  // runs may begin before a tile and end behind it
  const int64_t pitch = tiles_w.size * w.out_step * out_group + 2 * margin;
  // Pixels so far apart add to no common output, nor to the vector that ends in one: a store of part of a
  // vector holds up loads of the rest.
  const int64_t sweeps = ceil_div(round_up(run, kernels.lanes), w.out_step * out_group);

  const int64_t items = x.n * groups * tiles_h.count * tiles_w.count;
  const int threads = threads_for(items);
  const int64_t strip_size = tiles_h.size * h.out_step * pitch;
  const int64_t pixels_size = x.channels_last() ? 0 : kPixels * in_group;
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(groups * packed_group)) +
                  Scratch::bytes_of<T>(groups * pitch) + Scratch::bytes_of<int64_t>(2 * kPixels * threads) +
                  threads * (Scratch::bytes_of<T>(strip_size) + Scratch::bytes_of<T>(pixels_size) +
                             Scratch::bytes_of<T>(kPixels * width)));
  struct Workspace {
    T *strip, *pixels, *columns;
    int64_t *row, *out;
  };
  std::vector<Workspace> workspaces(threads);
  T* const starts = scratch.take<T>(groups * pitch);  // a row of the strip without products
  int64_t* const offsets = scratch.take<int64_t>(2 * kPixels * threads);
  for (int t = 0; t < threads; ++t) {
    workspaces[t] = {scratch.take<T>(strip_size), scratch.take<T>(pixels_size),
                     scratch.take<T>(kPixels * width), offsets + 2 * t * kPixels,
                     offsets + (2 * t + 1) * kPixels};
    for (int64_t p = 0; p < kPixels; ++p) workspaces[t].out[p] = p * width;
  }
  const ColumnSource source(reach_h, reach_w, kernel_h * kernel_w, kernel_w, in_group, out_group, role);
  KeptWeights::Key key{kCol2im, kernels.lanes, static_cast<int64_t>(role), groups};
  for (const Reaches* reach : {&reach_h, &reach_w}) {
    key.push_back(static_cast<int64_t>(reach->kernel.size()));
    key.insert(key.end(), reach->kernel.begin(), reach->kernel.end());
  }
  const T* const packed = weight.form(key, groups * packed_group, scratch, [&](T* to) {
    const int64_t group_size = in_group * out_group * kernel_size;
    parallel_for(groups * split.panels, [&](int64_t item, int) {
      const int64_t g = item / split.panels, panel = item % split.panels,
                    first = split.begin(panel) * kernels.lanes;
      pack_columns(weight.data + g * group_size, source, in_group, first, split.width(panel) * kernels.lanes,
                   to + g * packed_group + in_group * first);
    });
  });

  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t i = 0; i < pitch; ++i)
      starts[g * pitch + i] = epilogue.bias == nullptr ? T(0) : epilogue.bias[g * out_group + i % out_group];
  }

  Epilogue<T> after = epilogue;
  after.moments = nullptr;  // conv_forward takes them from y, which is small
  const Finish<T> finish(after);
  const int64_t no_tap = 0;
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = workspaces[thread];
    const int64_t tile_j = item % tiles_w.count, tile_i = item / tiles_w.count % tiles_h.count;
    const int64_t g = item / tiles_w.count / tiles_h.count % groups;
    const int64_t n = item / tiles_w.count / tiles_h.count / groups, channel = g * out_group;
    const int64_t row0 = tile_i * tiles_h.size * h.out_step,
                  row1 = std::min(y.h, row0 + tiles_h.size * h.out_step);
    const int64_t col0 = tile_j * tiles_w.size * w.out_step,
                  col1 = std::min(y.w, col0 + tiles_w.size * w.out_step);
    if (row0 >= row1 || col0 >= col1) return;
    for (int64_t row = 0; row < row1 - row0; ++row)
      std::copy_n(starts + g * pitch, pitch, space.strip + row * pitch);
    const auto [i0, i1] = tiles_h.inputs(row0, row1);
    const auto [j0, j1] = tiles_w.inputs(col0, col1);
    const int64_t cols = std::min(kPixels, j1 - j0);
    const int64_t rows = cols == j1 - j0 && cols > 0 ? std::max<int64_t>(1, kPixels / cols) : 1;
    for (int64_t i = i0; i < i1; i += rows) {
      const int64_t i_end = std::min(i1, i + rows);
      // Rows of the kernel that reach this tile from one of these rows.
      const int64_t top = h.out_step * i + reach_h.first, bottom = h.out_step * (i_end - 1) + reach_h.first;
      const int64_t r0 = std::clamp<int64_t>(row0 - bottom, 0, taps_h),
                    r1 = std::clamp<int64_t>(row1 - top, r0, taps_h);
      for (int64_t j = j0; j < j1; j += cols) {
        const int64_t j_end = std::min(j1, j + cols), count = j_end - j, pixels = (i_end - i) * count;
        const T* a;
        if (x.channels_last()) {
          a = x.at(n, g * in_group, i, j);
          for (int64_t p = 0, row = 0; row < i_end - i; ++row) {
            for (int64_t col = 0; col < count; ++col) space.row[p++] = (row * x.w + col) * x.stride_w();
          }
        } else {
          load_strip(x, n, g * in_group, in_group, {i, i_end - i, j, count}, space.pixels);
          a = space.pixels;
          for (int64_t p = 0; p < pixels; ++p) space.row[p] = p * in_group;
        }
        // What lies behind these pixels comes next.
        const int64_t behind =
            x.channels_last() && count == x.w ? std::min(rows, i1 - i_end) * x.stride_h() : 0;
        const Ahead<T> next{a + pixels * x.stride_w(), behind};
        for (int64_t panel = 0; panel < split.panels; ++panel) {
          const int64_t first = split.begin(panel) * kernels.lanes, wide = split.width(panel) * kernels.lanes;
          if (first + wide <= r0 * run || first >= r1 * run) continue;
          kernels.taps_panel({a, space.row, &no_tap, pixels, 1, in_group,
                              packed + g * packed_group + in_group * first, split.width(panel), wide, nullptr,
                              space.columns + first, space.out, false, T(0), T(0),
                              next.part(panel, panel + 1, split.panels)});
        }
        // All rows of a sweep before the next, whose runs overlap: what was stored just now loads slowly.
        for (int64_t q = 0; q < std::min(sweeps, count); ++q) {
          for (int64_t row = i; row < i_end; ++row) {
            const T* const from = space.columns + ((row - i) * count + q) * width;
            const int64_t y_row = h.out_step * row + reach_h.first - row0;
            T* const at = space.strip + margin + (w.out_step * (j + q) + reach_w.first - col0) * out_group;
            for (int64_t r = std::max(r0, -y_row); r < std::min(r1, row1 - row0 - y_row); ++r) {
              kernels.add_runs(from + r * run, sweeps * width, at + (y_row + r) * pitch,
                               sweeps * w.out_step * out_group, ceil_div(count - q, sweeps), run);
            }
          }
        }
      }
    }
    for (int64_t row = row0; row < row1; ++row) {
      T* const from = space.strip + (row - row0) * pitch + margin;
      if (finish.clamp) {
        elementwise_kernels<T>().epilogue(epilogue.activation, epilogue.alpha, nullptr, from,
                                          (col1 - col0) * out_group);
      }
      if (out_group == y.stride_w()) {
        std::copy_n(from, (col1 - col0) * out_group, y.at(n, channel, row, col0));
      } else if (y.channels_last()) {
        copy_pixels<T>(from, out_group, y.at(n, channel, row, col0), y.stride_w(), out_group, col1 - col0);
      } else {
        store_strip(from, out_group, y, n, channel, out_group, {row, 1, col0, col1 - col0}, 1, 1);
      }
    }
    if (finish.rectangle) finish_rectangle(after, y, n, channel, out_group, row0, row1, col0, col1);
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                               \
  template bool col2im_suits<T>(const TapConvAxis&, const TapConvAxis&, Layout, int64_t, int64_t, int64_t); \
  template void col2im_conv<T>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const T>,             \
                               std::type_identity_t<Weights<T>>, int64_t, int64_t, WeightRole,              \
                               const Epilogue<T>&, Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
