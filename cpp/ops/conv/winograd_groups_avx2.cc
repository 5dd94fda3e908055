#include "core/simd/avx2.h"
#include "ops/conv/winograd_groups-inl.h"
