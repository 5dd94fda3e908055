// The gradients: dw[o,0,r,s] = sum over n,i,j of dy[n,o,i,j] * x[n, o / M, h.tap(i,r), w.tap(j,s)], and with
// it those for x and the bias, from the same rows of dy while they are in the cache.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv_axis.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/depthwise_blocks.h"
#include "ops/depthwise/plane_strip.h"
#include "ops/depthwise/row_gradients.h"
#include "ops/elementwise/broadcast.h"

namespace neocog {
namespace {

// Channels-last work is cut into this many sums, whatever the number of threads: they are added in order.
constexpr int64_t kParts = 16;
constexpr int64_t kRowsPerPart = 4;
// Rows of x, dy and dx that one step takes: with those of the next step they stay in the second-level cache.
constexpr int64_t kStepBytes = 384 << 10;

// dx[.., i, ..] belongs to the step that takes row i of dy where there are as many rows, else in proportion.
int64_t position_of(int64_t row, int64_t rows, int64_t positions) {
  return row * positions / rows;
}

template <class T>
void add_partial_sums(const std::vector<double*>& partial, int64_t channels, T* db) {
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (const double* const part : partial) sum += part[c];
    db[c] = static_cast<T>(sum);
  }
}

// The input gradient is the transposed convolution of dy.
template <class T>
struct InputGradient {
  TapConvAxis h, w;
  PackedPhases<T> phases;
  Span span;
  InputGradient(const ConvGeometry& g)
      : h(transposed_axis(g.h)), w(transposed_axis(g.w)), phases(h, w, g.out_channels), span(span_of(h)) {}
  InputGradient(const InputGradient&) = delete;
};

// Rows [i0, i1) of dy of image n, positions [u0, u1) of dx, and the ends of the rows that they touch, counted
// over all images.
struct Step {
  int64_t n, i0, i1, u0, u1, x_end, dy_end, dx_end;
};

template <class T>
Step step_of(const ConvGeometry& g, const InputGradient<T>& input, int64_t dy_h, int64_t begin, int64_t end) {
  const int64_t n = begin / dy_h, i0 = begin % dy_h, i1 = std::min(dy_h, i0 + end - begin);
  const int64_t u0 = position_of(i0, dy_h, input.h.positions), u1 = position_of(i1, dy_h, input.h.positions);
  return {n,
          i0,
          i1,
          u0,
          u1,
          n * g.h.in + std::clamp<int64_t>(g.h.tap(i1 - 1, g.h.kernel - 1) + 1, 0, g.h.in),
          n * dy_h + std::clamp<int64_t>(std::max(i1, u1 + input.span.hi), 0, dy_h),
          n * g.h.in + std::min(g.h.in, u1 * input.h.out_step)};
}

// Rows [begin, end) of all images; empty if that is none.
template <class T>
Ahead<std::remove_const_t<T>> rows_between(const Image<T>& image, int64_t begin, int64_t end) {
  if (end <= begin) return {};
  const int64_t row = image.w * image.c;
  return {image.data + begin * row, (end - begin) * row};
}

template <class T>
void channels_last(const ConvGeometry& g, const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
                   Image<const T> dy, const T* weight, const ConvGradients<T>& grads) {
  const int64_t channels = dy.c, taps = g.h.kernel * g.w.kernel;
  const int64_t total = dy.n * dy.h, parts = std::clamp<int64_t>(total / kRowsPerPart, 1, kParts);
  const int threads = threads_for(parts);
  const RowGradients<T> gradients(g, h, w, x, dy);
  std::optional<InputGradient<T>> input;
  if (grads.x != nullptr) input.emplace(g);
  const int64_t packed_size = input ? input->phases.size() : 0;
  const int64_t zeros_size = input ? std::max(x.w, dy.w) * channels : gradients.zeros_size();
  const int64_t bias_size = grads.bias == nullptr ? 0 : channels;
  Scratch scratch(parts * (Scratch::bytes_of<T>(taps * channels) + Scratch::bytes_of<double>(bias_size)) +
                  threads *
                      (Scratch::bytes_of<T>(gradients.buffer_size()) + Scratch::bytes_of<double>(bias_size)) +
                  Scratch::bytes_of<T>(zeros_size) + Scratch::bytes_of<T>(packed_size));
  std::vector<T*> sums(parts), buffers(threads);
  std::vector<double*> bias_sums(parts), bias_steps(threads);
  for (T*& sum : sums) sum = scratch.take<T>(taps * channels);
  for (double*& sum : bias_sums) sum = scratch.take<double>(bias_size);
  for (T*& buffer : buffers) buffer = scratch.take<T>(gradients.buffer_size());
  for (double*& step : bias_steps) step = scratch.take<double>(bias_size);
  T* const zeros = scratch.take<T>(zeros_size);
  std::fill_n(zeros, zeros_size, T(0));
  if (input) input->phases.pack(weight, g.h.kernel, g.w.kernel, scratch.take<T>(packed_size));

  const int64_t row_bytes = (x.w * (input ? 2 : 1) + dy.w) * channels * static_cast<int64_t>(sizeof(T));
  const int64_t step = input ? std::max<int64_t>(2, kStepBytes / row_bytes / 2 * 2) : total;
  const Image<T> dx{grads.x, x.n, x.c, x.h, x.w, x.layout};
  const bool stream = input && streams_rows(dx);
  const auto dx_rows = [&](int64_t begin, int64_t end) {
    return stream ? Ahead<T>{} : rows_between(dx, begin, end);
  };
  parallel_for(parts, threads, [&](int64_t part, int thread) {
    std::fill_n(sums[part], taps * channels, T(0));
    std::fill_n(bias_sums[part], bias_size, 0.0);
    const int64_t begin = total * part / parts, end = total * (part + 1) / parts;
    if (!input) {
      gradients.add(begin, end, zeros, buffers[thread], sums[part]);
      return;
    }
    const auto step_from = [&](int64_t at) { return step_of(g, *input, dy.h, at, std::min(end, at + step)); };
    // What is asked for up to these ends, in the order of its use: each pass asks for what the next one
    // touches.
    Step here = step_from(begin);
    Step asked = here;
    asked.x_end = here.n * x.h + std::max<int64_t>(0, g.h.tap(here.i0, 0));
    fetch(rows_between(dy, here.n * dy.h + std::max<int64_t>(0, here.u0 + input->span.lo), here.dy_end));
    fetch(dx_rows(here.n * x.h + here.u0 * input->h.out_step, here.dx_end));
    for (int64_t at = begin; at < end;) {
      const int64_t n = here.n;
      const auto row_of = [&](int64_t row) -> const T* {
        return row < 0 || row >= dy.h ? nullptr : dy.at(n, 0, row, 0);
      };
      const Ahead<T> of_x = rows_between(x, asked.x_end, here.x_end);
      asked.x_end = std::max(asked.x_end, here.x_end);
      input->phases.run(
          here.u0, here.u1, dy.w, 0, channels, nullptr, zeros, false, T(0), row_of,
          [&](int64_t row) { return dx.at(n, 0, row, 0); }, &of_x, stream);
      const int64_t next = at + here.i1 - here.i0;
      typename RowGradients<T>::Next then;
      if (next < end) {
        here = step_from(next);
        then = {dx_rows(asked.dx_end, here.dx_end), rows_between(dy, asked.dy_end, here.dy_end)};
        asked.dx_end = here.dx_end;
        asked.dy_end = std::max(asked.dy_end, here.dy_end);
      }
      gradients.add(at, next, zeros, buffers[thread], sums[part], &then);
      if (grads.bias != nullptr) {
        broadcast_kernels<T>().sum_columns(dy.data + at * dy.w * channels, (next - at) * dy.w, channels,
                                           channels, bias_steps[thread]);
        for (int64_t c = 0; c < channels; ++c) bias_sums[part][c] += bias_steps[thread][c];
      }
      at = next;
    }
  });
  for (int64_t part = 1; part < parts; ++part) {
    for (int64_t i = 0; i < taps * channels; ++i) sums[0][i] += sums[part][i];
  }
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t t = 0; t < taps; ++t) grads.weight[c * taps + t] = sums[0][t * channels + c];
  }
  if (grads.bias != nullptr) add_partial_sums(bias_sums, channels, grads.bias);
}

