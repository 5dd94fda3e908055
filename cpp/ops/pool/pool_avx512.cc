#include "core/simd/avx512.h"
#include "ops/pool/pool-inl.h"
