#include "core/simd/scalar.h"
#include "ops/batch_norm/batch_norm-inl.h"
