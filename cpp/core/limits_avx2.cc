#include "core/simd/avx2.h"

#include "core/limits-inl.h"
