#include "ops/conv/narrow_groups.h"

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/narrow_groups_kernels.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"

namespace neocog {
namespace {

// Copied input of a tile, and results that wait to be turned into planes: they share the second-level cache.
constexpr int64_t kStripBytes = 256 << 10;
constexpr int64_t kTilePixels = 2048;
// Rows of a tile of the weight gradient, whose taps all go past it: they stay in the first-level cache.
constexpr int64_t kGradientBytes = 24 << 10;
constexpr int64_t kFewOutputs = 4;
// Partial sums of the weight gradient, whatever the number of threads: they are added in order.
constexpr int64_t kItems = 64;
constexpr int64_t kPixelsPerSum = 512;

// Blocks are the groups that share a vector; a chunk of blocks shares the copy of its input.
struct GroupBlocks {
  int64_t groups, in_group, out_group;
  int64_t per_block, blocks;
  int64_t lanes;

  template <class T>
  static GroupBlocks make(int64_t groups, int64_t in_channels, int64_t out_channels) {
    const int64_t lanes = group_kernels<T>().lanes;
    const int64_t in_group = in_channels / groups, out_group = out_channels / groups;
    const int64_t per_block = std::min(groups, lanes / std::max(in_group, out_group));
    return {groups, in_group, out_group, per_block, ceil_div(groups, per_block), lanes};
  }
  int64_t first_group(int64_t block) const { return std::min(groups, block * per_block); }
  int64_t groups_in(int64_t begin, int64_t end) const { return first_group(end) - first_group(begin); }
  // Lane l belongs to channel l % own of group l / own of a block; index[k][l] is channel k of that group
  // among those of the other side, `other` per group.
  std::vector<int32_t> index(int64_t own, int64_t other) const {
    std::vector<int32_t> all(other * lanes, 0);
    for (int64_t k = 0; k < other; ++k) {
      for (int64_t l = 0; l < per_block * own; ++l) {
        all[k * lanes + l] = static_cast<int32_t>(l / own * other + k);
      }
    }
    return all;
  }
};

struct GroupTiles {
  int64_t tile_h, tile_w, tiles_h, tiles_w, strip_rows, strip_cols;
  int64_t chunk, chunks;  // blocks that share a strip, and how many such chunks there are
};

// Tiles of whole rows, if they fit: `most` pixels, and a strip of one block of at most a fourth of `bytes`.
template <class T>
GroupTiles make_tiles(const GroupBlocks& blocks, const TapConvAxis& h, const TapConvAxis& w, int64_t bytes,
                      int64_t most, bool channels_last) {
  const Span span_h = span_of(h), span_w = span_of(w);
  const auto rows_of = [&](int64_t th) { return (th - 1) * h.in_step + span_h.hi - span_h.lo + 1; };
  const auto cols_of = [&](int64_t tw) { return (tw - 1) * w.in_step + span_w.hi - span_w.lo + 1; };
  const int64_t block_bytes = blocks.per_block * blocks.in_group * static_cast<int64_t>(sizeof(T));
  const auto fits = [&](int64_t th, int64_t tw) {
    return 4 * rows_of(th) * cols_of(tw) * block_bytes <= bytes && th * tw <= most;
  };
  GroupTiles tiles{1, w.positions, 0, 0, 0, 0, 1, blocks.blocks};
  while (tiles.tile_w > 32 && !fits(1, tiles.tile_w)) tiles.tile_w = ceil_div(tiles.tile_w, 2);
  tiles.tiles_w = ceil_div(w.positions, tiles.tile_w);
  tiles.tile_w = ceil_div(w.positions, tiles.tiles_w);
  while (tiles.tile_h < h.positions && fits(tiles.tile_h + 1, tiles.tile_w)) ++tiles.tile_h;
  tiles.tiles_h = ceil_div(h.positions, tiles.tile_h);
  tiles.tile_h = ceil_div(h.positions, tiles.tiles_h);
  tiles.strip_rows = rows_of(tiles.tile_h);
  tiles.strip_cols = cols_of(tiles.tile_w);
  if (channels_last) {  // the channels of a pixel lie side by side
    const int64_t together = bytes / std::max<int64_t>(1, tiles.strip_rows * tiles.strip_cols * block_bytes);
    tiles.chunks = ceil_div(blocks.blocks, std::clamp<int64_t>(together, 1, blocks.blocks));
    tiles.chunk = ceil_div(blocks.blocks, tiles.chunks);
    tiles.chunks = ceil_div(blocks.blocks, tiles.chunk);
  }
  return tiles;
}

// A whole vector is read from the last pixel too.
int64_t strip_size(const GroupBlocks& blocks, int64_t pixels, int64_t chunk, int64_t channels_of_group) {
  return pixels * chunk * blocks.per_block * channels_of_group + blocks.lanes;
}

// Neighbouring taps of a kernel row that are taken together.
int64_t taps_together(const TapPhaseAxis& w, int64_t step) {
  const int64_t count = static_cast<int64_t>(w.offset.size());
  for (int64_t s = 1; s < count; ++s) {
    if (w.offset[s] != w.offset[s - 1] + 1) return 1;
  }
  if (count % 3 == 0 && step <= 2) return 3;
  return count % 2 == 0 && step == 1 ? 2 : 1;
}

struct GroupPhase {
  const TapPhaseAxis *h, *w;
  int64_t taps;                  // together
  std::vector<int64_t> element;  // (r, s) of every tap
  int64_t packed_offset;         // of this phase within a block's weights
};

// Whether groups of `own` channels along the lanes and `permuted` ones that they read fill most of a vector.
template <class T>
bool fill_a_vector(int64_t groups, int64_t permuted, int64_t own) {
  const int64_t lanes = group_kernels<T>().lanes;
  const int64_t per_block = std::min(groups, lanes / std::max(permuted, own));
  return per_block > 1 && 4 * per_block * own >= 3 * lanes;
}

}  // namespace

template <class T>
bool narrow_groups_suit(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Layout layout,
                        int64_t in_group, int64_t out_group) {
  if (!fill_a_vector<T>(groups, in_group, out_group)) return false;
  // Planes need no permutations, but share a load of x between the outputs of one group only.
  return layout == Layout::kChannelsLast || out_group <= kFewOutputs || !plane_conv_suits<T>(h, w, out_group);
}

template <class T>
bool narrow_groups_suit_weight(const ConvGeometry& g) {
  return fill_a_vector<T>(g.groups, g.out_channels / g.groups, g.in_channels / g.groups);
}

template <class T>
void narrow_groups_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                        std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w,
                        WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  const GroupBlocks blocks = GroupBlocks::make<T>(groups, x.c, y.c);
  const int64_t in_group = blocks.in_group, out_group = blocks.out_group, lanes = blocks.lanes;
  const Span span_h = span_of(h), span_w = span_of(w);
  GroupTiles tiles = make_tiles<T>(blocks, h, w, kStripBytes, kTilePixels, x.channels_last());
  if (epilogue.moments != nullptr) {
    const int64_t parts = epilogue.moments->cut(y, tiles.tile_w * w.out_step);
    tiles.tile_h = whole_parts(tiles.tile_h, h.positions, parts);
    tiles.tiles_h = ceil_div(h.positions, tiles.tile_h);
    tiles.strip_rows = (tiles.tile_h - 1) * h.in_step + span_h.hi - span_h.lo + 1;
  }
  std::vector<GroupPhase> phases;
  int64_t packed_block = 0;
  for (const TapPhaseAxis& ph : h.phases) {
    for (const TapPhaseAxis& pw : w.phases) {
      GroupPhase phase{&ph, &pw, taps_together(pw, w.in_step), {}, packed_block};
      for (const int64_t r : ph.kernel) {
        for (const int64_t s : pw.kernel) phase.element.push_back(r * kernel_w + s);
      }
      packed_block += static_cast<int64_t>(phase.element.size()) * in_group * lanes;
      phases.push_back(std::move(phase));
    }
  }
  const std::vector<int32_t> index = blocks.index(out_group, in_group);
  const int64_t items = x.n * tiles.chunks * tiles.tiles_h * tiles.tiles_w;
  const int threads = threads_for(items);
  const int64_t strip = strip_size(blocks, tiles.strip_rows * tiles.strip_cols, tiles.chunk, in_group);
  const int64_t result = y.channels_last() ? 0 : tiles.tile_h * tiles.tile_w * lanes;
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(blocks.blocks * packed_block)) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(result)));
  std::vector<T*> strips(threads), results(threads);
  for (int t = 0; t < threads; ++t) {
    strips[t] = scratch.take<T>(strip);
    std::fill_n(strips[t] + strip - lanes, lanes, T(0));
    results[t] = scratch.take<T>(result);
  }
  KeptWeights::Key key{kNarrowGroups, lanes, static_cast<int64_t>(role), groups};
  for (const GroupPhase& phase : phases) {
    key.push_back(phase.taps);
    key.push_back(static_cast<int64_t>(phase.element.size()));
    key.insert(key.end(), phase.element.begin(), phase.element.end());
  }
  const T* const packed = weight.form(key, blocks.blocks * packed_block, scratch, [&](T* permuted) {
    parallel_for(blocks.blocks, [&](int64_t block, int) {  // (phase, piece of taps, k, tap of it, lane)
      T* to = permuted + block * packed_block;
      const int64_t columns = blocks.groups_in(block, block + 1) * out_group;
      for (const GroupPhase& phase : phases) {
        for (size_t piece = 0; piece < phase.element.size(); piece += phase.taps) {
          for (int64_t k = 0; k < in_group; ++k) {
            for (int64_t s = 0; s < phase.taps; ++s) {
              for (int64_t l = 0; l < lanes; ++l) {
                const int64_t g = blocks.first_group(block) + l / out_group, o = l % out_group;
                const int64_t pair = role == WeightRole::kForward ? (g * out_group + o) * in_group + k
                                                                  : (g * in_group + k) * out_group + o;
                *to++ =
                    l < columns ? weight.data[pair * kernel_h * kernel_w + phase.element[piece + s]] : T(0);
              }
            }
          }
        }
      }
    });
  });

  const Finish<T> finish(epilogue);
  fill_untapped(h, w, epilogue.bias, finish, y);
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t tile_j = item % tiles.tiles_w, tile_i = item / tiles.tiles_w % tiles.tiles_h;
    const int64_t chunk = item / tiles.tiles_w / tiles.tiles_h % tiles.chunks;
    const int64_t n = item / tiles.tiles_w / tiles.tiles_h / tiles.chunks;
    const int64_t i0 = tile_i * tiles.tile_h, j0 = tile_j * tiles.tile_w;
    const int64_t begin = chunk * tiles.chunk, end = std::min(blocks.blocks, begin + tiles.chunk);
    const int64_t pixel = blocks.groups_in(begin, end) * in_group, pitch = tiles.strip_cols * pixel;
    load_strip(x, n, blocks.first_group(begin) * in_group, pixel,
               {i0 * h.in_step + span_h.lo, tiles.strip_rows, j0 * w.in_step + span_w.lo, tiles.strip_cols},
               strips[thread]);
    std::vector<int64_t> tap;
    for (const GroupPhase& phase : phases) {
      const int64_t i1 = std::min(i0 + tiles.tile_h, phase.h->count),
                    j1 = std::min(j0 + tiles.tile_w, phase.w->count);
      if (i0 >= i1 || j0 >= j1) continue;
      tap.clear();
      for (const int64_t row : phase.h->offset) {
        for (size_t s = 0; s < phase.w->offset.size(); s += phase.taps) {
          tap.push_back((row - span_h.lo) * pitch + (phase.w->offset[s] - span_w.lo) * pixel);
        }
      }
      const int64_t row0 = phase.h->start + i0 * h.out_step, col0 = phase.w->start + j0 * w.out_step;
      for (int64_t block = begin; block < end; ++block) {
        const int64_t channel = blocks.first_group(block) * out_group;
        const int64_t columns = blocks.groups_in(block, block + 1) * out_group;
        const T* const x0 = strips[thread] + blocks.groups_in(begin, block) * in_group;
        GroupOutputs<T> job{x0,
                            pixel,
                            w.in_step,
                            tap.data(),
                            static_cast<int64_t>(tap.size()),
                            phase.taps,
                            in_group,
                            index.data(),
                            packed + block * packed_block + phase.packed_offset,
                            epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                            results[thread],
                            y.channels_last() ? w.out_step * y.stride_w() : lanes,
                            columns,
                            j1 - j0,
                            finish.clamp,
                            T(0),
                            finish.clamp_hi};
        for (int64_t i = 0; i < i1 - i0; ++i) {
          job.x = x0 + i * h.in_step * pitch;
          job.y = y.channels_last() ? y.at(n, channel, row0 + i * h.out_step, col0)
                                    : results[thread] + i * (j1 - j0) * lanes;
          group_kernels<T>().outputs(job);
        }
        if (!y.channels_last()) {
          store_strip(results[thread], lanes, y, n, channel, columns, {row0, i1 - i0, col0, j1 - j0},
                      h.out_step, w.out_step);
        }
      }
    }
    if (finish.rectangle) {
      finish_rectangle(epilogue, y, n, blocks.first_group(begin) * out_group,
                       blocks.groups_in(begin, end) * out_group, i0 * h.out_step,
                       std::min((i0 + tiles.tile_h) * h.out_step, y.h), j0 * w.out_step,
                       std::min((j0 + tiles.tile_w) * w.out_step, y.w));
    }
  });
}

