// Initialisation, devices, and contexts: a primary one a device, kept by counted retains, and private ones; each thread
// has a stack of current contexts.
#include "simulator.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace sim {
namespace {

thread_local std::vector<CUcontext> stack;

CUcontext handle_of(const Context& context) { return reinterpret_cast<CUcontext>(const_cast<Context*>(&context)); }

Context& find_context(CUcontext handle) {
    for (const auto& context : simulator().contexts)
        if (handle_of(*context) == handle) return *context;
    throw Failure{CUDA_ERROR_INVALID_CONTEXT};
}

Context& add_context(CUdevice device, bool primary) {
    auto& contexts = simulator().contexts;
    contexts.push_back(std::make_unique<Context>(Context{device, primary}));
    return *contexts.back();
}

Context& primary_context(CUdevice device) {
    require(device >= 0 && device < simulator().settings.devices, CUDA_ERROR_INVALID_DEVICE);
    return *simulator().contexts[device];
}

void leak(const char* kind, std::size_t count) {
    if (count) simulator().leaked[kind] += count;
}

}  // namespace

// What still lives in it is freed, as CUDA does, and counted as leaked.
void destroy(Context& context) {
    force_all(context);
    leak("streams", context.streams.size());
    leak("events", context.events.size());
    leak("modules", context.modules.size());
    for (auto& allocation : context.memory) {
        leak(allocation.kind == Allocation::DEVICE ? "device_allocations" : "host_allocations", 1);
        release(allocation);
    }
    auto& captures = simulator().captures;
    auto its_own = [&](const CapturePtr& capture) { return capture->context == &context; };
    captures.erase(std::remove_if(captures.begin(), captures.end(), its_own), captures.end());
    for (const auto& [handle, function] : context.functions) function->loaded = false;
    context.streams.clear(), context.events.clear(), context.modules.clear(), context.functions.clear();
    context.memory.clear(), context.orphans.clear();
    context.legacy = {};
    context.alive = false;
    context.error = CUDA_SUCCESS;
}

// CUDA_ERROR_CONTEXT_IS_DESTROYED: "the context current to the calling thread has been destroyed using cuCtxDestroy, or
// is a primary context which has not yet been initialized".
Context& current_context() {
    require(!stack.empty() && stack.back(), CUDA_ERROR_INVALID_CONTEXT);
    Context& context = find_context(stack.back());
    require(context.alive, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    require(context.error == CUDA_SUCCESS, context.error);
    return context;
}

namespace {

int attribute(int number) {
    const auto& settings = simulator().settings;
    static const std::map<int, int> fixed{
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64},            // threads a block, and along x, y, z
        {5, 2147483647}, {6, 65535}, {7, 65535},             // blocks along x, y, z
        {8, 49152}, {9, 65536}, {10, 32}, {12, 65536},       // shared and constant memory, warp, registers
        {13, 625000}, {14, 512}, {15, 1}, {16, 8},           // kHz, alignment of textures, overlap, multiprocessors
        {31, 1}, {36, 1000000}, {37, 128}, {39, 1536}, {40, 1},  // kernels at once, memory, threads an SM, copy engines
        {81, 167936}, {97, 166912},                          // shared memory an SM, and opted into
    };
    switch (number) {
        case 18: return settings.integrated;
        case 19: return settings.map_host;
        case 41: return 0;  // unified addressing: a device's address of pinned memory is not the host's
        case 75: return settings.capability / 10;
        case 76: return settings.capability % 10;
    }
    require(number > 0 && number < 160, CUDA_ERROR_INVALID_VALUE);
    const auto found = fixed.find(number);
    return found == fixed.end() ? 0 : found->second;
}

}  // namespace
}  // namespace sim

using namespace sim;

API cuInit(unsigned flags) {
    return guarded(__func__, [&] {
        auto& sim = simulator();
        require(flags == 0, CUDA_ERROR_INVALID_VALUE);
        require(sim.settings.init == 0, static_cast<CUresult>(sim.settings.init));
        if (sim.initialised) return;
        for (int device = 0; device < sim.settings.devices; device++) add_context(device, true).alive = false;
        sim.initialised = true;
    });
}

API cuDriverGetVersion(int* version) {
    return guarded(__func__, [&] { *version = simulator().settings.cuda; });
}

API cuDeviceGetCount(int* count) {
    return initialised(__func__, [&] { *count = simulator().settings.devices; });
}

