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

// Of x under a tile, or of a tile of dy.
template <class T>
NEOCOG_INLINE void window_points(const Vec<T> (&d)[kGroupPixels], Vec<T> (&v)[kGroupPixels]) {
  data_points(d, v);
}
template <class T>
NEOCOG_INLINE void window_points(const Vec<T> (&d)[kGroupTile], Vec<T> (&v)[kGroupPixels]) {
  gradient_points(d, v);
}

// Channels of a pixel.
constexpr int64_t kWidth = kMostGroupChannels;

// A column of a window, or a row of one whose columns are transformed already.
template <class T, int Size>
NEOCOG_INLINE void line_points(const T* from, int64_t row, T* to, int64_t length) {
  using V = Vec<T>;
#pragma GCC unroll 4
  for (int64_t c = 0; c < kWidth; c += V::lanes) {
    V d[Size], v[kGroupPixels];
#pragma GCC unroll 6
    for (int r = 0; r < Size; ++r) d[r] = V::load(from + r * row + c);
    window_points(d, v);
#pragma GCC unroll 6
    for (int r = 0; r < kGroupPixels; ++r) v[r].store(to + r * length + c);
  }
}

// The columns of windows of Size x Size pixels: each once, also where it lies under two tiles.
template <class T, int Size>
void window_columns(const GroupColumns<T>& g) {
  using V = Vec<T>;
  constexpr int64_t kQuad = kGroupTile * kWidth, kParts = kWidth / kDoubles;
  const int64_t count = group_columns(g.tiles), length = count * kWidth;
  // From row to row: the compiler makes calls of memset of what lies in one piece.
  const auto clear = [&](T* first, int64_t rows, int64_t row) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int64_t c = 0; c < kWidth; c += V::lanes) {
      for (int64_t r = 0; r < rows; ++r) V::zero().store(first + r * row + c);
    }
  };
  for (int64_t j = 0; j < g.left; ++j) clear(g.columns + j * kWidth, kGroupPixels, length);
  for (int64_t j = g.left + g.cols; j < count; ++j) clear(g.columns + j * kWidth, kGroupPixels, length);
  for (int64_t s = 0; s < kGroupTile; ++s) {
    clear(g.space + s * kWidth, g.row0, kQuad);
    clear(g.space + g.row1 * kQuad + s * kWidth, Size - g.row1, kQuad);
  }
  Doubles wide[kParts] = {};
  const auto add = [&](const T* from, int64_t row) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int r = 0; r < Size; ++r) {
#pragma GCC unroll 2
      for (int64_t i = 0; i < kParts; ++i) {
        Doubles part;
        load_doubles(from + r * row + i * kDoubles, kDoubles, part);
        wide[i] += part;
      }
    }
  };
  T* const to = g.columns + g.left * kWidth;
  if (g.plane == 0) {
    const bool whole = g.row1 - g.row0 == Size;
    for (int64_t j = 0; j < g.cols; ++j) {
      const T* from = g.pixels + j * g.pixel;
      if (!whole) {
        for (int64_t r = g.row0; r < g.row1; ++r, from += g.row) {
#pragma GCC unroll 4
          for (int64_t c = 0; c < kWidth; c += V::lanes) V::load(from + c).store(g.space + r * kQuad + c);
        }
        from = g.space;
      }
      line_points<T, Size>(from, whole ? g.row : kQuad, to + j * kWidth, length);
      if (Size == kGroupTile && g.wide != nullptr) add(from, whole ? g.row : kQuad);
    }
  } else {
    for (int64_t j = 0; j < g.cols; j += kGroupTile) {
      const int64_t col = min64(j, g.cols - kGroupTile);  // the last quad overlaps the one before it
      const T* from = g.pixels + col;
      for (int64_t r = g.row0; r < g.row1; ++r, from += g.row) {
#pragma GCC unroll 4
        for (int64_t c = 0; c < kWidth; c += V::lanes) {
          V pixels[kGroupTile];
          V::load_turned(from + c * g.plane, g.plane, pixels);
#pragma GCC unroll 4
          for (int s = 0; s < kGroupTile; ++s) pixels[s].store(g.space + r * kQuad + s * kWidth + c);
        }
      }
#pragma GCC unroll 4
      for (int s = 0; s < kGroupTile; ++s) {
        line_points<T, Size>(g.space + s * kWidth, kQuad, to + (col + s) * kWidth, length);
      }
      if (Size == kGroupTile && g.wide != nullptr) {
        for (int64_t s = j - col; s < kGroupTile; ++s) add(g.space + s * kWidth, kQuad);
      }
    }
  }
  if (g.wide == nullptr) return;
  for (int64_t i = 0; i < kParts; ++i) {
    for (int64_t l = 0; l < kDoubles; ++l) g.wide[i * kDoubles + l] += wide[i][l];
  }
}

// One row of the points of a run from its columns: v (tiles, kGroupPixels) pixels.
template <class T, int Size>
NEOCOG_INLINE void row_points(const GroupRun<T>& g, const T* columns, int64_t r, T* v) {
  const int64_t length = group_columns(g.cols) * kWidth;
  for (int64_t i = 0; i < g.rows; ++i) {
    const T* from = columns + (i * kGroupPixels + r) * length;
    for (int64_t j = 0; j < g.cols; ++j, from += kGroupTile * kWidth, v += kGroupPixels * kWidth) {
      line_points<T, Size>(from, kWidth, v, kWidth);
    }
  }
}

