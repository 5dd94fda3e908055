// Compiler vocabulary shared by every layer.
#pragma once

#include <cstdint>

// Code seen by more than one instruction set must leave no symbol of its own: the linker keeps one
// copy of a weak symbol, and it may be the one this CPU cannot run.
#ifdef __CUDACC__
#define NEOCOG_INLINE __forceinline__ __host__ __device__
#else
#define NEOCOG_INLINE inline __attribute__((always_inline))
#endif

#if defined(__x86_64__)
#define NEOCOG_X86 1
#else
#define NEOCOG_X86 0
#endif
