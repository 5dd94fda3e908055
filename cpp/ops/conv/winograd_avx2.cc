#include "core/simd/avx2.h"
#include "ops/conv/winograd-inl.h"
