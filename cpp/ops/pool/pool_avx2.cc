#include "core/simd/avx2.h"
#include "ops/pool/pool-inl.h"
