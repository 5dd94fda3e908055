// The weight gradient of 1x1 on the kernels of ops/gemm/parts.h: dw[o, c] = sum over pixels of dy[p, o] *
// x[p, c], with dy turned, so that its pixels are the terms of a row.
#include <algorithm>
#include <array>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/bf16_plan.h"
#include "ops/conv/parts_conv.h"
#include "ops/conv/strip.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/parts.h"

namespace neocog {
namespace {

// Of dw, by an item, and of the pixels, at a time: both operands and the sums of a block share the
// second-level cache.
constexpr int64_t kBlockRows = 384, kBlockPanels = 4, kPixels = 256;
// Rows of dy that are turned at a time, in the first-level cache.
constexpr int64_t kTurned = 32;
// Pixels are cut by the geometry alone, never by the number of threads: sums keep their order.
constexpr int64_t kMostParts = 16, kItems = 16, kPixelsOfPart = 1024;
constexpr int64_t kFewestChannels = 48, kFewestPixels = 256;

struct Cut {
  int64_t count, size;  // parts, and the most that one has
  Cut(int64_t all, int64_t most) : count(ceil_div(all, most)), size(ceil_div(all, count)) {}
  int64_t begin(int64_t i, int64_t all) const { return all * i / count; }
};

// One row of pixels: of each image, or of all where they follow one another.
Image<const float> in_one_row(const Image<const float>& x) {
  if (x.channels_last()) return {x.data, 1, x.c, 1, x.n * x.h * x.w, x.layout};
  return {x.data, x.n, x.c, 1, x.h * x.w, x.layout};
}

}  // namespace

bool parts_backward_weight_suits(const ConvGeometry& g, const Image<const float>& x,
                                 const Image<const float>& dy) {
  const auto plain = [](const WindowAxis& axis) {
    return axis.kernel == 1 && axis.stride == 1 && axis.pad_lo == 0 && axis.out() == axis.in;
  };
  return parts_kernels() != nullptr && g.groups == 1 && plain(g.h) && plain(g.w) && x.dense() && dy.dense() &&
         x.layout == dy.layout && std::min(x.c, dy.c) >= kFewestChannels && x.n * x.h * x.w >= kFewestPixels;
}

void parts_backward_weight(Image<const float> x_image, Image<const float> dy_image, float* dw,
                           const OperandSums<float>& sums_of) {
  const PartsKernels& parts = *parts_kernels();
  const GemmKernels<float>& kernels = gemm_kernels<float>();
  const Image<const float> x = in_one_row(x_image), dy = in_one_row(dy_image);
  const bool last = x.channels_last();
  const Cut by_rows(dy.c, kBlockRows);
  const PanelSplit split(x.c, parts.lanes, parts.max_vectors);
  const int64_t by_columns = ceil_div(split.panels, kBlockPanels);
  // Chunks of the pixels of all images, and parts of those.
  const int64_t per_image = ceil_div(x.w, kPixels), chunks = x.n * per_image,
                blocks = by_rows.count * by_columns;
  const int64_t count = std::clamp<int64_t>(
      std::min({ceil_div(kItems, blocks), x.n * x.w / kPixelsOfPart, chunks}), 1, kMostParts);
  const int64_t items = blocks * count, width = split.vectors * parts.lanes;
  const int threads = threads_for(items);
  const int64_t panel = parts.max_vectors * parts.lanes, most_runs = ceil_div(by_rows.size, parts.tile_rows);
  const int64_t size_a = kParts * by_rows.size * kPixels, size_b = kParts * kPixels * kBlockPanels * panel;
  const int64_t copy = kPixels * std::max(panel, kTurned);
  Scratch scratch(Scratch::bytes_of<float>(count * dy.c * width) +
                  threads * (Scratch::bytes_of<uint16_t>(size_a) + Scratch::bytes_of<uint16_t>(size_b) +
                             Scratch::bytes_of<float>(copy) + Scratch::bytes_of<Bf16Run>(most_runs) +
                             Scratch::bytes_of<int64_t>(most_runs * parts.tile_rows)));
  float* const partial = scratch.take<float>(count * dy.c * width);
  struct Workspace {
    uint16_t *a, *b;
    float* copy;
    Bf16Run* run;
    int64_t* out;
  };
  std::vector<Workspace> spaces(threads);
  for (Workspace& space : spaces) {
    space = {scratch.take<uint16_t>(size_a), scratch.take<uint16_t>(size_b), scratch.take<float>(copy),
             scratch.take<Bf16Run>(most_runs), scratch.take<int64_t>(most_runs * parts.tile_rows)};
  }
  // Planes are summed when somebody asks.
  for (ChannelSums<float>* sums : {sums_of.x, sums_of.dy}) {
    if (last && sums != nullptr) sums->cut(count);
  }
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = spaces[thread];
    const int64_t part = item / blocks, row_block = item % blocks / by_columns,
                  column_block = item % by_columns;
    const int64_t o0 = by_rows.begin(row_block, dy.c), rows = by_rows.begin(row_block + 1, dy.c) - o0;
    const int64_t panel0 = split.panels * column_block / by_columns,
                  panel1 = split.panels * (column_block + 1) / by_columns;
    float* const sums = partial + (part * dy.c + o0) * width;
    bool written = false;
    for (int64_t chunk = chunks * part / count; chunk < chunks * (part + 1) / count; ++chunk) {
      const int64_t n = chunk / per_image, i = chunk % per_image;
      const int64_t p0 = x.w * i / per_image, pixels = x.w * (i + 1) / per_image - p0;
      const int64_t depth = round_up(pixels, kPartsDepth);
      const StripWindow window{0, 1, p0, pixels};
      if (last) {
        for (int64_t o = 0; o < rows; o += kTurned) {
          const int64_t turned = std::min(kTurned, rows - o);
          kernels.transpose(dy.at(n, o0 + o, 0, p0), dy.c, space.copy, pixels, pixels, turned);
          parts.split_pixels(space.copy, pixels, turned, pixels, depth, space.a + kParts * o * depth, depth);
        }
        if (sums_of.dy != nullptr && column_block == 0) {
          sums_of.dy->take(part, o0, rows, dy.at(n, o0, 0, p0), dy.c, pixels);
        }
      } else {
        parts.split_pixels(dy.at(n, o0, 0, p0), dy.stride_c(), rows, pixels, depth, space.a, depth);
      }
      const int64_t runs = tile_runs(parts.tile_rows, 1, rows, 0, depth, 0, width, space.run, space.out),
                    no_tap = 0;
      std::array<PartsPanel, kBlockPanels> products;
      uint16_t* b = space.b;
      for (int64_t j = panel0; j < panel1; ++j) {
        const int64_t vectors = split.width(j), columns = vectors * parts.lanes,
                      c0 = split.begin(j) * parts.lanes;
        const int64_t exist = std::min(columns, x.c - c0);
        load_pixels(x, n, c0, exist, window, columns, space.copy);
        std::fill(space.copy + pixels * columns, space.copy + depth * columns, 0.0f);
        parts.split_panel(space.copy, depth, vectors, b);
        if (last && sums_of.x != nullptr && row_block == 0) {
          sums_of.x->take(part, c0, exist, x.at(n, c0, 0, p0), x.c, pixels);
        }
        products[j - panel0] = {space.a, space.run, runs,    &no_tap, 1,         depth / kPartsDepth,
                                b,       vectors,   columns, nullptr, sums + c0, space.out,
                                false,   0.0f,      {},      written};
        b += kParts * depth * columns;
      }
      parts.taps_panels(products.data(), panel1 - panel0);
      written = true;
    }
  });
  // Adds the parts in their order.
  parallel_for(dy.c, [&](int64_t o, int) {
    float* const sum = partial + o * width;
    for (int64_t part = 1; part < count; ++part) {
      const float* const other = sum + part * dy.c * width;
      for (int64_t c = 0; c < x.c; ++c) sum[c] += other[c];
    }
    std::copy_n(sum, x.c, dw + o * x.c);
  });
}

}  // namespace neocog
