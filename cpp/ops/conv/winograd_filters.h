// The transformed kernels of Winograd's method: which taps of the weights a panel takes, and where they go.
#pragma once

#include <algorithm>
#include <array>

#include "ops/conv/winograd_plan.h"

namespace neocog {

// Kernels transformed at a time: the taps of so many channels and a panel's columns stay in the cache.
inline constexpr int64_t kFilterChannels = 32;

template <class T>
struct WinogradFilters {
  const WinogradPlan& plan;
  const ConvGeometry& geometry;
  const T* weight;
  WeightRole role;

  int64_t width(int64_t panel) const {
    return plan.split.width(panel / plan.out_phases) * gemm_kernels<T>().lanes;
  }

  int64_t place(int64_t phase) const { return plan.in_phases > 1 ? winograd_place(geometry, phase) : phase; }

  // u (points, places of the phases of the inputs, channels, panel's columns): channels c0 to c1.
  void transform_kernels(int64_t g, int64_t panel, int64_t c0, int64_t c1, T* taps, T* u) const {
    const int64_t out_phase = panel % plan.out_phases, columns = width(panel);
    for (int64_t phase = 0; phase < plan.in_phases; ++phase) {
      pack_taps(g, panel / plan.out_phases, phase + out_phase, c0, c1, taps);
      winograd_kernels<T>().filter(plan.h.taps, plan.w.taps, taps, (c1 - c0) * columns,
                                   u + (place(phase) * plan.in_group + c0) * columns, plan.point_u(columns));
    }
  }

  // taps (channels, taps, columns of a panel), for from_taps.
  void pack_panel(int64_t g, int64_t panel, T* taps) const {
    const int64_t of_channel = plan.h.taps * plan.w.taps * width(panel);
    for (int64_t c = 0; c < plan.in_group; c += kFilterChannels) {
      pack_taps(g, panel, 0, c, std::min(plan.in_group, c + kFilterChannels), taps + c * of_channel, true);
    }
  }

  // taps (taps of a phase, channels c0 to c1, columns of a panel of `split`), or channels before taps;
  // transposed, turned by 180 degrees.
  void pack_taps(int64_t g, int64_t panel, int64_t phase, int64_t c0, int64_t c1, T* taps,
                 bool by_channel = false) const {
    const GemmKernels<T>& kernels = gemm_kernels<T>();
    const int64_t count = c1 - c0, vectors = plan.split.width(panel);
    const WindowAxis &h = geometry.h, &w = geometry.w;
    const int64_t size = h.kernel * w.kernel, of_phase = plan.h.taps * plan.w.taps;
    std::array<int64_t, kWinogradMostTaps> index;  // among the taps of the phase, -1 in another
    for (int64_t t = 0; t < size; ++t) {
      const int64_t rows = winograd_phases(h), cols = winograd_phases(w);
      const int64_t r = t / w.kernel + winograd_lead(h, role), s = t % w.kernel + winograd_lead(w, role);
      const int64_t in_phase = r / rows * plan.w.taps + s / cols;
      const bool has = r % rows * cols + s % cols == phase;
      index[t] = !has ? -1 : role == WeightRole::kForward ? in_phase : of_phase - 1 - in_phase;
    }
    if (winograd_uneven(h) || winograd_uneven(w)) {
      std::fill_n(taps, of_phase * count * vectors * kernels.lanes, T(0));
    }
    const T* const of_group = weight + g * plan.in_group * plan.out_group * size;
    const int64_t step = by_channel ? 1 : count, channel_step = by_channel ? of_phase : 1;
    std::array<int64_t, kWinogradMostTaps * kFilterChannels> place;
    PanelSource<T> source{of_group, plan.out_group, plan.in_group * size, 1,
                          0,        count * size,   place.data(),         0};
    if (role == WeightRole::kForward) {
      source.data += c0 * size;
      for (int64_t c = 0; c < count; ++c) {
        for (int64_t t = 0; t < size; ++t)
          place[c * size + t] = index[t] < 0 ? -1 : index[t] * step + c * channel_step;
      }
    } else {
      source = {of_group + c0 * plan.out_group * size,
                plan.out_group,
                size,
                count,
                plan.out_group * size,
                size,
                place.data(),
                channel_step};
      for (int64_t t = 0; t < size; ++t) place[t] = index[t] < 0 ? -1 : index[t] * step;
    }
    kernels.pack_panel(source, plan.split.begin(panel) * kernels.lanes, vectors, taps);
  }
};

}  // namespace neocog
