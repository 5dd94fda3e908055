// Arrays in, arrays out; no arithmetic and no choices.
#include "ops/resample/resample.h"

#include "bindings/arrays.h"

namespace neocog::bindings {
namespace {

using Scale = std::array<double, 2>;

ResampleAxis resample_axis(int64_t in, int64_t out, double scale) {
  constexpr int64_t kMost = int64_t{1} << 31;  // indices inside a row are 32 bits long
  require(0 < in && in < kMost && 0 < out && out < kMost, "image sizes must be positive and below 2**31");
  require(scale == 0 || (1e-10 < scale && scale < 1e10), "`scale_factor` is out of range");
  return {in, out, scale};
}

ResampleGeometry geometry(const ArrayRef& array, const Pair& in, const Pair& out, const Scale& scale,
                          int mode, bool align_corners, bool planar) {
  require(array.ndim() == 3 || array.ndim() == 4, "an image array must have three or four axes");
  require(0 <= mode && mode <= static_cast<int>(ResampleMode::kLinear), "unknown mode");
  require(planar || (in[0] == 1 && out[0] == 1), "signals have height 1");
  return {array.shape(0),
          array.shape(1),
          resample_axis(in[0], out[0], scale[0]),
          resample_axis(in[1], out[1], scale[1]),
          static_cast<ResampleMode>(mode),
          align_corners,
          planar};
}

py::object resample_forward(const ArrayRef& x, const Pair& out_size, const Scale& scale, int mode,
                            bool align_corners, bool planar, bool channels_last) {
  return with_dtype(x, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> in = image_view<T>(x, channels_last);
    const ResampleGeometry g = geometry(x, {in.h, in.w}, out_size, scale, mode, align_corners, planar);
    NewImage<T> y = new_image<T>(x, in.n, in.c, out_size[0], out_size[1], channels_last);
    const Image<T> out = y.image;
    const py::gil_scoped_release nogil;
    neocog::resample_forward<T>(g, in, out);
    return std::move(y.object);
  });
}

py::object resample_backward(const ArrayRef& dy, const Pair& in_size, const Scale& scale, int mode,
                             bool align_corners, bool planar, bool channels_last) {
  return with_dtype(dy, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Image<const T> grad = image_view<T>(dy, channels_last);
    const ResampleGeometry g = geometry(dy, in_size, {grad.h, grad.w}, scale, mode, align_corners, planar);
    NewImage<T> dx = new_image<T>(dy, grad.n, grad.c, in_size[0], in_size[1], channels_last);
    const Image<T> out = dx.image;
    const py::gil_scoped_release nogil;
    neocog::resample_backward<T>(g, grad, out);
    return std::move(dx.object);
  });
}

}  // namespace

void bind_resample(py::module_& m) {
  m.def("resample_forward", &resample_forward, "x"_a, "out_size"_a, "scale"_a, "mode"_a, "align_corners"_a,
        "planar"_a, "channels_last"_a);
  m.def("resample_backward", &resample_backward, "dy"_a, "in_size"_a, "scale"_a, "mode"_a, "align_corners"_a,
        "planar"_a, "channels_last"_a);
}

}  // namespace neocog::bindings