template <class T>
void channels_first(const ConvGeometry& g, const TapConvAxis& w, Image<const T> x, Image<const T> dy, T* dw) {
  const DepthwiseKernels<T>& kernels = depthwise_kernels<T>();
  const int64_t multiplier = dy.c / x.c, taps = g.h.kernel * g.w.kernel;
  const TapPhaseAxis& pw = w.phases[0];
  const PlaneStrip strip(w, reach_of(pw), pw.count, kernels.lanes);
  std::vector<int64_t> columns(pw.offset.size());
  for (size_t s = 0; s < columns.size(); ++s) columns[s] = strip.column(pw.offset[s]);
  const int64_t block = std::clamp<int64_t>(8192 / pw.count, 8, 64);  // output rows that share a strip
  const int64_t strip_rows = (std::min(block, dy.h) - 1) * g.h.stride + (g.h.kernel - 1) * g.h.dilation + 1;
  const int threads = threads_for(dy.c);
  Scratch scratch(threads * (Scratch::bytes_of<T>(strip_rows * strip.pitch) +
                             Scratch::bytes_of<T>(taps * kernels.lanes)));
  std::vector<T*> strips(threads), sums(threads);
  for (int t = 0; t < threads; ++t) {
    strips[t] = scratch.take<T>(strip_rows * strip.pitch);
    sums[t] = scratch.take<T>(taps * kernels.lanes);
  }
  parallel_for(dy.c, threads, [&](int64_t o, int thread) {
    std::fill_n(sums[thread], taps * kernels.lanes, T(0));
    std::vector<const T*> rows(g.h.kernel);
    for (int64_t n = 0; n < dy.n; ++n) {
      for (int64_t i0 = 0; i0 < dy.h; i0 += block) {
        const int64_t i1 = std::min(i0 + block, dy.h), first = g.h.tap(i0, 0);
        for (int64_t row = first; row <= g.h.tap(i1 - 1, g.h.kernel - 1); ++row) {
          T* const to = strips[thread] + (row - first) * strip.pitch;
          if (g.h.inside(row)) {
            strip.load(x.at(n, o / multiplier, row, 0), x.w, to);
          } else {
            std::fill_n(to, strip.pitch, T(0));
          }
        }
        for (int64_t i = i0; i < i1; ++i) {
          for (int64_t r = 0; r < g.h.kernel; ++r)
            rows[r] = strips[thread] + (g.h.tap(i, r) - first) * strip.pitch;
          kernels.gradient_plane_row({rows.data(), g.h.kernel, g.w.kernel, columns.data(), 1, x.w, 1,
                                      dy.at(n, o, i, 0), dy.w, sums[thread]});
        }
      }
    }
    for (int64_t t = 0; t < taps; ++t) {
      T sum = 0;
      for (int64_t l = 0; l < kernels.lanes; ++l) sum += sums[thread][t * kernels.lanes + l];
      dw[o * taps + t] = sum;
    }
  });
}

