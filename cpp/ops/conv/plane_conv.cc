// The schedule of tap_conv.h for few output channels: strips of planes, vectors along the row.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/tap_conv.h"
#include "ops/conv/tap_span.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

constexpr int64_t kStripBytes = 512 << 10;
constexpr int64_t kTilePixels = 2048;
// The rows that taps of so many channels share stay in the first-level cache from one row of results to the
// next.
constexpr int64_t kChannelBytes = 24 << 10;

// With at most so many output channels, phases of a row that meet the same taps are computed together, as
// more outputs of what was loaded.
constexpr int64_t kMergedChannels = 4;

// One phase of h and those of w that are computed together: output o of phase k is row o * w.size() + k.
struct PlanePhase {
  const TapPhaseAxis* h;
  std::vector<const TapPhaseAxis*> w;
  std::vector<int64_t> shift;    // by how many columns the results of each lie behind those of w[0]
  std::vector<int64_t> tap;      // offsets into a strip plane
  std::vector<int64_t> element;  // (r, s) of each, for every phase of w: (taps, w.size())
  int64_t packed_offset;
  int64_t width() const { return static_cast<int64_t>(w.size()); }
};

// Whether the taps of b are those of a, some columns further.
bool same_taps(const TapPhaseAxis& a, const TapPhaseAxis& b) {
  if (a.offset.size() != b.offset.size()) return false;
  for (size_t s = 0; s < a.offset.size(); ++s) {
    if (b.offset[s] - b.offset[0] != a.offset[s] - a.offset[0] || b.offset[s] < a.offset[s]) return false;
  }
  return true;
}

// The phases of an axis in sets of at most `most` with the same taps, those with the first offset first.
std::vector<std::vector<const TapPhaseAxis*>> merged_phases(const TapConvAxis& axis, size_t most) {
  std::vector<const TapPhaseAxis*> sorted;
  for (const TapPhaseAxis& phase : axis.phases) sorted.push_back(&phase);
  std::stable_sort(sorted.begin(), sorted.end(), [](const TapPhaseAxis* a, const TapPhaseAxis* b) {
    return a->offset.front() < b->offset.front();
  });
  std::vector<std::vector<const TapPhaseAxis*>> sets;
  for (const TapPhaseAxis* phase : sorted) {
    auto set = sets.begin();
    while (set != sets.end() && !(set->size() < most && same_taps(*set->front(), *phase))) ++set;
    if (set == sets.end()) set = sets.emplace(set);
    set->push_back(phase);
  }
  return sets;
}

// Planes of x (channels, rows, pitch) with zeros outside the image; slack behind the last row is zero too.
template <class T>
void load_planes(const Image<const T>& x, int64_t n, int64_t channel, int64_t channels, int64_t row0,
                 int64_t rows, int64_t col0, int64_t cols, int64_t pitch, int64_t plane, T* to) {
  const int64_t begin = std::clamp<int64_t>(col0, 0, x.w), end = std::clamp<int64_t>(col0 + cols, begin, x.w);
  const int64_t left = begin - col0, count = end - begin;
  const bool whole = count == cols && count == pitch;
  for (int64_t c = 0; c < channels; ++c) {
    T* const p = to + c * plane;
    if (!whole || plane != rows * pitch) std::fill_n(p + rows * pitch, plane - rows * pitch, T(0));
    for (int64_t i = 0; i < rows; ++i) {
      T* const row = p + i * pitch;
      const bool outside = row0 + i < 0 || row0 + i >= x.h || count <= 0;
      if (outside) {
        std::fill_n(row, pitch, T(0));
        continue;
      }
      std::fill_n(row, left, T(0));
      std::fill_n(row + left + count, pitch - left - count, T(0));
      if (!x.channels_last())
        std::memcpy(row + left, x.at(n, channel + c, row0 + i, begin), sizeof(T) * count);
    }
  }
  if (!x.channels_last() || count <= 0) return;
  for (int64_t i = std::max<int64_t>(0, -row0); i < std::min(rows, x.h - row0); ++i) {
    gemm_kernels<T>().transpose(x.at(n, channel, row0 + i, begin), x.stride_w(), to + i * pitch + left, plane,
                                count, channels);
  }
}

// y[n, channel + o, row, phase.w[k]->start + (j0 + j) * step] = from[(o, k), shift of k + j], j <
// count_of(k).
template <class T, class Count>
void store_row(const PlanePhase& phase, const T* from, int64_t plane, int64_t outputs, const Count& count_of,
               const Image<T>& y, int64_t n, int64_t channel, int64_t row, int64_t j0, int64_t step) {
  const int64_t width = phase.width();
  if (y.channels_last()) {
    for (int64_t k = 0; k < width; ++k) {
      if (count_of(k) <= 0) continue;
      gemm_kernels<T>().transpose(from + k * plane + phase.shift[k], width * plane,
                                  y.at(n, channel, row, phase.w[k]->start + j0 * step), step * y.stride_w(),
                                  outputs, count_of(k));
    }
    return;
  }
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t k = 0; k < width; ++k) {
      const T* const line = from + (o * width + k) * plane + phase.shift[k];
      const int64_t count = count_of(k);
      if (count <= 0) continue;
      T* const to = y.at(n, channel + o, row, phase.w[k]->start + j0 * step);
      if (step == 1) {
        std::memcpy(to, line, sizeof(T) * count);
      } else {
        for (int64_t j = 0; j < count; ++j) to[j * step] = line[j];
      }
    }
  }
}

}  // namespace

