// clang-format off: the body needs the Vec of the first line.
#include "core/simd/scalar.h"
#include "core/limits-inl.h"
