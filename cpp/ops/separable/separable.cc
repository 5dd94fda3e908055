#include "ops/separable/separable.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_conv.h"
#include "ops/conv/tap_span.h"
#include "ops/conv/turned.h"
#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/plane_strip.h"
#include "ops/depthwise/row_job.h"
#include "ops/gemm/gemm.h"
#include "ops/separable/strip_pool.h"

namespace neocog {
namespace {

// Depthwise results of one strip: they share the second-level cache with a weight panel and rows of x.
constexpr int64_t kStripBytes = 320 << 10;

// `pixels` pixels of all channels, next to each other. x may be y.
template <class T>
void apply(const Prologue<T>& prologue, const T* x, int64_t pixels, int64_t channels, T* y) {
  BatchNormLines<T> lines{const_cast<T*>(prologue.center), const_cast<T*>(prologue.scale), nullptr,
                          const_cast<T*>(prologue.shift)};  // they are only read
  batch_norm_kernels<T>().columns_forward(prologue.activation, prologue.alpha, lines, x, pixels, channels,
                                          false, y);
}

// Depthwise results of all images as an image, and the kernels of both convolutions one after the other.
template <class T>
void in_two_passes(const ConvGeometry& g, Image<const T> x, Weights<T> depthwise_weight,
                   Weights<T> pointwise_weight, const Epilogue<T>& epilogue, Image<T> y,
                   const Prologue<T>* prologue) {
  if (prologue != nullptr) {
    const TurnedImage<T> made(x);
    constexpr int64_t kPixels = 256;
    const int64_t pixels = x.n * x.h * x.w;
    parallel_for(ceil_div(pixels, kPixels), [&](int64_t item, int) {
      const int64_t at = item * kPixels * x.c;
      apply(*prologue, x.data + at, std::min(kPixels, pixels - item * kPixels), x.c, made.image().data + at);
    });
    in_two_passes<T>(g, made.image(), depthwise_weight, pointwise_weight, epilogue, y, nullptr);
    return;
  }
  const TurnedImage<T> middle(Image<const T>{nullptr, y.n, g.out_channels, y.h, y.w, y.layout});
  depthwise_forward(g, x, depthwise_weight, Epilogue<T>{}, middle.image());
  const auto pixel = [](int64_t size) { return WindowAxis{size, 1, 1, 1, 0, 0}; };
  conv_forward<T>({y.n, g.out_channels, y.c, 1, pixel(y.h), pixel(y.w)}, middle.image(), pointwise_weight,
                  epilogue, y);
}

}  // namespace

template <class T>
SeparableMethod separable_method(const ConvGeometry& g, Image<const T> x, Image<T> y) {
  const bool resident = g.out_channels * y.c * static_cast<int64_t>(sizeof(T)) < kResidentWeights;
  return resident || !x.channels_last() || !y.channels_last() ? SeparableMethod::kOnePass
                                                              : SeparableMethod::kTwoPasses;
}

template <class T>
bool separable_pools(const ConvGeometry& g, Image<const T> x, Image<T> y, const PoolGeometry& windows) {
  return y.channels_last() && separable_method<T>(g, x, y) == SeparableMethod::kOnePass &&
         strips_pool(windows);
}

template <class T>
void separable_forward(const ConvGeometry& g, Image<const T> x,
                       std::type_identity_t<Weights<T>> depthwise_weight,
                       std::type_identity_t<Weights<T>> pointwise_weight, const Epilogue<T>& epilogue,
                       Image<T> y, const Prologue<T>* prologue) {
  if (y.size() == 0) return;
  if (separable_method<T>(g, x, y) == SeparableMethod::kTwoPasses) {
    in_two_passes<T>(g, x, depthwise_weight, pointwise_weight, epilogue, y, prologue);
    return;
  }
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  const TapPhaseAxis &ph = h.phases[0], &pw = w.phases[0];
  const int64_t channels = g.out_channels, multiplier = channels / x.c;
  const int64_t filters_size = rows_weight_size<T>(ph, pw, channels);
  const bool in_place = x.channels_last() && multiplier == 1 && prologue == nullptr;

  const int64_t most = kStripBytes / static_cast<int64_t>(sizeof(T)) / (y.w * channels);
  int64_t rows = std::clamp<int64_t>(most / 2 * 2, 2,
                                     round_up(y.h, 2));  // pairs start at even rows whatever the threads
  while (rows > 2 && y.n * ceil_div(y.h, rows) < 4 * threads_for(std::numeric_limits<int64_t>::max()))
    rows -= 2;
  if (epilogue.pooled != nullptr) rows = std::max(rows, round_up(epilogue.pooled->windows->h.kernel, 2));
  const int64_t strips = ceil_div(y.h, rows), items = y.n * strips;
  const int threads = threads_for(items);
  const int64_t in_rows = (rows - 1) * h.in_step + (g.h.kernel - 1) * g.h.dilation + 1;
  const int64_t loaded = in_place ? 0 : in_rows * x.w * x.c,
                expanded = multiplier > 1 ? in_rows * x.w * channels : 0;
  const PanelSplit split(y.c, kernels.lanes, kernels.max_vectors);
  const int64_t packed_size = channels * split.vectors * kernels.lanes, pixels = rows * y.w;
  // Results of a strip that do not go to y at once: turned, or only wanted for their maxima.
  const bool kept = y.data == nullptr;
  const int64_t block_size = kept                ? pixels * y.c
                             : y.channels_last() ? 0
                                                 : pixels * kernels.max_vectors * kernels.lanes;
  StripPool<T> pool(epilogue.pooled, y, rows);

  Scratch scratch(Scratch::bytes_of<T>(pointwise_weight.scratch(packed_size)) +
                  Scratch::bytes_of<T>(depthwise_weight.scratch(filters_size)) +
                  Scratch::bytes_of<T>(x.w * channels) + Scratch::bytes_of<int64_t>(channels) +
                  2 * Scratch::bytes_of<int64_t>(pixels) + Scratch::bytes_of<T>(pool.scratch()) +
                  kernels.max_vectors * Scratch::bytes_of<int64_t>(pixels) +
                  threads * (Scratch::bytes_of<T>(loaded) + Scratch::bytes_of<T>(expanded) +
                             Scratch::bytes_of<T>(pixels * channels) + Scratch::bytes_of<T>(block_size)));
  T* const zeros = scratch.take<T>(x.w * channels);
  int64_t* const position = scratch.take<int64_t>(channels);
  pool.use(scratch.take<T>(pool.scratch()));
  int64_t* const row = scratch.take<int64_t>(pixels);
  int64_t* const out = scratch.take<int64_t>(pixels);
  std::vector<int64_t*> block_out(kernels.max_vectors + 1, nullptr);
  for (int64_t v = 1; v <= kernels.max_vectors; ++v) block_out[v] = scratch.take<int64_t>(pixels);
  struct Workspace {
    T *loaded, *expanded, *middle, *block;
  };
  std::vector<Workspace> workspaces(threads);
  for (Workspace& space : workspaces) {
    space = {scratch.take<T>(loaded), scratch.take<T>(expanded), scratch.take<T>(pixels * channels),
             scratch.take<T>(block_size)};
  }

  std::fill_n(zeros, x.w * channels, T(0));
  std::iota(position, position + channels, int64_t{0});
  const T* const filters = depthwise_weight.form({kRows, kernels.lanes}, filters_size, scratch, [&](T* to) {
    pack_rows_weight(ph, pw, depthwise_weight.data, channels, g.h.kernel, g.w.kernel, to);
  });
  for (int64_t p = 0; p < pixels; ++p) {
    row[p] = p * channels;
    out[p] = p * y.c;
    for (int64_t v = 1; v <= kernels.max_vectors; ++v) block_out[v][p] = p * v * kernels.lanes;
  }
  const T* const packed = pointwise_weight.form({kColumns, kernels.lanes}, packed_size, scratch, [&](T* to) {
    parallel_for(split.panels, [&](int64_t panel, int) {
      const int64_t first = split.begin(panel) * kernels.lanes;
      kernels.pack_panel({pointwise_weight.data, y.c, channels, 1, 0, channels, position, 0}, first,
                         split.width(panel), to + channels * first);
    });
  });

  // A residual that lies as the sums do is added while they are in registers.
  const T* const residual = y.channels_last() ? epilogue.residual : nullptr;
  const Epilogue<T> after = y.channels_last() ? without_residual(epilogue) : epilogue;
  const Finish<T> finish(after);
  const int64_t no_tap = 0;

  parallel_for(items, threads, [&](int64_t item, int thread) {
    const Workspace& space = workspaces[thread];
    const int64_t n = item / strips, u0 = item % strips * rows, u1 = std::min(u0 + rows, y.h);
    const int64_t first_row = g.h.tap(u0, 0);
    if (!in_place) {
      const int64_t begin = std::clamp<int64_t>(first_row, 0, x.h),
                    end = std::clamp<int64_t>(first_row + in_rows, begin, x.h), row_size = x.w * x.c;
      T* const inside = space.loaded + (begin - first_row) * row_size;
      if (prologue == nullptr || !x.channels_last()) {
        load_strip(x, n, 0, x.c, {first_row, in_rows, 0, x.w}, space.loaded);
      } else if (multiplier > 1) {  // which expands the rows outside too
        std::fill_n(space.loaded, in_rows * row_size, T(0));
      }
      if (prologue != nullptr) {
        apply(*prologue, x.channels_last() ? x.at(n, 0, begin, 0) : inside, (end - begin) * x.w, x.c, inside);
      }
      if (multiplier > 1) expand_row(space.loaded, in_rows * x.w * x.c, multiplier, space.expanded);
    }
    const T* const strip = multiplier > 1 ? space.expanded : space.loaded;
    const auto row_of = [&](int64_t r) -> const T* {
      if (!g.h.inside(r)) return nullptr;
      return in_place ? x.at(n, 0, r, 0) : strip + (r - first_row) * x.w * channels;
    };
    const auto middle_of = [&](int64_t u) { return space.middle + (u - u0) * y.w * channels; };
    const T* const no_bias = nullptr;
    run_rows<T>({ph, pw, h.in_step, w.in_step, x.w, channels, filters, no_bias, zeros, channels, false, T(0)},
                u0, u1, 0, y.w, row_of, middle_of);

    // Rows of x for the item that this thread is likely to have next, while the product is at work.
    Ahead<T> rows_of_next;
    if (x.channels_last() && item + 1 < items) {
      const int64_t next = item + 1, first = g.h.tap(next % strips * rows, 0);
      const int64_t begin = std::clamp<int64_t>(first, 0, x.h),
                    end = std::clamp<int64_t>(first + in_rows, begin, x.h);
      rows_of_next = {x.at(next / strips, 0, begin, 0), (end - begin) * x.w * x.c};
    }
    const int64_t count = (u1 - u0) * y.w;
    T* const results = kept ? space.block : y.channels_last() ? y.at(n, 0, u0, 0) : nullptr;
    for (int64_t panel = 0; panel < split.panels; ++panel) {
      const int64_t first = split.begin(panel) * kernels.lanes, vectors = split.width(panel);
      const int64_t columns = std::min(vectors * kernels.lanes, y.c - first);
      const bool last = y.channels_last();
      T* const to = last ? results + first : space.block;
      kernels.taps_panel({space.middle, row, &no_tap, count, 1, channels, packed + channels * first, vectors,
                          columns, epilogue.bias == nullptr ? nullptr : epilogue.bias + first, to,
                          last ? out : block_out[vectors], finish.clamp, T(0), finish.clamp_hi,
                          rows_of_next.part(panel, panel + 1, split.panels), false,
                          residual == nullptr ? nullptr : residual + (to - y.data),
                          last && ahead_of_y_pays(split.panels, channels)});
      if (!last) {
        store_strip(space.block, vectors * kernels.lanes, y, n, first, columns, {u0, u1 - u0, 0, y.w}, 1, 1);
      }
    }
    const int64_t runs = !finish.rectangle ? 0 : y.channels_last() ? 1 : y.c;
    for (int64_t c = 0; c < runs; ++c) {
      T* const to = y.channels_last() ? results : y.at(n, c, u0, 0);
      const T* residual = after.residual == nullptr ? nullptr : after.residual + (to - y.data);
      elementwise_kernels<T>().epilogue(after.activation, after.alpha, residual, to, count * (y.c / runs));
    }
    if (pool) pool.take(n, u0, u1, results);
  });
  if (pool) pool.join();
}

template void separable_forward<float>(const ConvGeometry&, Image<const float>, Weights<float>,
                                       Weights<float>, const Epilogue<float>&, Image<float>,
                                       const Prologue<float>*);
template void separable_forward<double>(const ConvGeometry&, Image<const double>, Weights<double>,
                                        Weights<double>, const Epilogue<double>&, Image<double>,
                                        const Prologue<double>*);

template bool separable_pools<float>(const ConvGeometry&, Image<const float>, Image<float>,
                                     const PoolGeometry&);
template bool separable_pools<double>(const ConvGeometry&, Image<const double>, Image<double>,
                                      const PoolGeometry&);
template SeparableMethod separable_method<float>(const ConvGeometry&, Image<const float>, Image<float>);
template SeparableMethod separable_method<double>(const ConvGeometry&, Image<const double>, Image<double>);

}  // namespace neocog
