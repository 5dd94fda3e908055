// concat and the shuffles: which stride of one array meets which of the other.
#include "ops/rearrange/rearrange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/parallel.h"
#include "core/window.h"

namespace neocog {
namespace {

// Elements that are worth a thread's while.
constexpr int64_t kItem = 32768;

// The axes of a pixel shuffle; `deep` has r*r times the channels of `wide`, `wide` r times the height and
// width.
struct ShuffleAxis {
  int64_t size, deep, wide;
};

template <class A, class B>
std::vector<ShuffleAxis> shuffle_axes(const ArrayView<A>& deep, int64_t r, const ArrayView<B>& wide) {
  const size_t c = deep.size.size() - 3, h = c + 1, w = c + 2;
  std::vector<ShuffleAxis> axes;
  for (size_t d = 0; d < c; ++d) axes.push_back({deep.size[d], deep.stride[d], wide.stride[d]});
  axes.push_back({wide.size[c], deep.stride[c] * r * r, wide.stride[c]});
  axes.push_back({r, deep.stride[c] * r, wide.stride[h]});
  axes.push_back({r, deep.stride[c], wide.stride[w]});
  axes.push_back({deep.size[h], deep.stride[h], wide.stride[h] * r});
  axes.push_back({deep.size[w], deep.stride[w], wide.stride[w] * r});
  return axes;
}

template <class A, class B>
std::vector<CopyAxis> common_axes(const std::vector<int64_t>& size, const ArrayView<A>& from,
                                  const ArrayView<B>& to) {
  std::vector<CopyAxis> axes;
  for (size_t d = 0; d < size.size(); ++d) axes.push_back({size[d], from.stride[d], to.stride[d]});
  return axes;
}

// A joined array as rows, each made of one run of every part, when the parts and the whole are dense in one
// order of axes.
struct JoinedRows {
  bool dense = false;
  int64_t rows = 1, width = 0;
  std::vector<int64_t> run;  // elements of a row that belong to the part
};

template <class T>
bool is_dense(const ArrayView<T>& array) {
  std::vector<std::pair<int64_t, int64_t>> axes;  // stride, size
  for (size_t d = 0; d < array.size.size(); ++d) {
    if (array.size[d] != 1) axes.emplace_back(array.stride[d], array.size[d]);
  }
  std::sort(axes.begin(), axes.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : axes) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

template <class A, class B>
JoinedRows joined_rows(const std::vector<ArrayView<A>>& parts, size_t along, const ArrayView<B>& whole) {
  JoinedRows joined;
  if (whole.size[along] <= 1 || !is_dense(whole)) return joined;
  joined.width = whole.size[along] * whole.stride[along];
  for (size_t d = 0; d < whole.size.size(); ++d) {
    if (whole.size[d] == 0) return joined;
    if (whole.size[d] > 1 && whole.stride[d] > whole.stride[along]) joined.rows *= whole.size[d];
  }
  for (const ArrayView<A>& part : parts) {
    const int64_t run = part.size[along] * whole.stride[along];
    for (size_t d = 0; d < whole.size.size(); ++d) {
      // Strides outside the joined axis shrink with it, those inside are the same.
      const bool outside = whole.stride[d] > whole.stride[along];
      if (part.size[d] > 1 &&
          part.stride[d] != (outside ? whole.stride[d] / joined.width * run : whole.stride[d])) {
        return joined;
      }
    }
    joined.run.push_back(run);
  }
  joined.dense = true;
  return joined;
}

// Calls move(part, offset in the part, offset in the whole, elements) for every stretch, in the order of the
// whole.
template <class Move>
void for_stretches(const JoinedRows& joined, const Move& move) {
  const int64_t step = min64(joined.width, kItem), steps = ceil_div(joined.width, step);
  const int64_t blocks = joined.rows * steps, per_item = max64(1, kItem / step);
  parallel_for(ceil_div(blocks, per_item), [&](int64_t item, int) {
    for (int64_t b = item * per_item; b < min64(blocks, (item + 1) * per_item); ++b) {
      const int64_t row = b / steps, begin = b % steps * step, end = min64(joined.width, begin + step);
      int64_t first = 0;
      for (size_t part = 0; part < joined.run.size(); first += joined.run[part++]) {
        const int64_t from = max64(begin, first), to = min64(end, first + joined.run[part]);
        if (from < to)
          move(part, row * joined.run[part] + from - first, row * joined.width + from, to - from);
      }
    }
  });
}

}  // namespace

template <class T>
void concat_forward(const std::vector<ArrayView<const T>>& arrays, int64_t axis, const ArrayView<T>& y) {
  const JoinedRows joined = joined_rows(arrays, static_cast<size_t>(axis), y);
  if (joined.dense) {
    for_stretches(joined, [&](size_t part, int64_t from, int64_t to, int64_t count) {
      std::memcpy(y.data + to, arrays[part].data + from, static_cast<size_t>(count) * sizeof(T));
    });
    return;
  }
  T* to = y.data;
  for (const ArrayView<const T>& array : arrays) {
    copy_strided<T>(common_axes(array.size, array, y), array.data, to);
    to += array.size[static_cast<size_t>(axis)] * y.stride[static_cast<size_t>(axis)];
  }
}

template <class T>
void concat_backward(const ArrayView<const T>& y, int64_t axis, const std::vector<ArrayView<T>>& arrays) {
  const JoinedRows joined = joined_rows(arrays, static_cast<size_t>(axis), y);
  if (joined.dense) {
    for_stretches(joined, [&](size_t part, int64_t to, int64_t from, int64_t count) {
      std::memcpy(arrays[part].data + to, y.data + from, static_cast<size_t>(count) * sizeof(T));
    });
    return;
  }
  const T* from = y.data;
  for (const ArrayView<T>& array : arrays) {
    copy_strided<T>(common_axes(array.size, y, array), from, array.data);
    from += array.size[static_cast<size_t>(axis)] * y.stride[static_cast<size_t>(axis)];
  }
}

template <class T>
void pixel_shuffle(const ArrayView<const T>& x, int64_t r, const ArrayView<T>& y) {
  std::vector<CopyAxis> axes;
  for (const ShuffleAxis& axis : shuffle_axes(x, r, y)) axes.push_back({axis.size, axis.deep, axis.wide});
  copy_strided<T>(axes, x.data, y.data);
}

template <class T>
void pixel_unshuffle(const ArrayView<const T>& x, int64_t r, const ArrayView<T>& y) {
  std::vector<CopyAxis> axes;
  for (const ShuffleAxis& axis : shuffle_axes(y, r, x)) axes.push_back({axis.size, axis.wide, axis.deep});
  copy_strided<T>(axes, x.data, y.data);
}

#define NEOCOG_INSTANTIATE(T)                                                                             \
  template void concat_forward<T>(const std::vector<ArrayView<const T>>&, int64_t, const ArrayView<T>&);  \
  template void concat_backward<T>(const ArrayView<const T>&, int64_t, const std::vector<ArrayView<T>>&); \
  template void pixel_shuffle<T>(const ArrayView<const T>&, int64_t, const ArrayView<T>&);                \
  template void pixel_unshuffle<T>(const ArrayView<const T>&, int64_t, const ArrayView<T>&);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
