#include "core/simd/avx2.h"
#include "ops/gemm/gemm-inl.h"
