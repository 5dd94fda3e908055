// The mechanism under concat and the shuffles: a parallel copy between two strided arrays of one shape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace neocog {

// One axis of a copy; strides in elements.
struct CopyAxis {
  int64_t size, src, dst;
};

// NumPy's 64, and the two that a pixel shuffle splits off.
inline constexpr size_t kMaxCopyAxes = 66;

// dst[sum of i*dst] = src[sum of i*src] for every index. At most kMaxCopyAxes axes, in any order; dst strides
// are positive and no two indices share an element of dst; src and dst do not overlap.
template <class T>
void copy_strided(std::vector<CopyAxis> axes, const T* src, T* dst);

}  // namespace neocog
