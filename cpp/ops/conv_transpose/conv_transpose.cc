#include "ops/conv_transpose/conv_transpose.h"

#include <algorithm>

#include "ops/conv/tap_conv.h"
#include "ops/depthwise/depthwise.h"

namespace neocog {
namespace {

// Output p = phase + stride * u takes tap k of input i where i * stride - pad + k * dilation = p.
TapConvAxis transposed_axis(const WindowAxis& axis) {
  TapConvAxis result{1, axis.stride, {}};
  for (int64_t phase = 0; phase < std::min(axis.stride, axis.in); ++phase) {
    TapPhaseAxis taps{phase, ceil_div(axis.in - phase, axis.stride), {}, {}};
    for (int64_t k = axis.kernel - 1; k >= 0; --k) {
      const int64_t reach = phase + axis.pad_lo - k * axis.dilation;
      if (reach != floor_div(reach, axis.stride) * axis.stride) continue;
      taps.offset.push_back(reach / axis.stride);
      taps.kernel.push_back(k);
    }
    result.phases.push_back(std::move(taps));
  }
  return result;
}

}  // namespace

template <class T>
void conv_transpose_forward(const ConvGeometry& g, Image<const T> x, const T* weight, const Epilogue<T>& epilogue,
                            Image<T> y) {
  tap_conv(transposed_axis(g.h), transposed_axis(g.w), g.groups, x, weight, g.h.kernel, g.w.kernel,
           WeightRole::kTransposed, epilogue, y);
}

template void conv_transpose_forward<float>(const ConvGeometry&, Image<const float>, const float*,
                                            const Epilogue<float>&, Image<float>);
template void conv_transpose_forward<double>(const ConvGeometry&, Image<const double>, const double*,
                                             const Epilogue<double>&, Image<double>);

}  // namespace neocog
