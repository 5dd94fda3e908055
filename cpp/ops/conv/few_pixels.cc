#include "ops/conv/few_pixels.h"

#include <algorithm>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Measured with 64 to 2048 channels on AVX-512: up to here a third faster or more, at 64 pixels slower.
constexpr int64_t kMostPixels = 32;
// Output channels of a work item: a multiple of dot_block's tile, so that cuts do not move sums between
// tiles.
constexpr int64_t kBlock = 32;

// to[c, r, s] = x[n, channel + c, h.tap(i, r), w.tap(j, s)], zero outside: the order of the weights.
template <class T>
void gather(const ConvGeometry& g, const Image<const T>& x, int64_t n, int64_t channel, int64_t channels,
            int64_t i, int64_t j, T* to) {
  const int64_t kernel = g.h.kernel * g.w.kernel;
  for (int64_t r = 0; r < g.h.kernel; ++r) {
    const int64_t row = g.h.tap(i, r);
    for (int64_t s = 0; s < g.w.kernel; ++s) {
      const int64_t col = g.w.tap(j, s);
      T* const at = to + r * g.w.kernel + s;
      if (g.h.inside(row) && g.w.inside(col)) {
        const T* const from = x.at(n, channel, row, col);
        for (int64_t c = 0; c < channels; ++c) at[c * kernel] = from[c * x.stride_c()];
      } else {
        for (int64_t c = 0; c < channels; ++c) at[c * kernel] = T(0);
      }
    }
  }
}

}  // namespace

bool few_pixels_suit(const ConvGeometry& g) {
  const int64_t pixels = g.h.out() * g.w.out();
  return pixels <= kMostPixels && g.batch <= kMostPixels && g.batch * pixels <= kMostPixels;
}

template <class T>
void few_pixels_conv(const ConvGeometry& g, Image<const T> x, const T* weight, const Epilogue<T>& epilogue,
                     Image<T> y) {
  if (y.size() == 0) return;
  const int64_t in_group = x.c / g.groups, out_group = y.c / g.groups;
  const int64_t depth = in_group * g.h.kernel * g.w.kernel, plane = y.h * y.w, pixels = y.n * plane;
  Scratch scratch(Scratch::bytes_of<T>(g.groups * pixels * depth) + Scratch::bytes_of<T>(pixels * y.c));
  T* const columns = scratch.take<T>(g.groups * pixels * depth);
  // A channels-last y is the matrix (pixels, channels) already.
  T* const results = y.channels_last() ? y.data : scratch.take<T>(pixels * y.c);
  const int64_t pitch = y.channels_last() ? y.stride_w() : y.c;
  parallel_for(g.groups * pixels, [&](int64_t item, int) {
    const int64_t group = item / pixels, p = item % pixels;
    gather(g, x, p / plane, group * in_group, in_group, p % plane / y.w, p % y.w, columns + item * depth);
  });

  const bool finish = epilogue.residual != nullptr || epilogue.activation != Activation::kIdentity;
  const auto apply = [&](T* to, int64_t count) {
    const T* const residual = epilogue.residual == nullptr ? nullptr : epilogue.residual + (to - y.data);
    if (finish) elementwise_kernels<T>().epilogue(epilogue.activation, epilogue.alpha, residual, to, count);
  };
  const int64_t blocks = ceil_div(out_group, kBlock);
  parallel_for(g.groups * blocks, [&](int64_t item, int) {
    const int64_t group = item / blocks, first = item % blocks * kBlock,
                  count = std::min(kBlock, out_group - first);
    const int64_t o = group * out_group + first;
    gemm_kernels<T>().dot_block(columns + group * pixels * depth, pixels, weight + o * depth, count, depth,
                                epilogue.bias == nullptr ? nullptr : epilogue.bias + o, results + o, pitch);
    if (y.channels_last()) {
      for (int64_t p = 0; p < pixels; ++p) apply(y.data + p * pitch + o, count);
      return;
    }
    for (int64_t n = 0; n < y.n; ++n) {
      for (int64_t c = o; c < o + count; ++c) {
        T* const to = y.at(n, c, 0, 0);
        for (int64_t p = 0; p < plane; ++p) to[p] = results[(n * plane + p) * pitch + c];
        apply(to, plane);
      }
    }
  });
}

template void few_pixels_conv<float>(const ConvGeometry&, Image<const float>, const float*,
                                     const Epilogue<float>&, Image<float>);
template void few_pixels_conv<double>(const ConvGeometry&, Image<const double>, const double*,
                                      const Epilogue<double>&, Image<double>);

}  // namespace neocog
