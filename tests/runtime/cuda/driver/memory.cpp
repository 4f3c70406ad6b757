// Memory. A device's addresses are numbers that no process has memory at: host code that follows one crashes, and
// copies and kernels translate them (`Context::real`). Each allocation ends at a page that cannot be touched, holds
// 0xff (as floats: NaN) until it is written, and its address is never given out again.
#include "simulator.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace sim {
namespace {

constexpr CUdeviceptr FIRST_ADDRESS = 0x00d0'0000'0000'0000;  // above the 47 or 48 bits that a process is given
constexpr CUdeviceptr LAST_ADDRESS = 0x00d1'0000'0000'0000;
constexpr std::size_t ALIGNMENT = 512;
constexpr int FRESH = 0xff;

std::size_t round_up(std::size_t value, std::size_t step) { return (value + step - 1) / step * step; }

CUdeviceptr new_address(std::size_t bytes) {
    static CUdeviceptr next = FIRST_ADDRESS;
    const auto address = next;
    next += round_up(bytes, ALIGNMENT) + ALIGNMENT;
    return address;
}

// Memory whose last page may not be touched; `host` is so near to it as the alignment allows.
Allocation map_memory(Allocation::Kind kind, std::size_t bytes, std::size_t alignment, unsigned flags) {
    const std::size_t page = sysconf(_SC_PAGESIZE), used = round_up(bytes, page);
    void* mapping = mmap(nullptr, used + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    require(mapping != MAP_FAILED, CUDA_ERROR_OUT_OF_MEMORY);
    char* start = static_cast<char*>(mapping);
    mprotect(start + used, page, PROT_NONE);
    std::memset(start, FRESH, used);
    char* host = start + (used - bytes) / alignment * alignment;
    return {kind, new_address(bytes), host, bytes, flags, start, used + page};
}

bool within(std::uint64_t address, std::uint64_t start, std::size_t size, std::size_t bytes) {
    return address >= start && address - start <= size && bytes <= size - (address - start);
}

// Bytes around the allocation, up to the guard, must be as they were.
bool overrun(const Allocation& allocation) {
    if (!allocation.mapping) return false;
    char* end = allocation.mapping + allocation.mapped - sysconf(_SC_PAGESIZE);
    auto touched = [](char byte) { return byte != static_cast<char>(FRESH); };
    return std::any_of(allocation.mapping, allocation.host, touched) ||
           std::any_of(allocation.host + allocation.bytes, end, touched);
}

std::size_t device_bytes(const Context& context) {
    std::size_t total = 0;
    for (const auto& allocation : context.memory)
        if (allocation.kind == Allocation::DEVICE) total += round_up(allocation.bytes, ALIGNMENT);
    return total;
}

std::size_t free_bytes(CUdevice device) {
    std::size_t used = 0;
    for (const auto& context : simulator().contexts)
        if (context->device == device) used += device_bytes(*context);
    return simulator().settings.memory - used;
}

CUdeviceptr allocate(Context& context, std::size_t bytes) {
    forbid_in_capture();
    require(bytes > 0, CUDA_ERROR_INVALID_VALUE);
    require(bytes <= free_bytes(context.device), CUDA_ERROR_OUT_OF_MEMORY);
    context.memory.push_back(map_memory(Allocation::DEVICE, bytes, 256, 0));
    return context.memory.back().address;
}

// "Callers must ensure that all accesses to these pointer have completed" is said of memory of cuMemAllocAsync alone:
// freeing any other waits for the device. Who relies on that is counted (`freed_in_use`), for nothing promises it.
template <class Match>
void free_memory(Context& context, Match&& matches, CUresult otherwise) {
    forbid_in_capture();
    auto found = std::find_if(context.memory.begin(), context.memory.end(), matches);
    require(found != context.memory.end(), otherwise);
    const auto address = found->address;
    const auto host = number(found->host), bytes = found->bytes;
    count_if_used([=](std::uint64_t used) { return within(used, address, bytes, 1) || within(used, host, bytes, 1); });
    force_all(context);
    found = std::find_if(context.memory.begin(), context.memory.end(),
                         [&](const Allocation& allocation) { return allocation.address == address; });
    require(found != context.memory.end(), otherwise);  // another thread freed it meanwhile
    release(*found);
    context.memory.erase(found);
}

}  // namespace

void count_if_used(const std::function<bool(std::uint64_t)>& freed) {
    for (const auto& operation : simulator().pending)
        if (std::any_of(operation->work.uses.begin(), operation->work.uses.end(), freed)) {
            simulator().freed_in_use++;
            say("freed, though there is pending work that uses it: " + operation->work.what);
            return;
        }
}

void release(Allocation& allocation) {
    if (overrun(allocation)) {
        simulator().overruns++;
        say("memory beside an allocation of " + std::to_string(allocation.bytes) + " bytes was written");
    }
    if (allocation.mapping) munmap(allocation.mapping, allocation.mapped);
    allocation.mapping = nullptr;
}

bool in_device_space(std::uint64_t address) { return address >= FIRST_ADDRESS && address < LAST_ADDRESS; }

Allocation* Context::device_range(CUdeviceptr address, std::size_t bytes) {
    for (auto& allocation : memory)
        if (within(address, allocation.address, allocation.bytes, bytes)) return &allocation;
    return nullptr;
}

Allocation* Context::pinned_range(const void* host, std::size_t bytes) {
    for (auto& allocation : memory)
        if (allocation.kind != Allocation::DEVICE &&
            within(number(host), number(allocation.host), allocation.bytes, bytes))
            return &allocation;
    return nullptr;
}

char* Context::real(CUdeviceptr address, std::size_t bytes) {
    const auto* allocation = device_range(address, bytes);
    require(allocation, CUDA_ERROR_ILLEGAL_ADDRESS);
    return allocation->host + (address - allocation->address);
}

}  // namespace sim

