#include "ops/conv/winograd_groups.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/strict.h"
#include "ops/conv/tap_span.h"
#include "ops/conv/winograd_groups_kernels.h"
#include "ops/conv/winograd_windows.h"

namespace neocog {
namespace {

constexpr int64_t kTile = kGroupTile, kTaps = 9;
// Tiles of a block: their pixels and results, of the channels of a chunk, share the second-level cache.
constexpr int64_t kBlockTiles = 128;
constexpr int64_t kItemsPerThread = 4;
// Where the method pays, as measured against narrow_groups, plane_conv and winograd with AVX-512: from so
// many channels of a group, on either side, and output pixels on. Sums over fewer channels err by four times
// the plain sum and more.
constexpr int64_t kLeastChannels = 5, kLeastPixels = 190;

// A chunk is the groups that the kernel takes together.
struct GroupChunks {
  int64_t groups, in_group, out_group, per_chunk, chunks;
  GroupChunks(int64_t groups_, int64_t in_channels, int64_t out_channels)
      : groups(groups_),
        in_group(in_channels / groups),
        out_group(out_channels / groups),
        per_chunk(std::min(groups, slots() / std::max(in_group, out_group))),
        chunks(ceil_div(groups, per_chunk)) {}
  int64_t slots() const { return winograd_groups_slots(in_group, out_group); }
  int64_t first(int64_t chunk) const { return chunk * per_chunk; }
  int64_t count(int64_t chunk) const { return std::min(per_chunk, groups - first(chunk)); }
};

// Blocks are whole rows of tiles, where those are not too long; rows are counted through all images.
struct GroupPlan {
  TileAxis h, w;
  int64_t rows, cols, high;  // rows in all; columns and rows of a block
  int64_t blocks_h, blocks_w, vectors;
  GroupPlan(int64_t images, int64_t height, int64_t width, int64_t lanes)
      : h(height, 3),
        w(width, 3),
        rows(images * h.tiles),
        cols(ceil_div(w.tiles, ceil_div(w.tiles, kBlockTiles))),
        high(1) {
    // The height that leaves the fewest lanes empty.
    const auto lanes_of = [&](int64_t r) { return round_up(r * cols, lanes); };
    for (int64_t r = 2; r <= std::min(rows, kBlockTiles / cols); ++r) {
      if (r * lanes_of(high) >= high * lanes_of(r)) high = r;
    }
    blocks_h = ceil_div(rows, high);
    blocks_w = ceil_div(w.tiles, cols);
    vectors = ceil_div(high * cols, lanes);
  }
  TileBlock block(int64_t i) const {
    const int64_t row = i / blocks_w * high, col = i % blocks_w * cols;
    return {row, std::min(rows, row + high), col, std::min(w.tiles, col + cols)};
  }
  // Of the pixels under a block, at most: two rows more for every image that it reaches into, and columns for
  // the two quads of pixels that are read for six.
  int64_t strip_rows() const {
    const int64_t images = std::min(high, (high - 2 + h.tiles) / h.tiles + 1);
    return high * kTile + images * (kGroupPixels - kTile);
  }
  int64_t strip_cols() const { return (cols + 1) * kTile; }
};

// One thread's memory: pixels under the tiles and their results, and where each tile begins in both.
template <class T>
struct Workspace {
  T *strip, *results, *work, *taps;
  int64_t *x_tile, *y_tile;
};

template <class T>
struct GroupCall {
  const GroupPlan& plan;
  const GroupChunks& chunks;
  int64_t pad_h, pad_w;
  Image<const T> x;
  const T* u;
  const Epilogue<T>& epilogue;
  Image<T> y;
  Finish<T> finish;

  // Tiles that end with the image are stored where they belong.
  bool in_place() const { return y.h % kTile == 0 && y.w % kTile == 0; }
  int64_t y_row() const { return in_place() ? y.w : plan.cols * kTile; }
  int64_t y_plane() const { return in_place() ? y.h * y.w : plan.high * kTile * y_row(); }
  int64_t x_plane() const { return plan.strip_rows() * plan.strip_cols(); }

  // f(n, pixels under the tiles, outputs of the tiles, first row of pixels and of tiles in the block) for
  // each image.
  template <class F>
  void each_part(const TileBlock& block, const F& f) const {
    int64_t strip_row = 0;
    each_image(block, plan.h.tiles, [&](int64_t n, int64_t row, int64_t rows, int64_t first) {
      const int64_t top = row * kTile, left = block.col0 * kTile;
      const StripWindow under{top - pad_h, window_pixels<Under::kInputs>(plan.h, rows), left - pad_w,
                              window_pixels<Under::kInputs>(plan.w, block.cols())};
      const StripWindow at{top, std::min(rows * kTile, y.h - top), left,
                           std::min(block.cols() * kTile, y.w - left)};
      f(n, under, at, strip_row, first);
      strip_row += under.rows;
    });
  }

