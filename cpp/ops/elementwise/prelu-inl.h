// Kernel bodies of prelu.h, compiled once per instruction set; no include guard on purpose.
#include "core/window.h"
#include "ops/elementwise/prelu.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Terms a register adds up before it hands over to float64.
constexpr int64_t kShareTerms = 64;

template <class V>
NEOCOG_INLINE V prelu_value(V x, V slope) {
  return select(gt(x, V::zero()), x, slope * x);
}

template <class T>
void prelu_rows(const T* x, const T* weight, T* y, int64_t rows, int64_t channels) {
  using V = Vec<T>;
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    int64_t c = 0;
    for (; c + V::lanes <= channels; c += V::lanes)
      prelu_value(V::load(x + c), V::load(weight + c)).store(y + c);
    if (c < channels) {
      const int64_t n = channels - c;
      prelu_value(V::load_n(x + c, n), V::load_n(weight + c, n)).store_n(y + c, n);
    }
  }
}

// What one vector adds to the gradient of its slope.
template <class V>
NEOCOG_INLINE V prelu_share(V dy, V x) {
  return select(gt(x, V::zero()), V::zero(), dy * x);
}

template <class T>
double prelu_run_backward(const T* dy, const T* x, T slope, T* dx, int64_t n) {
  using V = Vec<T>;
  const V weight = V::set1(slope);
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kShareTerms * V::lanes) {
    const int64_t end = min64(n, begin + kShareTerms * V::lanes);
    V sum = V::zero();
    int64_t i = begin;
    for (; i + V::lanes <= end; i += V::lanes) {
      const V g = V::load(dy + i), at = V::load(x + i);
      if (dx != nullptr) select(gt(at, V::zero()), g, weight * g).store(dx + i);
      sum = sum + prelu_share(g, at);
    }
    if (i < end) {
      const V g = V::load_n(dy + i, end - i), at = V::load_n(x + i, end - i);
      if (dx != nullptr) select(gt(at, V::zero()), g, weight * g).store_n(dx + i, end - i);
      sum = sum + prelu_share(g, at);
    }
    total += sum.sum();
  }
  return total;
}

// At most kShareTerms rows and kShareColumns channels; the shares are summed in a buffer while rows stream
// past.
constexpr int64_t kShareColumns = 1024;

template <class T>
NEOCOG_INLINE void prelu_tile(const T* dy, const T* x, const T* weight, T* dx, double* shares, int64_t rows,
                              int64_t stride, int64_t channels) {
  using V = Vec<T>;
  alignas(64) T sum[kShareColumns];
  for (int64_t c = 0; c < channels; c += V::lanes) V::zero().store(sum + c);
  for (int64_t r = 0; r < rows; ++r) {
    const T *const grad = dy + r * stride, *const row = x + r * stride;
    int64_t c = 0;
    for (; c + V::lanes <= channels; c += V::lanes) {
      const V g = V::load(grad + c), at = V::load(row + c);
      if (dx != nullptr) select(gt(at, V::zero()), g, V::load(weight + c) * g).store(dx + r * stride + c);
      (V::load(sum + c) + prelu_share(g, at)).store(sum + c);
    }
    if (c < channels) {
      const int64_t n = channels - c;
      const V g = V::load_n(grad + c, n), at = V::load_n(row + c, n);
      if (dx != nullptr)
        select(gt(at, V::zero()), g, V::load_n(weight + c, n) * g).store_n(dx + r * stride + c, n);
      (V::load(sum + c) + prelu_share(g, at)).store(sum + c);
    }
  }
  if (shares == nullptr) return;
  for (int64_t c = 0; c < channels; ++c) shares[c] += sum[c];
}

template <class T>
void prelu_rows_backward(const T* dy, const T* x, const T* weight, T* dx, double* shares, int64_t rows,
                         int64_t channels) {
  if (shares != nullptr) {
    for (int64_t c = 0; c < channels; ++c) shares[c] = 0;
  }
  for (int64_t r = 0; r < rows; r += kShareTerms) {
    for (int64_t c = 0; c < channels; c += kShareColumns) {
      const int64_t at = r * channels + c;
      prelu_tile(dy + at, x + at, weight + c, dx == nullptr ? nullptr : dx + at,
                 shares == nullptr ? nullptr : shares + c, min64(kShareTerms, rows - r), channels,
                 min64(kShareColumns, channels - c));
    }
  }
}

template <class T>
constexpr PreluKernels<T> kPreluTable = {&prelu_rows<T>, &prelu_rows_backward<T>, &prelu_run_backward<T>};

}  // namespace

extern constinit const PreluKernels<float> prelu_kernels_f32 = kPreluTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const PreluKernels<double> prelu_kernels_f64 = kPreluTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
