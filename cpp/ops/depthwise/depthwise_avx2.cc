#include "core/simd/avx2.h"
#include "ops/depthwise/depthwise-inl.h"
