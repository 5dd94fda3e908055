#include "ops/conv/tap_conv.h"

#include <algorithm>
#include <limits>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/narrow_groups.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// A strip and one weight panel share the second-level cache, which has 1 MB or more where speed matters.
constexpr int64_t kStripBytes = 384 << 10;
// Weights of a group that stay in that cache by themselves; others are asked for ahead.
constexpr int64_t kResidentBytes = 1 << 20;
// A panel of weights larger than this is taken in parts of half its size, so that one stays in that cache
// while all pixels of a tile go past.
constexpr int64_t kPanelBytes = 512 << 10;
constexpr int64_t kShortRun = 64;  // elements under a tap, fewer than which are not worth a cut
// Past this a tile gains nothing, and its results leave the cache before they are stored.
constexpr int64_t kTilePixels = 768;
// A tile of fewer pixels cannot pay for reading its weights.
constexpr int64_t kSmallTile = 48;

bool inside(const TapConvAxis& axis, const Span& span, int64_t positions, int64_t in) {
  return span.lo >= 0 && (positions - 1) * axis.in_step + span.hi < in;
}

// One pair of phases, with its taps ordered by where they lie in the strip.
struct Phase {
  const TapPhaseAxis *h, *w;
  std::vector<int64_t> tap;       // offsets into the strip, neighbours merged
  int64_t run;                    // elements under one tap
  std::vector<int64_t> position;  // packed row of weight element (c, r, s), c = 0 alone if transposed; or -1
  int64_t rows;                   // packed rows: taps * run
  int64_t taps_at_once;           // whose weights stay in the cache
  int64_t packed_offset;          // of this phase's panels within a group's
};

// The tiling of the outputs and of the work; private to this file and free to change.
struct TapConvPlan {
  int64_t in_group, out_group;  // channels
  bool in_place;                // x is read where it lies
  int64_t pixel, pitch;         // strides of a strip (or of x), in elements
  int64_t tile_h, tile_w, tiles_h, tiles_w;
  int64_t strip_rows, strip_cols;
  int64_t column_chunks;  // work items that share a strip's outputs
  PanelSplit split;
  std::vector<Phase> phases;
  int64_t packed_group;  // packed elements of one group
};

template <class T>
Phase make_phase(const TapPhaseAxis& h, const TapPhaseAxis& w, int64_t kernel_h, int64_t kernel_w,
                 int64_t channels, int64_t panel_width, int64_t pitch, int64_t pixel, WeightRole role) {
  Phase phase{&h, &w, {}, channels, std::vector<int64_t>(kernel_h * kernel_w, -1), 0, 0, 0};
  struct Tap {
    int64_t offset, element;
  };
  std::vector<Tap> taps;
  for (size_t r = 0; r < h.offset.size(); ++r) {
    for (size_t s = 0; s < w.offset.size(); ++s) {
      taps.push_back({h.offset[r] * pitch + w.offset[s] * pixel, h.kernel[r] * kernel_w + w.kernel[s]});
    }
  }
  std::stable_sort(taps.begin(), taps.end(), [](const Tap& a, const Tap& b) { return a.offset < b.offset; });
  for (size_t t = 0; t < taps.size(); ++t)
    phase.position[taps[t].element] = static_cast<int64_t>(t) * channels;
  phase.rows = static_cast<int64_t>(taps.size()) * channels;
  if (role == WeightRole::kForward) {  // weights of one output channel are one run (c, r, s)
    std::vector<int64_t> all(phase.position.size() * channels, -1);
    for (int64_t c = 0; c < channels; ++c) {
      for (size_t e = 0; e < phase.position.size(); ++e) {
        if (phase.position[e] >= 0) all[c * phase.position.size() + e] = phase.position[e] + c;
      }
    }
    phase.position = std::move(all);
  }
  // Neighbouring pixels form one long run where they touch: 7 taps of 3 channels are one of 21.
  size_t merged = taps.empty() ? 1 : w.offset.size();
  for (size_t t = 0; t + 1 < taps.size(); ++t) {
    const bool within = (t + 1) % merged != 0;
    if (within && taps[t + 1].offset != taps[t].offset + channels) {
      merged = 1;
      break;
    }
  }
  for (size_t t = 0; t < taps.size(); t += merged) phase.tap.push_back(taps[t].offset);
  phase.run = channels * static_cast<int64_t>(merged);
  const int64_t row_bytes = panel_width * static_cast<int64_t>(sizeof(T));
  phase.taps_at_once = std::max<int64_t>(1, static_cast<int64_t>(phase.tap.size()));
  if (phase.rows * row_bytes <= kPanelBytes) return phase;
  const int64_t most = std::max<int64_t>(1, kPanelBytes / 2 / row_bytes);
  int64_t pieces = ceil_div(phase.run, most);
  while (pieces < phase.run && phase.run % pieces != 0) ++pieces;
  if (phase.run / pieces >= kShortRun) {
    phase.run /= pieces;
    std::vector<int64_t> cut;
    for (const int64_t tap : phase.tap) {
      for (int64_t piece = 0; piece < pieces; ++piece) cut.push_back(tap + piece * phase.run);
    }
    phase.tap = std::move(cut);
  }
  phase.taps_at_once = std::max<int64_t>(1, most / phase.run);
  return phase;
}

