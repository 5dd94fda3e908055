#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/pool/pool_layout.h"
#include "ops/pool/pool_strips.h"

namespace neocog {
namespace {

template <class T>
constexpr T kLowest = -std::numeric_limits<T>::infinity();

// What an average divides by; empty for a maximum.
template <class T>
struct Divisors {
  std::vector<T> h, w;
  T all = 0,
    factor = 0;  // the divisor of every window, and its inverse; 0 where there is none, or no exact one

  Divisors() = default;
  explicit Divisors(const PoolGeometry& g)
      : h(g.h.divisor.begin(), g.h.divisor.end()), w(g.w.divisor.begin(), g.w.divisor.end()) {
    const auto same = [](const std::vector<T>& v) {
      return std::count(v.begin(), v.end(), v[0]) == std::ssize(v);
    };
    if (!same(h) || !same(w)) return;
    all = h[0] * w[0];
    int exponent;
    if (std::frexp(std::abs(all), &exponent) == T{0.5}) factor = 1 / all;
  }
};

// Input elements that one output stands for.
int64_t share(const PoolGeometry& g) {
  return std::max<int64_t>(1, g.h.in / g.h.out()) * std::max<int64_t>(1, g.w.in / g.w.out());
}

template <class T>
PoolRows<T> rows_of(const PoolGeometry& g, const PoolTile& tile, const T* x, int64_t row) {
  return {x, g.h.in * row, row, g.h.span.data(), g.h.out(), g.h.dilation, tile.row, tile.row_end};
}

// Windows as wide as the image: each is one run of memory.
bool in_runs(const PoolGeometry& g) {
  return g.w.out() == 1 && g.w.span[0].count == g.w.in && g.h.dilation == 1;
}

template <class T>
void forward_runs(const PoolGeometry& g, Image<const T> x, Image<T> y, int64_t* index,
                  const Divisors<T>& divisor) {
  const bool average = !divisor.h.empty();
  std::vector<T> divisors = divisor.h;
  for (T& d : divisors) d *= divisor.w[0];
  const auto kernel = average ? pool_kernels<T>().average_runs : pool_kernels<T>().max_runs;
  const PoolTiles tiles(x.n * x.c, y.h, 1, share(g), 1);
  tiles.run([&](const PoolTile& tile, int) {
    kernel({rows_of(g, tile, x.data, x.w), y.data, index, divisors.data()});
  });
}

template <class T>
void forward_strips(const PoolGeometry& g, int64_t planes, int64_t unit, Image<const T> x, Image<T> y,
                    const Divisors<T>& divisor) {
  const bool average = !divisor.h.empty();
  const std::vector<T> column_divisor = per_element(divisor.w, unit);
  PoolLines<T> lines(g.w, unit, average ? T{0} : kLowest<T>, false);
  const PoolTiles tiles(planes, y.h, y.w, share(g) * unit, lines.block());
  lines.allocate(tiles.threads());
  const auto kernel = average ? pool_kernels<T>().average_strip : pool_kernels<T>().max_strip;
  tiles.run([&](const PoolTile& tile, int thread) {
    PoolStrip<T> strip{};
    strip.rows = rows_of(g, tile, x.data, x.w * unit);
    strip.y = y.data;
    strip.y_row = y.w * unit;
    if (average) {
      strip.row_divisor = divisor.h.data();
      strip.column_divisor = column_divisor.data() + tile.column * unit;
      strip.divisor = divisor.all;
      strip.factor = divisor.factor;
    }
    lines.place(tile, thread, &strip);
    kernel(strip);
  });
}

template <class T>
void indexed_strips(const PoolGeometry& g, Image<const T> x, Image<T> y, int64_t* index) {
  PoolLines<T> lines(g.w, 1, kLowest<T>, true);
  const PoolTiles tiles(x.n * x.c, y.h, y.w, share(g), lines.block());
  lines.allocate(tiles.threads());
  const auto kernel = pool_kernels<T>().indexed_max_strip;
  tiles.run([&](const PoolTile& tile, int thread) {
    PoolIndexedStrip<T> strip{};
    strip.rows = rows_of(g, tile, x.data, x.w);
    strip.y = y.data;
    strip.y_row = y.w;
    strip.index = index;
    lines.place(tile, thread, &strip);
    kernel(strip);
  });
}

template <class T>
void forward_pixels(const PoolGeometry& g, Image<const T> x, Image<T> y, int64_t* index,
                    const Divisors<T>& divisor) {
  const auto kernel = divisor.h.empty() ? pool_kernels<T>().max_pixels : pool_kernels<T>().average_pixels;
  const PixelTiles cut(x.n, x.c, y.h, y.w, share(g));
  cut.run(y.h, [&](const ChannelPart& part, int64_t i, int64_t begin, int64_t end) {
    PoolPixels<T> pixels{};
    pixels.x = x.at(part.n, part.c, 0, 0);
    pixels.x_row = x.stride_h();
    pixels.x_column = x.stride_w();
    pixels.rows = g.h.span[i];
    pixels.row_step = g.h.dilation;
    pixels.columns = g.w.span.data();
    pixels.column_step = g.w.dilation;
    pixels.begin = begin;
    pixels.end = end;
    pixels.channels = part.channels;
    pixels.y = y.at(part.n, part.c, i, 0);
    pixels.y_column = y.stride_w();
    pixels.index = index == nullptr ? nullptr : index + (pixels.y - y.data);
    pixels.width = x.w;
    pixels.row = divisor.h.data() + (divisor.h.empty() ? 0 : i);
    pixels.column = divisor.w.data();
    kernel(pixels);
  });
}

template <class T>
void forward(const PoolGeometry& g, Image<const T> x, Image<T> y, int64_t* index,
             const Divisors<T>& divisor) {
  const bool dense = x.dense() && y.dense();
  if (in_pixels(x) || !dense) {
    if (index == nullptr && dense && strips_of_pixels(g, x.c, pool_kernels<T>().lanes)) {
      forward_strips(g, x.n, x.c, x, y, divisor);
    } else {
      forward_pixels(g, x, y, index, divisor);
    }
  } else if (in_runs(g)) {
    forward_runs(g, x, y, index, divisor);
  } else if (index != nullptr) {
    indexed_strips(g, x, y, index);
  } else {
    forward_strips(g, x.n * x.c, 1, x, y, divisor);
  }
}

}  // namespace

template <class T>
void max_pool_forward(const PoolGeometry& g, Image<const T> x, Image<T> y, int64_t* index) {
  if (y.size() > 0) forward(g, x, y, index, Divisors<T>());
}

template <class T>
void avg_pool_forward(const PoolGeometry& g, Image<const T> x, Image<T> y) {
  if (y.size() > 0) forward(g, x, y, nullptr, Divisors<T>(g));
}

#define NEOCOG_INSTANTIATE(T)                                                                 \
  template void max_pool_forward<T>(const PoolGeometry&, Image<const T>, Image<T>, int64_t*); \
  template void avg_pool_forward<T>(const PoolGeometry&, Image<const T>, Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
