#include "core/simd/avx2.h"
#include "ops/conv/narrow_groups-inl.h"