template <class T>
TapConvPlan make_plan(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, const Image<const T>& x,
                      const Image<T>& y, int64_t kernel_h, int64_t kernel_w, WeightRole role,
                      Moments<T>* moments) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  TapConvPlan plan{x.c / groups,
                   y.c / groups,
                   false,
                   0,
                   0,
                   0,
                   0,
                   0,
                   0,
                   0,
                   0,
                   1,
                   PanelSplit(y.c / groups, kernels.lanes, kernels.max_vectors),
                   {},
                   0};
  const Span span_h = span_of(h), span_w = span_of(w);
  const int64_t positions_h = h.positions, positions_w = w.positions;
  plan.in_place =
      x.channels_last() && inside(h, span_h, positions_h, x.h) && inside(w, span_w, positions_w, x.w);

  // Tile: whole rows if they fit, then as many as fit; several tiles for every thread.
  const int64_t budget = kStripBytes / static_cast<int64_t>(sizeof(T));
  const auto strip_size = [&](int64_t th, int64_t tw) {
    const int64_t rows = (th - 1) * h.in_step + span_h.hi - span_h.lo + 1;
    const int64_t cols = (tw - 1) * w.in_step + span_w.hi - span_w.lo + 1;
    return rows * cols * plan.in_group;
  };
  const int64_t phases = static_cast<int64_t>(h.phases.size() * w.phases.size());
  const int64_t most = std::max<int64_t>(kSmallTile, kTilePixels / std::max<int64_t>(1, phases));
  int64_t tw = positions_w;
  // Halving a tile that is narrower than the taps reach would mostly copy the same pixels again.
  while (tw > 8 && (tw > most || (strip_size(1, tw) > budget && tw * w.in_step > span_w.hi - span_w.lo))) {
    tw = ceil_div(tw, 2);
  }
  plan.tiles_w = ceil_div(positions_w, tw);
  plan.tile_w = ceil_div(positions_w, plan.tiles_w);
  int64_t th = 1;
  while (th < positions_h && strip_size(th + 1, plan.tile_w) <= budget && (th + 1) * plan.tile_w <= most)
    ++th;
  const int64_t threads = threads_for(std::numeric_limits<int64_t>::max());
  const int64_t others = x.n * groups * plan.tiles_w;
  while (th > 1 && others * ceil_div(positions_h, th) < 4 * threads &&
         (th - 1) * plan.tile_w * phases >= kSmallTile) {
    --th;
  }
  const int64_t parts = moments == nullptr ? 1 : moments->cut(y, plan.tile_w * w.out_step, true);
  plan.tiles_h = ceil_div(positions_h, whole_parts(th, positions_h, parts));
  plan.tile_h = std::min(positions_h, round_up(ceil_div(positions_h, plan.tiles_h), parts));
  const int64_t items = others * plan.tiles_h;
  if (items < 4 * threads) plan.column_chunks = std::min(plan.split.panels, ceil_div(4 * threads, items));

  plan.strip_rows = (plan.tile_h - 1) * h.in_step + span_h.hi - span_h.lo + 1;
  plan.strip_cols = (plan.tile_w - 1) * w.in_step + span_w.hi - span_w.lo + 1;
  plan.pixel = plan.in_place ? x.c : plan.in_group;
  plan.pitch = plan.in_place ? x.w * x.c : plan.strip_cols * plan.in_group;
  const int64_t panel_width = std::min(plan.split.vectors, kernels.max_vectors) * kernels.lanes;
  for (const TapPhaseAxis& ph : h.phases) {
    for (const TapPhaseAxis& pw : w.phases) {
      Phase phase =
          make_phase<T>(ph, pw, kernel_h, kernel_w, plan.in_group, panel_width, plan.pitch, plan.pixel, role);
      phase.packed_offset = plan.packed_group;
      plan.packed_group += phase.rows * plan.split.vectors * kernels.lanes;
      plan.phases.push_back(std::move(phase));
    }
  }
  return plan;
}

