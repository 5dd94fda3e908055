#include "ops/elementwise/elementwise.h"
namespace neocog::NEOCOG_ISA {
namespace {
template <class T> void a(Activation, T, const T*, T*, int64_t) {}
template <class T> void b(Activation, T, const T*, const T*, T*, int64_t) {}
}
extern constinit const ElementwiseKernels<float> elementwise_kernels_f32 = {&a<float>, &b<float>, &a<float>, &b<float>};
#if NEOCOG_ISA_HAS_DOUBLE
extern constinit const ElementwiseKernels<double> elementwise_kernels_f64 = {&a<double>, &b<double>, &a<double>, &b<double>};
#endif
}
