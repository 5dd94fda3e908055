// Mean and variance per channel of an image that a kernel is writing, taken rectangle by rectangle while it
// is cached, so that nothing reads the image once more for them. The image is cut into parts of a hundred or
// more pixels; each keeps a center close to its own mean, and the sum and the sum of squares around it. They
// are joined in float64 in the order of the image: as exact as the sums of batch_norm.h, whatever the mean.
// The parts depend on the geometry alone: the same bits for any number of threads. Source: Chan, Golub &
// LeVeque, "Algorithms for computing the sample variance", 1983.
#pragma once

#include "core/image.h"
#include "core/memory.h"

namespace neocog {

// A kernel calls `cut` before its parallel region, and `take` for every rectangle it has finished; who asked
// for the moments calls `complete`, for kernels that did not, and `finish`. What was never taken leaves NaN.
template <class T>
class Moments {
 public:
  Moments() = default;
  ~Moments();
  Moments(const Moments&) = delete;
  Moments& operator=(const Moments&) = delete;

  // The kernel writes y in tiles of `columns` (fewer at the end of a row); their height must be a multiple of
  // what this returns, or reach the last row. `columns` must not depend on the number of threads. Tiles come
  // with channels last, or as they lie in y.
  // `rows` fixes the height of the parts, for kernels whose tiles have one; 0 leaves it to their width.
  int64_t cut(const Image<T>& y, int64_t columns, bool channels_last, int64_t rows = 0);
  int64_t cut(const Image<T>& y, int64_t columns) { return cut(y, columns, y.channels_last()); }
  // A tile in y, or several on top of each other; other threads may take others at the same time.
  void take(int64_t n, int64_t channel, int64_t channels, int64_t row0, int64_t row1, int64_t col0,
            int64_t col1);
  // The same from a copy of it, pixels with the channels next to each other.
  void take_pixels(const T* from, int64_t row_stride, int64_t pixel_stride, int64_t n, int64_t channel,
                   int64_t channels, int64_t row0, int64_t row1, int64_t col0, int64_t col1);
  // Reads y where no kernel has handed it over.
  void complete(const Image<T>& y);
  // (C) each, the variance biased; NaN for an empty image. Not rounded to T: a mean is not exact there.
  void finish(double* mean, double* var) const;

 private:
  int64_t width_of(int64_t piece) const;
  // f(record of the first channel, row, column, rows, columns) for every part of a tile.
  template <class F>
  void each_part(int64_t n, int64_t row0, int64_t row1, int64_t col0, int64_t col1, F&& f) const;
  void merge(int64_t channel, int64_t channels, double* mean, double* var) const;

  Image<T> y_{};
  int64_t columns_ = 0;                          // of a tile
  int64_t rows_ = 0, cols_ = 0;                  // of a part
  int64_t pieces_ = 0, across_ = 0, parts_ = 0;  // parts of a tile's width, of a row, in all
  Block block_{};
  T *center_ = nullptr, *sum_ = nullptr, *square_ = nullptr;  // (parts, C)
};

}  // namespace neocog
