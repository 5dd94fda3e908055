#include <algorithm>

#include "ops/pool/pool.h"

namespace neocog {

PoolAxis sliding_axis(const WindowAxis& window, int64_t out, bool count_padding) {
  PoolAxis axis{window.in, window.kernel, window.stride, window.dilation, window.pad_lo, false, {}, {}};
  axis.span.reserve(out);
  axis.divisor.reserve(out);
  const int64_t step = window.dilation;
  for (int64_t o = 0; o < out; ++o) {
    const int64_t start = window.tap(o, 0);
    // Taps [first, last) are in the image; taps before `counted` are in the image or the padding asked for.
    const auto taps_below = [&](int64_t limit) {
      return std::clamp<int64_t>(limit <= start ? 0 : ceil_div(limit - start, step), 0, window.kernel);
    };
    const int64_t first = taps_below(0), last = std::max(first, taps_below(window.in));
    const int64_t counted = count_padding ? taps_below(window.in + window.pad_hi) : last - first;
    const int64_t begin = last > first ? start + first * step : std::clamp<int64_t>(start, 0, window.in);
    axis.span.push_back({begin, last - first});
    // An average without a pixel is 0 / 1.
    axis.divisor.push_back(static_cast<double>(std::max<int64_t>(counted, 1)));
  }
  // Kernels visit every tap of a regular window; of one much larger than the image most lie outside.
  axis.regular = (window.kernel - 1) * step < 4 * window.in + 64;
  return axis;
}

PoolAxis adaptive_axis(int64_t in, int64_t out) {
  const int64_t step = std::max<int64_t>(in / std::max<int64_t>(out, 1), 1);
  PoolAxis axis{in, step, step, 1, 0, out > 0 && in % out == 0, {}, {}};
  axis.span.reserve(out);
  axis.divisor.reserve(out);
  for (int64_t o = 0; o < out; ++o) {
    // o * in / out, in parts that cannot overflow.
    const int64_t whole = in / out, rest = in % out;
    const int64_t begin = o * whole + o * rest / out;
    const int64_t end = (o + 1) * whole + ceil_div((o + 1) * rest, out);
    axis.span.push_back({begin, end - begin});
    axis.divisor.push_back(static_cast<double>(end - begin));
  }
  return axis;
}

std::vector<PoolSpan> covering_windows(const PoolAxis& axis) {
  std::vector<PoolSpan> covering(axis.in);
  int64_t first = 0, last = 0;  // windows [first, last) may cover i
  for (int64_t i = 0; i < axis.in; ++i) {
    while (first < axis.out() && axis.span[first].begin + axis.span[first].count <= i) ++first;
    last = std::max(last, first);
    while (last < axis.out() && axis.span[last].begin <= i) ++last;
    covering[i] = {first, last - first};
  }
  return covering;
}

}  // namespace neocog
