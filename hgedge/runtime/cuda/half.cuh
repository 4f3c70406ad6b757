// Half precision (IEEE 754 binary16) as 16 bits: NVRTC has no cuda_fp16.h.
//
// On a device these are one instruction each. Elsewhere (tests/runtime/cuda/shim) they are written out, equal in every
// bit: rounding to nearest even, subnormals kept, 65520 and beyond to infinity, NaN to 0x7fff.

#pragma once

static __device__ __forceinline__ float half_to_float(unsigned short half)
{
#ifdef __CUDA_ARCH__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
#else
    const unsigned sign = (half & 0x8000u) << 16, magnitude = (half & 0x7fffu) << 13;
    if (magnitude >= 0x0f800000u) return __uint_as_float(sign | (magnitude + 0x70000000u));  // infinity or NaN
    return __uint_as_float(sign | magnitude) * 5.192296858534828e33f;  // 2^112 between the two exponents' biases
#endif
}

static __device__ __forceinline__ unsigned short float_to_half(float value)
{
#ifdef __CUDA_ARCH__
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
#else
    const unsigned bits = __float_as_uint(value), magnitude = bits & 0x7fffffffu, sign = bits >> 16 & 0x8000u;
    if (magnitude > 0x7f800000u) return 0x7fff;
    if (magnitude >= 0x47800000u) return sign | 0x7c00u;  // what only rounds to 65536 carries there below
    if (magnitude < 0x38800000u)  // subnormal: one half has the steps of a float in [0.5, 1), whose sum rounds to even
        return sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000u);
    return sign | (magnitude - 0x38000000u + 0x0fffu + (magnitude >> 13 & 1u)) >> 13;
#endif
}
