#include "core/simd/amx.h"
#include "ops/gemm/parts-inl.h"
