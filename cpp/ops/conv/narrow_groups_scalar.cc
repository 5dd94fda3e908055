#include "core/simd/scalar.h"
#include "ops/conv/narrow_groups-inl.h"
