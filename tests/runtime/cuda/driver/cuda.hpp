// The part of CUDA's driver interface that is simulated: results, handles, constants. Numbers are those of cuda.h,
// which need not be installed here.
#pragma once

#include <cstddef>
#include <cstdint>

// Names and what cuGetErrorString says, of every result that the simulator gives.
#define CUDA_RESULTS(X)                                                                     \
    X(CUDA_SUCCESS, 0, "no error")                                                          \
    X(CUDA_ERROR_INVALID_VALUE, 1, "invalid argument")                                      \
    X(CUDA_ERROR_OUT_OF_MEMORY, 2, "out of memory")                                         \
    X(CUDA_ERROR_NOT_INITIALIZED, 3, "initialization error")                                \
    X(CUDA_ERROR_STUB_LIBRARY, 34, "CUDA driver is a stub library")                         \
    X(CUDA_ERROR_DEVICE_UNAVAILABLE, 46, "CUDA-capable device(s) is/are busy or unavailable") \
    X(CUDA_ERROR_NO_DEVICE, 100, "no CUDA-capable device is detected")                      \
    X(CUDA_ERROR_INVALID_DEVICE, 101, "invalid device ordinal")                             \
    X(CUDA_ERROR_INVALID_IMAGE, 200, "device kernel image is invalid")                      \
    X(CUDA_ERROR_INVALID_CONTEXT, 201, "invalid device context")                            \
    X(CUDA_ERROR_NO_BINARY_FOR_GPU, 209, "no kernel image is available for execution on the device") \
    X(CUDA_ERROR_INVALID_PTX, 218, "a PTX JIT compilation failed")                          \
    X(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, 222, "the provided PTX was compiled with an unsupported toolchain.") \
    X(CUDA_ERROR_FILE_NOT_FOUND, 301, "file not found")                                     \
    X(CUDA_ERROR_INVALID_HANDLE, 400, "invalid resource handle")                            \
    X(CUDA_ERROR_ILLEGAL_STATE, 401, "the operation cannot be performed in the present state") \
    X(CUDA_ERROR_NOT_FOUND, 500, "named symbol not found")                                  \
    X(CUDA_ERROR_NOT_READY, 600, "device not ready")                                        \
    X(CUDA_ERROR_ILLEGAL_ADDRESS, 700, "an illegal memory access was encountered")          \
    X(CUDA_ERROR_CONTEXT_IS_DESTROYED, 709, "context is destroyed")                         \
    X(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, 712, "part or all of the requested memory range is already mapped") \
    X(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, 713, "pointer does not correspond to a registered memory region") \
    X(CUDA_ERROR_NOT_PERMITTED, 800, "operation not permitted")                             \
    X(CUDA_ERROR_NOT_SUPPORTED, 801, "operation not supported")                             \
    X(CUDA_ERROR_SYSTEM_NOT_READY, 802, "system not yet initialized")                       \
    X(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, 803, "system has unsupported display driver / cuda driver combination") \
    X(CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE, 804, "forward compatibility was attempted on non supported HW") \
    X(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, 900, "operation not permitted when stream is capturing") \
    X(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, 901, "operation failed due to a previous error during capture") \
    X(CUDA_ERROR_STREAM_CAPTURE_MERGE, 902, "operation would result in a merge of separate capture sequences") \
    X(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, 903, "capture was not ended in the same stream as it began") \
    X(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, 904, "capturing stream has unjoined work")        \
    X(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, 905, "dependency created on uncaptured work in another stream") \
    X(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, 906, "operation would make the legacy stream depend on a capturing one") \
    X(CUDA_ERROR_CAPTURED_EVENT, 907, "operation not permitted on an event last recorded in a capturing stream") \
    X(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, 908, "attempt to end a thread-local capture from another thread") \
    X(CUDA_ERROR_UNKNOWN, 999, "unknown error")

#define X(name, number, text) name = number,
enum CUresult : int { CUDA_RESULTS(X) };
#undef X

using CUdevice = int;
using CUdeviceptr = std::uint64_t;
using CUcontext = struct CUctx_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUgraphNode = struct CUgraphNode_st*;
using CUhostFn = void (*)(void*);

constexpr unsigned CU_STREAM_NON_BLOCKING = 1;
constexpr std::uintptr_t CU_STREAM_LEGACY = 1;  // beside 0, the legacy default stream
constexpr unsigned CU_EVENT_DISABLE_TIMING = 2;
constexpr unsigned CU_EVENT_EXTERNAL = 1;  // of cuEventRecordWithFlags and cuStreamWaitEvent
constexpr unsigned CU_MEMHOSTALLOC_DEVICEMAP = 2;  // and CU_MEMHOSTREGISTER_DEVICEMAP
constexpr unsigned CU_MEMORYTYPE_HOST = 1;
constexpr unsigned CU_MEMORYTYPE_DEVICE = 2;

enum CUstreamCaptureStatus : int { CAPTURE_NONE = 0, CAPTURE_ACTIVE = 1, CAPTURE_INVALIDATED = 2 };
enum CUstreamCaptureMode : int { CAPTURE_GLOBAL = 0, CAPTURE_THREAD_LOCAL = 1, CAPTURE_RELAXED = 2 };

struct CUDA_MEMCPY2D {
    std::size_t srcXInBytes, srcY;
    unsigned srcMemoryType;
    const void* srcHost;
    CUdeviceptr srcDevice;
    void* srcArray;
    std::size_t srcPitch;
    std::size_t dstXInBytes, dstY;
    unsigned dstMemoryType;
    void* dstHost;
    CUdeviceptr dstDevice;
    void* dstArray;
    std::size_t dstPitch;
    std::size_t WidthInBytes, Height;
};

#define API extern "C" __attribute__((visibility("default"))) CUresult
