#include "core/simd/scalar.h"
#include "ops/pool/pool-inl.h"
