// clang-format off: the body needs the Vec of the first line.
#include "core/simd/avx512.h"
#include "core/limits-inl.h"
