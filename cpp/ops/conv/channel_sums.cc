#include "ops/conv/channel_sums.h"

#include "core/window.h"
#include "ops/conv/conv.h"
#include "ops/elementwise/broadcast.h"

namespace neocog {

template <class T>
void ChannelSums<T>::take(int64_t part, int64_t channel, int64_t channels, const T* pixels, int64_t pixel,
                          int64_t count) {
  constexpr int64_t kChannels = 256;
  double piece[kChannels];
  for (int64_t c = 0; c < channels; c += kChannels) {
    const int64_t columns = min64(kChannels, channels - c);
    broadcast_kernels<T>().sum_columns(pixels + c, count, pixel, columns, piece);
    add(part, channel + c, columns, piece);
  }
}

template <class T>
void ChannelSums<T>::add(int64_t part, int64_t channel, int64_t channels, const double* sums) {
  double* const to = sums_.data() + part * image_.c + channel;
  for (int64_t c = 0; c < channels; ++c) to[c] += sums[c];
}

template <class T>
void ChannelSums<T>::finish(T* sums) const {
  if (sums_.empty()) {
    conv_backward_bias(image_, sums);
    return;
  }
  const int64_t parts = static_cast<int64_t>(sums_.size()) / image_.c;
  for (int64_t c = 0; c < image_.c; ++c) {
    double sum = 0;
    for (int64_t part = 0; part < parts; ++part) sum += sums_[part * image_.c + c];
    sums[c] = static_cast<T>(sum);
  }
}

template class ChannelSums<float>;
template class ChannelSums<double>;

}  // namespace neocog
