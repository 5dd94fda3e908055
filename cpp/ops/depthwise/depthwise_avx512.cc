#include "core/simd/avx512.h"
#include "ops/depthwise/depthwise-inl.h"
