// The weight gradient on the kernels of ops/gemm/parts.h: dw[o, (r, s), c] = sum over pixels of dy[p, o] *
// x[tap (r, s) of p, c], with dy turned, so that its pixels are the terms of a row. Turned and split once, it
// meets the pixels under every tap, which are split while those before them are multiplied.
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/parts_conv.h"
#include "ops/conv/strip.h"
#include "ops/conv/winograd_cost.h"
#include "ops/gemm/gemm.h"
#include "ops/gemm/parts.h"

namespace neocog {
namespace {

// Pixels at a time: those under a tap, of two vectors of channels, stay in the first-level cache; dy's in the
// second-level cache, with the sums of an item.
constexpr int64_t kPixels = 128, kBlockRows = 384, kBlockSums = 192 << 10;
// Rows of dy that are turned at a time, in the first-level cache.
constexpr int64_t kTurned = 32;
// Pixels are cut by the geometry alone, never by the number of threads: sums keep their order.
constexpr int64_t kMostParts = 16, kPixelsOfPart = 1024, kMostPartial = 8 << 20;
constexpr int64_t kUnitVectors = 2;
// Fewer leave too much of a step to zeros, or too little to gain.
constexpr int64_t kFewestChannels = 32, kFewestPixels = 256;
// Elements of x that a chunk of channels-first images may copy: taps may be far apart.
constexpr int64_t kMostStrip = 1 << 20;

// How the pixels of dy are taken: channels last, any that follow one another; else, because x has to be
// turned, whole images, whole rows of one, or pieces of a row.
struct Chunks {
  int64_t all;                  // of them
  int64_t images, rows, width;  // of the largest; rows is 0 for any pixels
  int64_t down, across;         // of an image, if it is cut, and of a row
  int64_t pixels;               // of the largest
};

Chunks chunks_of(const Image<const float>& dy) {
  const int64_t all = dy.n * dy.h * dy.w;
  if (dy.channels_last()) {
    const int64_t count = ceil_div(all, kPixels);
    return {count, 0, 0, 0, 1, 1, ceil_div(all, count)};
  }
  if (dy.w > kPixels) {
    const int64_t across = ceil_div(dy.w, kPixels), width = ceil_div(dy.w, across);
    return {dy.n * dy.h * across, 1, 1, width, dy.h, across, width};
  }
  const int64_t down = ceil_div(dy.h, kPixels / dy.w), rows = ceil_div(dy.h, down);
  if (down > 1) return {dy.n * ceil_div(dy.h, rows), 1, rows, dy.w, ceil_div(dy.h, rows), 1, rows * dy.w};
  const int64_t count = ceil_div(dy.n, kPixels / (dy.h * dy.w)), images = ceil_div(dy.n, count);
  return {ceil_div(dy.n, images), images, dy.h, dy.w, 1, 1, images * dy.h * dy.w};
}

// The outputs of a chunk.
struct Chunk {
  int64_t first, pixels;  // counted through all images, channels last
  int64_t n = 0, images = 0, row = 0, rows = 0, col = 0, cols = 0;  // channels first
};

Chunk chunk_at(const Chunks& chunks, const Image<const float>& dy, int64_t i) {
  if (chunks.rows == 0) {
    const int64_t all = dy.n * dy.h * dy.w, first = all * i / chunks.all;
    return {first, all * (i + 1) / chunks.all - first};
  }
  const int64_t j = i % chunks.across, k = i / chunks.across % chunks.down;
  const int64_t n = i / chunks.across / chunks.down * chunks.images,
                images = std::min(chunks.images, dy.n - n);
  const int64_t row = k * chunks.rows, rows = std::min(chunks.rows, dy.h - row);
  const int64_t col = dy.w * j / chunks.across, cols = dy.w * (j + 1) / chunks.across - col;
  return {0, images * rows * cols, n, images, row, rows, col, cols};
}

// The pixels of x under the outputs of a chunk.
struct Strip {
  int64_t rows, cols;
  static int64_t span(const WindowAxis& axis, int64_t outputs) {
    return (outputs - 1) * axis.stride + (axis.kernel - 1) * axis.dilation + 1;
  }
  Strip(const ConvGeometry& g, const Chunks& chunks)
      : rows(span(g.h, chunks.rows)), cols(span(g.w, chunks.width)) {}
  int64_t pixels() const { return rows * cols; }  // of an image
};

struct Workspace {
  uint16_t *a, *b[2];
  float *copy, *strip;
  int64_t *row, *col;              // of x under the first tap, of each pixel; with row, the image
  std::array<int64_t*, 2> offset;  // of the pixels under a tap
};

bool plain(const WindowAxis& axis) {
  return axis.kernel == 1 && axis.stride == 1 && axis.pad_lo == 0 && axis.out() == axis.in;
}

// What the items of a call share.
struct Operands {
  const ConvGeometry& g;
  const Image<const float>&x, &dy;
  const PartsKernels& parts;

