#include "ops/batch_norm/moments.h"

#include <algorithm>
#include <limits>

#include "core/parallel.h"
#include "core/window.h"
#include "ops/batch_norm/batch_norm.h"

namespace neocog {
namespace {

// Pixels of a part. Channels last, a lane adds up this many values in the type of the data; channels first,
// they are shared by the lanes of four registers, which have to be added up at the end of every part.
constexpr int64_t kColumnsPart = 128, kRunPart = 512;
// Channels that are joined together: enough for vectors, few enough for the stack.
constexpr int64_t kMergeChannels = 64;
// Records that one thread joins before others could have started.
constexpr int64_t kMergeAlone = 1 << 13;

}  // namespace

template <class T>
Moments<T>::~Moments() {
  if (block_.data != nullptr) release_block(block_);
}

template <class T>
int64_t Moments<T>::cut(const Image<T>& y, int64_t columns, bool channels_last, int64_t rows) {
  const int64_t most = channels_last ? kColumnsPart : kRunPart;
  y_ = y;
  columns_ = min64(columns, y.w);
  cols_ = ceil_div(columns_, ceil_div(columns_, most));
  pieces_ = ceil_div(columns_, cols_);
  rows_ = rows > 0 ? rows : ceil_div(y.h, ceil_div(y.h, max64(1, most / cols_)));
  across_ = ceil_div(y.w, columns_) * pieces_;
  parts_ = y.n * ceil_div(y.h, rows_) * across_;
  const int64_t records = round_up(parts_ * y.c, 16);  // whole cache lines
  if (block_.data != nullptr) release_block(block_);
  block_ = acquire_block(3 * static_cast<size_t>(records) * sizeof(T));
  center_ = reinterpret_cast<T*>(block_.data);
  sum_ = center_ + records;
  square_ = sum_ + records;
  std::fill_n(center_, records, std::numeric_limits<T>::quiet_NaN());
  return rows_;
}

// Columns of the parts that are `piece` parts away from the left edge; 0 where the last tile is too narrow.
template <class T>
int64_t Moments<T>::width_of(int64_t piece) const {
  const int64_t tile = piece / pieces_ * columns_, begin = tile + piece % pieces_ * cols_;
  return max64(0, min64(begin + cols_, min64(tile + columns_, y_.w)) - begin);
}

template <class T>
template <class F>
void Moments<T>::each_part(int64_t n, int64_t row0, int64_t row1, int64_t col0, int64_t col1, F&& f) const {
  if (parts_ == 0) return;  // the kernel has not said how it cuts y: `complete` will read it
  // Parts that would not be whole stay NaN.
  if (row0 % rows_ != 0 || (row1 % rows_ != 0 && row1 != y_.h)) return;
  if (col0 % columns_ != 0 || (col1 % columns_ != 0 && col1 != y_.w)) return;
  const int64_t blocks = ceil_div(y_.h, rows_);
  const int64_t first = col0 / columns_ * pieces_, last = ceil_div(col1, columns_) * pieces_;
  for (int64_t row = row0; row < row1; row += rows_) {
    const int64_t part = (n * blocks + row / rows_) * across_;
    for (int64_t piece = first; piece < last; ++piece) {
      const int64_t columns = width_of(piece);
      if (columns == 0) continue;
      f((part + piece) * y_.c, row, piece / pieces_ * columns_ + piece % pieces_ * cols_,
        min64(rows_, row1 - row), columns);
    }
  }
}

template <class T>
void Moments<T>::take(int64_t n, int64_t channel, int64_t channels, int64_t row0, int64_t row1, int64_t col0,
                      int64_t col1) {
  if (y_.channels_last()) {
    take_pixels(y_.at(n, channel, row0, col0), y_.stride_h(), y_.c, n, channel, channels, row0, row1, col0,
                col1);
    return;
  }
  each_part(n, row0, row1, col0, col1,
            [&](int64_t at, int64_t row, int64_t col, int64_t rows, int64_t columns) {
              if (columns == y_.w) {  // rows touch
                columns *= rows;
                rows = 1;
              }
              for (int64_t c = channel; c < channel + channels; ++c) {
                batch_norm_kernels<T>().run_part(y_.at(n, c, row, col), rows, y_.w, columns, center_ + at + c,
                                                 sum_ + at + c, square_ + at + c);
              }
            });
}

template <class T>
void Moments<T>::take_pixels(const T* from, int64_t row_stride, int64_t pixel_stride, int64_t n,
                             int64_t channel, int64_t channels, int64_t row0, int64_t row1, int64_t col0,
                             int64_t col1) {
  each_part(n, row0, row1, col0, col1,
            [&](int64_t at, int64_t row, int64_t col, int64_t rows, int64_t columns) {
              const T* const part = from + (row - row0) * row_stride + (col - col0) * pixel_stride;
              batch_norm_kernels<T>().columns_part(part, rows, row_stride, columns, pixel_stride, channels,
                                                   center_ + at + channel, sum_ + at + channel,
                                                   square_ + at + channel);
            });
}

template <class T>
void Moments<T>::complete(const Image<T>& y) {
  if (parts_ > 0) return;
  y_ = y;
  if (y.size() == 0) return;
  cut(y, y.w);
  const int64_t blocks = ceil_div(y.h, rows_), inner = y.channels_last() ? blocks : y.c;
  parallel_for(y.n * inner, [&](int64_t item, int) {
    const int64_t n = item / inner, i = item % inner;
    if (y.channels_last()) {
      take(n, 0, y.c, i * rows_, min64((i + 1) * rows_, y.h), 0, y.w);
    } else {
      take(n, i, 1, 0, y.h, 0, y.w);
    }
  });
}

// Sums around a center of the channel, as in batch_norm_training.
template <class T>
void Moments<T>::merge(int64_t channel, int64_t channels, double* mean, double* var) const {
  const int64_t blocks = ceil_div(y_.h, rows_);
  double sums[kMergeChannels] = {}, squares[kMergeChannels] = {}, pivot[kMergeChannels];
  for (int64_t c = 0; c < channels; ++c) pivot[c] = center_[channel + c];
  for (int64_t part = 0; part < parts_; ++part) {
    const int64_t row = part / across_ % blocks * rows_;
    const double count = static_cast<double>(min64(rows_, y_.h - row) * width_of(part % across_));
    if (count == 0) continue;
    const int64_t at = part * y_.c + channel;
    const T *const center = center_ + at, *const sum = sum_ + at, *const square = square_ + at;
    for (int64_t c = 0; c < channels; ++c) {
      const double offset = static_cast<double>(center[c]) - pivot[c];
      const double s = static_cast<double>(sum[c]);
      sums[c] += s + count * offset;
      squares[c] += static_cast<double>(square[c]) + offset * (2 * s + count * offset);
    }
  }
  const double count = static_cast<double>(y_.n) * static_cast<double>(y_.h * y_.w);
  for (int64_t c = 0; c < channels; ++c) {
    const double offset = sums[c] / count, spread = squares[c] / count - offset * offset;
    mean[channel + c] = pivot[c] + offset;
    var[channel + c] = spread < 0 ? 0 : spread;  // NaN stays
  }
}

template <class T>
void Moments<T>::finish(double* mean, double* var) const {
  if (parts_ == 0) {
    std::fill_n(mean, y_.c, std::numeric_limits<double>::quiet_NaN());
    std::fill_n(var, y_.c, std::numeric_limits<double>::quiet_NaN());
    return;
  }
  const int64_t items = ceil_div(y_.c, kMergeChannels);
  parallel_for(items, parts_ * y_.c < kMergeAlone ? 1 : threads_for(items), [&](int64_t item, int) {
    const int64_t channel = item * kMergeChannels;
    merge(channel, min64(kMergeChannels, y_.c - channel), mean, var);
  });
}

template class Moments<float>;
template class Moments<double>;

}  // namespace neocog
