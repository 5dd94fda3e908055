#include "core/simd/avx512.h"

#include "ops/elementwise/elementwise-inl.h"
