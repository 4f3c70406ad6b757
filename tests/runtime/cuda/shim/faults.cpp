// Wrong kernels, and right ones, to see that the shim tells them apart: faults NAME prints what the kernel wrote.

#include "cuda_on_host.h"

constexpr int THREADS = 64, BLOCKS = 4;

// What thread t of block b writes where all is well: what the thread opposite has put into shared memory.
static void mirror(int* out, bool barrier)
{
    __shared__ int values[THREADS];
    values[threadIdx.x] = blockIdx.x * THREADS + threadIdx.x;
    if (barrier) __syncthreads();
    out[blockIdx.x * THREADS + threadIdx.x] = values[THREADS - 1 - threadIdx.x];
}

static void right(int* out) { mirror(out, true); }
static void barrier_left_out(int* out) { mirror(out, false); }

static void barrier_skipped(int* out)
{
    if (threadIdx.x == 5) return;
    mirror(out, true);
}

static void shuffle_skipped(int* out)
{
    if (threadIdx.x != 5) out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, threadIdx.x, 1);
    __syncthreads();
}

static void shuffle_outside_its_mask(int* out) { out[threadIdx.x] = __shfl_down_sync(0xffffu, threadIdx.x, 1); }

static void block_needs_the_one_before(int* out)
{
    const int block = blockIdx.x;
    out[block * THREADS + threadIdx.x] = block ? out[(block - 1) * THREADS + threadIdx.x] + 1 : 0;
}

// Of a warp's lanes, the last: those beyond it keep their own.
static void shuffles(int* out)
{
    int value = threadIdx.x;
    for (int by = 16; by > 0; by /= 2) value = max(value, __shfl_down_sync(0xffffffffu, value, by));
    out[blockIdx.x * THREADS + threadIdx.x] = __shfl_xor_sync(0xffffffffu, value, threadIdx.x % 32);
}

int main(int, char** arguments)
{
    const std::tuple<const char*, void (*)(int*), bool> kernels[] = {
        {"right", right, true},
        {"barrier_left_out", barrier_left_out, true},
        {"barrier_skipped", barrier_skipped, true},
        {"barrier_undeclared", right, false},
        {"shuffle_skipped", shuffle_skipped, true},
        {"shuffle_outside_its_mask", shuffle_outside_its_mask, true},
        {"block_needs_the_one_before", block_needs_the_one_before, true},
        {"shuffles", shuffles, true},
    };
    const unsigned grid[3] = {BLOCKS, 1, 1}, block[3] = {THREADS, 1, 1};
    int out[BLOCKS * THREADS] = {}, *address = out;
    for (const auto& [name, kernel, barriers] : kernels)
        if (!std::strcmp(name, arguments[1])) host::launch(kernel, barriers, grid, block, &address);
    for (int value : out) std::printf("%d ", value);
}
