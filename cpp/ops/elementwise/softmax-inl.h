// Kernel bodies of softmax.h, compiled once per instruction set; no include guard on purpose.
#include "core/simd/mask.h"
#include "core/simd/math.h"
#include "core/window.h"
#include "ops/elementwise/softmax.h"

namespace neocog::NEOCOG_ISA {
namespace {

// Terms a register adds up before they go to the next level: the error of a sum grows with this, not with its
// length.
constexpr int64_t kTerms = 64;

template <class T>
NEOCOG_INLINE T minus_infinity() {
  return -static_cast<T>(__builtin_inf());
}

// The first n lanes of p, minus infinity elsewhere: it changes neither a maximum nor a sum of exponentials.
template <class T>
NEOCOG_INLINE Vec<T> load_or_nothing(const T* p, int64_t n) {
  using V = Vec<T>;
  return select(first_lanes<T>(n), V::load_n(p, n), V::set1(minus_infinity<T>()));
}

template <class T>
void long_rows(const T* x, T* y, int64_t rows, int64_t n) {
  using V = Vec<T>;
  const int64_t whole = n / V::lanes * V::lanes, rest = n - whole;
  for (int64_t row = 0; row < rows; ++row, x += n, y += n) {
    V most = V::set1(minus_infinity<T>());
    for (int64_t i = 0; i < whole; i += V::lanes) most = max(V::load(x + i), most);
    if (rest > 0) most = max(load_or_nothing(x + whole, rest), most);
    const V top = V::set1(most.reduce_max());
    double total = 0;
    for (int64_t begin = 0; begin < whole; begin += kTerms * V::lanes) {
      const int64_t end = min64(whole, begin + kTerms * V::lanes);
      V sum = V::zero();
      for (int64_t i = begin; i < end; i += V::lanes) {
        const V e = exp_bounded(V::load(x + i) - top);
        e.store(y + i);
        sum = sum + e;
      }
      total += sum.sum();
    }
    if (rest > 0) {
      const V e = exp_bounded(load_or_nothing(x + whole, rest) - top);
      e.store_n(y + whole, rest);
      total += e.sum();
    }
    const V scale = V::set1(static_cast<T>(1 / total));
    for (int64_t i = 0; i < whole; i += V::lanes) (V::load(y + i) * scale).store(y + i);
    if (rest > 0) (V::load_n(y + whole, rest) * scale).store_n(y + whole, rest);
  }
}

template <class T>
void long_rows_backward(const T* dy, const T* y, T* dx, int64_t rows, int64_t n) {
  using V = Vec<T>;
  const int64_t whole = n / V::lanes * V::lanes, rest = n - whole;
  for (int64_t row = 0; row < rows; ++row, dy += n, y += n, dx += n) {
    double total = 0;
    for (int64_t begin = 0; begin < whole; begin += kTerms * V::lanes) {
      const int64_t end = min64(whole, begin + kTerms * V::lanes);
      V sum = V::zero();
      for (int64_t i = begin; i < end; i += V::lanes) sum = fma(V::load(dy + i), V::load(y + i), sum);
      total += sum.sum();
    }
    if (rest > 0) total += (V::load_n(dy + whole, rest) * V::load_n(y + whole, rest)).sum();
    const V dot = V::set1(static_cast<T>(total));
    for (int64_t i = 0; i < whole; i += V::lanes) (V::load(y + i) * (V::load(dy + i) - dot)).store(dx + i);
    if (rest > 0)
      (V::load_n(y + whole, rest) * (V::load_n(dy + whole, rest) - dot)).store_n(dx + whole, rest);
  }
}

// Rows of at most kVectors vectors, held in registers: writing e and reading it back would wait for the
// stores.
template <int kVectors, class T>
void short_rows(const T* x, T* y, int64_t rows, int64_t n) {
  using V = Vec<T>;
  const int64_t rest = n - (kVectors - 1) * V::lanes;
  for (int64_t row = 0; row < rows; ++row, x += n, y += n) {
    V e[kVectors];
    e[kVectors - 1] = load_or_nothing(x + (kVectors - 1) * V::lanes, rest);
    V most = e[kVectors - 1];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors - 1; ++j) {
      e[j] = V::load(x + j * V::lanes);
      most = max(e[j], most);
    }
    const V top = V::set1(most.reduce_max());
    V sum = V::zero();
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      e[j] = exp_bounded(e[j] - top);
      sum = sum + e[j];
    }
    const V scale = V::set1(T(1) / sum.sum());
#pragma GCC unroll 8
    for (int j = 0; j < kVectors - 1; ++j) (e[j] * scale).store(y + j * V::lanes);
    (e[kVectors - 1] * scale).store_n(y + (kVectors - 1) * V::lanes, rest);
  }
}

