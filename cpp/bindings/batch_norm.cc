// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/batch_norm/batch_norm.h"

#include "bindings/arrays.h"

namespace neocog::bindings {
namespace {

std::vector<py::ssize_t> shape_of(const ArrayRef& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

template <class T>
BatchNormGeometry geometry(const Image<const T>& x) {
  return {x.n, x.c, x.h * x.w, x.layout};
}

py::object inference(const ArrayRef& x, const ArrayRef& mean, const ArrayRef& var, const MaybeArray& weight,
                     const MaybeArray& bias, double eps, int activation, double alpha,
                     const MaybeLast& maybe_last) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const bool channels_last = channels_last_of(maybe_last, x);
    const Image<const T> in = image_view<T>(x, channels_last);
    const T *const m = dense<T>(mean, in.c), *const v = dense<T>(var, in.c);
    const T *const w = dense_or_null<T>(weight, in.c), *const b = dense_or_null<T>(bias, in.c);
    NewImage<T> y = new_image<T>(x, shape_of(x), channels_last);
    const py::gil_scoped_release nogil;
    neocog::batch_norm_inference<T>(geometry(in), in.data, m, v, w, b, eps,
                                    static_cast<Activation>(activation), static_cast<T>(alpha), y.image.data);
    return std::move(y.object);
  });
}

py::tuple training(const ArrayRef& x, const MaybeArray& weight, const MaybeArray& bias, double eps,
                   int activation, double alpha, bool channels_last) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return with_dtype(x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const T *const w = dense_or_null<T>(weight, in.c), *const b = dense_or_null<T>(bias, in.c);
    NewImage<T> y = new_image<T>(x, shape_of(x), channels_last);
    NewArray<T> mean = new_dense_like<T>(x, {in.c}), var = new_dense_like<T>(x, {in.c});
    {
      const py::gil_scoped_release nogil;
      neocog::batch_norm_training<T>(geometry(in), in.data, w, b, eps, static_cast<Activation>(activation),
                                     static_cast<T>(alpha), y.image.data, mean.data, var.data);
    }
    return py::make_tuple(std::move(y.object), std::move(mean.object), std::move(var.object));
  });
}

py::tuple backward(const ArrayRef& dy, const ArrayRef& x, const ArrayRef& mean, const ArrayRef& var,
                   const MaybeArray& weight, const MaybeArray& bias, double eps, int activation, double alpha,
                   bool training, const Mask& mask, bool channels_last) {
  require(0 <= activation && activation <= static_cast<int>(Activation::kHardswish), "unknown activation");
  return with_dtype(x, [&](auto zero) -> py::tuple {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last), grad = image_view<T>(dy, channels_last);
    require(grad.n == in.n && grad.c == in.c && grad.h == in.h && grad.w == in.w,
            "arrays must have the same shape");
    const T *const m = dense<T>(mean, in.c), *const v = dense<T>(var, in.c),
                   *const w = dense_or_null<T>(weight, in.c), *const b = dense_or_null<T>(bias, in.c);
    NewImage<T> dx{py::none(), {}};
    NewArray<T> dweight{py::none(), nullptr}, dbias{py::none(), nullptr};
    if (mask[0]) dx = new_image<T>(x, shape_of(x), channels_last);
    if (mask[1]) dweight = new_dense_like<T>(x, {in.c});
    if (mask[2]) dbias = new_dense_like<T>(x, {in.c});
    {
      const py::gil_scoped_release nogil;
      neocog::batch_norm_backward<T>(geometry(in), grad.data, in.data, m, v, w, b, eps,
                                     static_cast<Activation>(activation), static_cast<T>(alpha), training,
                                     dx.image.data, dweight.data, dbias.data);
    }
    return py::make_tuple(std::move(dx.object), std::move(dweight.object), std::move(dbias.object));
  });
}

}  // namespace

void bind_batch_norm(py::module_& m) {
  m.def("batch_norm_inference", &inference, "x"_a, "mean"_a, "var"_a, "weight"_a, "bias"_a, "eps"_a,
        "activation"_a, "alpha"_a, "channels_last"_a);
  m.def("batch_norm_training", &training, "x"_a, "weight"_a, "bias"_a, "eps"_a, "activation"_a, "alpha"_a,
        "channels_last"_a);
  m.def("batch_norm_backward", &backward, "dy"_a, "x"_a, "mean"_a, "var"_a, "weight"_a, "bias"_a, "eps"_a,
        "activation"_a, "alpha"_a, "training"_a, "mask"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
