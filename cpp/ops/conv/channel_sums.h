// The sums of an image's channels, taken piece by piece while a kernel has its pixels in the cache: a bias
// gradient that reads nothing from memory. In float64, and in an order that the geometry fixes: one channel
// can have millions of terms.
#pragma once

#include <vector>

#include "core/image.h"

namespace neocog {

// A kernel calls `cut` before its parallel region, and hands over every pixel once; who asked for the sums
// calls `finish`, which reads the image where no kernel took part.
template <class T>
class ChannelSums {
 public:
  explicit ChannelSums(const Image<const T>& image) : image_(image) {}

  // Partial sums that will be taken, and then added up in their order.
  void cut(int64_t parts) { sums_.assign(parts * image_.c, 0.0); }
  // Pixels with their channels side by side, from `channel` on; no two threads at a time the same part and
  // channel.
  void take(int64_t part, int64_t channel, int64_t channels, const T* pixels, int64_t pixel, int64_t count);
  // The same, of sums that a kernel has taken itself.
  void add(int64_t part, int64_t channel, int64_t channels, const double* sums);
  void finish(T* sums) const;

 private:
  Image<const T> image_;
  std::vector<double> sums_;  // (parts, C)
};

}  // namespace neocog