  bool last() const { return x.channels_last(); }
  int64_t in_group() const { return x.c / g.groups; }

  // a (rows, wide): dy's channels from `channel` on, each with its pixels side by side, in parts.
  void turn(const Chunk& chunk, int64_t channel, int64_t rows, int64_t wide, const Workspace& space) const {
    if (!last() && chunk.images == 1) {
      parts.split_pixels(dy.at(chunk.n, channel, chunk.row, chunk.col), dy.stride_c(), rows, chunk.pixels,
                         wide, space.a, wide);
      return;
    }
    const int64_t plane = chunk.rows * chunk.cols;
    for (int64_t o = 0; o < rows; o += kTurned) {
      const int64_t some = std::min(kTurned, rows - o);
      if (last()) {
        gemm_kernels<float>().transpose(dy.data + chunk.first * dy.c + channel + o, dy.c, space.copy,
                                        chunk.pixels, chunk.pixels, some);
      }
      for (int64_t n = 0; n < chunk.images; ++n) {
        for (int64_t k = 0; k < some; ++k) {
          std::copy_n(dy.at(chunk.n + n, channel + o + k, 0, 0), plane,
                      space.copy + k * chunk.pixels + n * plane);
        }
      }
      parts.split_pixels(space.copy, chunk.pixels, some, chunk.pixels, wide, space.a + kParts * o * wide,
                         wide);
    }
  }

  // Where the pixels of a chunk have their first tap; channels first, in a copy of x.
  void place(const Chunk& chunk, int64_t channel, const Workspace& space) const {
    if (last()) {
      for (int64_t p = 0; p < chunk.pixels; ++p) {
        const int64_t at = chunk.first + p;
        space.row[p] = at / dy.w;  // through all images
        space.col[p] = g.w.tap(at % dy.w, 0);
      }
      return;
    }
    const int64_t rows = Strip::span(g.h, chunk.rows), cols = Strip::span(g.w, chunk.cols);
    for (int64_t n = 0; n < chunk.images; ++n) {
      load_strip(x, chunk.n + n, channel, in_group(),
                 {g.h.tap(chunk.row, 0), rows, g.w.tap(chunk.col, 0), cols},
                 space.strip + n * rows * cols * in_group());
    }
    for (int64_t p = 0; p < chunk.pixels; ++p) {
      const int64_t row = p / chunk.cols;
      space.row[p] = row / chunk.rows * rows + row % chunk.rows * g.h.stride;
      space.col[p] = p % chunk.cols * g.w.stride;
    }
  }

