// Kernel bodies of winograd_groups_kernels.h, compiled once per instruction set; no include guard on purpose.
#include "core/constant.h"
#include "core/window.h"
#include "ops/conv/winograd_groups_kernels.h"
#include "ops/conv/winograd_points-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Sums that wait in registers, beside a vector of tiles and a weight.
template <class T>
constexpr int kGroupSums = Vec<T>::lanes == 16 ? 16 : 8;
// From a point of `work` to the next.
template <class T, int Slots>
constexpr int64_t kPoint = winograd_groups_point(Slots, Vec<T>::lanes);

// The pixels under the tiles, transformed: along the rows where they are turned to lanes of tiles, then along
// the columns in place, which leaves enough registers for both.
template <class T, int Slots>
void load_pixels(const WinogradGroups<T>& g) {
  using V = Vec<T>;
  constexpr int64_t point = kPoint<T, Slots>;
  const int64_t slots = max64(g.in_group, g.out_group);
  for (int64_t c = 0; c < g.groups * g.in_group; ++c) {
    T* const work = g.work + point + (c / g.in_group * slots + c % g.in_group) * V::lanes;
    for (int64_t r = 0; r < kGroupPixels; ++r) {
      V pixels[8], d[kGroupPixels], v[kGroupPixels];
      V::template load_turned<2>(g.x + c * g.x_plane + r * g.x_row, g.x_tile, pixels);
#pragma GCC unroll 6
      for (int s = 0; s < kGroupPixels; ++s) d[s] = pixels[s];
      data_points(d, v);
#pragma GCC unroll 6
      for (int s = 0; s < kGroupPixels; ++s) v[s].store(work + (r * kGroupPixels + s) * point);
    }
    for (int64_t s = 0; s < kGroupPixels; ++s) {
      T* const column = work + s * point;
      V d[kGroupPixels], v[kGroupPixels];
#pragma GCC unroll 6
      for (int r = 0; r < kGroupPixels; ++r) d[r] = V::load(column + r * kGroupPixels * point);
      data_points(d, v);
#pragma GCC unroll 6
      for (int r = 0; r < kGroupPixels; ++r) v[r].store(column + r * kGroupPixels * point);
    }
  }
}

// Sums of `Outputs` channels of `Points` points, over `inputs` channels, Inputs if that is not 0. Two points
// at a time hide the latency of the additions.
template <class T, int Slots, int Points, int Inputs, int Outputs>
NEOCOG_INLINE void group_sums(const T* v, const T* u, int64_t inputs, int64_t outputs, T* m) {
  using V = Vec<T>;
  V acc[Points][Outputs];
  const auto add = [&](int64_t k) __attribute__((always_inline)) {
#pragma GCC unroll 2
    for (int p = 0; p < Points; ++p) {
      const V x = V::load(v + p * kPoint<T, Slots> + k * V::lanes);
#pragma GCC unroll 16
      for (int o = 0; o < Outputs; ++o) {
        acc[p][o] = fma(x, V::set1(u[(p * inputs + k) * outputs + o]), acc[p][o]);
      }
    }
  };
#pragma GCC unroll 2
  for (int p = 0; p < Points; ++p) {
#pragma GCC unroll 16
    for (int o = 0; o < Outputs; ++o) acc[p][o] = V::zero();
  }
  if constexpr (Inputs > 0) {
#pragma GCC unroll 16
    for (int64_t k = 0; k < Inputs; ++k) add(k);
  } else {
    for (int64_t k = 0; k < inputs; ++k) add(k);
  }
#pragma GCC unroll 2
  for (int p = 0; p < Points; ++p) {
#pragma GCC unroll 16
    for (int o = 0; o < Outputs; ++o) acc[p][o].store(m + p * kPoint<T, Slots> + o * V::lanes);
  }
}

// All points of a group; the last block of sums has `Last` channels.
template <class T, int Slots, int Inputs, int Last>
NEOCOG_INLINE void multiply_group(const WinogradGroups<T>& g, const T* u, T* work) {
  constexpr int64_t point = kPoint<T, Slots>;
  constexpr int kPoints = Inputs > 0 && 2 * Last <= kGroupSums<T> ? 2 : 1;
  const int64_t inputs = Inputs > 0 ? Inputs : g.in_group, outputs = Inputs > 0 ? Last : g.out_group;
  const T* v = work + point;
  for (int64_t p = 0; p < kGroupPoints; p += kPoints) {
    int64_t o = 0;
    if constexpr (kPoints == 1) {
      for (; o + Last < outputs; o += kGroupSums<T>) {
        group_sums<T, Slots, 1, Inputs, kGroupSums<T>>(v, u + o, inputs, outputs, work + o * Vec<T>::lanes);
      }
    }
    group_sums<T, Slots, kPoints, Inputs, Last>(v, u + o, inputs, outputs, work + o * Vec<T>::lanes);
    v += kPoints * point;
    work += kPoints * point;
    u += kPoints * inputs * outputs;
  }
}

