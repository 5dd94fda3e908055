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

constexpr int64_t kStripBytes = 256 << 10;
constexpr int64_t kTilePixels = 2048;

struct PlanePhase {
  const TapPhaseAxis *h, *w;
  std::vector<int64_t> tap;      // offsets into a strip plane
  std::vector<int64_t> element;  // (r, s) of each
  int64_t packed_offset;
};

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
    gemm_kernels<T>().transpose(x.at(n, channel, row0 + i, begin), x.c, to + i * pitch + left, plane, count,
                                channels);
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
  const int64_t plane = round_up(rows * pitch + kernels.plane_slack, kernels.lanes);
  // Rows of the tile follow each other at the strip's pitch, so with a step of one they are a single run.
  const bool flat = h.in_step == 1;
  const int64_t y_plane = round_up(th * pitch, kernels.lanes) + kernels.lanes * (flat ? 1 : th);

  std::vector<PlanePhase> phases;
  int64_t packed_group = 0;
  for (const TapPhaseAxis& ph : h.phases) {
    for (const TapPhaseAxis& pw : w.phases) {
      PlanePhase phase{&ph, &pw, {}, {}, packed_group};
      for (size_t r = 0; r < ph.offset.size(); ++r) {
        for (size_t s = 0; s < pw.offset.size(); ++s) {
          phase.tap.push_back((ph.offset[r] - span_h.lo) * pitch + pw.offset[s] - span_w.lo);
          phase.element.push_back(ph.kernel[r] * kernel_w + pw.kernel[s]);
        }
      }
      packed_group += in_group * out_group * static_cast<int64_t>(phase.tap.size());
      phases.push_back(std::move(phase));
    }
  }
  const int64_t blocks = ceil_div(out_group, kernels.plane_outputs);
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
    key.insert(key.end(), phase.element.begin(), phase.element.end());
  }
  const T* const packed = weight.form(key, groups * packed_group, scratch, [&](T* panels) {
    parallel_for(groups, [&](int64_t g, int) {  // (block; c, tap, output of the block)
      T* to = panels + g * packed_group;
      const T* const from = weight.data + g * in_group * out_group * kernel_size;
      for (const PlanePhase& phase : phases) {
        for (int64_t block = 0; block < blocks; ++block) {
          for (int64_t c = 0; c < in_group; ++c) {
            for (const int64_t element : phase.element) {
              for (int64_t o = first_output(block); o < first_output(block + 1); ++o) {
                const int64_t pair = role == WeightRole::kForward ? o * in_group + c : c * out_group + o;
                *to++ = from[pair * kernel_size + element];
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
      const int64_t i1 = std::min(i0 + th, phase.h->count), j1 = std::min(j0 + tw, phase.w->count);
      if (i0 >= i1 || j0 >= j1) continue;
      const int64_t taps = static_cast<int64_t>(phase.tap.size()), count_h = i1 - i0, count_w = j1 - j0;
      const T* const phase_weight = packed + g * packed_group + phase.packed_offset;
      const int64_t y_pitch = flat ? pitch : round_up(count_w, kernels.lanes);
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t o0 = first_output(block), outputs = first_output(block + 1) - o0,
                      channel = g * out_group + o0;
        PlanesPanel<T> panel{strips[thread],
                             plane,
                             phase.tap.data(),
                             taps,
                             in_group,
                             phase_weight + in_group * taps * o0,
                             outputs,
                             epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
                             results[thread],
                             y_plane,
                             flat ? (count_h - 1) * pitch + count_w : count_w,
                             finish.clamp,
                             T(0),
                             finish.clamp_hi};
        for (int64_t i = 0; i < (flat ? 1 : count_h); ++i) {
          panel.x = strips[thread] + i * h.in_step * pitch;
          panel.y = results[thread] + i * y_pitch;
          kernels.planes_panel(panel);
        }
        for (int64_t i = 0; i < count_h; ++i) {
          const T* const from = results[thread] + i * y_pitch;
          T* const to =
              y.at(n, channel, phase.h->start + (i0 + i) * h.out_step, phase.w->start + j0 * w.out_step);
          if (y.channels_last()) {
            kernels.transpose(from, y_plane, to, w.out_step * y.c, outputs, count_w);
            continue;
          }
          for (int64_t o = 0; o < outputs; ++o) {
            T* const row = to + o * y.stride_c();
            if (w.out_step == 1) {
              std::memcpy(row, from + o * y_plane, sizeof(T) * count_w);
            } else {
              for (int64_t j = 0; j < count_w; ++j) row[j * w.out_step] = from[o * y_plane + j];
            }
          }
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