template <int kVectors, class T>
void short_rows_backward(const T* dy, const T* y, T* dx, int64_t rows, int64_t n) {
  using V = Vec<T>;
  constexpr int64_t kLast = (kVectors - 1) * V::lanes;
  const int64_t rest = n - kLast;
  for (int64_t row = 0; row < rows; ++row, dy += n, y += n, dx += n) {
    V grad[kVectors], value[kVectors];
    grad[kVectors - 1] = V::load_n(dy + kLast, rest);
    value[kVectors - 1] = V::load_n(y + kLast, rest);
    V sum = grad[kVectors - 1] * value[kVectors - 1];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors - 1; ++j) {
      grad[j] = V::load(dy + j * V::lanes);
      value[j] = V::load(y + j * V::lanes);
      sum = fma(grad[j], value[j], sum);
    }
    const V dot = V::set1(sum.sum());
#pragma GCC unroll 4
    for (int j = 0; j < kVectors - 1; ++j) (value[j] * (grad[j] - dot)).store(dx + j * V::lanes);
    (value[kVectors - 1] * (grad[kVectors - 1] - dot)).store_n(dx + kLast, rest);
  }
}

template <class T>
void softmax_rows(const T* x, T* y, int64_t rows, int64_t n) {
  switch (ceil_div(n, Vec<T>::lanes)) {
    case 1: short_rows<1>(x, y, rows, n); break;
    case 2: short_rows<2>(x, y, rows, n); break;
    case 3: short_rows<3>(x, y, rows, n); break;
    case 4: short_rows<4>(x, y, rows, n); break;
    case 5: short_rows<5>(x, y, rows, n); break;
    case 6: short_rows<6>(x, y, rows, n); break;
    case 7: short_rows<7>(x, y, rows, n); break;
    case 8: short_rows<8>(x, y, rows, n); break;
    default: long_rows(x, y, rows, n);
  }
}

template <class T>
void softmax_rows_backward(const T* dy, const T* y, T* dx, int64_t rows, int64_t n) {
  switch (ceil_div(n, Vec<T>::lanes)) {
    case 1: short_rows_backward<1>(dy, y, dx, rows, n); break;
    case 2: short_rows_backward<2>(dy, y, dx, rows, n); break;
    case 3: short_rows_backward<3>(dy, y, dx, rows, n); break;
    case 4: short_rows_backward<4>(dy, y, dx, rows, n); break;
    default: long_rows_backward(dy, y, dx, rows, n);
  }
}

// Columns of a tile: its buffers stay in the first-level cache while rows stream past in pieces of 4 KB.
constexpr int64_t kTile = 1024;

// Calls f(c, n) for the vectors of a tile of `columns`; n lanes of the last one exist.
template <class T, class F>
NEOCOG_INLINE void each_vector_of(int64_t columns, F f) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) f(c, kLanes);
  if (c < columns) f(c, columns - c);
}

template <class T>
NEOCOG_INLINE Vec<T> load_some(const T* p, int64_t n) {
  return n == Vec<T>::lanes ? Vec<T>::load(p) : Vec<T>::load_n(p, n);
}

template <class T>
NEOCOG_INLINE void store_some(Vec<T> v, T* p, int64_t n) {
  if (n == Vec<T>::lanes) {
    v.store(p);
  } else {
    v.store_n(p, n);
  }
}

template <class T>
NEOCOG_INLINE void tile_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t columns) {
  using V = Vec<T>;
  alignas(64) T top[kTile], sum[kTile], total[kTile];
  each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
    load_some(x + c, lanes).store(top + c);
    V::zero().store(total + c);
  });
  for (int64_t i = 1; i < n; ++i) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
      max(load_some(x + i * stride + c, lanes), V::load(top + c)).store(top + c);
    });
  }
  for (int64_t begin = 0; begin < n; begin += kTerms) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t) { V::zero().store(sum + c); });
    for (int64_t i = begin; i < min64(n, begin + kTerms); ++i) {
      each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
        const V e = exp_bounded(load_some(x + i * stride + c, lanes) - V::load(top + c));
        store_some(e, y + i * stride + c, lanes);
        (V::load(sum + c) + e).store(sum + c);
      });
    }
    each_vector_of<T>(columns,
                      [&](int64_t c, int64_t) { (V::load(total + c) + V::load(sum + c)).store(total + c); });
  }
  each_vector_of<T>(columns,
                    [&](int64_t c, int64_t) { (V::set1(T(1)) / V::load(total + c)).store(total + c); });
  for (int64_t i = 0; i < n; ++i) {
    T* const row = y + i * stride;
    each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
      store_some(load_some(row + c, lanes) * V::load(total + c), row + c, lanes);
    });
  }
}

