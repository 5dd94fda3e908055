#include "core/simd/scalar.h"
#include "ops/depthwise/depthwise-inl.h"
