// Convolution with fewer products, by Winograd's method along each axis. Stride 1: F(4, 3) for 3 taps, F(2,
// 5) for 5, F(4, 2) for 2, F(3, 4) for 4x4; one tap is left as it is. Stride 2: the same for the two phases
// of 3 to 8 taps; with an odd number of taps, the phase that lacks one needs no product at infinity. 3x3 and
// 4x4 have a quarter of the products, 5x5 0.36, 2x2 and 4x4 of stride 2 0.39, 3x3 of stride 2 0.56, 5x5 to
// 8x8 of stride 2 0.25 to 0.30, one axis of 3 taps half.
#pragma once

#include "ops/conv/tap_conv.h"

namespace neocog {

// The taps that a kernel has along an axis when it is cut into phases: with stride 2, inputs (or, transposed,
// outputs) of either parity meet kernels of their own, of half the taps.
inline int64_t winograd_phases(const WindowAxis& axis) {
  return axis.stride;
}
inline int64_t winograd_taps(const WindowAxis& axis) {
  return ceil_div(axis.kernel, winograd_phases(axis));
}

// Products over so many channels are one chain of additions; a shorter one errs less and takes longer.
inline constexpr int64_t kWinogradTerms = 128;

// The sum over the taps of a geometry in either role, for float alone: forward, or the input gradient and
// transposed convolution, where the weight is also turned by 180 degrees. With |M| for a matrix of absolute
// values,
//   |error| <= (channels of x / groups + 20) * eps * |A^T| (sum over c of |G w G^T| * (|B^T| |x| |B|)) |A|
// for every tile, before the activation; with stride 2, forward, the channels are those of all phases of x.
// Where kernels are transformed at each use (winograd_from_taps-inl.h), run by run of r channels, 16, or 64
// with AVX-512 from 48 tiles and 160 x 160 pairs of channels on, c = channels of x / groups:
//   |error| <= eps * |A^T| (sum over c of ((min(c, r) + c / r + 20) * |G w G^T| + 4 * |G| |w| |G^T|)
//                                         * (|B^T| |x| |B|)) |A|.
template <class T>
void winograd_conv(const ConvGeometry&, Image<const T> x, std::type_identity_t<Weights<T>> weight, WeightRole,
                   const Epilogue<T>&, Image<T> y, int64_t most_terms = kWinogradTerms);

// Whether it can be done, is allowed (strict.h), and saves more than the transforms cost. Never for float64,
// which is for those who want every digit, and for which nothing else here exists.
template <class T>
bool winograd_suits(const ConvGeometry&, WeightRole);

// Whether these windows of its results, channels-last ones, are pooled in registers: 2x2 without overlap or
// padding, in tiles of even sides.
bool winograd_pools(const ConvGeometry&, Activation, const PoolGeometry&);

// The weight gradient, as conv_backward_weight gives it, with the same tiles, and phase by phase with stride
// 2:
//   |error| <= (tiles + 20) * eps * |G^T| (sum over tiles of (|A| |dy| |A^T|) * (|B^T| |x| |B|)) |G|.
template <class T>
void winograd_backward_weight(const ConvGeometry&, Image<const T> x, Image<const T> dy, T* dw,
                              const OperandSums<T>&);
template <class T>
bool winograd_suits_weight(const ConvGeometry&);

}  // namespace neocog