template <class T, int Slots>
void multiply_groups(const WinogradGroups<T>& g) {
  constexpr int kSums = kGroupSums<T>;
  for (int64_t i = 0; i < g.groups; ++i) {
    const T* const u = g.u + i * kGroupPoints * g.in_group * g.out_group;
    T* const work = g.work + i * max64(g.in_group, g.out_group) * Vec<T>::lanes;
    if constexpr (Slots == 8) {
      if (g.in_group == 8 && g.out_group == 8) {
        multiply_group<T, Slots, 8, 8>(g, u, work);
        continue;
      }
    }
    with_size<kSums>((g.out_group - 1) % kSums + 1, [&]<int Last>() __attribute__((always_inline)) {
      multiply_group<T, Slots, 0, Last>(g, u, work);
    });
  }
}

// The outputs of all tiles from the sums, the other way round.
template <class T, int Slots>
void store_results(const WinogradGroups<T>& g) {
  using V = Vec<T>;
  constexpr int64_t point = kPoint<T, Slots>;
  const int64_t slots = max64(g.in_group, g.out_group);
  for (int64_t i = 0; i < g.groups; ++i) {
    for (int64_t o = 0; o < g.out_group; ++o) {
      T* const work = g.work + (i * slots + o) * V::lanes;
      for (int64_t s = 0; s < kGroupPixels; ++s) {
        T* const column = work + s * point;
        V m[kGroupPixels], y[kGroupTile];
#pragma GCC unroll 6
        for (int r = 0; r < kGroupPixels; ++r) m[r] = V::load(column + r * kGroupPixels * point);
        result_points(m, y);
#pragma GCC unroll 4
        for (int r = 0; r < kGroupTile; ++r) y[r].store(column + r * kGroupPixels * point);
      }
      const int64_t channel = i * g.out_group + o;
      const V bias = g.bias == nullptr ? V::zero() : V::set1(g.bias[channel]);
      for (int64_t r = 0; r < kGroupTile; ++r) {
        V m[kGroupPixels], y[kGroupTile];
#pragma GCC unroll 6
        for (int s = 0; s < kGroupPixels; ++s) m[s] = V::load(work + (r * kGroupPixels + s) * point);
        result_points(m, y);
#pragma GCC unroll 4
        for (int s = 0; s < kGroupTile; ++s) {
          y[s] = y[s] + bias;
          if (g.clamp) y[s] = min(V::set1(g.hi), max(V::set1(g.lo), y[s]));
        }
        V::store_turned(g.y + channel * g.y_plane + r * g.y_row, g.y_tile, y);
      }
    }
  }
}

template <class T>
void winograd_groups_tiles(const WinogradGroups<T>& g) {
  with_constant<8, 16>(winograd_groups_slots(g.in_group, g.out_group),
                       [&]<int Slots>() __attribute__((always_inline)) {
                         load_pixels<T, Slots>(g);
                         multiply_groups<T, Slots>(g);
                         store_results<T, Slots>(g);
                       });
}

template <class T>
void copy_planes(const CopyPlanes<T>& g) {
  using V = Vec<T>;
  const int64_t whole = g.cols / V::lanes * V::lanes, rest = g.cols - whole;
  for (int64_t i = 0; i < g.planes; ++i) {
    const T* from = g.from + i * g.from_plane;
    T* to = g.to + i * g.to_plane;
    for (int64_t j = 0; j < g.rows; ++j, from += g.from_row, to += g.to_row) {
      for (int64_t l = 0; l < whole; l += V::lanes) V::load(from + l).store(to + l);
      if (rest > 0) V::load_n(from + whole, rest).store_n(to + whole, rest);
    }
  }
}

template <class T>
constexpr WinogradGroupsKernels<T> kWinogradGroupsTable = {Vec<T>::lanes, &winograd_groups_tiles<T>,
                                                           &copy_planes<T>};

}  // namespace

extern constinit const WinogradGroupsKernels<float> winograd_groups_kernels_f32 = kWinogradGroupsTable<float>;

}  // namespace neocog::NEOCOG_ISA
