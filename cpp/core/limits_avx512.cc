#include "core/simd/avx512.h"

#include "core/limits-inl.h"
