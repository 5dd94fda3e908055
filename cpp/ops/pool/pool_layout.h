// Which memory layout a pooling works in, and how channels-last images are shared among threads.
#pragma once

#include <vector>

#include "ops/pool/pool.h"
#include "ops/pool/pool_tiles.h"

namespace neocog {

// Channels last; a single channel is a plane in either layout.
template <class T>
bool in_pixels(const Image<T>& image) {
  return image.channels_last() && image.c > 1;
}

// Channels-last rows as strips: full vectors where there are few channels, and k + l instead of k * l taps.
// Three by three taps are few enough, and pixels need no line.
inline bool strips_of_pixels(const PoolGeometry& g, int64_t channels, int64_t lanes) {
  constexpr int64_t kFewTaps = 9;
  if (!g.w.regular || g.w.stride != 1 || g.w.kernel == 1) return false;
  return channels < lanes || (g.h.regular ? g.h.kernel : g.h.in / g.h.out()) * g.w.kernel > kFewTaps;
}

// Channels [c, c + channels) of image n.
struct ChannelPart {
  int64_t n, c, channels;
};

// Tiles of output pixels; their planes are parts of the channels of one image.
class PixelTiles {
 public:
  // `share`: elements of a channel that are read or written for one output pixel.
  PixelTiles(int64_t n, int64_t c, int64_t rows, int64_t columns, int64_t share)
      : channels_(c),
        part_(part_channels(c, share)),
        parts_(ceil_div(c, part_)),
        tiles_(n * parts_, rows, columns, share * part_, std::max<int64_t>(1, kElements / (share * part_))) {}

  // Calls f(part, row, first column, last column + 1) for every piece of a row, of `rows` per image.
  template <class F>
  void run(int64_t rows, const F& f) const {
    tiles_.run([&](const PoolTile& tile, int) {
      for (int64_t row = tile.row; row < tile.row_end; ++row) {
        const int64_t plane = row / rows, c = plane % parts_ * part_;
        f(ChannelPart{plane / parts_, c, std::min(part_, channels_ - c)}, row % rows, tile.column,
          tile.column_end);
      }
    });
  }

 private:
  static constexpr int64_t kElements = 1 << 16;

  // All channels, unless one output pixel alone would be too much work: then whole cache lines of some of
  // them.
  static int64_t part_channels(int64_t c, int64_t share) {
    constexpr int64_t kLine = 64;
    return std::min(c, round_up(std::max<int64_t>(1, kElements / share), kLine));
  }

  int64_t channels_, part_, parts_;
  PoolTiles tiles_;
};

// Every value `unit` times.
template <class T>
std::vector<T> per_element(const std::vector<T>& values, int64_t unit) {
  std::vector<T> result;
  result.reserve(values.size() * unit);
  for (const T value : values) result.insert(result.end(), unit, value);
  return result;
}

}  // namespace neocog
