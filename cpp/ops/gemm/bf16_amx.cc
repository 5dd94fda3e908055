#include "core/simd/amx.h"
#include "ops/gemm/bf16_tiles-inl.h"
