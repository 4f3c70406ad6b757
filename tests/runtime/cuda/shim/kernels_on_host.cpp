// hgedge's kernels as a shared library for the CPU: launch_NAME(grid, block, packed arguments) for each.

#include "cuda_on_host.h"

#include "preprocess.cu"

#include "decode.cu"

#define EXPORT(name, barriers)                                                                           \
    extern "C" void launch_##name(const unsigned grid[3], const unsigned block[3], const void* packed)  \
    {                                                                                                    \
        host::launch(name, barriers, grid, block, packed);                                               \
    }

EXPORT(preprocess, false)
EXPORT(decode, true)

extern "C" void host_half_to_float(const unsigned short* halves, float* out, long long count)
{
    for (long long i = 0; i < count; ++i) out[i] = half_to_float(halves[i]);
}

extern "C" void host_float_to_half(const float* values, unsigned short* out, long long count)
{
    for (long long i = 0; i < count; ++i) out[i] = float_to_half(values[i]);
}
