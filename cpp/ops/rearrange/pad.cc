// Padding by rows: a row of y is a stretch of one row of x between two edges. The gradient gathers, row of dx
// by row, the rows of dy that were copied from it.
#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "core/window.h"
#include "ops/rearrange/rearrange.h"

namespace neocog {

int64_t PadAxis::source(int64_t o, PadMode mode) const {
  const int64_t i = o - lo;
  switch (mode) {
    case PadMode::kReflect: return i < 0 ? -i : i >= in ? 2 * (in - 1) - i : i;
    case PadMode::kReplicate: return i < 0 ? 0 : i >= in ? in - 1 : i;
    case PadMode::kCircular: {
      const int64_t period = end() - begin();
      return i < begin() ? i + period : i >= end() ? i - period : i;
    }
    default: return begin() <= i && i < end() ? i : -1;
  }
}

namespace {

// Elements that are worth a thread's while.
constexpr int64_t kItem = 32768;

// Padded axes outermost first; the last one is the row, whose pixels are `run` contiguous elements.
struct PadPlan {
  std::vector<PadAxis> outer;
  PadAxis row;
  int64_t run = 1;
};

bool padded(const PadAxis& axis) {
  return axis.lo != 0 || axis.hi != 0;
}

// Neighbouring axes that are not padded become one; those inside the innermost padded axis become its pixels.
PadPlan plan_of(const std::vector<PadAxis>& axes) {
  PadPlan plan{{}, {1, 0, 0}, 1};
  size_t last = axes.size();
  while (last > 0 && !padded(axes[last - 1])) plan.run *= axes[--last].in;
  if (last == 0) return plan;
  plan.row = axes[last - 1];
  for (size_t d = 0; d + 1 < last; ++d) {
    if (!plan.outer.empty() && !padded(plan.outer.back()) && !padded(axes[d])) {
      plan.outer.back().in *= axes[d].in;
    } else {
      plan.outer.push_back(axes[d]);
    }
  }
  return plan;
}

// The stretch of output positions [first, last) that lie one to one on x, from input position `from` on.
struct Middle {
  int64_t first, last, from;
  explicit Middle(const PadAxis& axis)
      : first(max64(axis.lo, 0)), last(axis.out() - max64(axis.hi, 0)), from(axis.begin()) {
    last = max64(first, last);
    if (from >= axis.in || first >= axis.out()) first = last = from = 0;  // everything is edge
  }
};

// Runs of up to a cache line are copied in place: a call would cost more than the copy.
template <class T>
NEOCOG_INLINE void copy_run(const T* from, int64_t count, T* to) {
  constexpr int64_t kVector = 16 / sizeof(T), kShort = 64 / sizeof(T);
  if (count < kVector || count > kShort) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i + kVector <= count; i += kVector) std::memcpy(to + i, from + i, 16);
  std::memcpy(to + count - kVector, from + count - kVector, 16);  // the last vector overlaps the one before
}

int64_t product_of_outs(const std::vector<PadAxis>& axes) {
  int64_t product = 1;
  for (const PadAxis& axis : axes) product *= axis.out();
  return product;
}

int64_t product_of_ins(const std::vector<PadAxis>& axes) {
  int64_t product = 1;
  for (const PadAxis& axis : axes) product *= axis.in;
  return product;
}

}  // namespace

template <class T>
void pad_forward(const std::vector<PadAxis>& axes, PadMode mode, T value, const T* x, T* y) {
  if (std::none_of(axes.begin(), axes.end(), padded)) {
    copy_strided<T>({{product_of_ins(axes), 1, 1}}, x, y);
    return;
  }
  const PadPlan plan = plan_of(axes);
  const int64_t run = plan.run, width = plan.row.out() * run, x_width = plan.row.in * run;
  const int64_t rows = product_of_outs(plan.outer);
  if (rows == 0 || width == 0) return;
  // Per outer axis: offset of the source in x, or -1.
  std::vector<std::vector<int64_t>> source(plan.outer.size());
  int64_t stride = x_width;
  for (size_t d = plan.outer.size(); d-- > 0; stride *= plan.outer[d].in) {
    const PadAxis& axis = plan.outer[d];
    for (int64_t o = 0; o < axis.out(); ++o) {
      const int64_t i = axis.source(o, mode);
      source[d].push_back(i < 0 ? -1 : i * stride);
    }
  }
  const Middle middle(plan.row);
  struct Edge {
    int64_t to, from;
  };
  std::vector<Edge> edges;
  if (mode != PadMode::kConstant) {
    for (int64_t o = 0; o < plan.row.out(); ++o) {
      if (o < middle.first || o >= middle.last) edges.push_back({o * run, plan.row.source(o, mode) * run});
    }
  }
  // Rows of one plane lie along the last outer axis; the others choose the plane.
  const std::vector<int64_t> one{0};
  const std::vector<int64_t>& line = source.empty() ? one : source.back();
  const int64_t lines = static_cast<int64_t>(line.size());
  const auto plane_offset = [&](int64_t plane) -> int64_t {
    int64_t offset = 0;
    for (size_t d = source.size(); d-- > 1;) {
      const std::vector<int64_t>& table = source[d - 1];
      const int64_t at = table[static_cast<size_t>(plane % static_cast<int64_t>(table.size()))];
      plane /= static_cast<int64_t>(table.size());
      if (at < 0) return -1;
      offset += at;
    }
    return offset;
  };
  const int64_t before = middle.first * run, after = middle.last * run, from = middle.from * run;
  const int64_t per_item = max64(1, kItem / width);
  parallel_for(ceil_div(rows, per_item), [&](int64_t item, int) {
    const int64_t first = item * per_item, last = min64(rows, first + per_item);
    int64_t plane = first / lines, h = first % lines, offset = plane_offset(plane);
    for (int64_t row = first; row < last; ++row) {
      T* const to = y + row * width;
      if (offset < 0 || line[static_cast<size_t>(h)] < 0) {
        std::fill_n(to, width, value);
      } else {
        const T* const x_row = x + offset + line[static_cast<size_t>(h)];
        copy_run(x_row + from, after - before, to + before);
        if (mode == PadMode::kConstant) {
          for (int64_t i = 0; i < before; ++i) to[i] = value;
          for (int64_t i = after; i < width; ++i) to[i] = value;
        } else if (run == 1) {
          for (const Edge& edge : edges) to[edge.to] = x_row[edge.from];
        } else {
          for (const Edge& edge : edges) copy_run(x_row + edge.from, run, to + edge.to);
        }
      }
      if (++h == lines && row + 1 < last) {
        h = 0;
        offset = plane_offset(++plane);
      }
    }
  });
}