  // Lanes behind the last tile repeat it.
  void list_tiles(const TileBlock& block, const Workspace<T>& space) const {
    int64_t tile = 0;
    each_part(block,
              [&](int64_t n, const StripWindow&, const StripWindow& at, int64_t strip_row, int64_t first) {
                for (int64_t i = 0; i < at.rows; i += kTile) {
                  for (int64_t j = 0; j < block.cols() * kTile; j += kTile, ++tile) {
                    space.x_tile[tile] = (strip_row + i) * plan.strip_cols() + j;
                    space.y_tile[tile] = in_place() ? n * y.stride_n() + (at.row + i) * y.w + at.col + j
                                                    : (first * kTile + i) * y_row() + j;
                  }
                }
              });
    for (; tile < plan.vectors * winograd_groups_kernels<T>().lanes; ++tile) {
      space.x_tile[tile] = space.x_tile[tile - 1];
      space.y_tile[tile] = space.y_tile[tile - 1];
    }
  }

  // The strip of a chunk, but for the zeros around the image.
  void load(const TileBlock& block, int64_t chunk, T* strip) const {
    each_part(block, [&](int64_t n, const StripWindow& under, const StripWindow&, int64_t strip_row,
                         int64_t) {
      const int64_t row0 = std::clamp<int64_t>(under.row, 0, x.h),
                    row1 = std::clamp(under.row + under.rows, row0, x.h);
      const int64_t col0 = std::clamp<int64_t>(under.col, 0, x.w),
                    col1 = std::clamp(under.col + under.cols, col0, x.w);
      if (row0 == row1 || col0 == col1) return;
      const int64_t at = (strip_row + row0 - under.row) * plan.strip_cols() + col0 - under.col;
      winograd_groups_kernels<T>().copy_planes(
          {x.at(n, chunks.first(chunk) * chunks.in_group, row0, col0), x.stride_c(), x.w, strip + at,
           x_plane(), plan.strip_cols(), chunks.count(chunk) * chunks.in_group, row1 - row0, col1 - col0});
    });
  }

  void multiply(const TileBlock& block, int64_t chunk, const Workspace<T>& space) const {
    const WinogradGroupsKernels<T>& kernels = winograd_groups_kernels<T>();
    const int64_t in_group = chunks.in_group, out_group = chunks.out_group, first = chunks.first(chunk);
    const int64_t channel = first * out_group;
    WinogradGroups<T> job{space.strip,
                          space.x_tile,
                          plan.strip_cols(),
                          x_plane(),
                          in_place() ? y.at(0, channel, 0, 0) : space.results,
                          space.y_tile,
                          y_row(),
                          y_plane(),
                          chunks.count(chunk),
                          in_group,
                          out_group,
                          u + first * kGroupPoints * in_group * out_group,
                          epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                          finish.clamp,
                          T(0),
                          finish.clamp_hi,
                          space.work};
    for (int64_t tile = 0; tile < block.tiles(); tile += kernels.lanes) {
      kernels.tiles(job);
      job.x_tile += kernels.lanes;
      job.y_tile += kernels.lanes;
    }
  }

  // What comes after the sums.
  void finish_outputs(const TileBlock& block, int64_t chunk, const T* results) const {
    const int64_t channel = chunks.first(chunk) * chunks.out_group,
                  channels = chunks.count(chunk) * chunks.out_group;
    each_part(block, [&](int64_t n, const StripWindow&, const StripWindow& at, int64_t, int64_t first) {
      if (!in_place()) {
        winograd_groups_kernels<T>().copy_planes({results + first * kTile * y_row(), y_plane(), y_row(),
                                                  y.at(n, channel, at.row, at.col), y.stride_c(), y.w,
                                                  channels, at.rows, at.cols});
      }
      if (finish.rectangle) {
        finish_rectangle(epilogue, y, n, channel, channels, at.row, at.row + at.rows, at.col,
                         at.col + at.cols);
      }
    });
  }

