#include "core/limits-inl.h"
#include "core/simd/avx512.h"
