#include "core/simd/avx512bf16.h"
#include "ops/gemm/bf16_pairs-inl.h"
