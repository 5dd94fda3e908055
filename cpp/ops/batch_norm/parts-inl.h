// Parts of moments.h: a few hundred values of a channel around a center of their own; no include guard on
// purpose. The center is the mean of every fourth pixel or vector. If those are 1 / k of the values, it errs
// by at most sqrt(k) standard deviations, whatever the data: the squares lose a factor of 1 + k at the very
// most.
#include "ops/batch_norm/batch_norm.h"
#include "ops/batch_norm/vectors-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

// kVectors vectors of channels; the last one has `lanes`.
template <int kVectors, class T>
NEOCOG_INLINE void columns_part_block(const T* x, int64_t rows, int64_t row_stride, int64_t pixels,
                                      int64_t pixel_stride, int64_t lanes, T* center, T* sum, T* square) {
  using V = Vec<T>;
  constexpr int64_t kLanes = V::lanes;
  const auto load = [&](const T* p, int i) {
    return i + 1 == kVectors ? load_lanes(p + i * kLanes, lanes) : V::load(p + i * kLanes);
  };
  V middle[kVectors], s[kVectors], q[kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) middle[i] = s[i] = q[i] = V::zero();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t p = 0; p < pixels; p += 4) {
      const T* const at = x + r * row_stride + p * pixel_stride;
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) middle[i] = middle[i] + load(at, i);
    }
  }
  const V share = V::set1(T(1) / static_cast<T>(rows * ceil_div(pixels, 4)));
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    const V mean = middle[i] * share;
    middle[i] = select(eq(mean - mean, V::zero()), mean, V::zero());  // any finite center is right
  }
  for (int64_t r = 0; r < rows; ++r) {
    const T* at = x + r * row_stride;
    for (int64_t p = 0; p < pixels; ++p, at += pixel_stride) {
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; ++i) {
        const V d = load(at, i) - middle[i];
        s[i] = s[i] + d;
        q[i] = fma(d, d, q[i]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kVectors; ++i) {
    const int64_t n = i + 1 == kVectors ? lanes : kLanes;
    store_lanes<false>(middle[i], center + i * kLanes, n);
    store_lanes<false>(s[i], sum + i * kLanes, n);
    store_lanes<false>(q[i], square + i * kLanes, n);
  }
}

template <class T>
void columns_part(const T* x, int64_t rows, int64_t row_stride, int64_t pixels, int64_t pixel_stride,
                  int64_t columns, T* center, T* sum, T* square) {
  constexpr int64_t kLanes = Vec<T>::lanes;
  for (int64_t c = 0; c < columns; c += 4 * kLanes) {
    const int64_t vectors = min64(4, ceil_div(columns - c, kLanes));
    const int64_t lanes = min64(kLanes, columns - c - (vectors - 1) * kLanes);
    const auto block = [&]<int kVectors>() {
      columns_part_block<kVectors>(x + c, rows, row_stride, pixels, pixel_stride, lanes, center + c, sum + c,
                                   square + c);
    };
    switch (vectors) {
      case 4: block.template operator()<4>(); break;
      case 3: block.template operator()<3>(); break;
      case 2: block.template operator()<2>(); break;
      default: block.template operator()<1>();
    }
  }
}

template <class T>
void run_part(const T* x, int64_t rows, int64_t stride, int64_t n, T* center, T* sum, T* square) {
  using V = Vec<T>;
  constexpr int64_t kLanes = V::lanes;
  V rough = V::zero();
  int64_t count = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < n; i += 4 * kLanes) {
      const int64_t lanes = min64(kLanes, n - i);
      rough = rough + load_lanes(x + r * stride + i, lanes);
      count += lanes;
    }
  }
  T mean = static_cast<T>(rough.sum() / static_cast<double>(count));
  if (!(mean - mean == 0)) mean = 0;  // any finite center is right
  const V middle = V::set1(mean);
  V s[4] = {V::zero(), V::zero(), V::zero(), V::zero()}, q[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
  for (int64_t r = 0; r < rows; ++r) {
    const T* const row = x + r * stride;
    each_vector<T>(n, [&](int64_t i, int j, int64_t lanes) {
      V d = load_lanes(row + i, lanes) - middle;
      if (lanes < kLanes) d = select(first_lanes<T>(lanes), d, V::zero());
      s[j] = s[j] + d;
      q[j] = fma(d, d, q[j]);
    });
  }
  *center = mean;
  *sum = static_cast<T>(((s[0] + s[1]) + (s[2] + s[3])).sum());
  *square = static_cast<T>(((q[0] + q[1]) + (q[2] + q[3])).sum());
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