template <class T>
void pad_backward(const std::vector<PadAxis>& axes, PadMode mode, const T* dy, T* dx) {
  if (mode ==
      PadMode::kConstant) {  // the gradient of a padding is a crop, and of a crop a padding with zeros
    std::vector<PadAxis> reversed;
    for (const PadAxis& axis : axes) reversed.push_back({axis.out(), -axis.lo, -axis.hi});
    return pad_forward<T>(reversed, mode, T{0}, dy, dx);
  }
  const PadPlan plan = plan_of(axes);
  const int64_t run = plan.run, width = plan.row.in * run, dy_width = plan.row.out() * run;
  const int64_t rows = product_of_ins(plan.outer);
  if (rows == 0 || width == 0) return;
  // Per outer axis and input position: offsets in dy of the rows that copied it, in ascending order.
  std::vector<std::vector<std::vector<int64_t>>> copies(plan.outer.size());
  int64_t stride = dy_width;
  size_t most = 1;
  for (size_t d = plan.outer.size(); d-- > 0; stride *= plan.outer[d].out()) {
    const PadAxis& axis = plan.outer[d];
    copies[d].resize(static_cast<size_t>(axis.in));
    for (int64_t o = 0; o < axis.out(); ++o)
      copies[d][static_cast<size_t>(axis.source(o, mode))].push_back(o * stride);
    size_t longest = 1;
    for (const std::vector<int64_t>& list : copies[d]) longest = std::max(longest, list.size());
    most *= longest;
  }
  const Middle middle(plan.row);
  const int64_t per_item = max64(1, kItem / width), items = ceil_div(rows, per_item);
  const int threads = threads_for(items);
  std::vector<int64_t> workspace(most * static_cast<size_t>(threads));
  parallel_for(items, threads, [&](int64_t item, int thread) {
    int64_t* const offsets = workspace.data() + most * static_cast<size_t>(thread);
    for (int64_t row = item * per_item; row < min64(rows, (item + 1) * per_item); ++row) {
      T* const to = dx + row * width;
      std::fill_n(to, width, T{0});
      // All combinations of the axes' copies: the rows of dy that add up to this row.
      size_t count = 1;
      offsets[0] = 0;
      int64_t position = row;
      for (size_t d = copies.size(); d-- > 0;) {
        const int64_t in = static_cast<int64_t>(copies[d].size());
        const std::vector<int64_t>& list = copies[d][static_cast<size_t>(position % in)];
        position /= in;
        for (size_t c = list.size(); c-- > 0;) {
          for (size_t k = 0; k < count; ++k) offsets[c * count + k] = offsets[k] + list[c];
        }
        count *= list.size();
      }
      for (size_t k = 0; k < count; ++k) {
        const T* const from = dy + offsets[k];
        T* const inner = to + middle.from * run;
        const T* const copied = from + middle.first * run;
        for (int64_t i = 0; i < (middle.last - middle.first) * run; ++i) inner[i] += copied[i];
        for (int64_t o = 0; o < plan.row.out(); ++o) {
          if (o == middle.first) o = middle.last;
          if (o >= plan.row.out()) break;
          T* const sum = to + plan.row.source(o, mode) * run;
          for (int64_t i = 0; i < run; ++i) sum[i] += from[o * run + i];
        }
      }
    }
  });
}

#define NEOCOG_INSTANTIATE(T)                                                          \
  template void pad_forward<T>(const std::vector<PadAxis>&, PadMode, T, const T*, T*); \
  template void pad_backward<T>(const std::vector<PadAxis>&, PadMode, const T*, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
