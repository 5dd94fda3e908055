// Channels first: kernels that see runs of one channel. The header of an instruction set comes first.
#pragma once

#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/vectors-inl.h"
#include "ops/elementwise/activations-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class T>
NEOCOG_INLINE double total(const Vec<T> (&v)[4]) {
  return ((v[0] + v[1]) + (v[2] + v[3])).sum();
}

template <class T>
void run_moments(const T* x, int64_t rows, int64_t stride, int64_t n, T pivot, double* sums) {
  using V = Vec<T>;
  V rough[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  for (int64_t r = 0; r < rows; ++r) {
    const T* const row = x + r * stride;
    each_vector<T>(
        n, [&](int64_t i, int j, int64_t lanes) { rough[j] = rough[j] + load_lanes(row + i, lanes); });
  }
  const double count = static_cast<double>(rows * n);
  // The second pass reads the first-level cache; it needs no exact mean, only a close one, and a finite one.
  T mean = static_cast<T>(total(rough) / count);
  if (!(mean - mean == 0)) mean = 0;
  const V center = V::set1(mean);
  V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()},
    square[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  for (int64_t r = 0; r < rows; ++r) {
    const T* const row = x + r * stride;
    each_vector<T>(n, [&](int64_t i, int j, int64_t lanes) {
      V d = load_lanes(row + i, lanes) - center;
      if (lanes < V::lanes) d = select(first_lanes<T>(lanes), d, V::zero());
      sum[j] = sum[j] + d;
      square[j] = fma(d, d, square[j]);
    });
  }
  add_moments(count, static_cast<double>(mean) - static_cast<double>(pivot), total(sum), total(square), sums,
              sums + 1);
}

template <bool kStream, class T, class F>
NEOCOG_INLINE void run_normalize(F f, const BatchNormLine<T>& line, const T* x, int64_t rows, int64_t stride,
                                 int64_t n, T* y) {
  using V = Vec<T>;
  const V center = V::set1(line.center), scale = V::set1(line.scale), shift = V::set1(line.shift);
  for (int64_t r = 0; r < rows; ++r) {
    const T* const from = x + r * stride;
    T* const to = y + r * stride;
    each_vector<T>(n, [&](int64_t i, int, int64_t lanes) {
      store_lanes<kStream>(f(fma(load_lanes(from + i, lanes) - center, scale, shift)), to + i, lanes);
    });
  }
  if constexpr (kStream) V::fence();
}

template <class T>
void run_forward(Activation activation, T alpha, const BatchNormLine<T>& line, const T* x, int64_t rows,
                 int64_t stride, int64_t n, bool stream, T* y) {
  with_activation(activation, alpha, [&](auto f) {
    if (stream) {
      run_normalize<true>(f, line, x, rows, stride, n, y);
    } else {
      run_normalize<false>(f, line, x, rows, stride, n, y);
    }
  });
}

template <class T>
void run_sums(Activation activation, T alpha, const BatchNormLine<T>& forward, const T* dy, const T* x,
              int64_t rows, int64_t stride, int64_t n, double* sums) {
  using V = Vec<T>;
  with_activation(activation, alpha, [&](auto f) {
    const V center = V::set1(forward.center), scale = V::set1(forward.scale), shift = V::set1(forward.shift);
    V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()},
      product[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    for (int64_t r = 0; r < rows; ++r) {
      const T *const grad = dy + r * stride, *const row = x + r * stride;
      each_vector<T>(n, [&](int64_t i, int j, int64_t lanes) {
        const V d = load_lanes(row + i, lanes) - center;
        const V g = through(f, load_lanes(grad + i, lanes), fma(d, scale, shift));
        sum[j] = sum[j] + g;
        product[j] = fma(g, d, product[j]);
      });
    }
    sums[0] += total(sum);
    sums[1] += total(product);
  });
}

template <bool kStream, bool kMoving, class T, class F>
NEOCOG_INLINE void run_gradient(F f, const BatchNormLine<T>& forward, const BatchNormLine<T>& line,
                                const T* dy, const T* x, int64_t rows, int64_t stride, int64_t n, T* dx) {
  using V = Vec<T>;
  const V center = V::set1(line.center), scale = V::set1(line.scale), slope = V::set1(line.slope);
  const V shift = V::set1(line.shift);
  const V forward_scale = V::set1(forward.scale), forward_shift = V::set1(forward.shift);
  for (int64_t r = 0; r < rows; ++r) {
    const T *const grad = dy + r * stride, *const row = x + r * stride;
    T* const to = dx + r * stride;
    each_vector<T>(n, [&](int64_t i, int, int64_t lanes) {
      const V d = load_lanes(row + i, lanes) - center;
      const V g = through(f, load_lanes(grad + i, lanes), fma(d, forward_scale, forward_shift));
      store_lanes<kStream>(kMoving ? fma(g, scale, fma(d, slope, shift)) : g * scale, to + i, lanes);
    });
  }
  if constexpr (kStream) V::fence();
}

template <class T>
void run_backward(Activation activation, T alpha, const BatchNormLine<T>& forward,
                  const BatchNormLine<T>& line, bool moving, const T* dy, const T* x, int64_t rows,
                  int64_t stride, int64_t n, bool stream, T* dx) {
  with_activation(activation, alpha, [&](auto f) {
    if (!moving) {
      run_gradient<false, false>(f, forward, line, dy, x, rows, stride, n, dx);
    } else if (stream) {
      run_gradient<true, true>(f, forward, line, dy, x, rows, stride, n, dx);
    } else {
      run_gradient<false, true>(f, forward, line, dy, x, rows, stride, n, dx);
    }
  });
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
