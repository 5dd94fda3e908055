#include "core/simd/scalar.h"
#include "ops/gemm/gemm-inl.h"