template <class T>
NEOCOG_INLINE void tile_columns_backward(const T* dy, const T* y, T* dx, int64_t n, int64_t stride,
                                         int64_t columns) {
  using V = Vec<T>;
  alignas(64) T sum[kTile], dot[kTile];
  each_vector_of<T>(columns, [&](int64_t c, int64_t) { V::zero().store(dot + c); });
  for (int64_t begin = 0; begin < n; begin += kTerms) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t) { V::zero().store(sum + c); });
    for (int64_t i = begin; i < min64(n, begin + kTerms); ++i) {
      each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
        const int64_t at = i * stride + c;
        fma(load_some(dy + at, lanes), load_some(y + at, lanes), V::load(sum + c)).store(sum + c);
      });
    }
    each_vector_of<T>(columns,
                      [&](int64_t c, int64_t) { (V::load(dot + c) + V::load(sum + c)).store(dot + c); });
  }
  for (int64_t i = 0; i < n; ++i) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
      const int64_t at = i * stride + c;
      store_some(load_some(y + at, lanes) * (load_some(dy + at, lanes) - V::load(dot + c)), dx + at, lanes);
    });
  }
}

template <class T>
void softmax_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kTile)
    tile_columns(x + c, y + c, n, stride, min64(kTile, columns - c));
}

template <class T>
void softmax_columns_backward(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kTile) {
    tile_columns_backward(dy + c, y + c, dx + c, n, stride, min64(kTile, columns - c));
  }
}

// Sum over n values of e^(x - top), in pieces that a register adds up.
template <class T>
NEOCOG_INLINE double exponential_sum(const T* x, int64_t n, Vec<T> top) {
  using V = Vec<T>;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kTerms * V::lanes) {
    const int64_t end = min64(n, begin + kTerms * V::lanes);
    V sum = V::zero();
    int64_t i = begin;
    for (; i + V::lanes <= end; i += V::lanes) sum = sum + exp_bounded(V::load(x + i) - top);
    if (i < end) sum = sum + exp_bounded(load_or_nothing(x + i, end - i) - top);
    total += sum.sum();
  }
  return total;
}

template <class T>
void log_softmax_rows(const T* x, T* y, int64_t rows, int64_t n) {
  using V = Vec<T>;
  for (int64_t row = 0; row < rows; ++row, x += n, y += n) {
    V most = V::set1(minus_infinity<T>());
    int64_t i = 0;
    for (; i + V::lanes <= n; i += V::lanes) most = max(V::load(x + i), most);
    if (i < n) most = max(load_or_nothing(x + i, n - i), most);
    const V top = V::set1(most.reduce_max());
    const V log_total = V::set1(static_cast<T>(__builtin_log(exponential_sum(x, n, top))));
    for (i = 0; i + V::lanes <= n; i += V::lanes) (V::load(x + i) - top - log_total).store(y + i);
    if (i < n) (V::load_n(x + i, n - i) - top - log_total).store_n(y + i, n - i);
  }
}

template <class T>
NEOCOG_INLINE void log_tile_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t columns) {
  using V = Vec<T>;
  alignas(64) T top[kTile], sum[kTile];
  double total[kTile];
  each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) { load_some(x + c, lanes).store(top + c); });
  for (int64_t i = 1; i < n; ++i) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
      max(load_some(x + i * stride + c, lanes), V::load(top + c)).store(top + c);
    });
  }
  for (int64_t c = 0; c < columns; ++c) total[c] = 0;
  for (int64_t begin = 0; begin < n; begin += kTerms) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t) { V::zero().store(sum + c); });
    for (int64_t i = begin; i < min64(n, begin + kTerms); ++i) {
      each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
        const V e = exp_bounded(load_some(x + i * stride + c, lanes) - V::load(top + c));
        (V::load(sum + c) + e).store(sum + c);
      });
    }
    for (int64_t c = 0; c < columns; ++c) total[c] += static_cast<double>(sum[c]);
  }
  for (int64_t c = 0; c < columns; ++c) sum[c] = static_cast<T>(__builtin_log(total[c]));
  for (int64_t i = 0; i < n; ++i) {
    each_vector_of<T>(columns, [&](int64_t c, int64_t lanes) {
      const V v = load_some(x + i * stride + c, lanes) - V::load(top + c) - V::load(sum + c);
      store_some(v, y + i * stride + c, lanes);
    });
  }
}

template <class T>
void log_softmax_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t columns) {
  for (int64_t c = 0; c < columns; c += kTile) {
    log_tile_columns(x + c, y + c, n, stride, min64(kTile, columns - c));
  }
}

template <class T>
constexpr SoftmaxKernels<T> kSoftmaxTable = {&softmax_rows<T>,          &softmax_columns<T>,
                                             &log_softmax_rows<T>,      &log_softmax_columns<T>,
                                             &softmax_rows_backward<T>, &softmax_columns_backward<T>};

}  // namespace

extern constinit const SoftmaxKernels<float> softmax_kernels_f32 = kSoftmaxTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const SoftmaxKernels<double> softmax_kernels_f64 = kSoftmaxTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