template <class T>
bool plane_conv_suits(const TapConvAxis& h, const TapConvAxis& w, int64_t out_group) {
  const int64_t lanes = gemm_kernels<T>().lanes;
  // Vectors along the channels would be at most three quarters full; along the row they need some length.
  return w.in_step == 1 && 4 * out_group <= 3 * lanes &&
         w.positions * (h.in_step == 1 ? h.positions : 1) >= lanes;
}

template <class T>
void plane_conv(const TapConvAxis& h, const TapConvAxis& w, int64_t groups, Image<const T> x,
                std::type_identity_t<Weights<T>> weight, int64_t kernel_h, int64_t kernel_w, WeightRole role,
                const Epilogue<T>& epilogue, Image<T> y) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const Span span_h = span_of(h), span_w = span_of(w);
  const int64_t in_group = x.c / groups, out_group = y.c / groups, kernel_size = kernel_h * kernel_w;
  const int64_t positions_h = h.positions, positions_w = w.positions;

  // Tile: whole rows if they fit, then as many as fit.
  const int64_t budget = kStripBytes / static_cast<int64_t>(sizeof(T));
  const auto strip_size = [&](int64_t th, int64_t tw) {
    return in_group * ((th - 1) * h.in_step + span_h.hi - span_h.lo + 1) * (tw + span_w.hi - span_w.lo);
  };
  int64_t tw = positions_w;
  while (tw > 8 * kernels.lanes && (strip_size(1, tw) > budget || tw > kTilePixels)) tw = ceil_div(tw, 2);
  const int64_t tiles_w = ceil_div(positions_w, tw);
  tw = ceil_div(positions_w, tiles_w);
  int64_t th = 1;
  while (th < positions_h && strip_size(th + 1, tw) <= budget && (th + 1) * tw <= kTilePixels) ++th;
  const int64_t parts = epilogue.moments == nullptr ? 1 : epilogue.moments->cut(y, tw * w.out_step);
  const int64_t tiles_h = ceil_div(positions_h, whole_parts(th, positions_h, parts));
  th = std::min(positions_h, round_up(ceil_div(positions_h, tiles_h), parts));
  const int64_t rows = (th - 1) * h.in_step + span_h.hi - span_h.lo + 1, pitch = tw + span_w.hi - span_w.lo;
  // An odd number of lines: planes a multiple of 4 KB apart would share a few sets of the cache.
  const int64_t plane = (ceil_div(rows * pitch + kernels.plane_slack, kernels.lanes) | 1) * kernels.lanes;
  // Rows of the tile follow each other at the strip's pitch, so with a step of one they are a single run.
  const bool flat = h.in_step == 1;
  const int64_t y_plane = round_up(th * pitch, kernels.lanes) + kernels.lanes * (flat ? 1 : th);

  const int64_t most = out_group <= kMergedChannels ? kernels.plane_outputs / out_group : 1;
  const auto sets_w = merged_phases(w, static_cast<size_t>(most));
  std::vector<PlanePhase> phases;
  int64_t packed_group = 0;
  for (const TapPhaseAxis& ph : h.phases) {
    for (const std::vector<const TapPhaseAxis*>& pw : sets_w) {
      PlanePhase phase{&ph, pw, {}, {}, {}, packed_group};
      for (const TapPhaseAxis* one : pw) phase.shift.push_back(one->offset[0] - pw[0]->offset[0]);
      for (size_t r = 0; r < ph.offset.size(); ++r) {
        for (size_t s = 0; s < pw[0]->offset.size(); ++s) {
          phase.tap.push_back((ph.offset[r] - span_h.lo) * pitch + pw[0]->offset[s] - span_w.lo);
          for (const TapPhaseAxis* one : pw)
            phase.element.push_back(ph.kernel[r] * kernel_w + one->kernel[s]);
        }
      }
      packed_group += in_group * out_group * static_cast<int64_t>(phase.element.size());
      phases.push_back(std::move(phase));
    }
  }
  const int64_t row_bytes = pitch * static_cast<int64_t>(sizeof(T));
  const int64_t channels_at_once =
      std::max<int64_t>(4, kChannelBytes / (row_bytes * (span_h.hi - span_h.lo + 1)));
  const int64_t blocks = most > 1 ? 1 : ceil_div(out_group, kernels.plane_outputs);
  const auto first_output = [&](int64_t block) { return out_group * block / blocks; };
  const int64_t items = x.n * groups * tiles_h * tiles_w;
  const int threads = threads_for(items);
  const int64_t strip = in_group * plane, block_size = kernels.plane_outputs * y_plane;
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(groups * packed_group)) +
                  threads * (Scratch::bytes_of<T>(strip) + Scratch::bytes_of<T>(block_size)));
  std::vector<T*> strips(threads), results(threads);
  for (int t = 0; t < threads; ++t) {
    strips[t] = scratch.take<T>(strip);
    results[t] = scratch.take<T>(block_size);
  }
  KeptWeights::Key key{kPlanes, kernels.plane_outputs, static_cast<int64_t>(role), groups, blocks};
  for (const PlanePhase& phase : phases) {
    key.push_back(static_cast<int64_t>(phase.element.size()));
    key.push_back(phase.width());
    key.insert(key.end(), phase.element.begin(), phase.element.end());
  }
  const T* const packed = weight.form(key, groups * packed_group, scratch, [&](T* panels) {
    parallel_for(groups, [&](int64_t g, int) {  // (block; c, tap, output of the block)
      T* to = panels + g * packed_group;
      const T* const from = weight.data + g * in_group * out_group * kernel_size;
      for (const PlanePhase& phase : phases) {
        for (int64_t block = 0; block < blocks; ++block) {
          for (int64_t c = 0; c < in_group; ++c) {
            for (auto tap = phase.element.begin(); tap != phase.element.end(); tap += phase.width()) {
              for (int64_t o = first_output(block); o < first_output(block + 1); ++o) {
                const int64_t pair = role == WeightRole::kForward ? o * in_group + c : c * out_group + o;
                for (int64_t k = 0; k < phase.width(); ++k) *to++ = from[pair * kernel_size + tap[k]];
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
    const int64_t j0 = item % tiles_w * tw, i0 = item / tiles_w % tiles_h * th;
    const int64_t g = item / tiles_w / tiles_h % groups, n = item / tiles_w / tiles_h / groups;
    load_planes(x, n, g * in_group, in_group, i0 * h.in_step + span_h.lo, rows, j0 + span_w.lo, pitch, pitch,
                plane, strips[thread]);
    for (const PlanePhase& phase : phases) {
      const int64_t i1 = std::min(i0 + th, phase.h->count), count_h = i1 - i0;
      const auto count_of = [&](int64_t k) { return std::min(j0 + tw, phase.w[k]->count) - j0; };
      int64_t count_w = 0;  // columns that hold a result
      for (int64_t k = 0; k < phase.width(); ++k) {
        if (count_of(k) > 0) count_w = std::max(count_w, count_of(k) + phase.shift[k]);
      }
      if (count_h <= 0 || count_w == 0) continue;
      const int64_t taps = static_cast<int64_t>(phase.tap.size());
      const T* const phase_weight = packed + g * packed_group + phase.packed_offset;
      const int64_t y_pitch = flat ? pitch : round_up(count_w, kernels.lanes);
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t o0 = first_output(block), outputs = first_output(block + 1) - o0,
                      channel = g * out_group + o0, planes = outputs * phase.width();
        T* const result = results[thread];
        T bias[kMostPlaneOutputs];
        for (int64_t p = 0; p < planes && epilogue.bias != nullptr; ++p)
          bias[p] = epilogue.bias[channel + p / phase.width()];
        PlanesPanel<T> panel{strips[thread],
                             plane,
                             phase.tap.data(),
                             taps,
                             in_group,
                             phase_weight + in_group * taps * o0 * phase.width(),
                             planes,
                             epilogue.bias == nullptr ? nullptr : bias,
                             result,
                             y_plane,
                             flat ? (count_h - 1) * pitch + count_w : count_w,
                             finish.clamp,
                             T(0),
                             finish.clamp_hi};
        for (int64_t c = 0; c == 0 || c < in_group; c += channels_at_once) {
          panel.channels = std::min(channels_at_once, in_group - c);
          panel.accumulate = c > 0;
          panel.clamp = finish.clamp && c + channels_at_once >= in_group;
          for (int64_t i = 0; i < (flat ? 1 : count_h); ++i) {
            panel.x = strips[thread] + c * plane + i * h.in_step * pitch;
            panel.y = result + i * y_pitch;
            kernels.planes_panel(panel);
          }
          panel.w += panel.channels * taps * planes;
        }
        for (int64_t i = 0; i < count_h; ++i) {
          store_row(phase, result + i * y_pitch, y_plane, outputs, count_of, y, n, channel,
                    phase.h->start + (i0 + i) * h.out_step, j0, w.out_step);
        }
      }
    }
    if (finish.rectangle) {
      finish_rectangle(epilogue, y, n, g * out_group, out_group, i0 * h.out_step,
                       std::min((i0 + th) * h.out_step, y.h), j0 * w.out_step,
                       std::min((j0 + tw) * w.out_step, y.w));
    }
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                  \
  template bool plane_conv_suits<T>(const TapConvAxis&, const TapConvAxis&, int64_t);          \
  template void plane_conv<T>(const TapConvAxis&, const TapConvAxis&, int64_t, Image<const T>, \
                              std::type_identity_t<Weights<T>>, int64_t, int64_t, WeightRole,  \
                              const Epilogue<T>&, Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
