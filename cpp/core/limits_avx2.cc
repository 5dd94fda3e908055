#include "core/limits-inl.h"
#include "core/simd/avx2.h"
