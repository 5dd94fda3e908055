// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/batch_norm/batch_norm.h"

#include "bindings/arrays.h"

namespace neocog::bindings {
namespace {

// x as Python laid it out: (N, C, 1, pixels) with strides of its layout.
template <class T>
BatchNormGeometry geometry(const Image<const T>& x) {
  return {x.n, x.c, x.h * x.w, x.layout};
}

py::array inference(const py::array& x, const py::array& mean, const py::array& var, const MaybeArray& weight,
                    const MaybeArray& bias, double eps, int activation, double alpha, bool channels_last) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return with_dtype(x, [&](auto zero) -> py::array {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const T *const m = dense<T>(mean, in.c), *const v = dense<T>(var, in.c);
    const T *const w = dense<T>(weight, in.c), *const b = dense<T>(bias, in.c);
    py::array_t<T> y = new_image<T>(in.n, in.c, in.h, in.w, channels_last);
    T* const out = y.mutable_data();
    const py::gil_scoped_release nogil;
    neocog::batch_norm_inference<T>(geometry(in), in.data, m, v, w, b, eps,
                                    static_cast<Activation>(activation), static_cast<T>(alpha), out);
    return y;
  });
}

py::tuple training(const py::array& x, const MaybeArray& weight, const MaybeArray& bias, double eps,
                   int activation, double alpha, bool channels_last) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return with_dtype(x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const T *const w = dense<T>(weight, in.c), *const b = dense<T>(bias, in.c);
    py::array_t<T> y = new_image<T>(in.n, in.c, in.h, in.w, channels_last);
    py::array_t<T> mean = new_dense<T>({in.c}), var = new_dense<T>({in.c});
    T *const out = y.mutable_data(), *const m = mean.mutable_data(), *const v = var.mutable_data();
    {
      const py::gil_scoped_release nogil;
      neocog::batch_norm_training<T>(geometry(in), in.data, w, b, eps, static_cast<Activation>(activation),
                                     static_cast<T>(alpha), out, m, v);
    }
    return py::make_tuple(y, mean, var);
  });
}

py::tuple backward(const py::array& dy, const py::array& x, const py::array& mean, const py::array& var,
                   const MaybeArray& weight, double eps, bool training, const Mask& mask,
                   bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last), grad = image_view<T>(dy, channels_last);
    require(grad.n == in.n && grad.c == in.c && grad.h == in.h && grad.w == in.w,
            "arrays must have the same shape");
    const T *const m = dense<T>(mean, in.c), *const v = dense<T>(var, in.c),
                   *const w = dense<T>(weight, in.c);
    std::optional<py::array_t<T>> dx, dweight, dbias;
    if (mask[0]) dx = new_image<T>(in.n, in.c, in.h, in.w, channels_last);
    if (mask[1]) dweight = new_dense<T>({in.c});
    if (mask[2]) dbias = new_dense<T>({in.c});
    T* const out_x = mask[0] ? dx->mutable_data() : nullptr;
    T* const out_weight = mask[1] ? dweight->mutable_data() : nullptr;
    T* const out_bias = mask[2] ? dbias->mutable_data() : nullptr;
    {
      const py::gil_scoped_release nogil;
      neocog::batch_norm_backward<T>(geometry(in), grad.data, in.data, m, v, w, eps, training, out_x,
                                     out_weight, out_bias);
    }
    return py::make_tuple(dx, dweight, dbias);
  });
}

}  // namespace

void bind_batch_norm(py::module_& m) {
  m.def("batch_norm_inference", &inference, "x"_a, "mean"_a, "var"_a, "weight"_a, "bias"_a, "eps"_a,
        "activation"_a, "alpha"_a, "channels_last"_a);
  m.def("batch_norm_training", &training, "x"_a, "weight"_a, "bias"_a, "eps"_a, "activation"_a, "alpha"_a,
        "channels_last"_a);
  m.def("batch_norm_backward", &backward, "dy"_a, "x"_a, "mean"_a, "var"_a, "weight"_a, "eps"_a, "training"_a,
        "mask"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
