// CUDA C on a CPU: enough of it for hgedge/runtime/cuda/*.cu, and true enough to prove them by.
//
// A block's threads are fibers. Between two barriers they run in an order that is shuffled for every block, and blocks
// run in a shuffled order too, so what depends on either shows as a wrong result. Shuffles exchange between the lanes
// of a warp; shared memory is one a block and starts with what the block before left. A barrier or a shuffle that a
// thread never comes to ends the process with a message. Launches on several system threads do not disturb each other.

#pragma once

#undef _FORTIFY_SOURCE  // its longjmp refuses to change stacks
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __shared__ static thread_local
#define __forceinline__ inline
#define __launch_bounds__(...)

using std::max;
using std::min;

struct Dim3 {
    unsigned x, y, z;
};
inline thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

inline float __uint_as_float(unsigned bits)
{
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline unsigned __float_as_uint(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

namespace host {

constexpr unsigned LANES = 32, ALL = 0xffffffff;
constexpr size_t STACK_BYTES = 64 << 10;

[[noreturn]] inline void die(const char* why)
{
    std::fprintf(stderr, "block (%u, %u), thread %u: %s\n", blockIdx.x, blockIdx.y, threadIdx.x, why);
    std::abort();
}

struct Fiber {
    unsigned number;
    unsigned barriers = 0, exchanges = 0;  // that it has come to
    unsigned long long slots[2];           // what it last gave to its warp: a lane is at most one exchange ahead
    bool started = false, finished = false;
    ucontext_t context;  // to start with; from then on `place`, as swapcontext is a system call
    jmp_buf place;
    std::unique_ptr<char[]> stack{new char[STACK_BYTES]};
};

// The fibers of this operating system thread, which live on from block to block and from launch to launch.
inline thread_local std::vector<std::unique_ptr<Fiber>> fibers;
inline thread_local Fiber* running = nullptr;  // null in a kernel that is declared to have no barriers
inline thread_local jmp_buf scheduler;
inline thread_local void (*call)(const void*);
inline thread_local const void* body;
inline thread_local unsigned long long arrivals;  // of threads at barriers, shuffles and their end

inline unsigned threads() { return blockDim.x * blockDim.y * blockDim.z; }

inline Dim3 unravel(unsigned index, Dim3 size)
{
    return {index % size.x, index / size.x % size.y, index / size.x / size.y};
}

__attribute__((noinline)) inline void yield()
{
    if (!_setjmp(running->place)) _longjmp(scheduler, 1);
}

inline void live()
{
    for (;;) {
        call(body);
        running->finished = true;
        ++arrivals;
        yield();
    }
}

__attribute__((noinline)) inline void resume(Fiber& fiber)
{
    running = &fiber;
    threadIdx = unravel(fiber.number, blockDim);
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.place, 1);
    fiber.started = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, live, 0);
    setcontext(&fiber.context);
}

// Wait until those of [first, first + count) whose lane is in the mask have come as far as this thread.
inline void meet(unsigned Fiber::*counter, unsigned first, unsigned count, unsigned mask)
{
    const unsigned mine = ++(running->*counter);
    ++arrivals;
    for (unsigned i = 0; i < count; ++i) {
        const Fiber& other = *fibers[first + i];
        if (!(mask >> i % LANES & 1)) continue;
        while (other.*counter < mine) {
            if (other.finished) die("waits for a thread that has returned");
            yield();
        }
    }
}

template <class Value>
Value exchange(unsigned mask, Value value, unsigned from)
{
    static_assert(sizeof value <= sizeof running->slots[0]);
    const unsigned lane = running->number % LANES, first = running->number - lane, turn = running->exchanges % 2;
    const unsigned source = from < LANES && first + from < threads() ? from : lane;
    if (!(mask >> lane & mask >> source & 1)) die("a shuffle between lanes of which its mask leaves one out");
    std::memcpy(&running->slots[turn], &value, sizeof value);
    meet(&Fiber::exchanges, first, min(LANES, threads() - first), mask);
    std::memcpy(&value, &fibers[first + source]->slots[turn], sizeof value);
    return value;
}

inline unsigned lane()
{
    if (!running) die("a barrier or shuffle in a kernel that is declared to have none");
    return running->number % LANES;
}

template <class Body>
void run_block(const Body& kernel, bool barriers, const std::vector<unsigned>& order)
{
    if (!barriers) {
        for (unsigned thread : order) {
            threadIdx = unravel(thread, blockDim);
            kernel();
        }
        return;
    }
    for (unsigned i = fibers.size(); i < order.size(); ++i) fibers.emplace_back(new Fiber)->number = i;
    for (unsigned i : order) fibers[i]->finished = (fibers[i]->barriers = fibers[i]->exchanges = 0);
    call = [](const void* function) { (*static_cast<const Body*>(function))(); };
    body = &kernel;
    for (size_t alive = order.size(); alive > 0;) {
        const unsigned long long before = arrivals;
        for (unsigned i : order) {
            if (fibers[i]->finished) continue;
            resume(*fibers[i]);
            alive -= fibers[i]->finished;
        }
        if (arrivals == before) die("waits for a thread that waits for it");
    }
    running = nullptr;
}

inline std::vector<unsigned> count_to(unsigned end)
{
    std::vector<unsigned> numbers(end);
    std::iota(numbers.begin(), numbers.end(), 0);
    return numbers;
}

// Arguments as a C structure of them lies in memory, which is how CU_LAUNCH_PARAM_BUFFER_POINTER takes them.
template <class... Arguments>
std::tuple<Arguments...> unpacked(const void* packed)
{
    const char* bytes = static_cast<const char*>(packed);
    size_t offset = 0;
    const auto next = [&](auto value) {
        offset = (offset + alignof(decltype(value)) - 1) / alignof(decltype(value)) * alignof(decltype(value));
        std::memcpy(&value, bytes + offset, sizeof value);
        offset += sizeof value;
        return value;
    };
    return {next(Arguments())...};
}

template <class... Arguments>
void launch(void (*kernel)(Arguments...), bool barriers, const unsigned* grid, const unsigned* size, const void* packed)
{
    const std::tuple<Arguments...> arguments = unpacked<Arguments...>(packed);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {size[0], size[1], size[2]};
    std::mt19937 random(7);
    std::vector<unsigned> blocks = count_to(grid[0] * grid[1] * grid[2]), order = count_to(threads());
    std::shuffle(blocks.begin(), blocks.end(), random);
    for (unsigned index : blocks) {
        blockIdx = unravel(index, gridDim);
        std::shuffle(order.begin(), order.end(), random);
        run_block([&] { std::apply(kernel, arguments); }, barriers, order);
    }
}

}  // namespace host

inline void __syncthreads()
{
    host::lane();
    host::meet(&host::Fiber::barriers, 0, host::threads(), host::ALL);
}

template <class Value>
Value __shfl_xor_sync(unsigned mask, Value value, unsigned apart)
{
    return host::exchange(mask, value, host::lane() ^ apart);
}

template <class Value>
Value __shfl_down_sync(unsigned mask, Value value, unsigned by)
{
    return host::exchange(mask, value, host::lane() + by);
}