  void run(const TileBlock& block, int64_t chunk0, int64_t chunk1, const Workspace<T>& space) const {
    list_tiles(block, space);
    std::fill_n(space.strip, chunks.per_chunk * chunks.in_group * x_plane(), T(0));
    for (int64_t chunk = chunk0; chunk < chunk1; ++chunk) {
      load(block, chunk, space.strip);
      multiply(block, chunk, space);
      finish_outputs(block, chunk, space.results);
    }
  }
};

// u (groups, points, in_group, out_group).
template <class T>
void transform_groups(const GroupChunks& chunks, const T* weight, WeightRole role,
                      const std::vector<Workspace<T>>& spaces, T* u) {
  const int64_t in = chunks.in_group, out = chunks.out_group, pairs = in * out;
  parallel_for(chunks.groups, static_cast<int>(spaces.size()), [&](int64_t g, int thread) {
    T* const to = spaces[thread].taps;
    for (int64_t k = 0; k < in; ++k) {
      for (int64_t o = 0; o < out; ++o) {
        const int64_t pair = role == WeightRole::kForward ? (g * out + o) * in + k : (g * in + k) * out + o;
        for (int64_t t = 0; t < kTaps; ++t) {
          to[t * pairs + k * out + o] =
              weight[pair * kTaps + (role == WeightRole::kForward ? t : kTaps - 1 - t)];
        }
      }
    }
    winograd_kernels<T>().filter(3, 3, to, pairs, u + g * kGroupPoints * pairs, pairs);
  });
}

}  // namespace

template <class T>
bool winograd_groups_suit(const ConvGeometry& g, WeightRole role, Layout layout) {
  if (!std::is_same_v<T, float> || strict() || g.groups == 1 || layout != Layout::kChannelsFirst)
    return false;
  for (const WindowAxis& axis : {g.h, g.w}) {
    if (axis.kernel != 3 || axis.stride != 1 || axis.dilation != 1) return false;
  }
  const int64_t in_group = g.in_channels / g.groups, out_group = g.out_channels / g.groups;
  const bool forward = role == WeightRole::kForward;
  const int64_t h = forward ? g.h.out() : g.h.in, w = forward ? g.w.out() : g.w.in;
  return std::max(in_group, out_group) <= kMostGroupChannels &&
         std::min(in_group, out_group) >= kLeastChannels && std::min(h, w) >= 3 &&
         g.batch * h * w >= kLeastPixels;
}

template <class T>
void winograd_groups_conv(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                          WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  const int64_t lanes = winograd_groups_kernels<T>().lanes;
  const GroupChunks chunks(g.groups, x.c, y.c);
  const int64_t in = chunks.per_chunk * chunks.in_group, out = chunks.per_chunk * chunks.out_group;
  const int64_t pairs = chunks.in_group * chunks.out_group;
  const GroupPlan plan(y.n, y.h, y.w, lanes);
  const int64_t blocks = plan.blocks_h * plan.blocks_w;
  // Few blocks are cut by chunks.
  const int64_t wanted = kItemsPerThread * threads_for(blocks * chunks.chunks);
  const int64_t parts = std::min(chunks.chunks, ceil_div(wanted, blocks));
  const int threads = threads_for(std::max(blocks * parts, chunks.groups));
  const int64_t strip = plan.strip_rows() * plan.strip_cols() * in;
  const int64_t results = plan.high * plan.cols * kTile * kTile * out;
  const int64_t work = winograd_groups_work(chunks.slots(), lanes), tiles = plan.vectors * lanes;
  const int64_t size_u = chunks.groups * kGroupPoints * pairs;
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(size_u)) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(results) +
                             Scratch::bytes_of<T>(work) + Scratch::bytes_of<T>(kTaps * pairs) +
                             2 * Scratch::bytes_of<int64_t>(tiles)));
  std::vector<Workspace<T>> spaces(threads);
  for (Workspace<T>& space : spaces) {
    space.strip = scratch.take<T>(strip);
    space.results = scratch.take<T>(results);
    space.work = scratch.take<T>(work);
    space.taps = scratch.take<T>(kTaps * pairs);
    space.x_tile = scratch.take<int64_t>(tiles);
    space.y_tile = scratch.take<int64_t>(tiles);
  }
  const KeptWeights::Key key{kWinogradGroups, static_cast<int64_t>(role), chunks.groups};
  const T* const u = weight.form(key, size_u, scratch,
                                 [&](T* to) { transform_groups(chunks, weight.data, role, spaces, to); });
  if (epilogue.moments != nullptr) {
    epilogue.moments->cut(y, std::min(y.w, plan.cols * kTile), y.channels_last(), kTile);
  }
  const bool forward = role == WeightRole::kForward;
  const GroupCall<T> call{plan,
                          chunks,
                          forward ? g.h.pad_lo : 2 - g.h.pad_lo,
                          forward ? g.w.pad_lo : 2 - g.w.pad_lo,
                          x,
                          u,
                          epilogue,
                          y,
                          Finish<T>(epilogue)};
  parallel_for(blocks * parts, threads, [&](int64_t item, int thread) {
    const int64_t part = item / blocks;
    call.run(plan.block(item % blocks), chunks.chunks * part / parts, chunks.chunks * (part + 1) / parts,
             spaces[thread]);
  });
}

template bool winograd_groups_suit<float>(const ConvGeometry&, WeightRole, Layout);
template bool winograd_groups_suit<double>(const ConvGeometry&, WeightRole, Layout);
template void winograd_groups_conv<float>(const ConvGeometry&, Image<const float>, Weights<float>, WeightRole,
                                          const Epilogue<float>&, Image<float>);

}  // namespace neocog
