#include "ops/depthwise/depthwise_blocks.h"

#include <algorithm>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/strip.h"
#include "ops/conv/tap_span.h"
#include "ops/depthwise/depthwise.h"
#include "ops/depthwise/row_job.h"

namespace neocog {
namespace {

// x and y of one item.
constexpr int64_t kBlockBytes = 768 << 10;
// Items that give every thread a share where the batch and the channels are few.
constexpr int64_t kFewItems = 16;

}  // namespace

template <class T>
BlockRows depthwise_block_rows(const TapConvAxis& h, int64_t span, Image<const T> x, Image<const T> y) {
  const int64_t lanes = depthwise_kernels<T>().lanes, channels = std::min(lanes, y.c);
  if (y.channels_last() || x.c != y.c || 2 * y.c < lanes || lanes == 1) return {channels, 0};
  const int64_t row_x = h.in_step * x.w, row_y = h.out_step * y.w;  // elements per position and channel
  const int64_t elements = kBlockBytes / static_cast<int64_t>(sizeof(T)) / channels;
  const int64_t most = (elements - span * x.w) / std::max<int64_t>(1, row_x + row_y);
  // Items that are not much higher than the taps read most rows twice.
  if (most < std::min(h.positions, std::max<int64_t>(kMostRows, 2 * span / h.in_step))) return {channels, 0};
  const int64_t planes = y.n * ceil_div(y.c, channels);
  const int64_t few = ceil_div(h.positions, ceil_div(kFewItems, planes));
  const int64_t wanted = std::min(most, std::max<int64_t>(few, 2 * kMostRows));
  return {channels, round_up(ceil_div(h.positions, ceil_div(h.positions, wanted)), kMostRows)};
}

template <class T>
void depthwise_blocks(const BlockRows& cut, const TapConvAxis& h, const TapConvAxis& w, Image<const T> x,
                      const T* weight, int64_t kernel_h, int64_t kernel_w, const Epilogue<T>& epilogue,
                      Image<T> y) {
  PackedPhases<T> phases(h, w, y.c);
  int64_t item_rows = std::min(cut.rows, h.positions);
  if (epilogue.moments != nullptr) {
    item_rows = whole_parts(item_rows, h.positions, epilogue.moments->cut(y, y.w));
  }
  const Span span = span_of(h);
  const int64_t row_items = ceil_div(h.positions, item_rows), blocks = ceil_div(y.c, cut.channels);
  const int64_t items = y.n * row_items * blocks;
  const int threads = threads_for(items);
  const int64_t x_row = x.w * cut.channels, y_row = y.w * cut.channels;
  const int64_t x_size = std::min(x.h, (item_rows - 1) * h.in_step + span.hi - span.lo + 1) * x_row;
  const int64_t y_size = std::min(y.h, item_rows * h.out_step) * y_row;

  Scratch scratch(Scratch::bytes_of<T>(phases.size()) + Scratch::bytes_of<T>(x_row) +
                  threads * (Scratch::bytes_of<T>(x_size) + Scratch::bytes_of<T>(y_size)));
  phases.pack(weight, kernel_h, kernel_w, scratch.take<T>(phases.size()));
  T* const zeros = scratch.take<T>(x_row);
  std::fill_n(zeros, x_row, T(0));
  std::vector<T*> x_blocks(threads), y_blocks(threads);
  for (int t = 0; t < threads; ++t) {
    x_blocks[t] = scratch.take<T>(x_size);
    y_blocks[t] = scratch.take<T>(y_size);
  }
  const Finish<T> finish(epilogue);

  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t block = item % blocks, part = item / blocks % row_items, n = item / blocks / row_items;
    const int64_t channel = block * cut.channels, channels = std::min(cut.channels, y.c - channel);
    const int64_t u0 = part * item_rows, u1 = std::min(h.positions, u0 + item_rows);
    const int64_t first = std::clamp<int64_t>(u0 * h.in_step + span.lo, 0, x.h);
    const int64_t last = std::clamp<int64_t>((u1 - 1) * h.in_step + span.hi + 1, first, x.h);
    const int64_t row0 = u0 * h.out_step, row1 = std::min(u1 * h.out_step, y.h);
    const T* const rows = x_blocks[thread];
    T* const results = y_blocks[thread];
    load_strip(x, n, channel, channels, {first, last - first, 0, x.w}, x_blocks[thread]);
    const auto row_of = [&](int64_t row) -> const T* {
      return row < first || row >= last ? nullptr : rows + (row - first) * x.w * channels;
    };
    phases.run(u0, u1, x.w, channel, channels, epilogue.bias == nullptr ? nullptr : epilogue.bias + channel,
               zeros, finish.clamp, finish.clamp_hi, row_of,
               [&](int64_t row) { return results + (row - row0) * y.w * channels; });
    store_strip(results, channels, y, n, channel, channels, {row0, row1 - row0, 0, y.w}, 1, 1);
    finish_rectangle(epilogue, y, n, channel, channels, row0, row1, 0, y.w);
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                              \
  template BlockRows depthwise_block_rows<T>(const TapConvAxis&, int64_t, Image<const T>, Image<const T>); \
  template void depthwise_blocks<T>(const BlockRows&, const TapConvAxis&, const TapConvAxis&,              \
                                    Image<const T>, const T*, int64_t, int64_t, const Epilogue<T>&,        \
                                    Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