API cuDeviceGet(CUdevice* device, int ordinal) {
    return initialised(__func__, [&] { *device = primary_context(ordinal).device; });
}

API cuDeviceGetName(char* name, int length, CUdevice device) {
    return initialised(__func__, [&] {
        primary_context(device);
        std::snprintf(name, length, "%s", simulator().settings.name.c_str());
    });
}

API cuDeviceGetPCIBusId(char* id, int length, CUdevice device) {
    return initialised(__func__, [&] {
        std::snprintf(id, length, "0000:%02x:00.0", primary_context(device).device + 1);
    });
}

API cuDeviceGetByPCIBusId(CUdevice* device, const char* id) {
    return initialised(__func__, [&] {
        unsigned bus = 0;
        require(std::sscanf(id, "0000:%2x:00.0", &bus) == 1, CUDA_ERROR_INVALID_VALUE);
        *device = primary_context(static_cast<int>(bus) - 1).device;
    });
}

API cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
    return initialised(__func__, [&] {
        primary_context(device);
        *bytes = simulator().settings.memory;
    });
}

API cuDeviceGetAttribute(int* value, int number, CUdevice device) {
    return initialised(__func__, [&] {
        primary_context(device);
        *value = attribute(number);
    });
}

API cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
    return initialised(__func__, [&] {
        primary_context(device);
        *major = attribute(75), *minor = attribute(76);
    });
}

API cuDevicePrimaryCtxRetain(CUcontext* handle, CUdevice device) {
    return initialised(__func__, [&] {
        Context& context = primary_context(device);
        context.retains++;
        context.alive = true;
        *handle = handle_of(context);
    });
}

API cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    return initialised(__func__, [&] {
        Context& context = primary_context(device);
        require(context.retains > 0, CUDA_ERROR_INVALID_CONTEXT);
        if (--context.retains == 0) destroy(context);
    });
}

API cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
    return initialised(__func__, [&] {
        *flags = 0;
        *active = primary_context(device).alive;
    });
}

API cuCtxCreate_v4(CUcontext* handle, void* parameters, unsigned, CUdevice device) {
    return initialised(__func__, [&] {
        require(!parameters, CUDA_ERROR_NOT_SUPPORTED);
        primary_context(device);
        *handle = handle_of(add_context(device, false));
        stack.push_back(*handle);
    });
}

API cuCtxDestroy_v2(CUcontext handle) {
    return initialised(__func__, [&] {
        Context& context = find_context(handle);
        require(context.alive && !context.primary, CUDA_ERROR_INVALID_CONTEXT);
        destroy(context);
        if (!stack.empty() && stack.back() == handle) stack.pop_back();  // "as though cuCtxPopCurrent() were called"
    });
}

API cuCtxDetach(CUcontext handle) { return cuCtxDestroy_v2(handle); }

API cuCtxPushCurrent_v2(CUcontext handle) {
    return initialised(__func__, [&] {
        require(find_context(handle).alive, CUDA_ERROR_INVALID_CONTEXT);
        stack.push_back(handle);
    });
}

API cuCtxPopCurrent_v2(CUcontext* handle) {
    return initialised(__func__, [&] {
        require(!stack.empty(), CUDA_ERROR_INVALID_CONTEXT);
        if (handle) *handle = stack.back();
        stack.pop_back();
    });
}

API cuCtxSetCurrent(CUcontext handle) {
    return initialised(__func__, [&] {
        if (!stack.empty()) stack.pop_back();
        if (!handle) return;
        require(find_context(handle).alive, CUDA_ERROR_INVALID_CONTEXT);
        stack.push_back(handle);
    });
}

API cuCtxGetCurrent(CUcontext* handle) {
    return initialised(__func__, [&] { *handle = stack.empty() ? nullptr : stack.back(); });
}

API cuCtxGetDevice(CUdevice* device) {
    return in_context(__func__, [&](Context& context) { *device = context.device; });
}

API cuCtxGetApiVersion(CUcontext handle, unsigned* version) {
    return initialised(__func__, [&] {
        if (handle) find_context(handle);
        *version = 3020;
    });
}

API cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    return in_context(__func__, [&](Context&) { *least = 0, *greatest = -5; });
}

API cuCtxSynchronize() {
    return in_context(__func__, [&](Context& context) {
        for (const auto& capture : simulator().captures)  // of any mode: the guide forbids it for "a broader handle"
            if (capture->context == &context) invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        force_all(context);
        require(context.error == CUDA_SUCCESS, context.error);
    });
}
