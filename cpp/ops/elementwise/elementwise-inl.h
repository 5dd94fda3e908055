// Kernel bodies of elementwise.h, compiled once per instruction set; no include guard on purpose.
#include "ops/elementwise/activations-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <bool kStream, class V, class T>
NEOCOG_INLINE void put(V v, T* to) {
  if constexpr (kStream) {
    v.stream(to);
  } else {
    v.store(to);
  }
}

// y[i] = f(x[i])
template <bool kStream, class T, class F>
NEOCOG_INLINE void map(const T* x, T* y, int64_t n, F f) {
  using V = Vec<T>;
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) put<kStream>(f(V::load(x + i)), y + i);
  if (i < n) f(V::load_n(x + i, n - i)).store_n(y + i, n - i);
  if constexpr (kStream) V::fence();
}

// y[i] = f(a[i], b[i])
template <bool kStream, class T, class F>
NEOCOG_INLINE void map(const T* a, const T* b, T* y, int64_t n, F f) {
  using V = Vec<T>;
  int64_t i = 0;
  for (; i + V::lanes <= n; i += V::lanes) put<kStream>(f(V::load(a + i), V::load(b + i)), y + i);
  if (i < n) f(V::load_n(a + i, n - i), V::load_n(b + i, n - i)).store_n(y + i, n - i);
  if constexpr (kStream) V::fence();
}

template <class T, bool kStream>
void activate(Activation activation, T alpha, const T* x, T* y, int64_t n) {
  with_activation(activation, alpha, [=](auto f) { map<kStream>(x, y, n, f); });
}

template <class T, bool kStream>
void activate_backward(Activation activation, T alpha, const T* dy, const T* x, T* dx, int64_t n) {
  with_activation(activation, alpha, [=](auto f) {
    map<kStream>(dy, x, dx, n, [f](Vec<T> g, Vec<T> at) { return f.backward(g, at); });
  });
}

template <class T, bool kStream>
void add(Activation activation, T alpha, const T* a, const T* b, T* y, int64_t n) {
  with_activation(activation, alpha,
                  [=](auto f) { map<kStream>(a, b, y, n, [f](Vec<T> p, Vec<T> q) { return f(p + q); }); });
}

template <class T>
void epilogue(Activation activation, T alpha, const T* residual, T* y, int64_t n) {
  if (residual != nullptr) {
    add<T, false>(activation, alpha, y, residual, y, n);
  } else if (activation != Activation::kIdentity) {
    activate<T, false>(activation, alpha, y, y, n);
  }
}

template <class T>
constexpr ElementwiseKernels<T> kElementwiseTable = {
    &activate<T, false>, &activate_backward<T, false>, &epilogue<T>,  &add<T, false>,
    &activate<T, true>,  &activate_backward<T, true>,  &add<T, true>,
};

}  // namespace

extern constinit const ElementwiseKernels<float> elementwise_kernels_f32 = kElementwiseTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const ElementwiseKernels<double> elementwise_kernels_f64 = kElementwiseTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
