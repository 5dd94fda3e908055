#include "ops/conv_transpose/long_stride.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/tap_conv.h"
#include "ops/gemm/gemm.h"
#include "ops/rearrange/copy_strided.h"

namespace neocog {
namespace {

// Phases of a row: shorter runs cost more to put in their places than phase by phase loses.
constexpr int64_t kLongStride = 16;

// Phases [begin, begin + count) of an axis, which have as many taps. Output p is phase r of position q, p +
// pad = q * stride + r, and meets taps m * stride + r at inputs q - m.
struct LongAxis {
  int64_t stride, kernel, begin, count, taps;
  int64_t first, positions, before;  // first q; outputs of it that lie before the image
  LongAxis(const WindowAxis& axis, int64_t begin_, int64_t end)
      : stride(axis.stride),
        kernel(axis.kernel),
        begin(begin_),
        count(end - begin_),
        taps(ceil_div(kernel - begin, stride)),
        first(floor_div(axis.pad_lo, stride)),
        positions(floor_div(axis.in - 1 + axis.pad_lo, stride) - first + 1),
        before(axis.pad_lo - first * stride) {}
  TapConvAxis tap_axis() const {
    TapPhaseAxis phase{0, positions, {}, {}};
    for (int64_t m = taps - 1; m >= 0; --m) {
      phase.offset.push_back(first - m);
      phase.kernel.push_back(m);
    }
    return {1, 1, positions, true, {std::move(phase)}};
  }
};

// f(phases) for those with the last tap, and for the others.
template <class F>
void each_part(const WindowAxis& axis, const F& f) {
  const int64_t rest = axis.kernel % axis.stride;
  if (rest > 0) f(LongAxis(axis, 0, rest));
  f(LongAxis(axis, rest, axis.stride));
}

// y of these phases of both axes.
template <class T>
void transposed_part(const LongAxis& h, const LongAxis& w, int64_t groups, Image<const T> x, const T* weight,
                     const Epilogue<T>& epilogue, Image<T> y) {
  const int64_t phases = h.count * w.count, taps = h.taps * w.taps, pairs = x.c * (y.c / groups);
  const int64_t columns = y.c * phases, positions = y.n * h.positions * w.positions;
  Scratch scratch(Scratch::bytes_of<T>(pairs * phases * taps) + Scratch::bytes_of<T>(columns) +
                  Scratch::bytes_of<T>(positions * columns));
  T* const kernels = scratch.take<T>(pairs * phases * taps);
  T* const bias = scratch.take<T>(columns);
  T* const sums = scratch.take<T>(positions * columns);
  copy_strided<T>({{pairs, h.kernel * w.kernel, phases * taps},
                   {h.taps, h.stride * w.kernel, w.taps},
                   {h.count, w.kernel, w.count * taps},
                   {w.taps, w.stride, 1},
                   {w.count, 1, taps}},
                  weight + h.begin * w.kernel + w.begin, kernels);
  Epilogue<T> with = epilogue;
  with.moments = nullptr;  // they are of y
  if (epilogue.bias != nullptr) {
    for (int64_t i = 0; i < columns; ++i) bias[i] = epilogue.bias[i / phases];
    with.bias = bias;
  }
  tap_conv<T>(h.tap_axis(), w.tap_axis(), groups, x, kernels, h.taps, w.taps, WeightRole::kTransposed, with,
              {sums, y.n, columns, h.positions, w.positions, Layout::kChannelsLast});

  parallel_for(positions, [&](int64_t item, int) {
    const int64_t q_w = item % w.positions, q_h = item / w.positions % h.positions,
                  n = item / w.positions / h.positions;
    const int64_t top = q_h * h.stride + h.begin - h.before, left = q_w * w.stride + w.begin - w.before;
    const int64_t s0 = std::max<int64_t>(0, -left), s1 = std::min(w.count, y.w - left);
    if (s0 >= s1) return;
    for (int64_t r = std::max<int64_t>(0, -top); r < std::min(h.count, y.h - top); ++r) {
      const T* const from = sums + item * columns + r * w.count + s0;
      if (y.channels_last()) {
        gemm_kernels<T>().transpose(from, phases, y.at(n, 0, top + r, left + s0), y.c, y.c, s1 - s0);
        continue;
      }
      for (int64_t o = 0; o < y.c; ++o)
        std::memcpy(y.at(n, o, top + r, left + s0), from + o * phases, sizeof(T) * (s1 - s0));
    }
  });
}

}  // namespace

bool long_stride_suits(const ConvGeometry& g) {
  return g.h.dilation == 1 && g.w.dilation == 1 && g.w.stride >= kLongStride && g.h.kernel >= g.h.stride &&
         g.w.kernel >= g.w.stride;
}

template <class T>
void long_stride_transposed(const ConvGeometry& g, Image<const T> x, const T* weight,
                            const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  each_part(g.h, [&](const LongAxis& h) {
    each_part(g.w, [&](const LongAxis& w) { transposed_part(h, w, g.groups, x, weight, epilogue, y); });
  });
}

template void long_stride_transposed<float>(const ConvGeometry&, Image<const float>, const float*,
                                            const Epilogue<float>&, Image<float>);
template void long_stride_transposed<double>(const ConvGeometry&, Image<const double>, const double*,
                                             const Epilogue<double>&, Image<double>);

}  // namespace neocog
