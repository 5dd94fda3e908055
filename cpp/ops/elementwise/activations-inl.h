// The activations themselves, one struct each: operator() is f(x), backward is dy * f'(x). Included by the
// kernel bodies that fuse them; the header of an instruction set comes first. At a kink and at NaN each takes
// the side PyTorch takes.
#pragma once

#include <type_traits>

#include "core/simd/math.h"
#include "ops/elementwise/elementwise.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class T>
struct Identity {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const { return x; }
  NEOCOG_INLINE V backward(V dy, V) const { return dy; }
};

template <class T>
struct Relu {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const { return max(V::zero(), x); }  // in this order NaN stays
  NEOCOG_INLINE V backward(V dy, V x) const {
    return select(gt(x, V::zero()) | unordered(x, x), dy, V::zero());
  }
};

template <class T>
struct Relu6 {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const { return min(V::set1(T(6)), max(V::zero(), x)); }
  NEOCOG_INLINE V backward(V dy, V x) const {
    return select(gt(x, V::zero()) & gt(V::set1(T(6)), x), dy, V::zero());
  }
};

template <class T>
struct LeakyRelu {
  using V = Vec<T>;
  V slope;
  NEOCOG_INLINE V operator()(V x) const { return select(gt(x, V::zero()), x, slope * x); }
  NEOCOG_INLINE V backward(V dy, V x) const { return select(gt(x, V::zero()), dy, slope * dy); }
};

template <class T>
struct Elu {
  using V = Vec<T>;
  V scale;
  NEOCOG_INLINE V operator()(V x) const {
    return select(gt(x, V::zero()), x, scale * expm1(min(V::zero(), x)));
  }
  NEOCOG_INLINE V backward(V dy, V x) const {
    return select(gt(x, V::zero()), dy, dy * (scale * exp(min(V::zero(), x))));
  }
};

// x * Phi(x) = max(x, 0) - |x| * Phi(-|x|), the tail of Phi to full accuracy: nothing cancels for negative x.
template <class T>
struct Gelu {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const {
    // -|x|; finite at plus infinity, where the tail is 0, but not at minus infinity, where PyTorch has NaN.
    const V minus = min(x, max(V::zero() - x, V::set1(T(-1e30))));
    return fma(minus, normal(x).tail, max(V::zero(), x));
  }
  NEOCOG_INLINE V backward(V dy, V x) const {
    const Normal<V> d = normal(x);
    return dy * fma(x, d.density, select(gt(x, V::zero()), V::set1(T(1)) - d.tail, d.tail));
  }
};

// x * (1 + tanh(u)) / 2 is x * sigmoid(2u), which does not cancel for negative x.
template <class T>
struct GeluTanh {
  using V = Vec<T>;
  static constexpr T kScale = T(1.59576912160573071176);  // 2 * sqrt(2 / pi)
  static constexpr T kCubic = T(0.044715);
  NEOCOG_INLINE V operator()(V x) const {
    const V u = x * fma(x * x, V::set1(kScale * kCubic), V::set1(kScale));
    return x * sigmoid(u).value;
  }
  NEOCOG_INLINE V backward(V dy, V x) const {
    const V square =
        min(V::set1(T(1e8)), x * x);  // beyond, sigmoid is 0 or 1, and the cube must not overflow
    const V u = x * fma(square, V::set1(kScale * kCubic), V::set1(kScale));
    const V slope = x * fma(square, V::set1(3 * kScale * kCubic), V::set1(kScale));  // x * du/dx
    const Sigmoid<V> s = sigmoid(u);
    return dy * s.value * fma(slope, s.complement, V::set1(T(1)));
  }
};

template <class T>
struct Silu {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const { return x * sigmoid(x).value; }
  NEOCOG_INLINE V backward(V dy, V x) const {
    const Sigmoid<V> s = sigmoid(x);
    return dy * s.value * fma(x, s.complement, V::set1(T(1)));
  }
};

// backward of this and of Tanh takes y = f(x) where the others take x.
template <class T>
struct Logistic {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const { return sigmoid(x).value; }
  NEOCOG_INLINE V backward(V dy, V y) const { return dy * (V::set1(T(1)) - y) * y; }
};

template <class T>
struct Tanh {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const { return tanh(x); }
  // (1 - y)(1 + y), unlike 1 - y*y, keeps its digits where y is close to one.
  NEOCOG_INLINE V backward(V dy, V y) const {
    const V one = V::set1(T(1));
    return dy * ((one - y) * (one + y));
  }
};

template <class T>
struct Hardswish {
  using V = Vec<T>;
  NEOCOG_INLINE V operator()(V x) const {
    const V gate = min(V::set1(T(6)), max(V::zero(), x + V::set1(T(3))));
    return x * (gate * V::set1(T(1) / T(6)));
  }
  NEOCOG_INLINE V backward(V dy, V x) const {
    const V three = V::set1(T(3));
    const V middle = dy * fma(x, V::set1(T(1) / T(3)), V::set1(T(0.5)));
    const V upper = select(gt(three, x) | unordered(x, x), middle, dy);
    return select(gt(x, V::zero() - three) | unordered(x, x), upper, V::zero());
  }
};

// dy * f'(z) of any of them at what goes into it.
template <class T, class F>
NEOCOG_INLINE Vec<T> through(const F& f, Vec<T> dy, Vec<T> z) {
  if constexpr (std::is_same_v<F, Logistic<T>> || std::is_same_v<F, Tanh<T>>) {
    return f.backward(dy, f(z));
  } else {
    return f.backward(dy, z);
  }
}

// visit(f) with the struct of `activation`: one branch per call of a kernel, none per value.
template <class T, class Visitor>
NEOCOG_INLINE void with_activation(Activation activation, T alpha, Visitor&& visit) {
  switch (activation) {
    case Activation::kIdentity: visit(Identity<T>{}); break;
    case Activation::kRelu: visit(Relu<T>{}); break;
    case Activation::kRelu6: visit(Relu6<T>{}); break;
    case Activation::kLeakyRelu: visit(LeakyRelu<T>{Vec<T>::set1(alpha)}); break;
    case Activation::kElu: visit(Elu<T>{Vec<T>::set1(alpha)}); break;
    case Activation::kGelu: visit(Gelu<T>{}); break;
    case Activation::kGeluTanh: visit(GeluTanh<T>{}); break;
    case Activation::kSilu: visit(Silu<T>{}); break;
    case Activation::kSigmoid: visit(Logistic<T>{}); break;
    case Activation::kTanh: visit(Tanh<T>{}); break;
    case Activation::kHardswish: visit(Hardswish<T>{}); break;
  }
}

}  // namespace
}  // namespace neocog::NEOCOG_ISA
