// clang-format off: the body needs the Vec of the first line.
#include "core/simd/avx2.h"
#include "core/limits-inl.h"
