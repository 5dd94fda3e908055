#include "ops/conv/far_taps.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Where it pays: fewer pixels of a rectangle leave register tiles half empty.
constexpr double kFilled = 0.8;
constexpr int64_t kRectanglePixels = 24;
// x under all taps of a tile, which every panel of weights goes past.
constexpr int64_t kTileBytes = 512 << 10;
constexpr int64_t kFewPixels = 48, kManyPixels = 768;
// The weight gradient: pixels of dy that wait in the first-level cache while every tap reads them, and
// partial sums, whatever the number of threads.
constexpr int64_t kGradientPixels = 96, kItems = 16, kPixelsPerSum = 512;

// Outputs [begin, end) of an axis, which taps [first, last) and no others reach.
struct Segment {
  int64_t begin, end, first, last;
};

Segment reach(const TapConvAxis& axis, int64_t in, int64_t u) {
  const std::vector<int64_t>& offset = axis.phases[0].offset;
  Segment s{u, u + 1, 0, static_cast<int64_t>(offset.size())};
  while (s.first < s.last && u * axis.in_step + offset[s.first] < 0) ++s.first;
  while (s.last > s.first && u * axis.in_step + offset[s.last - 1] >= in) --s.last;
  return s;
}

std::vector<Segment> segments(const TapConvAxis& axis, int64_t in) {
  std::vector<Segment> all;
  for (int64_t u = 0; u < axis.phases[0].count; ++u) {
    const Segment s = reach(axis, in, u);
    if (!all.empty() && all.back().first == s.first && all.back().last == s.last) {
      all.back().end = s.end;
    } else {
      all.push_back(s);
    }
  }
  return all;
}

// Products with pixels of the image, as a part of all.
double filled(const TapConvAxis& axis, const std::vector<Segment>& all) {
  int64_t taps = 0;
  for (const Segment& s : all) taps += (s.end - s.begin) * (s.last - s.first);
  const TapPhaseAxis& phase = axis.phases[0];
  return static_cast<double>(taps) /
         static_cast<double>(phase.count * static_cast<int64_t>(phase.offset.size()));
}

bool usual(const TapConvAxis& axis) {
  if (axis.phases.size() != 1 || axis.out_step != 1 || !axis.complete || axis.phases[0].count <= 0)
    return false;
  const std::vector<int64_t>& offset = axis.phases[0].offset;
  return !offset.empty() && std::is_sorted(offset.begin(), offset.end());
}

// Elements of x from the first pixel of an image to the pixel under output (i, j) and the tap of offset 0.
template <class T>
int64_t pixel_under(const TapConvAxis& h, const TapConvAxis& w, const Image<const T>& x, int64_t i,
                    int64_t j) {
  return i * h.in_step * x.stride_h() + j * w.in_step * x.stride_w();
}

}  // namespace

bool far_taps_suit(const TapConvAxis& h, const TapConvAxis& w, int64_t in_h, int64_t in_w) {
  if (!usual(h) || !usual(w)) return false;
  const std::vector<Segment> rows = segments(h, in_h), cols = segments(w, in_w);
  const int64_t rectangles = static_cast<int64_t>(rows.size() * cols.size());
  return h.phases[0].count * w.phases[0].count >= kRectanglePixels * rectangles &&
         filled(h, rows) * filled(w, cols) < kFilled;
}

