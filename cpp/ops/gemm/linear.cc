#include "ops/gemm/linear.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "core/scratch.h"
#include "ops/conv/conv.h"
#include "ops/conv/parts_conv.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Up to here every weight is used so rarely that its rows are read as they are.
constexpr int64_t kDotRows = 12;
// Rows of x that go through a panel of weights together: 96 rows of 1000 floats fill a third of the cache.
constexpr int64_t kRowsPerItem = 96;

// Rows from which on, with so many products, the layer is a convolution of 1x1 over them: the sums in parts,
// on CPUs that have such kernels, and weight gradients, whose rows are cut into parts there.
constexpr int64_t kManyRows = 256, kManyProducts = 24 << 20, kManyTerms = 256, kManyOfGradient = 16 << 20;
constexpr int64_t kLeastChannels = 128;

bool large_product(int64_t rows, int64_t in, int64_t out) {
  return rows >= kManyRows && std::min(in, out) >= kLeastChannels && rows >= kManyProducts / in / out &&
         parts_conv_suits(in, out, rows);
}
bool large_gradient(int64_t rows, int64_t in, int64_t out) {
  return rows >= kManyTerms && rows >= kManyOfGradient / in / out;
}

ConvGeometry over_rows(int64_t rows, int64_t in, int64_t out) {
  return {1, in, out, 1, {1, 1, 1, 1, 0, 0}, {rows, 1, 1, 1, 0, 0}};
}
template <class T>
Image<T> image_of(T* data, int64_t rows, int64_t columns) {
  return {data, 1, columns, 1, rows, Layout::kChannelsLast};
}

// What is applied to y: inside the kernel where it is a clamp, else row by row.
template <class T>
struct Finish {
  Activation f = Activation::kIdentity;
  T alpha = T(0);

  bool clamps() const { return f == Activation::kRelu || f == Activation::kRelu6; }
  T most() const { return f == Activation::kRelu6 ? T(6) : std::numeric_limits<T>::infinity(); }
  void operator()(int64_t rows, int64_t columns, T* y, int64_t y_row) const {
    if (f == Activation::kIdentity) return;
    const auto activate = elementwise_kernels<T>().activate;
    for (int64_t r = 0; r < rows; ++r) activate(f, alpha, y + r * y_row, y + r * y_row, columns);
  }
};

// y (rows, columns) = a (rows, depth) B + bias with B's panels packed from `source`, which lies in `weight`.
template <class T>
void product(int64_t rows, int64_t depth, int64_t columns, const T* a, const Weights<T>& weight,
             PanelSource<T> source, const T* bias, const Finish<T>& finish, T* y) {
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const PanelSplit split(columns, kernels.lanes, kernels.max_vectors);
  const int64_t packed_size = depth * split.vectors * kernels.lanes;
  const int64_t chunks = ceil_div(rows, kRowsPerItem), positions = std::max<int64_t>(1, source.inner);
  Scratch scratch(Scratch::bytes_of<T>(weight.scratch(packed_size)) + 2 * Scratch::bytes_of<int64_t>(rows) +
                  Scratch::bytes_of<int64_t>(positions));
  int64_t* const row = scratch.take<int64_t>(rows);
  int64_t* const out = scratch.take<int64_t>(rows);
  int64_t* const position = scratch.take<int64_t>(positions);
  std::iota(position, position + positions, int64_t{0});
  source.position = position;
  for (int64_t r = 0; r < rows; ++r) {
    row[r] = r * depth;
    out[r] = r * columns;
  }
  const int64_t no_tap = 0;
  const KeptForm form = source.outer_stride == 0 ? kRows : kColumns;
  const T* const packed = weight.form(
      {form, depth, columns, kernels.lanes, kernels.max_vectors}, packed_size, scratch, [&](T* to) {
        parallel_for(split.panels, [&](int64_t panel, int) {
          const int64_t first = split.begin(panel) * kernels.lanes;
          kernels.pack_panel(source, first, split.width(panel), to + depth * first);
        });
      });
  // What is larger is read once: the panels, or the rows.
  const bool by_panels = packed_size > rows * depth;
  parallel_for(chunks * split.panels, [&](int64_t item, int) {
    const int64_t panel = by_panels ? item / chunks : item % split.panels;
    const int64_t chunk = by_panels ? item % chunks : item / split.panels;
    const int64_t r0 = rows * chunk / chunks, r1 = rows * (chunk + 1) / chunks;
    const int64_t first = split.begin(panel) * kernels.lanes, width = split.width(panel) * kernels.lanes;
    const int64_t count = std::min(width, columns - first);
    kernels.taps_panel({a, row + r0, &no_tap, r1 - r0, 1, depth, packed + depth * first, split.width(panel),
                        count, bias == nullptr ? nullptr : bias + first, y + first, out + r0, finish.clamps(),
                        T(0), finish.most()});
    if (!finish.clamps()) finish(r1 - r0, count, y + r0 * columns + first, columns);
  });
}

}  // namespace

template <class T>
void linear_forward(int64_t rows, int64_t in, int64_t out, const T* x, const T* weight, const T* bias, T* y) {
  linear_forward<T>(rows, in, out, x, Weights<T>(weight), bias, Activation::kIdentity, T(0), y);
}