// Channels-first: blocks of channels are turned to channels-last scratch, some rows at a time.
template <class T>
void channel_blocks(const BlockRows& cut, const ConvGeometry& g, const TapConvAxis& h, const TapConvAxis& w,
                    Image<const T> x, Image<const T> dy, const T* weight, const ConvGradients<T>& grads) {
  const int64_t taps = g.h.kernel * g.w.kernel, blocks = ceil_div(dy.c, cut.channels);
  const int64_t parts = std::min(dy.n, ceil_div(kParts, blocks));  // sums of some of the images
  const int threads = threads_for(blocks * parts);
  std::optional<InputGradient<T>> input;
  if (grads.x != nullptr) input.emplace(g);
  const int64_t packed_size = input ? input->phases.size() : 0;
  const int64_t rows_dy = std::min(cut.rows, dy.h);
  const int64_t rows_x = std::min(x.h, (rows_dy - 1) * g.h.stride + (g.h.kernel - 1) * g.h.dilation + 1);
  // Rows of dx of a step, and rows of dy that they meet.
  int64_t rows_dx = 0, rows_met = rows_dy;
  if (input) {
    const int64_t positions = input->h.positions, most = position_of(rows_dy, dy.h, positions) + 1;
    rows_dx = std::min(x.h, most * input->h.out_step);
    rows_met += most + std::abs(positions - dy.h) + std::abs(input->span.hi) + std::abs(input->span.lo);
    rows_met = std::min(dy.h, rows_met);
  }
  const int64_t x_size = rows_x * x.w * cut.channels, dy_size = rows_met * dy.w * cut.channels;
  const int64_t dx_size = rows_dx * x.w * cut.channels;
  const int64_t sum_size = taps * cut.channels, zeros_size = std::max(x.w, dy.w) * cut.channels;
  const int64_t bias_size = grads.bias == nullptr ? 0 : cut.channels;
  Scratch scratch(parts * blocks * (Scratch::bytes_of<T>(sum_size) + Scratch::bytes_of<double>(bias_size)) +
                  Scratch::bytes_of<T>(zeros_size) + Scratch::bytes_of<T>(packed_size) +
                  threads * (Scratch::bytes_of<T>(x_size) + Scratch::bytes_of<T>(dy_size) +
                             Scratch::bytes_of<T>(dx_size) + Scratch::bytes_of<double>(bias_size)));
  std::vector<T*> sums(parts * blocks), x_blocks(threads), dy_blocks(threads), dx_blocks(threads);
  std::vector<double*> bias_sums(parts * blocks), bias_steps(threads);
  for (T*& sum : sums) sum = scratch.take<T>(sum_size);
  for (double*& sum : bias_sums) sum = scratch.take<double>(bias_size);
  T* const zeros = scratch.take<T>(zeros_size);
  std::fill_n(zeros, zeros_size, T(0));
  for (int t = 0; t < threads; ++t) {
    x_blocks[t] = scratch.take<T>(x_size);
    dy_blocks[t] = scratch.take<T>(dy_size);
    dx_blocks[t] = scratch.take<T>(dx_size);
    bias_steps[t] = scratch.take<double>(bias_size);
  }
  if (input) input->phases.pack(weight, g.h.kernel, g.w.kernel, scratch.take<T>(packed_size));
  const Image<T> dx{grads.x, x.n, x.c, x.h, x.w, x.layout};
  parallel_for(blocks * parts, threads, [&](int64_t item, int thread) {
    const int64_t block = item % blocks, part = item / blocks;
    const int64_t channel = block * cut.channels, channels = std::min(cut.channels, dy.c - channel);
    T* const sum = sums[item];
    std::fill_n(sum, sum_size, T(0));
    std::fill_n(bias_sums[item], bias_size, 0.0);
    for (int64_t n = dy.n * part / parts; n < dy.n * (part + 1) / parts; ++n) {
      for (int64_t i0 = 0; i0 < dy.h; i0 += rows_dy) {
        const int64_t i1 = std::min(i0 + rows_dy, dy.h);
        const int64_t first = std::clamp<int64_t>(g.h.tap(i0, 0), 0, x.h);
        const int64_t last = std::clamp<int64_t>(g.h.tap(i1 - 1, g.h.kernel - 1) + 1, first, x.h);
        int64_t u0 = 0, u1 = 0, from = i0, to = i1;  // positions of dx, rows of dy
        if (input) {
          u0 = position_of(i0, dy.h, input->h.positions);
          u1 = position_of(i1, dy.h, input->h.positions);
          from = std::clamp<int64_t>(u0 + input->span.lo, 0, i0);
          to = std::clamp<int64_t>(u1 + input->span.hi, i1, dy.h);
        }
        load_strip(x, n, channel, channels, {first, last - first, 0, x.w}, x_blocks[thread]);
        load_strip(dy, n, channel, channels, {from, to - from, 0, dy.w}, dy_blocks[thread]);
        const T* const dy_rows = dy_blocks[thread] + (i0 - from) * dy.w * channels;
        RowGradients<T>(g, h, w, {x_blocks[thread], 1, channels, last - first, x.w, Layout::kChannelsLast},
                        {dy_rows, 1, channels, i1 - i0, dy.w, Layout::kChannelsLast}, first, i0)
            .add(0, i1 - i0, zeros, nullptr, sum);
        if (grads.bias != nullptr) {
          broadcast_kernels<T>().sum_columns(dy_rows, (i1 - i0) * dy.w, channels, channels,
                                             bias_steps[thread]);
          for (int64_t c = 0; c < channels; ++c) bias_sums[item][c] += bias_steps[thread][c];
        }
        if (u0 == u1) continue;
        const int64_t row0 = u0 * input->h.out_step, row1 = std::min(u1 * input->h.out_step, x.h);
        const auto row_of = [&](int64_t row) -> const T* {
          return row < from || row >= to ? nullptr : dy_blocks[thread] + (row - from) * dy.w * channels;
        };
        input->phases.run(u0, u1, dy.w, channel, channels, nullptr, zeros, false, T(0), row_of,
                          [&](int64_t row) { return dx_blocks[thread] + (row - row0) * x.w * channels; });
        store_strip(dx_blocks[thread], channels, dx, n, channel, channels, {row0, row1 - row0, 0, x.w}, 1, 1);
      }
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t channel = block * cut.channels, channels = std::min(cut.channels, dy.c - channel);
    for (int64_t part = 1; part < parts; ++part) {
      for (int64_t i = 0; i < taps * channels; ++i) sums[block][i] += sums[part * blocks + block][i];
    }
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t t = 0; t < taps; ++t)
        grads.weight[(channel + c) * taps + t] = sums[block][t * channels + c];
    }
    if (grads.bias == nullptr) continue;
    std::vector<double*> of_block;
    for (int64_t part = 0; part < parts; ++part) of_block.push_back(bias_sums[part * blocks + block]);
    add_partial_sums(of_block, channels, grads.bias + channel);
  }
}

