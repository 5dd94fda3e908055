// Kernel bodies of batch_norm.h, compiled once per instruction set; no include guard on purpose.
#include "ops/batch_norm/columns-inl.h"
#include "ops/batch_norm/parts-inl.h"
#include "ops/batch_norm/run-inl.h"

namespace neocog::NEOCOG_ISA {
namespace {

template <class T>
constexpr BatchNormKernels<T> kBatchNormTable = {
    &run_moments<T>,     &columns_moments<T>, &run_part<T>,     &columns_part<T>, &run_forward<T>,
    &columns_forward<T>, &run_sums<T>,        &columns_sums<T>, &run_backward<T>, &columns_backward<T>,
};

}  // namespace

extern constinit const BatchNormKernels<float> batch_norm_kernels_f32 = kBatchNormTable<float>;
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const BatchNormKernels<double> batch_norm_kernels_f64 = kBatchNormTable<double>;
#endif

}  // namespace neocog::NEOCOG_ISA
