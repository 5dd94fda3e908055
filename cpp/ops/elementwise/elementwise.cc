#include "ops/elementwise/elementwise.h"

#include "core/parallel.h"
#include "core/window.h"

namespace neocog {
namespace {

// Values one thread takes at a time: long enough to pay for handing it out, and a multiple of every vector
// and cache line, so that chunks of an aligned result stay aligned.
constexpr int64_t kChunk = 1 << 14;

// Results of this size are not still cached when their reader comes, and writing them through the caches
// would first read them from memory.
constexpr int64_t kStreamBytes = int64_t{24} << 20;

template <class F>
void for_chunks(int64_t n, F&& f) {
  parallel_for(ceil_div(n, kChunk), [&](int64_t item, int) {
    const int64_t begin = item * kChunk;
    f(begin, min64(kChunk, n - begin));
  });
}

}  // namespace

bool streams_past_caches(const void* result, int64_t bytes) {
  return bytes >= kStreamBytes && reinterpret_cast<uintptr_t>(result) % 64 == 0;
}

template <class T>
void elementwise_forward(Activation f, T alpha, const T* x, T* y, int64_t n) {
  const ElementwiseKernels<T>& kernels = elementwise_kernels<T>();
  const auto activate = x != y && streams_past_caches(y, n * static_cast<int64_t>(sizeof(T)))
                            ? kernels.stream_activate
                            : kernels.activate;
  for_chunks(n, [&](int64_t i, int64_t count) { activate(f, alpha, x + i, y + i, count); });
}

template <class T>
void elementwise_backward(Activation f, T alpha, const T* dy, const T* x, T* dx, int64_t n) {
  const ElementwiseKernels<T>& kernels = elementwise_kernels<T>();
  const auto activate_backward =
      dx != dy && dx != x && streams_past_caches(dx, n * static_cast<int64_t>(sizeof(T)))
          ? kernels.stream_activate_backward
          : kernels.activate_backward;
  for_chunks(n, [&](int64_t i, int64_t count) { activate_backward(f, alpha, dy + i, x + i, dx + i, count); });
}

template <class T>
void elementwise_add(Activation f, T alpha, const T* a, const T* b, T* y, int64_t n) {
  const ElementwiseKernels<T>& kernels = elementwise_kernels<T>();
  const auto add = y != a && y != b && streams_past_caches(y, n * static_cast<int64_t>(sizeof(T)))
                       ? kernels.stream_add
                       : kernels.add;
  for_chunks(n, [&](int64_t i, int64_t count) { add(f, alpha, a + i, b + i, y + i, count); });
}

template void elementwise_forward<float>(Activation, float, const float*, float*, int64_t);
template void elementwise_forward<double>(Activation, double, const double*, double*, int64_t);
template void elementwise_backward<float>(Activation, float, const float*, const float*, float*, int64_t);
template void elementwise_backward<double>(Activation, double, const double*, const double*, double*,
                                           int64_t);
template void elementwise_add<float>(Activation, float, const float*, const float*, float*, int64_t);
template void elementwise_add<double>(Activation, double, const double*, const double*, double*, int64_t);

}  // namespace neocog
