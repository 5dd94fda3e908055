#include "core/simd/avx512.h"
#include "ops/conv/winograd_groups-inl.h"
