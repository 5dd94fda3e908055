#include "core/simd/avx512.h"
#include "ops/conv/winograd-inl.h"
