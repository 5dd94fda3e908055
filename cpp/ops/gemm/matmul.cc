#include "ops/gemm/matmul.h"

#include <algorithm>
#include <numeric>

#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Rows that share a packed panel: enough for the packing to vanish beside the product.
constexpr int64_t kRows = 384;

}  // namespace

// Every item packs the panel of b that it multiplies: no thread waits for another.
void matmul_forward(const MatmulGeometry& g, const std::vector<MatmulOffsets>& products, const float* a,
                    const float* b, float* y) {
  if (g.rows == 0 || g.columns == 0) return;
  const GemmKernels<float>& kernels = gemm_kernels<float>();
  const PanelSplit split(g.columns, kernels.lanes, kernels.max_vectors);
  const int64_t chunks = ceil_div(g.rows, kRows), most_rows = ceil_div(g.rows, chunks);
  const int64_t items = static_cast<int64_t>(products.size()) * split.panels * chunks;
  const int threads = threads_for(items);
  const int64_t panel_size =
      round_up(g.depth * std::min(split.vectors, kernels.max_vectors) * kernels.lanes, 16);
  const bool by_rows = g.b_column == 1;  // rows of b are contiguous: its depth is the outer axis of a panel
  const int64_t positions = by_rows ? 1 : std::max<int64_t>(1, g.depth);
  Scratch scratch(Scratch::bytes_of<float>(threads * panel_size) + 2 * Scratch::bytes_of<int64_t>(most_rows) +
                  Scratch::bytes_of<int64_t>(positions));
  float* const panels = scratch.take<float>(threads * panel_size);
  int64_t* const row = scratch.take<int64_t>(most_rows);
  int64_t* const out = scratch.take<int64_t>(most_rows);
  int64_t* const position = scratch.take<int64_t>(positions);
  std::iota(position, position + positions, int64_t{0});
  for (int64_t r = 0; r < most_rows; ++r) {
    row[r] = r * g.a_row;
    out[r] = r * g.y_row;
  }
  const int64_t no_tap = 0;
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const MatmulOffsets& at = products[static_cast<size_t>(item / (split.panels * chunks))];
    const int64_t panel = item / chunks % split.panels, chunk = item % chunks;
    const int64_t r0 = g.rows * chunk / chunks, r1 = g.rows * (chunk + 1) / chunks;
    const int64_t first = split.begin(panel) * kernels.lanes, vectors = split.width(panel);
    float* const packed = panels + thread * panel_size;
    const PanelSource<float> source =
        by_rows ? PanelSource<float>{b + at.b, g.columns, 1, g.depth, g.b_row, 1, position, 1}
                : PanelSource<float>{b + at.b, g.columns, g.b_column, 1, 0, g.depth, position, 0};
    kernels.pack_panel(source, first, vectors, packed);
    kernels.taps_panel({a + at.a + r0 * g.a_row, row, &no_tap, r1 - r0, 1, g.depth, packed, vectors,
                        std::min(vectors * kernels.lanes, g.columns - first), nullptr,
                        y + at.y + r0 * g.y_row + first, out, false, 0, 0});
  });
}

}  // namespace neocog
