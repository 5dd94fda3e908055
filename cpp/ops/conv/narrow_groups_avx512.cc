#include "core/simd/avx512.h"
#include "ops/conv/narrow_groups-inl.h"
