#include "ops/conv/space_to_depth.h"

#include <algorithm>
#include <vector>

#include "core/held_block.h"
#include "core/parallel.h"
#include "core/strict.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/conv/turned.h"
#include "ops/conv/winograd.h"
#include "ops/conv/winograd_kernels.h"

namespace neocog {
namespace {

// Shorter strides have kernels of their own (winograd.h).
constexpr int64_t kLongStride = 3;
// Channels of a block, else vectors are mostly empty.
constexpr int64_t kLeastDepth = 16;
// Along an axis; fewer do not fill a tile of any number of taps.
constexpr int64_t kFewestOutputs = 3;
// A chain of additions where kernels have many zeros.
constexpr int64_t kFewTerms = 16;
// Elements of a strip: near the processor until they are in their places.
constexpr int64_t kStrip = 4096;

// An axis in blocks of a stride: block u holds the pixels from u * stride - pad on.
struct BlockAxis {
  int64_t stride, kernel, taps, pad, blocks, outputs;
  BlockAxis(const WindowAxis& axis, WeightRole role)
      : stride(axis.stride),
        kernel(axis.kernel),
        taps(ceil_div(kernel, stride)),
        pad(axis.pad_lo),
        // Of x, those that windows reach; of y, all.
        blocks(role == WeightRole::kForward ? axis.out() + taps - 1 : ceil_div(axis.in + pad, stride)),
        outputs(axis.out()) {}
  int64_t first(int64_t block) const { return block * stride - pad; }  // pixel
  WindowAxis axis() const { return {blocks, taps, 1, 1, 0, outputs + taps - 1 - blocks}; }
};

// The larger image of a geometry in blocks, and the kernels for it.
struct Blocks {
  BlockAxis h, w;
  int64_t channels;  // of a pixel
  Blocks(const ConvGeometry& g, WeightRole role) : h(g.h, role), w(g.w, role), channels(g.in_channels) {}

  int64_t run() const { return w.stride * channels; }  // of a row of a block
  int64_t depth() const { return h.stride * run(); }
  // Whether most sums lack taps: the plain sum is as much shorter, and more exact.
  bool sparse() const {
    const int64_t taps = h.kernel * w.kernel, all = h.taps * h.stride * w.taps * w.stride;
    return 2 * all >= 3 * taps;
  }
  ConvGeometry geometry(const ConvGeometry& g) const {
    return {g.batch, depth(), g.out_channels, 1, h.axis(), w.axis()};
  }
  template <class T>
  Image<T> image(int64_t n, T* data) const {
    return {data, n, depth(), h.blocks, w.blocks, Layout::kChannelsLast};
  }

  int64_t kernels(int64_t out_channels) const { return out_channels * depth() * h.taps * w.taps; }
  // f(place, tap) for every tap of the kernels of an output, where it lies in either form; -1: a zero.
  template <class F>
  void each_tap(const F& f) const {
    int64_t place = 0;
    for (int64_t r0 = 0; r0 < h.stride; ++r0) {
      for (int64_t s0 = 0; s0 < w.stride; ++s0) {
        for (int64_t c = 0; c < channels; ++c) {
          for (int64_t r = r0; r < h.taps * h.stride; r += h.stride) {
            for (int64_t s = s0; s < w.taps * w.stride; s += w.stride, ++place)
              f(place, r < h.kernel && s < w.kernel ? (c * h.kernel + r) * w.kernel + s : -1);
          }
        }
      }
    }
  }

