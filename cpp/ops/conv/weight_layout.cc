#include "ops/conv/weight_layout.h"

#include "core/parallel.h"
#include "ops/gemm/gemm.h"

namespace neocog {
namespace {

// Output channels of one work item: enough to be worth a thread.
constexpr int64_t kItem = 1 << 14;

template <class T>
void transpose_each(int64_t count, int64_t rows, int64_t columns, const T* from, T* to) {
  const int64_t size = rows * columns;
  if (size == 0) return;
  const int64_t together = ceil_div(kItem, size);
  parallel_for(ceil_div(count, together), [&](int64_t item, int) {
    for (int64_t o = item * together; o < min64(count, (item + 1) * together); ++o) {
      gemm_kernels<T>().transpose(from + o * size, columns, to + o * size, rows, rows, columns);
    }
  });
}

}  // namespace

template <class T>
void weight_channels_first(int64_t out_channels, int64_t in_channels, int64_t taps, const T* from, T* to) {
  transpose_each(out_channels, taps, in_channels, from, to);
}

template <class T>
void weight_channels_last(int64_t out_channels, int64_t in_channels, int64_t taps, const T* from, T* to) {
  transpose_each(out_channels, in_channels, taps, from, to);
}

template void weight_channels_first<float>(int64_t, int64_t, int64_t, const float*, float*);
template void weight_channels_first<double>(int64_t, int64_t, int64_t, const double*, double*);
template void weight_channels_last<float>(int64_t, int64_t, int64_t, const float*, float*);
template void weight_channels_last<double>(int64_t, int64_t, int64_t, const double*, double*);

}  // namespace neocog