template <class T>
void far_taps_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                   std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w,
                   WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t in_group = x.c / groups, out_group = y.c / groups, kernel_size = kernel_h * kernel_w;
  const TapPhaseAxis &ph = h.phases[0], &pw = w.phases[0];
  const int64_t taps_h = static_cast<int64_t>(ph.offset.size()),
                taps_w = static_cast<int64_t>(pw.offset.size());
  const PanelSplit split(out_group, kernels.lanes, kernels.max_vectors);
  const std::vector<Segment> rows = segments(h, x.h), cols = segments(w, x.w);

  // Tiles: pieces of rows of outputs.
  const int64_t most = std::clamp<int64_t>(
      kTileBytes / static_cast<int64_t>(sizeof(T)) / (taps_h * taps_w * in_group), kFewPixels, kManyPixels);
  const int64_t tile_w = ceil_div(y.w, ceil_div(y.w, most));
  int64_t tile_h = std::clamp<int64_t>(most / tile_w, 1, y.h);
  if (epilogue.moments != nullptr) tile_h = whole_parts(tile_h, y.h, epilogue.moments->cut(y, tile_w));
  const int64_t tiles_h = ceil_div(y.h, tile_h), tiles_w = ceil_div(y.w, tile_w);
  const int64_t items = x.n * groups * tiles_h * tiles_w;
  const int threads = threads_for(items);
  const int64_t depth = taps_h * taps_w * in_group, group_size = depth * split.vectors * kernels.lanes;
  const int64_t tile_pixels = tile_h * tile_w;
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(groups * group_size)) +
                  threads * 2 * Scratch::bytes_of<int64_t>(tile_pixels));
  std::vector<int64_t*> row_lists(threads), out_lists(threads);
  for (int t = 0; t < threads; ++t) {
    row_lists[t] = scratch.take<int64_t>(tile_pixels);
    out_lists[t] = scratch.take<int64_t>(tile_pixels);
  }

  // (panel; r, s, c, column)
  const bool forward = role == WeightRole::kForward;
  std::vector<int64_t> position((forward ? in_group : 1) * kernel_size, -1);
  for (int64_t r = 0; r < taps_h; ++r) {
    for (int64_t s = 0; s < taps_w; ++s) {
      for (int64_t c = 0; c < (forward ? in_group : 1); ++c) {
        position[c * kernel_size + ph.kernel[r] * kernel_w + pw.kernel[s]] = (r * taps_w + s) * in_group + c;
      }
    }
  }
  KeptWeights::Key key{kFarTaps, kernels.lanes, static_cast<int64_t>(role),
                       groups,   split.vectors, split.panels};
  key.insert(key.end(), position.begin(), position.begin() + kernel_size);
  const T* const packed = weight.form(key, groups * group_size, scratch, [&](T* panels) {
    parallel_for(groups * split.panels, [&](int64_t item, int) {
      const int64_t panel = item % split.panels, g = item / split.panels;
      const T* const from = weight.data + g * in_group * out_group * kernel_size;
      const int64_t first = split.begin(panel) * kernels.lanes;
      kernels.pack_panel(forward ? PanelSource<T>{from, out_group, in_group * kernel_size, 1, 0,
                                                  in_group * kernel_size, position.data(), 0}
                                 : PanelSource<T>{from, out_group, kernel_size, in_group,
                                                  out_group * kernel_size, kernel_size, position.data(), 1},
                         first, split.width(panel), panels + g * group_size + depth * first);
    });
  });

  const Finish<T> finish(epilogue);
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t j0 = item % tiles_w * tile_w, i0 = item / tiles_w % tiles_h * tile_h;
    const int64_t g = item / tiles_w / tiles_h % groups, n = item / tiles_w / tiles_h / groups;
    const int64_t i1 = std::min(y.h, i0 + tile_h), j1 = std::min(y.w, j0 + tile_w);
    int64_t* const row_of = row_lists[thread];
    int64_t* const out_of = out_lists[thread];
    std::vector<int64_t> tap(taps_h * taps_w);
    for (const Segment& vertical : rows) {
      for (const Segment& across : cols) {
        const int64_t top = std::max(i0, vertical.begin), bottom = std::min(i1, vertical.end);
        const int64_t left = std::max(j0, across.begin), right = std::min(j1, across.end);
        if (top >= bottom || left >= right) continue;
        int64_t pixels = 0;
        for (int64_t i = top; i < bottom; ++i) {
          for (int64_t j = left; j < right; ++j, ++pixels) {
            row_of[pixels] = pixel_under(h, w, x, i, j);
            out_of[pixels] = i * y.stride_h() + j * y.stride_w();
          }
        }
        for (size_t t = 0; t < tap.size(); ++t) {
          tap[t] = ph.offset[t / taps_w] * x.stride_h() + pw.offset[t % taps_w] * x.stride_w();
        }
        for (int64_t panel = 0; panel < split.panels; ++panel) {
          const int64_t vectors = split.width(panel), width = vectors * kernels.lanes;
          const int64_t first = split.begin(panel) * kernels.lanes, channel = g * out_group + first;
          const T* const b = packed + g * group_size + depth * first;
          TapsPanel<T> product{x.at(n, g * in_group, 0, 0),
                               row_of,
                               tap.data(),
                               pixels,
                               0,
                               in_group,
                               b,
                               vectors,
                               std::min(width, out_group - first),
                               epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                               y.at(n, channel, 0, 0),
                               out_of,
                               false,
                               T(0),
                               finish.clamp_hi};
          // One kernel row after the other; where none reaches the image, the bias alone.
          for (int64_t r = vertical.first; r == vertical.first || r < vertical.last; ++r) {
            product.taps = r < vertical.last ? across.last - across.first : 0;
            product.tap = tap.data() + r * taps_w + across.first;
            product.b = b + (r * taps_w + across.first) * in_group * width;
            product.clamp = finish.clamp && r + 1 >= vertical.last;
            product.accumulate = r > vertical.first;
            kernels.taps_panel(product);
          }
        }
      }
    }
    if (finish.rectangle) finish_rectangle(epilogue, y, n, g * out_group, out_group, i0, i1, j0, j1);
  });
}