  // The pixels under a tap, and -1 for those outside and behind the last one, up to `wide`.
  void offsets(const Chunk& chunk, int64_t channel, int64_t tap, int64_t wide, const Workspace& space,
               int64_t* to) const {
    const int64_t r = tap / g.w.kernel * g.h.dilation, s = tap % g.w.kernel * g.w.dilation;
    const int64_t cols = Strip::span(g.w, chunk.cols);
    for (int64_t p = 0; p < chunk.pixels; ++p) {
      if (!last()) {
        to[p] = ((space.row[p] + r) * cols + space.col[p] + s) * in_group();
        continue;
      }
      const int64_t n = space.row[p] / dy.h, h = g.h.tap(space.row[p] % dy.h, 0) + r, w = space.col[p] + s;
      const bool inside = h >= 0 && h < x.h && w >= 0 && w < x.w;
      to[p] = inside ? ((n * x.h + h) * x.w + w) * x.c + channel : -1;
    }
    std::fill(to + chunk.pixels, to + wide, -1);
  }
};

// `turned`: x and dy have changed places, and dw is (c, o).
bool gradient(const ConvGeometry& g, const Image<const float>& x, const Image<const float>& dy, float* dw,
              const OperandSums<float>& sums_of, bool turned) {
  const PartsKernels& parts = *parts_kernels();
  const GemmKernels<float>& kernels = gemm_kernels<float>();
  const Operands operands{g, x, dy, parts};
  const bool last = operands.last();
  const int64_t in_group = x.c / g.groups, out_group = dy.c / g.groups, taps = g.h.kernel * g.w.kernel;
  const Chunks chunks = chunks_of(dy);
  // dw is cut into blocks of rows, and of units: two vectors of channels under a tap.
  const int64_t row_blocks = ceil_div(out_group, kBlockRows),
                block_rows = round_up(ceil_div(out_group, row_blocks), parts.tile_rows);
  const int64_t unit = kUnitVectors * parts.lanes, units_of_tap = ceil_div(in_group, unit),
                units = taps * units_of_tap, tap_width = units_of_tap * unit;
  const int64_t row_size = taps * tap_width + parts.lanes;  // rows out of each other's cache sets
  const int64_t group_size = row_blocks * block_rows * row_size;
  const int64_t pixels = dy.n * dy.h * dy.w;
  const int64_t count =
      std::clamp<int64_t>(std::min({pixels / kPixelsOfPart, chunks.all,
                                    kMostPartial / std::max<int64_t>(1, g.groups * group_size)}),
                          1, kMostParts);
  const int64_t by_size = ceil_div(block_rows * units * unit, kBlockSums),
                by_items = ceil_div(2 * threads_for(std::numeric_limits<int64_t>::max()),
                                    count * g.groups * row_blocks);
  const int64_t blocks = std::min(units, std::max(by_size, by_items));
  const int64_t items = count * g.groups * row_blocks * blocks;
  const int threads = threads_for(items);
  const int64_t depth = round_up(chunks.pixels, kPartsDepth);
  const int64_t size_a = kParts * block_rows * depth, size_b = kParts * depth * unit;
  // Channels first: the pixels of x under a chunk.
  const int64_t strip = last ? 0 : chunks.images * Strip(g, chunks).pixels() * in_group,
                copy = kTurned * chunks.pixels;
  Scratch scratch(Scratch::bytes_of<float>(count * g.groups * group_size) +
                  threads * (Scratch::bytes_of<uint16_t>(size_a) + 2 * Scratch::bytes_of<uint16_t>(size_b) +
                             Scratch::bytes_of<float>(copy) + Scratch::bytes_of<float>(strip) +
                             4 * Scratch::bytes_of<int64_t>(depth)));
  float* const partial = scratch.take<float>(count * g.groups * group_size);
  std::vector<Workspace> spaces(threads);
  for (Workspace& space : spaces) {
    space.a = scratch.take<uint16_t>(size_a);
    for (uint16_t*& b : space.b) b = scratch.take<uint16_t>(size_b);
    space.copy = scratch.take<float>(copy);
    space.strip = scratch.take<float>(strip);
    space.row = scratch.take<int64_t>(depth);
    space.col = scratch.take<int64_t>(depth);
    for (int64_t*& offset : space.offset) offset = scratch.take<int64_t>(depth);
  }
  // Planes are summed when somebody asks.
  for (ChannelSums<float>* sums : {sums_of.x, sums_of.dy}) {
    if (last && sums != nullptr) sums->cut(count);
  }
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = spaces[thread];
    const int64_t block = item % blocks, row_block = item / blocks % row_blocks;
    const int64_t group = item / blocks / row_blocks % g.groups, part = item / blocks / row_blocks / g.groups;
    const int64_t o0 = row_block * block_rows, rows = std::min(block_rows, out_group - o0);
    if (rows <= 0) return;
    const int64_t unit0 = units * block / blocks, unit1 = units * (block + 1) / blocks;
    float* const sums = partial + (part * g.groups + group) * group_size + o0 * row_size;
    const int64_t channel_o = group * out_group + o0, channel_c = group * in_group;
    bool written = false;
    parts.begin_outer();
    for (int64_t i = chunks.all * part / count; i < chunks.all * (part + 1) / count; ++i) {
      const Chunk chunk = chunk_at(chunks, dy, i);
      const int64_t steps = ceil_div(chunk.pixels, kPartsDepth), wide = steps * kPartsDepth;
      operands.turn(chunk, channel_o, rows, wide, space);
      operands.place(chunk, channel_c, space);
      if (last && sums_of.dy != nullptr && block == 0) {
        sums_of.dy->take(part, channel_o, rows, dy.data + chunk.first * dy.c + channel_o, dy.c, chunk.pixels);
      }
      if (last && sums_of.x != nullptr && block == 0 && row_block == 0) {
        const int64_t all = x.n * x.h * x.w, first = all * i / chunks.all;
        sums_of.x->take(part, channel_c, in_group, x.data + first * x.c + channel_c, x.c,
                        all * (i + 1) / chunks.all - first);
      }
      int64_t tap = -1;
      const auto pixels_of = [&](int64_t u) -> PartsRows {
        if (u / units_of_tap != tap) {
          tap = u / units_of_tap;
          operands.offsets(chunk, channel_c, tap, wide, space, space.offset[tap % 2]);
        }
        const int64_t c0 = u % units_of_tap * unit, exist = std::min(unit, in_group - c0);
        return {(last ? x.data : space.strip) + c0, space.offset[tap % 2], steps, exist,
                ceil_div(exist, parts.lanes),       space.b[u % 2]};
      };
      PartsRows next = pixels_of(unit0);
      parts.split_rows(next);
      for (int64_t u = unit0; u < unit1; ++u) {
        const PartsRows here = next;
        if (u + 1 < unit1) next = pixels_of(u + 1);
        parts.outer_block({space.a, round_up(rows, parts.tile_rows), steps, here.to, here.vectors,
                           sums + u * unit, row_size, written},
                          u + 1 < unit1 ? &next : nullptr);
      }
      written = true;
    }
    parts.end_outer();
  });
  // Adds the parts in their order, and turns (r, s, c) into (c, r, s).
  std::atomic<bool> finite{true};
  const int64_t lines = ceil_div(out_group, parts.tile_rows);
  parallel_for(g.groups * lines, [&](int64_t item, int) {
    const int64_t group = item / lines, o0 = item % lines * parts.tile_rows,
                  o1 = std::min(out_group, o0 + parts.tile_rows);
    float* const first = partial + group * group_size + o0 * row_size;
    float check = 0;
    for (int64_t o = o0; o < o1; ++o) {
      float* const sum = first + (o - o0) * row_size;
      for (int64_t part = 1; part < count; ++part) {
        const float* const other = sum + part * g.groups * group_size;
        for (int64_t c = 0; c < taps * tap_width; ++c) sum[c] += other[c];
      }
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t c = 0; c < in_group; ++c) check += sum[tap * tap_width + c] * 0.0f;
      }
      if (!turned) {
        kernels.transpose(sum, tap_width, dw + (group * out_group + o) * in_group * taps, taps, taps,
                          in_group);
      }
    }
    if (std::isnan(check)) finite.store(false, std::memory_order_relaxed);
    if (turned) {  // one tap
      kernels.transpose(first, row_size, dw + group * in_group * out_group + o0, out_group, o1 - o0,
                        in_group);
    }
  });
  return finite.load();
}

}  // namespace