template <class T>
void linear_forward(int64_t rows, int64_t in, int64_t out, const T* x, const Weights<T>& weight,
                    const T* bias, Activation f, T alpha, T* y) {
  if (rows == 0 || out == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (large_product(rows, in, out)) {
      conv_forward<float>(over_rows(rows, in, out), image_of(x, rows, in), weight, {bias, nullptr, f, alpha},
                          image_of(y, rows, out));
      return;
    }
  }
  const Finish<T> finish{f, alpha};
  if (rows > kDotRows) {
    product<T>(rows, in, out, x, weight, {weight.data, out, in, 1, 0, in, nullptr, 0}, bias, finish, y);
    return;
  }
  // One row of x waits for nothing but weights: where they are kept, a copy in huge pages is faster to read.
  const bool copied = weight.kept != nullptr && sizeof(T) * static_cast<size_t>(in * out) >= kInHugePages;
  const T* const w =
      copied ? weight.kept->template get<T>({kCopies, in, out}, in * out,
                                            [&](T* to) { std::copy_n(weight.data, in * out, to); })
             : weight.data;
  constexpr int64_t kBlock =
      32;  // outputs per item: a multiple of the tile, so cuts do not move sums between tiles
  parallel_for(ceil_div(out, kBlock), [&](int64_t item, int) {
    const int64_t o = item * kBlock;
    const int64_t count = std::min(kBlock, out - o);
    gemm_kernels<T>().dot_block(x, rows, w + o * in, count, in, bias == nullptr ? nullptr : bias + o, y + o,
                                out);
    finish(rows, count, y + o, out);
  });
}

template <class T>
void linear_backward_x(int64_t rows, int64_t in, int64_t out, const T* dy, const T* weight, T* dx) {
  if (rows == 0 || in == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (large_product(rows, out, in)) {
      conv_backward_x<float>(over_rows(rows, in, out), image_of(dy, rows, out), weight,
                             image_of(dx, rows, in));
      return;
    }
  }
  product<T>(rows, out, in, dy, weight, {weight, in, 1, out, in, 1, nullptr, 1}, nullptr, {}, dx);
}

template <class T>
void linear_backward_weight(int64_t rows, int64_t in, int64_t out, const T* dy, const T* x, T* dw) {
  if (in == 0 || out == 0) return;
  if (std::is_same_v<T, float> && large_gradient(rows, in, out)) {  // float64 was not measured
    conv_backward_weight<T>(over_rows(rows, in, out), image_of(x, rows, in), image_of(dy, rows, out), dw);
    return;
  }
  const GemmKernels<T>& kernels = gemm_kernels<T>();
  const PanelSplit split(in, kernels.lanes, kernels.max_vectors);
  constexpr int64_t kOutputs = 96;  // rows of dw per item
  const int64_t blocks = ceil_div(out, kOutputs), items = blocks * split.panels;
  const int threads = threads_for(std::max(items, split.panels));
  const int64_t widest = kernels.max_vectors * kernels.lanes,
                packed_size = rows * split.vectors * kernels.lanes;
  Scratch scratch(Scratch::bytes_of<T>(packed_size) + Scratch::bytes_of<int64_t>(rows) +
                  threads * Scratch::bytes_of<T>(kOutputs * widest));
  T* const packed = scratch.take<T>(packed_size);
  int64_t* const row = scratch.take<int64_t>(rows);
  std::vector<T*> sums(threads);
  for (T*& sum : sums) sum = scratch.take<T>(kOutputs * widest);
  for (int64_t r = 0; r < rows; ++r) row[r] = r * out;
  parallel_for(split.panels, [&](int64_t panel, int) {
    const int64_t first = split.begin(panel) * kernels.lanes, width = split.width(panel) * kernels.lanes;
    const int64_t columns = std::min(width, in - first);
    T* to = packed + rows * first;
    for (int64_t r = 0; r < rows; ++r, to += width) {
      std::memcpy(to, x + r * in + first, sizeof(T) * columns);
      std::fill(to + columns, to + width, T(0));
    }
  });
  parallel_for(items, threads, [&](int64_t item, int thread) {
    const int64_t panel = item % split.panels, o = item / split.panels * kOutputs;
    const int64_t first = split.begin(panel) * kernels.lanes, width = split.width(panel) * kernels.lanes;
    const int64_t outputs = std::min(kOutputs, out - o), columns = std::min(width, in - first);
    std::fill_n(sums[thread], outputs * width, T(0));
    kernels.outer_panel(
        {dy + o, row, rows, outputs, packed + rows * first, split.width(panel), sums[thread]});
    for (int64_t i = 0; i < outputs; ++i) {
      std::memcpy(dw + (o + i) * in + first, sums[thread] + i * width, sizeof(T) * columns);
    }
  });
}

#define NEOCOG_INSTANTIATE(T)                                                                       \
  template void linear_forward<T>(int64_t, int64_t, int64_t, const T*, const T*, const T*, T*);     \
  template void linear_forward<T>(int64_t, int64_t, int64_t, const T*, const Weights<T>&, const T*, \
                                  Activation, T, T*);                                               \
  template void linear_backward_x<T>(int64_t, int64_t, int64_t, const T*, const T*, T*);            \
  template void linear_backward_weight<T>(int64_t, int64_t, int64_t, const T*, const T*, T*);
NEOCOG_INSTANTIATE(float)
NEOCOG_INSTANTIATE(double)
#undef NEOCOG_INSTANTIATE

}  // namespace neocog