template <class T>
BlockRows block_rows(const ConvGeometry& g, const TapConvAxis& h, Image<const T> x, Image<const T> dy) {
  return depthwise_block_rows<T>(h, (g.h.kernel - 1) * g.h.dilation + 1, x, dy);
}

}  // namespace

template <class T>
bool depthwise_backward_suits(const ConvGeometry& g, Image<const T> x, Image<const T> dy) {
  if (!is_depthwise(g) || g.in_channels != g.out_channels || x.layout != dy.layout || dy.size() == 0) {
    return false;
  }
  if (!transposed_axis(g.h).complete || !transposed_axis(g.w).complete) return false;
  return dy.channels_last() || block_rows(g, forward_axis(g.h), x, dy).rows > 0;
}

template <class T>
void depthwise_backward(const ConvGeometry& g, Image<const T> x, Image<const T> dy, const T* weight,
                        const ConvGradients<T>& grads) {
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  if (dy.channels_last()) {
    channels_last(g, h, w, x, dy, weight, grads);
  } else {
    channel_blocks(block_rows(g, h, x, dy), g, h, w, x, dy, weight, grads);
  }
}

template <class T>
void depthwise_backward_weight(const ConvGeometry& g, Image<const T> x, Image<const T> dy, T* dw) {
  const TapConvAxis h = forward_axis(g.h), w = forward_axis(g.w);
  const ConvGradients<T> grads{nullptr, dw, nullptr};
  const BlockRows cut = block_rows(g, h, x, dy);
  if (dy.channels_last()) {
    channels_last<T>(g, h, w, x, dy, nullptr, grads);
  } else if (cut.rows > 0) {
    channel_blocks<T>(cut, g, h, w, x, dy, nullptr, grads);
  } else {
    channels_first(g, w, x, dy, dw);
  }
}

#define NEOCOG_INSTANTIATE(T)                                                                        \
  template bool depthwise_backward_suits<T>(const ConvGeometry&, Image<const T>, Image<const T>);    \
  template void depthwise_backward<T>(const ConvGeometry&, Image<const T>, Image<const T>, const T*, \
                                      const ConvGradients<T>&);                                      \
  template void depthwise_backward_weight<T>(const ConvGeometry&, Image<const T>, Image<const T>, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