// A x B vectors of sums of one group, of a row of points.
template <class T, int A, int B>
NEOCOG_INLINE void row_products(const GroupRun<T>& g, const T* v, const T* d, T* sums, int64_t step) {
  using V = Vec<T>;
  // Several points at a time hide the latency of the additions.
  constexpr int kMost = kGroupSums<T> / (A * B);
  constexpr int kPoints = kMost >= 6 ? 6 : kMost > 3 ? 3 : kMost;
  const int64_t tiles = g.rows * g.cols;
  for (int64_t p = 0; p < kGroupPixels; p += kPoints) {
    V acc[kPoints][A][B];
#pragma GCC unroll 6
    for (int q = 0; q < kPoints; ++q) {
#pragma GCC unroll 8
      for (int a = 0; a < A; ++a) {
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) acc[q][a][b] = V::zero();
      }
    }
    const T *from = v + p * kWidth, *with = d + p * kWidth;
    for (int64_t t = 0; t < tiles; ++t, from += kGroupPixels * kWidth, with += kGroupPixels * kWidth) {
#pragma GCC unroll 6
      for (int q = 0; q < kPoints; ++q) {
        V twice[B];
#pragma GCC unroll 4
        for (int b = 0; b < B; ++b) twice[b] = V::load_twice(with + q * kWidth + b * (V::lanes / 2));
#pragma GCC unroll 8
        for (int a = 0; a < A; ++a) {
          const V pair = V::load_pair(from + q * kWidth + 2 * a);
#pragma GCC unroll 4
          for (int b = 0; b < B; ++b) acc[q][a][b] = fma(pair, twice[b], acc[q][a][b]);
        }
      }
    }
    const auto store = [&]<bool kAdd>() __attribute__((always_inline)) {
#pragma GCC unroll 6
      for (int q = 0; q < kPoints; ++q) {
        T* to = sums + (p + q) * step;
#pragma GCC unroll 8
        for (int a = 0; a < A; ++a) {
#pragma GCC unroll 2
          for (int b = 0; b < B; ++b, to += V::lanes) {
            (kAdd ? V::load(to) + acc[q][a][b] : acc[q][a][b]).store(to);
          }
        }
      }
    };
    if (g.add) {
      store.template operator()<true>();
    } else {
      store.template operator()<false>();
    }
  }
}

// f(first pair of x's channels, first vector of dy's) for blocks of A x B sums, whose sizes it is given.
template <class T, class F>
NEOCOG_INLINE void each_sums(int64_t high, int64_t wide, const F& f) {
  constexpr int kHigh = kGroupSums<T> / kGroupPanels;
  for (int64_t b = 0; b < wide; b += kGroupPanels) {
    with_size<kGroupPanels>(min64(kGroupPanels, wide - b), [&]<int B>() __attribute__((always_inline)) {
      const int64_t pieces = ceil_div(high, kHigh);
      for (int64_t k = 0; k < pieces; ++k) {
        const int64_t a = high * k / pieces;
        with_size<kHigh>(high * (k + 1) / pieces - a,
                         [&]<int A>() __attribute__((always_inline)) { f.template operator()<A, B>(a, b); });
      }
    });
  }
}

template <class T>
void run_products(const GroupRun<T>& g) {
  constexpr int64_t lanes = Vec<T>::lanes;
  const int64_t high = ceil_div(g.in_group, 2), wide = ceil_div(g.out_group, lanes / 2);
  const int64_t step = g.groups * high * wide * lanes;  // from a point to the next
  const auto rows = [&](const auto& products) __attribute__((always_inline)) {
    for (int64_t r = 0; r < kGroupPixels; ++r) {
      row_points<T, kGroupPixels>(g, g.x, r, g.v);
      row_points<T, kGroupTile>(g, g.dy, r, g.d);
      for (int64_t i = 0; i < g.groups; ++i) products(r, i);
    }
  };
  if (high <= kGroupSums<T> / kGroupPanels && wide <= kGroupPanels) {  // chosen once, not for every row
    each_sums<T>(high, wide, [&]<int A, int B>(int64_t, int64_t) __attribute__((always_inline)) {
      rows([&](int64_t r, int64_t i) __attribute__((always_inline)) {
        row_products<T, A, B>(g, g.v + i * g.in_group, g.d + i * g.out_group,
                              g.sums + r * kGroupPixels * step + i * A * B * lanes, step);
      });
    });
    return;
  }
  rows([&](int64_t r, int64_t i) __attribute__((always_inline)) {
    T* const sums = g.sums + r * kGroupPixels * step + i * high * wide * lanes;
    each_sums<T>(high, wide, [&]<int A, int B>(int64_t a, int64_t b) __attribute__((always_inline)) {
      row_products<T, A, B>(g, g.v + i * g.in_group + 2 * a, g.d + i * g.out_group + b * (lanes / 2),
                            sums + (b * high + a * B) * lanes, step);
    });
  });
}

template <class T>
constexpr WinogradGroupsKernels<T> kWinogradGroupsTable = {
    Vec<T>::lanes,
    &winograd_groups_tiles<T>,
    &copy_planes<T>,
    &window_columns<T, kGroupPixels>,
    &window_columns<T, kGroupTile>,
    &run_products<T>,
};

}  // namespace

extern constinit const WinogradGroupsKernels<float> winograd_groups_kernels_f32 = kWinogradGroupsTable<float>;

}  // namespace neocog::NEOCOG_ISA
