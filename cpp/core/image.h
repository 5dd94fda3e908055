// A batch of images in memory: logical axes (N, C, H, W), layout by strides.
#pragma once

#include "core/macros.h"

namespace neocog {

enum class Layout { kChannelsFirst, kChannelsLast };

// Dense in the order the layout says, but for slices of the channels of a channels-last image, which only
// functions that say so take. T may be const.
template <class T>
struct Image {
  T* data;
  int64_t n, c, h, w;
  Layout layout;
  int64_t pitch = c;  // channels last: from a pixel to the next

  NEOCOG_INLINE constexpr bool channels_last() const { return layout == Layout::kChannelsLast; }
  NEOCOG_INLINE constexpr int64_t size() const { return n * c * h * w; }
  NEOCOG_INLINE constexpr bool dense() const { return !channels_last() || pitch == c; }
  // Strides in elements.
  NEOCOG_INLINE constexpr int64_t stride_n() const { return h * w * (channels_last() ? pitch : c); }
  NEOCOG_INLINE constexpr int64_t stride_c() const { return channels_last() ? 1 : h * w; }
  NEOCOG_INLINE constexpr int64_t stride_h() const { return channels_last() ? w * pitch : w; }
  NEOCOG_INLINE constexpr int64_t stride_w() const { return channels_last() ? pitch : 1; }
  NEOCOG_INLINE constexpr T* at(int64_t in, int64_t ic, int64_t ih, int64_t iw) const {
    return data + in * stride_n() + ic * stride_c() + ih * stride_h() + iw * stride_w();
  }
  NEOCOG_INLINE constexpr operator Image<const T>() const { return {data, n, c, h, w, layout, pitch}; }
};

}  // namespace neocog