template <class T>
void far_taps_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  const int64_t in_group = x.c / g.groups, out_group = dy.c / g.groups;
  const int64_t taps_w = g.w.kernel, kernel_size = g.h.kernel * taps_w;
  const PanelSplit split(out_group, kernels.lanes, kernels.max_vectors);
  const std::vector<Segment> rows = segments(h, x.h), cols = segments(w, x.w);
  const int64_t tile_w = ceil_div(dy.w, ceil_div(dy.w, kGradientPixels));
  const int64_t tile_h = std::clamp<int64_t>(kGradientPixels / tile_w, 1, dy.h);
  const int64_t tiles_h = ceil_div(dy.h, tile_h), tiles_w = ceil_div(dy.w, tile_w);
  const int64_t tiles = dy.n * tiles_h * tiles_w;
  // Items: a panel, a kernel row, and some of the tiles.
  const int64_t jobs = g.groups * split.panels * g.h.kernel;
  const int64_t parts =
      std::clamp<int64_t>(std::min(dy.n * dy.h * dy.w / kPixelsPerSum, ceil_div(kItems, jobs)), 1, tiles);
  const int threads = threads_for(jobs * parts);
  const int64_t width_most = kernels.max_vectors * kernels.lanes;
  const int64_t sum_size = kernel_size * in_group * width_most;  // of a panel: (r, s, c, column)
  const int64_t block = tile_h * tile_w * width_most;
  Scratch scratch(Scratch::bytes_of<T>(parts * g.groups * split.panels * sum_size) +
                  threads * (Scratch::bytes_of<T>(block) + Scratch::bytes_of<T>(sum_size) +
                             Scratch::bytes_of<int64_t>(tile_h * tile_w)));
  T* const sums = scratch.take<T>(parts * g.groups * split.panels * sum_size);
  struct Workspace {
    T *dy, *turned;
    int64_t* row;
  };
  std::vector<Workspace> spaces(threads);
  for (Workspace& space : spaces) {
    space = {scratch.take<T>(block), scratch.take<T>(sum_size), scratch.take<int64_t>(tile_h * tile_w)};
  }
  parallel_for(jobs * parts, threads, [&](int64_t item, int thread) {
    const int64_t r = item % g.h.kernel, panel = item / g.h.kernel % split.panels;
    const int64_t group = item / g.h.kernel / split.panels % g.groups, part = item / jobs;
    const int64_t vectors = split.width(panel), width = vectors * kernels.lanes;
    const int64_t first = split.begin(panel) * kernels.lanes, columns = std::min(width, out_group - first);
    T* const sum =
        sums + ((part * g.groups + group) * split.panels + panel) * sum_size + r * taps_w * in_group * width;
    std::fill_n(sum, taps_w * in_group * width, T(0));
    const Workspace& space = spaces[thread];
    for (int64_t tile = tiles * part / parts; tile < tiles * (part + 1) / parts; ++tile) {
      const int64_t j0 = tile % tiles_w * tile_w, i0 = tile / tiles_w % tiles_h * tile_h;
      const int64_t n = tile / tiles_w / tiles_h;
      // Rows that this kernel row reaches: neighbours, for it leaves the image at one end only.
      int64_t top = std::min(dy.h, i0 + tile_h), bottom = i0;
      for (const Segment& s : rows) {
        if (r < s.first || r >= s.last || s.begin >= i0 + tile_h || s.end <= i0) continue;
        top = std::min(top, std::max(i0, s.begin));
        bottom = std::max(bottom, std::min({dy.h, i0 + tile_h, s.end}));
      }
      const int64_t j1 = std::min(dy.w, j0 + tile_w);
      if (top >= bottom) continue;
      // dy turned by columns: those that a tap reaches are a run of it.
      load_pixels(dy, n, group * out_group + first, columns, {top, bottom - top, j0, j1 - j0}, width,
                  space.dy);
      for (int64_t s = 0; s < taps_w; ++s) {
        const int64_t offset = g.w.tap(0, s);  // of output 0
        const int64_t left = std::max(j0, ceil_div(std::max<int64_t>(0, -offset), g.w.stride));
        const int64_t right = std::min(j1, floor_div(x.w - 1 - offset, g.w.stride) + 1);
        if (left >= right) continue;
        const T* const a = x.at(n, group * in_group, 0, 0);
        const bool whole = left == j0 && right == j1;
        int64_t pixels = 0;
        for (int64_t i = top; i < bottom; ++i) {
          if (!whole) pixels = 0;
          for (int64_t j = left; j < right; ++j) {
            space.row[pixels++] = g.h.tap(i, r) * x.stride_h() + g.w.tap(j, s) * x.stride_w();
          }
          if (whole && i + 1 < bottom) continue;
          kernels.outer_panel({a, space.row, pixels, in_group,
                               space.dy + (whole ? 0 : ((i - top) * (j1 - j0) + left - j0) * width), vectors,
                               sum + s * in_group * width});
        }
      }
    }
  });
  // Adds the parts in their order and turns (r, s, c; o) into (o, c, r, s).
  parallel_for(g.groups * split.panels, threads, [&](int64_t item, int thread) {
    const int64_t panel = item % split.panels, group = item / split.panels;
    const int64_t width = split.width(panel) * kernels.lanes, first = split.begin(panel) * kernels.lanes;
    T* const sum = sums + item * sum_size;
    for (int64_t part = 1; part < parts; ++part) {
      const T* const from = sum + part * g.groups * split.panels * sum_size;
      for (int64_t i = 0; i < kernel_size * in_group * width; ++i) sum[i] += from[i];
    }
    T* const turned = spaces[thread].turned;  // (o, r, s, c)
    const int64_t depth = kernel_size * in_group;
    kernels.transpose(sum, width, turned, depth, depth, width);
    for (int64_t o = 0; o < std::min(width, out_group - first); ++o) {
      kernels.transpose(turned + o * depth, in_group, dw + (group * out_group + first + o) * depth,
                        kernel_size, kernel_size, in_group);
    }
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                     \
  template void far_taps_conv<T>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const T>, \
                                 std::type_identity_t<Weights<T>>, int64_t, int64_t, WeightRole,  \
                                 const Epilogue<T>&, Image<T>);                                   \
  template void far_taps_backward_weight<T>(const ConvGeometry&, Image<const T>, Image<const T>, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