using namespace sim;

API cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    return in_context(__func__, [&](Context& context) {
        *free = free_bytes(context.device);
        *total = simulator().settings.memory;
    });
}

API cuMemAlloc_v2(CUdeviceptr* address, std::size_t bytes) {
    return in_context(__func__, [&](Context& context) { *address = allocate(context, bytes); });
}

API cuMemAllocPitch_v2(CUdeviceptr* address, std::size_t* pitch, std::size_t width, std::size_t height,
                       unsigned element) {
    return in_context(__func__, [&](Context& context) {
        require(element == 4 || element == 8 || element == 16, CUDA_ERROR_INVALID_VALUE);
        *pitch = round_up(width, ALIGNMENT);
        *address = allocate(context, *pitch * height);
    });
}

API cuMemFree_v2(CUdeviceptr address) {
    return in_context(__func__, [&](Context& context) {
        free_memory(context, [&](const Allocation& allocation) {
            return allocation.kind == Allocation::DEVICE && allocation.address == address;
        }, CUDA_ERROR_INVALID_VALUE);
    });
}

API cuMemGetAddressRange_v2(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr address) {
    return in_context(__func__, [&](Context& context) {
        const auto* allocation = context.device_range(address, 1);
        require(allocation, CUDA_ERROR_NOT_FOUND);
        if (base) *base = allocation->address;
        if (bytes) *bytes = allocation->bytes;
    });
}

API cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        forbid_in_capture();
        require(bytes > 0 && flags < 8, CUDA_ERROR_INVALID_VALUE);
        context.memory.push_back(map_memory(Allocation::PINNED, bytes, sysconf(_SC_PAGESIZE), flags));
        *pointer = context.memory.back().host;
    });
}

API cuMemAllocHost_v2(void** pointer, std::size_t bytes) { return cuMemHostAlloc(pointer, bytes, 0); }

API cuMemFreeHost(void* pointer) {
    return in_context(__func__, [&](Context& context) {
        free_memory(context, [&](const Allocation& allocation) {
            return allocation.kind == Allocation::PINNED && allocation.host == pointer;
        }, CUDA_ERROR_INVALID_VALUE);
    });
}

API cuMemHostRegister_v2(void* pointer, std::size_t bytes, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        forbid_in_capture();
        require(pointer && bytes > 0, CUDA_ERROR_INVALID_VALUE);
        char* host = static_cast<char*>(pointer);
        const bool taken = context.pinned_range(host, 1) || context.pinned_range(host + bytes - 1, 1);
        require(!taken, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        context.memory.push_back({Allocation::REGISTERED, new_address(bytes), host, bytes, flags});
    });
}

API cuMemHostUnregister(void* pointer) {
    return in_context(__func__, [&](Context& context) {
        free_memory(context, [&](const Allocation& allocation) {
            return allocation.kind == Allocation::REGISTERED && allocation.host == pointer;
        }, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    });
}

// The flag may be given where the device cannot map memory: "the failure is deferred" to this call.
API cuMemHostGetDevicePointer_v2(CUdeviceptr* address, void* pointer, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        const auto* allocation = context.pinned_range(pointer, 1);
        require(flags == 0 && allocation && (allocation->flags & CU_MEMHOSTALLOC_DEVICEMAP), CUDA_ERROR_INVALID_VALUE);
        require(simulator().settings.map_host, CUDA_ERROR_INVALID_VALUE);
        *address = allocation->address + (static_cast<char*>(pointer) - allocation->host);
    });
}

API cuMemHostGetFlags(unsigned* flags, void* pointer) {
    return in_context(__func__, [&](Context& context) {
        const auto* allocation = context.pinned_range(pointer, 1);
        require(allocation && allocation->kind == Allocation::PINNED, CUDA_ERROR_INVALID_VALUE);
        *flags = allocation->flags;
    });
}