bool parts_weight_possible(const ConvGeometry& g) {
  return parts_kernels() != nullptr &&
         std::min(g.in_channels, g.out_channels) / g.groups >= kFewestChannels &&
         g.batch * g.h.out() * g.w.out() >= kFewestPixels;
}

bool parts_weight_turns_x(const ConvGeometry& g) {
  return plain(g.h) && plain(g.w) && g.in_channels < g.out_channels;
}

bool parts_backward_weight_suits(const ConvGeometry& g, const Image<const float>& x,
                                 const Image<const float>& dy) {
  if (!parts_weight_possible(g) || !parts_weight_pays(g) || !x.dense() || !dy.dense() ||
      x.layout != dy.layout) {
    return false;
  }
  const Chunks chunks = chunks_of(dy);
  return x.channels_last() || Strip(g, chunks).pixels() <= kMostStrip / (x.c / g.groups) / chunks.images;
}

bool parts_backward_weight(const ConvGeometry& g, Image<const float> x, Image<const float> dy, float* dw,
                           const OperandSums<float>& sums_of) {
  if (!parts_weight_turns_x(g)) return gradient(g, x, dy, dw, sums_of, false);
  ConvGeometry swapped = g;
  std::swap(swapped.in_channels, swapped.out_channels);
  return gradient(swapped, dy, x, dw, {sums_of.dy, sums_of.x}, true);
}

}  // namespace neocog
