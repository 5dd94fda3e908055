#include "core/simd/scalar.h"

#include "core/limits-inl.h"