template <class T>
void pack_weights(const TapConvPlan& plan, int64_t groups, const T* weight, int64_t kernel_size,
                  WeightRole role, T* packed) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t phases = static_cast<int64_t>(plan.phases.size());
  const int64_t group_size = plan.in_group * plan.out_group * kernel_size;
  parallel_for(groups * phases * plan.split.panels, [&](int64_t item, int) {
    const int64_t panel = item % plan.split.panels, p = item / plan.split.panels % phases;
    const int64_t g = item / plan.split.panels / phases;
    const Phase& phase = plan.phases[p];
    const int64_t first = plan.split.begin(panel) * kernels.lanes;
    PanelSource<T> source{weight + g * group_size,
                          plan.out_group,
                          plan.in_group * kernel_size,
                          1,
                          0,
                          plan.in_group * kernel_size,
                          phase.position.data(),
                          0};
    if (role == WeightRole::kTransposed) {
      source.column_stride = kernel_size;
      source.outer = plan.in_group;
      source.outer_stride = plan.out_group * kernel_size;
      source.inner = kernel_size;
      source.step = 1;
    }
    kernels.pack_panel(source, first, plan.split.width(panel),
                       packed + g * plan.packed_group + phase.packed_offset + phase.rows * first);
  });
}

}  // namespace

