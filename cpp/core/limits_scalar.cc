#include "core/limits-inl.h"
#include "core/simd/scalar.h"
