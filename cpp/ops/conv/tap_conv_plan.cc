#include "ops/conv/tap_conv_plan.h"

#include <algorithm>
#include <limits>

#include "core/parallel.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/parts.h"

namespace neocog {
namespace {

// A strip and one weight panel share the second-level cache, which has 1 MB or more where speed matters.
constexpr int64_t kStripBytes = 384 << 10;
// The same where each tile reads weights from beyond that cache: threads share out panels then rather than
// pixels.
constexpr int64_t kLongStripBytes = 1 << 20;
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

TapPhase make_phase(const TapPhaseAxis& h, const TapPhaseAxis& w, int64_t kernel_h, int64_t kernel_w,
                    int64_t in_group, int64_t channels, int64_t panel_width, int64_t pitch, int64_t pixel,
                    WeightRole role, int64_t granule, int64_t bytes) {
  TapPhase phase{&h, &w, {}, channels, std::vector<int64_t>(kernel_h * kernel_w, -1), 0, 0, 0};
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
    std::vector<int64_t> all(phase.position.size() * in_group, -1);
    for (int64_t c = 0; c < in_group; ++c) {
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
  const int64_t row_bytes = panel_width * bytes;
  phase.taps_at_once = std::max<int64_t>(1, static_cast<int64_t>(phase.tap.size()));
  if (phase.rows * row_bytes <= kPanelBytes) return phase;
  const int64_t most = std::max<int64_t>(1, kPanelBytes / 2 / row_bytes);
  int64_t pieces = ceil_div(phase.run, most);
  while (pieces < phase.run && phase.run % (pieces * granule) != 0) ++pieces;
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

}  // namespace

template <class T>
TapConvPlan tap_conv_plan(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, const Image<const T>& x,
                          const Image<T>& y, int64_t kernel_h, int64_t kernel_w, WeightRole role,
                          Moments<T>* moments, bool in_parts) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const int64_t in_group = x.c / groups;
  TapConvPlan plan{in_group,
                   y.c / groups,
                   in_parts ? round_up(in_group, kPartsDepth) : in_group,
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
  const int64_t bytes =
      in_parts ? kParts * static_cast<int64_t>(sizeof(uint16_t)) : static_cast<int64_t>(sizeof(T));
  plan.in_place = !in_parts && x.channels_last() && inside(h, span_h, positions_h, x.h) &&
                  inside(w, span_w, positions_w, x.w);

  // Tile: whole rows if they fit, then as many as fit; several tiles for every thread.
  const int64_t weight_bytes = plan.channels * plan.out_group * kernel_h * kernel_w * bytes;
  const bool resident = weight_bytes < kResidentWeights;
  const int64_t budget = (resident ? kStripBytes : kLongStripBytes) / bytes;
  const auto strip_size = [&](int64_t th, int64_t tw) {
    const int64_t rows = (th - 1) * h.in_step + span_h.hi - span_h.lo + 1;
    const int64_t cols = (tw - 1) * w.in_step + span_w.hi - span_w.lo + 1;
    return rows * cols * plan.channels;
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
  const int64_t most_chunks = resident ? 1 : plan.split.panels;
  while (th > 1 && others * ceil_div(positions_h, th) * most_chunks < 4 * threads &&
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
  plan.pixel = plan.in_place ? x.stride_w() : plan.channels;
  plan.pitch = plan.in_place ? x.stride_h() : plan.strip_cols * plan.channels;
  const int64_t panel_width = std::min(plan.split.vectors, kernels.max_vectors) * kernels.lanes;
  for (const TapPhaseAxis& ph : h.phases) {
    for (const TapPhaseAxis& pw : w.phases) {
      TapPhase phase = make_phase(ph, pw, kernel_h, kernel_w, in_group, plan.channels, panel_width,
                                  plan.pitch, plan.pixel, role, in_parts ? kPartsDepth : 1, bytes);
      phase.packed_offset = plan.packed_group;
      plan.packed_group += phase.rows * plan.split.vectors * kernels.lanes;
      plan.phases.push_back(std::move(phase));
    }
  }
  return plan;
}

template <class T>
void pack_taps(const TapConvPlan& plan, const TapPhase& phase, int64_t g, int64_t panel, const T* weight,
               int64_t kernel_size, WeightRole role, T* to) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  PanelSource<T> source{weight + g * plan.in_group * plan.out_group * kernel_size,
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
  kernels.pack_panel(source, plan.split.begin(panel) * kernels.lanes, plan.split.width(panel), to);
}

KeptWeights::Key tap_panels_key(KeptForm form, int64_t lanes, const TapConvPlan& plan, int64_t groups,
                                int64_t kernel_size, WeightRole role) {
  KeptWeights::Key key{
      form, lanes, static_cast<int64_t>(role), groups, plan.split.vectors, plan.split.panels};
  for (const TapPhase& phase : plan.phases) {
    for (int64_t e = 0; e < kernel_size; ++e) key.push_back(phase.position[e]);  // of the first channel
  }
  return key;
}

#define NEOCOG_INSTANTIATE(T)                                                                          \
  template TapConvPlan tap_conv_plan<T>(const TapConvAxis&, const TapConvAxis&, int64_t,               \
                                        const Image<const T>&, const Image<T>&, int64_t, int64_t,      \
                                        WeightRole, Moments<T>*, bool);                                \
  template void pack_taps<T>(const TapConvPlan&, const TapPhase&, int64_t, int64_t, const T*, int64_t, \
                             WeightRole, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
