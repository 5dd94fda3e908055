#include "core/simd/avx2.h"

#include "ops/elementwise/elementwise-inl.h"
