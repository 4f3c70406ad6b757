// Copies and memsets. "API synchronization behavior" in NVIDIA's driver documentation says which wait for what; where
// it leaves a choice, the one is taken that waits for less.
#include "simulator.hpp"

#include <algorithm>
#include <cstring>

namespace sim {
namespace {

void check_device(Context& context, CUdeviceptr address, std::size_t bytes) {
    require(context.device_range(address, bytes), CUDA_ERROR_INVALID_VALUE);
}

// Host memory, and whether it is pinned. A device's address is none, even of mapped memory.
bool check_host(Context& context, const void* host, std::size_t bytes) {
    require(host && !in_device_space(number(host)), CUDA_ERROR_INVALID_VALUE);
    return context.pinned_range(host, bytes);
}

// A copy of pageable memory cannot be replayed.
void forbid_pageable_in_capture(Context& context, CUstream stream) {
    const auto capture = context.stream(stream).capture;
    if (capture) invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

// Synchronous calls go through the legacy stream.
void forbid_synchronous_in_capture(Context& context) {
    forbid_legacy_beside_capture(context);
    forbid_in_capture();
}

// From pinned memory a copy reads when it runs; pageable memory is staged at the call.
OperationPtr copy_to_device(Context& context, CUdeviceptr target, const void* source, std::size_t bytes,
                            CUstream stream) {
    check_device(context, target, bytes);
    if (check_host(context, source, bytes))
        return submit(context, stream, {"copy to device", [&context, target, source, bytes] {
            std::memcpy(context.real(target, bytes), source, bytes);
        }, {target, number(source)}});
    forbid_pageable_in_capture(context, stream);
    const char* first = static_cast<const char*>(source);
    return submit(context, stream, {"copy to device", [&context, target, staged = std::vector(first, first + bytes)] {
        std::memcpy(context.real(target, staged.size()), staged.data(), staged.size());
    }, {target}});
}

// To pageable memory "the function will return only once the copy has completed".
void copy_to_host(Context& context, void* target, CUdeviceptr source, std::size_t bytes, CUstream stream, bool wait) {
    check_device(context, source, bytes);
    const bool pinned = check_host(context, target, bytes);
    if (!pinned) forbid_pageable_in_capture(context, stream);
    const auto copy = submit(context, stream, {"copy to host", [&context, target, source, bytes] {
        std::memcpy(target, context.real(source, bytes), bytes);
    }, {source, number(target)}});
    if (wait || !pinned) force(copy);
}

void copy_on_device(Context& context, CUdeviceptr target, CUdeviceptr source, std::size_t bytes, CUstream stream) {
    check_device(context, source, bytes);
    check_device(context, target, bytes);
    submit(context, stream, {"copy on device", [&context, target, source, bytes] {
        std::memmove(context.real(target, bytes), context.real(source, bytes), bytes);
    }, {source, target}});
}

template <class Value>
void fill(Context& context, CUdeviceptr target, Value value, std::size_t count, CUstream stream) {
    const std::size_t bytes = count * sizeof(Value);
    require(target % sizeof(Value) == 0, CUDA_ERROR_INVALID_VALUE);
    check_device(context, target, bytes);
    submit(context, stream, {"memset", [&context, target, value, count, bytes] {
        std::fill_n(reinterpret_cast<Value*>(context.real(target, bytes)), count, value);
    }, {target}});
}

// One end of a copy of a rectangle.
struct End {
    unsigned type;
    char* host;
    CUdeviceptr device;
    std::size_t pitch, first, span;  // bytes: from row to row, before the first, from the first to the last

    End(unsigned type, const void* host, CUdeviceptr device, std::size_t x, std::size_t y, std::size_t pitch,
        const CUDA_MEMCPY2D& copy)
        : type(type), host(static_cast<char*>(const_cast<void*>(host))), device(device),
          pitch(pitch ? pitch : copy.WidthInBytes), first(this->pitch * y + x),
          span(copy.Height ? this->pitch * (copy.Height - 1) + copy.WidthInBytes : 0) {
        require(type == CU_MEMORYTYPE_HOST || type == CU_MEMORYTYPE_DEVICE, CUDA_ERROR_NOT_SUPPORTED);
        require(this->pitch >= copy.WidthInBytes, CUDA_ERROR_INVALID_VALUE);
    }
    bool on_device() const { return type == CU_MEMORYTYPE_DEVICE; }
    std::uint64_t address() const { return on_device() ? device + first : number(host + first); }
    bool pageable(Context& context) const {
        if (on_device()) return check_device(context, device + first, span), false;
        return !check_host(context, host + first, span);
    }
    char* start(Context& context) const { return on_device() ? context.real(device + first, span) : host + first; }
};

void copy_rectangle(Context& context, const CUDA_MEMCPY2D& copy, CUstream stream, bool wait) {
    End source(copy.srcMemoryType, copy.srcHost, copy.srcDevice, copy.srcXInBytes, copy.srcY, copy.srcPitch, copy);
    End target(copy.dstMemoryType, copy.dstHost, copy.dstDevice, copy.dstXInBytes, copy.dstY, copy.dstPitch, copy);
    const bool stage = source.pageable(context), block = target.pageable(context);
    if (stage || block) forbid_pageable_in_capture(context, stream);
    std::vector<char> staged;
    if (stage) staged.assign(source.host + source.first, source.host + source.first + source.span);
    const auto width = copy.WidthInBytes, height = copy.Height;
    const auto operation = submit(context, stream, {"copy of a rectangle", [=, &context, staged = std::move(staged)] {
        const char* from = staged.empty() ? source.start(context) : staged.data();
        char* to = target.start(context);
        for (std::size_t row = 0; row < height; row++)
            std::memmove(to + row * target.pitch, from + row * source.pitch, width);
    }, {source.address(), target.address()}});
    if (block || (wait && !target.on_device())) force(operation);
}

}  // namespace
}  // namespace sim

using namespace sim;

// From pageable memory: "a stream sync is performed before the copy", and the call returns "once the pageable buffer
// has been copied to the staging memory", so the copy itself may still be under way.
API cuMemcpyHtoD_v2(CUdeviceptr target, const void* source, std::size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        forbid_synchronous_in_capture(context);
        const auto before = context.legacy.last;
        const auto copy = copy_to_device(context, target, source, bytes, nullptr);
        force(context.pinned_range(source, bytes) ? copy : before);
        copy->work.uses.clear();  // no fault of the caller's to free the memory after a call that is named synchronous
    });
}

