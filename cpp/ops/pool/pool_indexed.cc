// Maxima by their indices: the gradient of a maximum, and unpooling.
#include <algorithm>
#include <atomic>

#include "ops/pool/pool_layout.h"

namespace neocog {
namespace {

// Zeroes a part of the channels of one image of y and scatters x into it. Channels first: a part is one
// channel.
template <class T, class Put>
bool scatter_part(const Image<const T>& x, const int64_t* index, const ChannelPart& part, const Image<T>& y,
                  const Put& put) {
  const auto [n, c, channels] = part;
  const int64_t pixels = x.h * x.w, in_step = x.stride_w(), step = y.stride_w();
  const uint64_t plane = static_cast<uint64_t>(y.h * y.w);
  T* const out = y.at(n, c, 0, 0);
  if (step == channels) {
    std::fill_n(out, y.h * y.w * step, T{0});
  } else {
    for (int64_t p = 0; p < y.h * y.w; ++p) std::fill_n(out + p * step, channels, T{0});
  }
  const T* in = x.at(n, c, 0, 0);
  const int64_t* at = index + (in - x.data);
  bool valid = true;
  const auto scatter = [&](int64_t ch, int64_t stride) {
    const int64_t pixel = at[ch];
    if (static_cast<uint64_t>(pixel) < plane) {
      put(in[ch], &out[pixel * stride + ch]);
    } else {
      valid = valid && Put::skips(pixel);
    }
  };
  if (step == 1) {
    for (; in < x.at(n, c, 0, 0) + pixels; ++in, ++at) scatter(0, 1);
  } else {
    for (int64_t p = 0; p < pixels; ++p, in += in_step, at += in_step) {
      for (int64_t ch = 0; ch < channels; ++ch) scatter(ch, step);
    }
  }
  return valid;
}

template <class T>
struct Add {
  static bool skips(int64_t pixel) { return pixel == -1; }
  void operator()(T value, T* y) const { *y += value; }
};

template <class T>
struct Replace {
  static bool skips(int64_t) { return false; }
  void operator()(T value, T* y) const { *y = value; }
};

int64_t first_outside(const int64_t* index, int64_t size, int64_t plane, bool skip) {
  for (int64_t i = 0; i < size; ++i) {
    if (static_cast<uint64_t>(index[i]) >= static_cast<uint64_t>(plane) && !(skip && index[i] == -1))
      return i;
  }
  return -1;
}

// No two threads write one plane, so sums have one order and need no atomics.
template <class T, class Put>
int64_t scatter(Image<const T> x, const int64_t* index, Image<T> y, const Put& put) {
  if (x.n * x.c == 0) return -1;
  std::atomic<bool> valid{true};
  // Channels-last images are cut only where they are few, and then not into pieces that waste the cache.
  constexpr int64_t kManyImages = 8, kLeast = 64;
  const int64_t channels = !in_pixels(x) ? 1 : x.n >= kManyImages ? x.c : std::min(x.c, kLeast);
  const int64_t parts = ceil_div(x.c, channels);
  const PoolTiles tiles(x.n * parts, 1, 1, (y.h * y.w + 2 * x.h * x.w) * channels, 1);
  tiles.run([&](const PoolTile& tile, int) {
    for (int64_t row = tile.row; row < tile.row_end; ++row) {
      const int64_t c = row % parts * channels;
      const ChannelPart part{row / parts, c, std::min(channels, x.c - c)};
      if (!scatter_part(x, index, part, y, put)) valid.store(false, std::memory_order_relaxed);
    }
  });
  return valid ? -1 : first_outside(index, x.size(), y.h * y.w, Put::skips(-1));
}

}  // namespace

template <class T>
int64_t max_pool_backward(Image<const T> dy, const int64_t* index, Image<T> dx) {
  return scatter(dy, index, dx, Add<T>{});
}

template <class T>
int64_t max_unpool_forward(Image<const T> x, const int64_t* index, Image<T> y) {
  return scatter(x, index, y, Replace<T>{});
}

template <class T>
int64_t max_unpool_backward(Image<const T> dy, const int64_t* index, Image<T> dx) {
  const int64_t plane = dy.h * dy.w;
  std::atomic<bool> valid{true};
  if (dx.size() == 0) return -1;
  // Runs of dx's memory: planes, or channels-last pixels.
  const bool pixels = in_pixels(dx);
  const int64_t run = pixels ? dx.c : dx.h * dx.w, runs = pixels ? dx.h * dx.w : dx.c;
  const PoolTiles tiles(dx.n, runs, 1, 3 * run, 1);
  tiles.run([&](const PoolTile& tile, int) {
    bool inside = true;
    for (int64_t r = tile.row; r < tile.row_end; ++r) {
      const T* const in = pixels ? dy.at(r / runs, 0, 0, 0) : dy.data + r * plane;
      const int64_t* const at = index + r * run;
      T* const out = dx.data + r * run;
      for (int64_t i = 0; i < run; ++i) {
        const bool ok = static_cast<uint64_t>(at[i]) < static_cast<uint64_t>(plane);
        inside = inside && ok;
        out[i] = !ok ? T{0} : pixels ? in[at[i] * dy.c + i] : in[at[i]];
      }
    }
    if (!inside) valid.store(false, std::memory_order_relaxed);
  });
  return valid ? -1 : first_outside(index, dx.size(), plane, false);
}

#define NEOCOG_INSTANTIATE(T)                                                       \
  template int64_t max_pool_backward<T>(Image<const T>, const int64_t*, Image<T>);  \
  template int64_t max_unpool_forward<T>(Image<const T>, const int64_t*, Image<T>); \
  template int64_t max_unpool_backward<T>(Image<const T>, const int64_t*, Image<T>);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
