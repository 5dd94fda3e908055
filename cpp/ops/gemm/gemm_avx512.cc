#include "core/simd/avx512.h"
#include "ops/gemm/gemm-inl.h"
