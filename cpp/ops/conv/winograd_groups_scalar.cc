#include "core/simd/scalar.h"
#include "ops/conv/winograd_groups-inl.h"
