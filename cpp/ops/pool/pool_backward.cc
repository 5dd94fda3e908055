#include "ops/pool/pool_layout.h"
#include "ops/pool/pool_strips.h"

namespace neocog {
namespace {

// Where each input row and column gets its gradient from, and what the windows of the output divide by.
template <class T>
struct Covering {
  std::vector<PoolSpan> h, w;
  std::vector<T> h_weight, w_weight;

  explicit Covering(const PoolGeometry& g)
      : h(covering_windows(g.h)),
        w(covering_windows(g.w)),
        h_weight(inverse(g.h.divisor)),
        w_weight(inverse(g.w.divisor)) {}

 private:
  static std::vector<T> inverse(const std::vector<double>& divisor) {
    std::vector<T> weight;
    for (const double d : divisor) weight.push_back(static_cast<T>(1 / d));
    return weight;
  }
};

// One window spans all columns.
bool in_runs(const PoolGeometry& g) {
  return g.w.out() == 1 && g.w.span[0].count == g.w.in;
}

template <class T>
void spread_runs(const PoolGeometry& g, Image<const T> dy, Image<T> dx) {
  const Covering<T> covering(g);
  const auto kernel = pool_kernels<T>().spread_runs;
  const PoolTiles tiles(dx.n * dx.c, dx.h, 1, dx.w, 1);
  tiles.run([&](const PoolTile& tile, int) {
    PoolSpreadStrip<T> strip{};
    strip.rows = {dy.data, dy.h, 1, covering.h.data(), dx.h, 1, tile.row, tile.row_end};
    strip.y = dx.data;
    strip.y_row = strip.count = dx.w;
    strip.row_weight = covering.h_weight.data();
    strip.column_weight = covering.w_weight.data();
    kernel(strip);
  });
}

template <class T>
void spread_strips(const PoolGeometry& g, int64_t planes, int64_t unit, Image<const T> dy, Image<T> dx) {
  const Covering<T> covering(g);
  const std::vector<T> column_weight = per_element(covering.w_weight, unit);
  PoolSpreadLines<T> lines(g.w, covering.w, unit);
  const PoolTiles tiles(planes, dx.h, dx.w, unit, lines.block());
  lines.allocate(tiles.threads());
  const auto kernel = pool_kernels<T>().spread_strip;
  tiles.run([&](const PoolTile& tile, int thread) {
    PoolSpreadStrip<T> strip{};
    strip.rows = {dy.data, dy.h * dy.w * unit, dy.w * unit, covering.h.data(), dx.h,
                  1,       tile.row,           tile.row_end};
    strip.y = dx.data;
    strip.y_row = dx.w * unit;
    strip.row_weight = covering.h_weight.data();
    lines.place(tile, thread, column_weight.data(), &strip);
    kernel(strip);
  });
}

template <class T>
void spread_pixels(const PoolGeometry& g, Image<const T> dy, Image<T> dx) {
  const Covering<T> covering(g);
  const auto kernel = pool_kernels<T>().spread_pixels;
  const PixelTiles cut(dx.n, dx.c, dx.h, dx.w, 1);
  cut.run(dx.h, [&](const ChannelPart& part, int64_t i, int64_t begin, int64_t end) {
    PoolPixels<T> pixels{};
    pixels.x = dy.at(part.n, part.c, 0, 0);
    pixels.x_row = dy.stride_h();
    pixels.x_column = dy.c;
    pixels.rows = covering.h[i];
    pixels.row_step = pixels.column_step = 1;
    pixels.columns = covering.w.data();
    pixels.begin = begin;
    pixels.end = end;
    pixels.channels = part.channels;
    pixels.y = dx.at(part.n, part.c, i, 0);
    pixels.y_column = dx.c;
    pixels.row = covering.h_weight.data();
    pixels.column = covering.w_weight.data();
    kernel(pixels);
  });
}

}  // namespace

template <class T>
void avg_pool_backward(const PoolGeometry& g, Image<const T> dy, Image<T> dx) {
  if (dx.size() == 0) return;
  if (!in_pixels(dx)) {
    if (in_runs(g) && in_runs({g.w, g.h})) {
      // One window over a plane is one over its pixels as a row.
      PoolGeometry row{adaptive_axis(1, 1), adaptive_axis(dx.h * dx.w, 1)};
      row.w.divisor[0] = g.h.divisor[0] * g.w.divisor[0];
      spread_runs(row, dy, Image<T>{dx.data, dx.n, dx.c, 1, dx.h * dx.w, Layout::kChannelsFirst});
    } else if (in_runs(g)) {
      spread_runs(g, dy, dx);
    } else {
      spread_strips(g, dx.n * dx.c, 1, dy, dx);
    }
  } else if (strips_of_pixels(g, dx.c, pool_kernels<T>().lanes)) {
    spread_strips(g, dx.n, dx.c, dy, dx);
  } else {
    spread_pixels(g, dy, dx);
  }
}

template void avg_pool_backward<float>(const PoolGeometry&, Image<const float>, Image<float>);
template void avg_pool_backward<double>(const PoolGeometry&, Image<const double>, Image<double>);

}  // namespace neocog
