#include "core/simd/scalar.h"
#include "ops/batch_norm/batch_norm-inl.h"
#include "ops/batch_norm/layer_norm-inl.h"
#include "ops/batch_norm/lrn-inl.h"