template <class T>
void narrow_groups_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw) {
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  const TapPhaseAxis &ph = h.phases[0], &pw = w.phases[0];
  const Span span_h = span_of(h), span_w = span_of(w);
  const GroupBlocks blocks = GroupBlocks::make<T>(g.groups, x.c, dy.c);
  const int64_t in_group = blocks.in_group, out_group = blocks.out_group, lanes = blocks.lanes;
  GroupTiles tiles =
      make_tiles<T>(blocks, h, w, 4 * kGradientBytes, kTilePixels, x.channels_last() && dy.channels_last());
  const int64_t taps = static_cast<int64_t>(pw.offset.size()), kernel_size = g.h.kernel * taps;
  const int64_t together = taps_together(pw, 1);
  const int64_t tiles_in_all = g.batch * tiles.tiles_h * tiles.tiles_w;
  const int64_t parts = std::clamp<int64_t>(
      std::min(dy.n * dy.h * dy.w / kPixelsPerSum, ceil_div(kItems, tiles.chunks)), 1, tiles_in_all);
  const int threads = threads_for(std::max(tiles.chunks * parts, blocks.blocks));
  const std::vector<int32_t> index = blocks.index(in_group, out_group);
  const int64_t sum_size = kernel_size * out_group * lanes;  // of a block: (r, piece of s, o, s, lane)
  const int64_t strip = strip_size(blocks, tiles.strip_rows * tiles.strip_cols, tiles.chunk, in_group);
  const int64_t grads = strip_size(blocks, tiles.tile_h * tiles.tile_w, tiles.chunk, out_group);
  Scratch scratch(Scratch::bytes_of<T>(parts * blocks.blocks * sum_size) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(grads)));
  T* const sums = scratch.take<T>(parts * blocks.blocks * sum_size);
  std::vector<T*> strips(threads), grad_strips(threads);
  for (int t = 0; t < threads; ++t) {
    strips[t] = scratch.take<T>(strip);
    std::fill_n(strips[t] + strip - lanes, lanes, T(0));
    grad_strips[t] = scratch.take<T>(grads);
    std::fill_n(grad_strips[t] + grads - lanes, lanes, T(0));
  }
  parallel_for(tiles.chunks * parts, threads, [&](int64_t item, int thread) {
    const int64_t chunk = item % tiles.chunks, part = item / tiles.chunks;
    const int64_t begin = chunk * tiles.chunk, end = std::min(blocks.blocks, begin + tiles.chunk);
    const int64_t pixel = blocks.groups_in(begin, end) * in_group, pitch = tiles.strip_cols * pixel;
    const int64_t grad_pixel = blocks.groups_in(begin, end) * out_group;
    T* const sum = sums + part * blocks.blocks * sum_size;
    std::fill_n(sum + begin * sum_size, (end - begin) * sum_size, T(0));
    for (int64_t tile = tiles_in_all * part / parts; tile < tiles_in_all * (part + 1) / parts; ++tile) {
      const int64_t j0 = tile % tiles.tiles_w * tiles.tile_w;
      const int64_t i0 = tile / tiles.tiles_w % tiles.tiles_h * tiles.tile_h;
      const int64_t n = tile / tiles.tiles_w / tiles.tiles_h;
      const int64_t rows = std::min(tiles.tile_h, dy.h - i0), cols = std::min(tiles.tile_w, dy.w - j0);
      if (rows <= 0 || cols <= 0) continue;
      load_strip(x, n, blocks.first_group(begin) * in_group, pixel,
                 {i0 * h.in_step + span_h.lo, tiles.strip_rows, j0 * w.in_step + span_w.lo, tiles.strip_cols},
                 strips[thread]);
      load_strip(dy, n, blocks.first_group(begin) * out_group, grad_pixel, {i0, rows, j0, cols},
                 grad_strips[thread]);
      for (int64_t block = begin; block < end; ++block) {
        const int64_t before = blocks.groups_in(begin, block);
        T* to = sum + block * sum_size;
        for (const int64_t row : ph.offset) {
          for (int64_t s = 0; s < taps; s += together, to += together * out_group * lanes) {
            group_kernels<T>().gradient({strips[thread] + before * in_group + (row - span_h.lo) * pitch +
                                             (pw.offset[s] - span_w.lo) * pixel,
                                         h.in_step * pitch, pixel, w.in_step,
                                         grad_strips[thread] + before * out_group, cols * grad_pixel,
                                         grad_pixel, rows, cols, out_group, together, index.data(), to});
          }
        }
      }
    }
  });
  // Adds the parts in their order and turns them into (o, k, r, s).
  parallel_for(blocks.blocks, threads, [&](int64_t block, int) {
    T* const sum = sums + block * sum_size;
    for (int64_t part = 1; part < parts; ++part) {
      const T* const from = sum + part * blocks.blocks * sum_size;
      for (int64_t i = 0; i < sum_size; ++i) sum[i] += from[i];
    }
    const T* from = sum;
    for (int64_t piece = 0; piece < kernel_size; piece += together) {
      for (int64_t o = 0; o < out_group; ++o) {
        for (int64_t s = 0; s < together; ++s, from += lanes) {
          const int64_t tap = piece + s, element = ph.kernel[tap / taps] * taps + pw.kernel[tap % taps];
          for (int64_t l = 0; l < blocks.groups_in(block, block + 1) * in_group; ++l) {
            const int64_t group = blocks.first_group(block) + l / in_group, k = l % in_group;
            dw[((group * out_group + o) * in_group + k) * kernel_size + element] = from[l];
          }
        }
      }
    }
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                           \
  template bool narrow_groups_suit<T>(const TapConvAxis&, const TapConvAxis&, int64_t, Layout, int64_t, \
                                      int64_t);                                                         \
  template bool narrow_groups_suit_weight<T>(const ConvGeometry&);                                      \
  template void narrow_groups_conv<T>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const T>,  \
                                      std::type_identity_t<Weights<T>>, int64_t, int64_t, WeightRole,   \
                                      const Epilogue<T>&, Image<T>);                                    \
  template void narrow_groups_backward_weight<T>(const ConvGeometry&, Image<const T>, Image<const T>, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
