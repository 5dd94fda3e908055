#include "core/simd/scalar.h"
#include "ops/conv/winograd-inl.h"
