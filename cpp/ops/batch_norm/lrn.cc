#include "ops/batch_norm/lrn.h"

#include "core/parallel.h"
#include "core/scratch.h"
#include "core/window.h"

namespace neocog {

void lrn(const BatchNormGeometry& g, const LrnParameters& parameters, const float* x, float* y) {
  if (g.batch == 0 || g.channels == 0 || g.pixels == 0) return;
  constexpr int64_t kItem = 1 << 14;  // values one thread takes at a time
  const LrnKernels& kernels = NEOCOG_SELECT_ISA(lrn_kernels_f32);
  if (g.layout == Layout::kChannelsLast) {
    const int64_t rows = g.batch * g.pixels, block = max64(1, kItem / g.channels),
                  items = ceil_div(rows, block);
    const int threads = threads_for(items);
    const int64_t room = round_up(g.channels + parameters.size, 16);
    Scratch scratch(Scratch::bytes_of<float>(threads * room));
    float* const workspace = scratch.take<float>(threads * room);
    parallel_for(items, threads, [&](int64_t item, int thread) {
      const int64_t first = item * block, at = first * g.channels;
      kernels.pixels(parameters, x + at, min64(block, rows - first), g.channels, workspace + thread * room,
                     y + at);
    });
    return;
  }
  // Few enough pixels for their planes to stay cached from channel to channel.
  const int64_t length = min64(g.pixels, 512), blocks = ceil_div(g.pixels, length),
                image = g.channels * g.pixels;
  parallel_for(g.batch * blocks, [&](int64_t item, int) {
    const int64_t first = item % blocks * length, at = item / blocks * image + first;
    for (int64_t c = 0; c < g.channels; ++c) {
      kernels.plane(parameters, x + at, g.pixels, g.channels, c, min64(length, g.pixels - first), y + at);
    }
  });
}

}  // namespace neocog
