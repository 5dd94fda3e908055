#include "core/simd/scalar.h"

#include "ops/elementwise/elementwise-inl.h"