  // f(n, u, v0, v1, thread) for pieces of rows of blocks.
  template <class F>
  void each_piece(int64_t n, int threads, const F& f) const {
    const int64_t rows = n * h.blocks, cut = pieces();
    parallel_for(rows * cut, threads, [&](int64_t item, int thread) {
      const int64_t row = item / cut, piece = item % cut;
      f(row / h.blocks, row % h.blocks, w.blocks * piece / cut, w.blocks * (piece + 1) / cut, thread);
    });
  }
  int64_t pieces() const { return std::min(w.blocks, ceil_div(w.blocks * depth(), kStrip)); }
  int64_t strip() const { return ceil_div(w.blocks, pieces()) * depth(); }
};

// A strip for every thread.
template <class T>
struct Strips {
  int threads;
  int64_t size;
  HeldBlock block;
  explicit Strips(const Blocks& blocks, int64_t n)
      : threads(threads_for(n * blocks.h.blocks * blocks.pieces())),
        size(round_up(blocks.strip(), static_cast<int64_t>(64 / sizeof(T)))),
        block(static_cast<size_t>(threads * size) * sizeof(T)) {}
  T* of(int thread) const { return block.as<T>() + thread * size; }
};

// Of a row of blocks [v0, v1), those whose pixels lie in an image of this width: the others pass through a
// strip.
struct Inner {
  int64_t begin, end;
  Inner(const BlockAxis& axis, int64_t size, int64_t v0, int64_t v1)
      : begin(std::clamp(ceil_div(axis.pad, axis.stride), v0, v1)),
        end(std::clamp(floor_div(size + axis.pad, axis.stride), begin, v1)) {}
};

template <class T>
void to_blocks(const Blocks& b, const Image<const T>& x, const Image<T>& to) {
  const Strips<T> strips(b, x.n);
  const bool direct = x.channels_last() && x.dense();
  b.each_piece(x.n, strips.threads, [&](int64_t n, int64_t u, int64_t v0, int64_t v1, int thread) {
    const int64_t top = u * b.h.stride - b.h.pad;
    const auto copy = [&](const T* from, int64_t pitch, int64_t begin, int64_t end) {
      T* const first = to.at(n, 0, u, begin);
      for (int64_t r = 0; r < b.h.stride; ++r)
        copy_pixels(from + r * pitch, b.run(), first + r * b.run(), b.depth(), b.run(), end - begin);
    };
    const auto through_strip = [&](int64_t begin, int64_t end) {
      if (begin == end) return;
      T* const strip = strips.of(thread);
      load_strip(x, n, 0, b.channels, {top, b.h.stride, b.w.first(begin), (end - begin) * b.w.stride}, strip);
      copy(strip, (end - begin) * b.run(), begin, end);
    };
    if (!direct || top < 0 || top + b.h.stride > x.h) return through_strip(v0, v1);
    const Inner inner(b.w, x.w, v0, v1);
    through_strip(v0, inner.begin);
    if (inner.begin < inner.end) {
      copy(x.at(n, 0, top, b.w.first(inner.begin)), x.stride_h(), inner.begin, inner.end);
    }
    through_strip(inner.end, v1);
  });
}

template <class T>
void from_blocks(const Blocks& b, const Image<T>& from, const Image<T>& y) {
  const Strips<T> strips(b, y.n);
  const bool direct = y.channels_last() && y.dense();
  b.each_piece(y.n, strips.threads, [&](int64_t n, int64_t u, int64_t v0, int64_t v1, int thread) {
    for (int64_t r = 0; r < b.h.stride; ++r) {
      const int64_t row = u * b.h.stride - b.h.pad + r;
      if (row < 0 || row >= y.h) continue;
      const auto pixels = [&](int64_t v) { return from.at(n, r * b.run(), u, v); };
      const auto through_strip = [&](int64_t begin, int64_t end) {
        const int64_t left = b.w.first(begin), col0 = std::max<int64_t>(0, left),
                      col1 = std::min(y.w, b.w.first(end));
        if (col0 >= col1) return;
        T* strip = strips.of(thread);
        copy_pixels(pixels(begin), b.depth(), strip, b.run(), b.run(), end - begin);
        strip += (col0 - left) * b.channels;
        if (y.channels_last()) {
          copy_pixels(strip, b.channels, y.at(n, 0, row, col0), y.stride_w(), b.channels, col1 - col0);
        } else {
          store_strip(strip, b.channels, y, n, 0, b.channels, {row, 1, col0, col1 - col0}, 1, 1);
        }
      };
      if (!direct) {
        through_strip(v0, v1);
        continue;
      }
      const Inner inner(b.w, y.w, v0, v1);
      through_strip(v0, inner.begin);
      if (inner.begin < inner.end) {
        copy_pixels(pixels(inner.begin), b.depth(), y.at(n, 0, row, b.w.first(inner.begin)), b.run(), b.run(),
                    inner.end - inner.begin);
      }
      through_strip(inner.end, v1);
    }
  });
}

}  // namespace

bool space_to_depth_possible(const ConvGeometry& g) {
  for (const WindowAxis& axis : {g.h, g.w}) {
    if (axis.pad_lo < 0 || (axis.kernel > 1 && axis.dilation > 1)) return false;
    if (axis.stride < kLongStride && axis.stride * axis.kernel > 1) return false;
  }
  const bool outputs = (g.h.kernel == 1 || g.h.out() >= kFewestOutputs) && g.w.out() >= kFewestOutputs;
  return g.groups == 1 && g.w.stride >= kLongStride && outputs &&
         winograd_has(ceil_div(g.h.kernel, g.h.stride), ceil_div(g.w.kernel, g.w.stride));
}

ConvCounts space_to_depth_counts(const ConvGeometry& g, ConvUse use) {
  const Blocks blocks(g, use == ConvUse::kTransposed ? WeightRole::kTransposed : WeightRole::kForward);
  ConvCounts counts = conv_counts(blocks.geometry(g), use);
  counts.direct = conv_counts(g, use).direct;
  counts.winograd[ConvCounts::kMoved] =
      static_cast<double>(g.batch * blocks.h.blocks * blocks.w.blocks * blocks.depth());
  counts.winograd[ConvCounts::kMovedKernels] = static_cast<double>(blocks.kernels(g.out_channels));
  return counts;
}

namespace {

bool pays(const ConvGeometry& g, ConvUse use) {
  return space_to_depth_possible(g) && g.in_channels * g.h.stride * g.w.stride >= kLeastDepth &&
         winograd_pays(space_to_depth_counts(g, use), use);
}

}  // namespace

template <class T>
bool space_to_depth_suits(const ConvGeometry& g, WeightRole role) {
  return std::is_same_v<T, float> && !strict() &&
         pays(g, role == WeightRole::kForward ? ConvUse::kForward : ConvUse::kTransposed);
}

template <class T>
bool space_to_depth_suits_weight(const ConvGeometry& g) {
  return std::is_same_v<T, float> && !strict() && pays(g, ConvUse::kWeight);
}

bool takes_winograd(const ConvGeometry& g, ConvUse use) {
  if (use == ConvUse::kWeight)
    return winograd_suits_weight<float>(g) || space_to_depth_suits_weight<float>(g);
  const WeightRole role = use == ConvUse::kForward ? WeightRole::kForward : WeightRole::kTransposed;
  return winograd_suits<float>(g, role) || space_to_depth_suits<float>(g, role);
}

template <class T>
void space_to_depth_conv(const ConvGeometry& g, Image<const T> x, std::type_identity_t<Weights<T>> weight,
                         WeightRole role, const Epilogue<T>& epilogue, Image<T> y) {
  if (y.size() == 0) return;
  const bool forward = role == WeightRole::kForward;
  const Blocks blocks(g, role);
  const ConvGeometry inner = blocks.geometry(g);
  const KeptWeights::Key key{kSpaceToDepth, g.h.stride, g.w.stride};
  KeptWeights* const kept = weight.kept == nullptr ? nullptr : weight.kept->of(key);
  const int64_t taps = blocks.kernels(1), count = g.out_channels * taps,
                taps_of_weight = g.in_channels * g.h.kernel * g.w.kernel;
  const HeldBlock kernels_block(static_cast<size_t>(weight.scratch(count)) * sizeof(T));
  const auto make = [&](T* to) {
    parallel_for(g.out_channels, [&](int64_t o, int) {
      const T* const from = weight.data + o * taps_of_weight;
      blocks.each_tap([&](int64_t place, int64_t tap) { to[o * taps + place] = tap < 0 ? T(0) : from[tap]; });
    });
  };
  const T* kernels = kernels_block.as<T>();
  if (kept != nullptr) {
    kernels = kept->get<T>(key, count, make);
  } else {
    make(kernels_block.as<T>());
  }
  TurnedImage<T> turned(blocks.image<const T>(x.n, nullptr));
  if (forward) {
    to_blocks(blocks, x, turned.image());
    winograd_conv<T>(inner, turned.image(), {kernels, kept}, role, epilogue, y);
    return;
  }
  Epilogue<T> before = before_residual(epilogue);
  std::vector<T> bias;
  if (epilogue.bias != nullptr) {
    for (int64_t i = 0; i < blocks.depth(); ++i) bias.push_back(epilogue.bias[i % y.c]);
    before.bias = bias.data();
  }
  winograd_conv<T>(inner, x, {kernels, kept}, role, before, turned.image(),
                   blocks.sparse() ? kFewTerms : kWinogradTerms);
  from_blocks(blocks, turned.image(), y);
  finish_residual(epilogue, y);
}

template <class T>
void space_to_depth_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw,
                                    const OperandSums<T>& sums_of) {
  const Blocks blocks(g, WeightRole::kForward);
  const int64_t taps = blocks.kernels(1), taps_of_weight = g.in_channels * g.h.kernel * g.w.kernel;
  const HeldBlock block(static_cast<size_t>(g.out_channels * taps) * sizeof(T));
  T* const gradient = block.as<T>();
  TurnedImage<T> turned(blocks.image<const T>(x.n, nullptr));
  to_blocks(blocks, x, turned.image());
  winograd_backward_weight<T>(blocks.geometry(g), turned.image(), dy, gradient, {nullptr, sums_of.dy});
  parallel_for(g.out_channels, [&](int64_t o, int) {
    T* const to = dw + o * taps_of_weight;
    blocks.each_tap([&](int64_t place, int64_t tap) {
      if (tap >= 0) to[tap] = gradient[o * taps + place];
    });
  });
}

#define NEOCOG_INSTANTIATE(T)                                             \
  template bool space_to_depth_suits<T>(const ConvGeometry&, WeightRole); \
  template bool space_to_depth_suits_weight<T>(const ConvGeometry&);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE
template void space_to_depth_conv<float>(const ConvGeometry&, Image<const float>, Weights<float>, WeightRole,
                                         const Epilogue<float>&, Image<float>);
template void space_to_depth_backward_weight<float>(const ConvGeometry&, Image<const float>,
                                                    Image<const float>, float*, const OperandSums<float>&);

}  // namespace neocog