API cuMemcpyHtoDAsync_v2(CUdeviceptr target, const void* source, std::size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context& context) { copy_to_device(context, target, source, bytes, stream); });
}

API cuMemcpyDtoH_v2(void* target, CUdeviceptr source, std::size_t bytes) {
    return in_context(__func__, [&](Context& context) {
        forbid_synchronous_in_capture(context);
        copy_to_host(context, target, source, bytes, nullptr, true);
    });
}

API cuMemcpyDtoHAsync_v2(void* target, CUdeviceptr source, std::size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context& context) { copy_to_host(context, target, source, bytes, stream, false); });
}

API cuMemcpyDtoD_v2(CUdeviceptr target, CUdeviceptr source, std::size_t bytes) {  // the host does not wait for it
    return in_context(__func__, [&](Context& context) {
        forbid_synchronous_in_capture(context);
        copy_on_device(context, target, source, bytes, nullptr);
    });
}

API cuMemcpyDtoDAsync_v2(CUdeviceptr target, CUdeviceptr source, std::size_t bytes, CUstream stream) {
    return in_context(__func__, [&](Context& context) { copy_on_device(context, target, source, bytes, stream); });
}

API cuMemcpy2D_v2(const CUDA_MEMCPY2D* copy) {
    return in_context(__func__, [&](Context& context) {
        forbid_synchronous_in_capture(context);
        copy_rectangle(context, *copy, nullptr, true);
    });
}

API cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D* copy) { return cuMemcpy2D_v2(copy); }

API cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* copy, CUstream stream) {
    return in_context(__func__, [&](Context& context) { copy_rectangle(context, *copy, stream, false); });
}

// Memsets are asynchronous, by whichever name.
#define MEMSET(name, Value)                                                                                   \
    API name##Async(CUdeviceptr target, Value value, std::size_t count, CUstream stream) {                    \
        return in_context(__func__, [&](Context& context) { fill(context, target, value, count, stream); }); \
    }                                                                                                         \
    API name##_v2(CUdeviceptr target, Value value, std::size_t count) {                                       \
        return in_context(__func__, [&](Context& context) {                                                   \
            forbid_synchronous_in_capture(context);                                                           \
            fill(context, target, value, count, nullptr);                                                     \
        });                                                                                                   \
    }
MEMSET(cuMemsetD8, unsigned char)
MEMSET(cuMemsetD16, unsigned short)
MEMSET(cuMemsetD32, unsigned)