template <class T>
void tap_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x, const T* weight,
              int64_t kernel_h, int64_t kernel_w, WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  if (narrow_groups_suit<T>(h, w, groups, x.layout, x.c / groups, y.c / groups)) {
    narrow_groups_conv(h, w, groups, x, weight, kernel_h, kernel_w, role, epilogue, y);
    return;
  }
  if (plane_conv_suits<T>(h, w, y.c / groups)) {
    plane_conv(h, w, groups, x, weight, kernel_h, kernel_w, role, epilogue, y);
    return;
  }
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const TapConvPlan plan = make_plan(h, w, groups, x, y, kernel_h, kernel_w, role, epilogue.moments);
  const Span span_h = span_of(h), span_w = span_of(w);
  const int64_t items = x.n * groups * plan.tiles_h * plan.tiles_w * plan.column_chunks;
  const int threads = threads_for(items);
  const int64_t tile_pixels = plan.tile_h * plan.tile_w;
  const int64_t strip = plan.in_place ? 0 : plan.strip_rows * plan.strip_cols * plan.in_group;
  const int64_t panel_width = kernels.max_vectors * kernels.lanes;
  const int64_t block = y.channels_last() ? 0 : tile_pixels * panel_width;

  Scratch scratch(Scratch::bytes_of<T>(groups * plan.packed_group) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(block) +
                             2 * Scratch::bytes_of<int64_t>(tile_pixels)));
  T* packed = scratch.take<T>(groups * plan.packed_group);
  struct Workspace {
    T *strip, *block;
    int64_t *row, *out;
  };
  std::vector<Workspace> workspaces(threads);
  for (Workspace& space : workspaces) {
    space = {scratch.take<T>(strip), scratch.take<T>(block), scratch.take<int64_t>(tile_pixels),
             scratch.take<int64_t>(tile_pixels)};
  }
  pack_weights(plan, groups, weight, kernel_h * kernel_w, role, packed);

  const Finish<T> finish(epilogue);
  // Blocks are nearer than what was stored from them, and have the channels next to each other.
  const bool from_blocks = epilogue.moments != nullptr && !finish.elementwise && !y.channels_last() &&
                           h.out_step == 1 && w.out_step == 1;
  fill_untapped(h, w, epilogue.bias, finish, y);

  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = workspaces[thread];
    const int64_t chunk = item % plan.column_chunks;
    item /= plan.column_chunks;
    const int64_t tile_j = item % plan.tiles_w, tile_i = item / plan.tiles_w % plan.tiles_h;
    const int64_t g = item / plan.tiles_w / plan.tiles_h % groups;
    const int64_t n = item / plan.tiles_w / plan.tiles_h / groups;
    const int64_t i0 = tile_i * plan.tile_h, j0 = tile_j * plan.tile_w;

    const T* a = x.at(n, g * plan.in_group, 0, 0);
    int64_t origin = 0;  // offset of position (i0, j0) under a tap offset of zero
    if (plan.in_place) {
      origin = i0 * h.in_step * plan.pitch + j0 * w.in_step * plan.pixel;
    } else {
      const StripWindow window{i0 * h.in_step + span_h.lo, plan.strip_rows, j0 * w.in_step + span_w.lo,
                               plan.strip_cols};
      load_strip(x, n, g * plan.in_group, plan.in_group, window, space.strip);
      a = space.strip;
      origin = -span_h.lo * plan.pitch - span_w.lo * plan.pixel;
    }

    const auto weights_of = [&](const Phase& phase, int64_t panel) {
      return packed + g * plan.packed_group + phase.packed_offset +
             phase.rows * plan.split.begin(panel) * kernels.lanes;
    };
    const int64_t panel0 = plan.split.panels * chunk / plan.column_chunks;
    const int64_t panel1 = plan.split.panels * (chunk + 1) / plan.column_chunks;
    // The weights after these: of the next panel, or of the first one for the next item.
    const auto next_panel = [&](const Phase& phase, int64_t panel) -> Ahead<T> {
      if (plan.packed_group * static_cast<int64_t>(sizeof(T)) < kResidentBytes) return {};
      if (panel + 1 == panel1) panel = panel0 - 1;
      return {weights_of(phase, panel + 1), phase.rows * plan.split.width(panel + 1) * kernels.lanes};
    };
    for (const Phase& phase : plan.phases) {
      const int64_t i1 = std::min(i0 + plan.tile_h, phase.h->count),
                    j1 = std::min(j0 + plan.tile_w, phase.w->count);
      if (i0 >= i1 || j0 >= j1) continue;
      const int64_t row0 = phase.h->start + i0 * h.out_step, col0 = phase.w->start + j0 * w.out_step;
      T* const y0 = y.channels_last() ? y.at(n, g * plan.out_group, row0, col0) : space.block;
      int64_t pixels = 0;
      for (int64_t i = 0; i < i1 - i0; ++i) {
        for (int64_t j = 0; j < j1 - j0; ++j, ++pixels) {
          space.row[pixels] = origin + i * h.in_step * plan.pitch + j * w.in_step * plan.pixel;
          space.out[pixels] = i * h.out_step * y.stride_h() + j * w.out_step * y.stride_w();
        }
      }
      for (int64_t panel = panel0; panel < panel1; ++panel) {
        const int64_t first = plan.split.begin(panel) * kernels.lanes;
        const int64_t vectors = plan.split.width(panel), width = vectors * kernels.lanes,
                      columns = std::min(width, plan.out_group - first);
        const int64_t channel = g * plan.out_group + first;
        if (!y.channels_last()) {
          for (int64_t p = 0; p < pixels; ++p) space.out[p] = p * vectors * kernels.lanes;
        }
        TapsPanel<T> product{a,
                             space.row,
                             phase.tap.data(),
                             pixels,
                             0,
                             phase.run,
                             weights_of(phase, panel),
                             vectors,
                             columns,
                             epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                             y.channels_last() ? y0 + first : y0,
                             space.out,
                             false,
                             T(0),
                             finish.clamp_hi};
        const int64_t taps = static_cast<int64_t>(phase.tap.size());
        for (int64_t tap = 0; tap == 0 || tap < taps; tap += phase.taps_at_once) {
          product.taps = std::min(phase.taps_at_once, taps - tap);
          const bool last = tap + phase.taps_at_once >= taps;
          product.clamp = finish.clamp && last;
          product.next =
              last ? next_panel(phase, panel)
                   : Ahead<T>{product.b + product.taps * phase.run * width,
                              std::min(phase.taps_at_once, taps - tap - product.taps) * phase.run * width};
          kernels.taps_panel(product);
          product.tap += product.taps;
          product.b += product.taps * phase.run * width;
          product.accumulate = true;
        }
        if (from_blocks) {
          epilogue.moments->take_pixels(space.block, (j1 - j0) * vectors * kernels.lanes,
                                        vectors * kernels.lanes, n, channel, columns, row0, row0 + i1 - i0,
                                        col0, col0 + j1 - j0);
        }
        if (!y.channels_last()) {
          store_strip(space.block, vectors * kernels.lanes, y, n, channel, columns,
                      {row0, i1 - i0, col0, j1 - j0}, h.out_step, w.out_step);
        }
      }
    }
    if (finish.rectangle && !from_blocks) {
      const int64_t c0 = plan.split.begin(panel0) * kernels.lanes;
      const int64_t c1 = std::min(plan.split.begin(panel1) * kernels.lanes, plan.out_group);
      finish_rectangle(epilogue, y, n, g * plan.out_group + c0, c1 - c0, i0 * h.out_step,
                       std::min((i0 + plan.tile_h) * h.out_step, y.h), j0 * w.out_step,
                       std::min((j0 + plan.tile_w) * w.out_step, y.w));
    }
  });
}

template void tap_conv<float>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const float>,
                              const float*, int64_t, int64_t, WeightRole, const Epilogue<float>&,
                              Image<float>);
template void tap_conv<double>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const double>,
                               const double*, int64_t, int64_t, WeightRole, const Epilogue<double>&,
                               Image<double>);

}  // namespace neocog
