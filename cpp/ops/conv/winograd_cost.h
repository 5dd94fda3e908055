// Whether Winograd's method pays: what it and the plain sum would do is counted from the geometry, and every
// count is weighed by the time that it was measured to take. `python -m bench costs` fits the weights.
#pragma once

#include <array>
#include <cstddef>

#include "ops/conv/conv.h"

namespace neocog {

enum class ConvUse { kForward, kTransposed, kWeight };

// Vectors of 16 output channels, whatever the instruction set: choices do not depend on threads, as results
// would, nor on vectors; where there are products in parts (ops/gemm/parts.h), these are counted by
// themselves. Counts that a use does not have are zero.
struct ConvCounts {
  enum Direct : size_t {
    kProducts,
    kProductsApart,
    kStored,
    kLoaded,
    kPacked,
    kPackedApart,
    kProductsInParts,
    kProductsInPartsApart,
    kLoadedInParts,
    kPackedInParts,
    kSplitUnderTaps,  // of weight gradients in parts
    kDirectCounts
  };
  enum Winograd : size_t {
    kPointProducts,
    kProductsFromTaps,  // of kernels that are transformed at each use (winograd_from_taps-inl.h)
    kInputs,
    kOutputs,
    kKernels,
    kKernelsApart,  // of phases
    kKernelsFromTaps,
    kMoved,  // elements (space_to_depth.h)
    kMovedKernels,
    kWinogradCounts
  };
  std::array<double, kDirectCounts> direct{};
  std::array<double, kWinogradCounts> winograd{};
};

ConvCounts conv_counts(const ConvGeometry&, ConvUse);
bool winograd_pays(const ConvCounts&, ConvUse);
// Whether the plain sum of a weight gradient is faster in parts.
bool parts_weight_pays(const ConvGeometry&);

// For measurements: the method wherever it is possible. Set for the process.
void set_winograd_always(bool always);

}  // namespace neocog
