// Heatmaps to keypoints in frame pixels, in one pass: peak, step of less than a cell, affine map, score.
//
// Equals `decode` of hgedge/runtime/decode.py, which gives the formulas, with `affines` for its map into the input: the
// first maximum in row-major order; NaN never a peak; a map of NaN alone is at cell (0, 0) with score NaN. DARK is in
// float32 here and in float64 there, 1e-4 cells apart.
//
// heatmaps  (N, num_keypoints, height, width), float or half
// affines   (N, 6) frame from cells, row-major
// out       (N, num_keypoints, 3): x, y in frame pixels, score
//
// Launch: grid (num_keypoints, N), block 128; a block a heatmap.

#include "half.cuh"

constexpr int BLOCK = 128, LANES = 32, WARPS = BLOCK / LANES;
constexpr unsigned ALL_LANES = 0xffffffff;
constexpr int NONE = 0x7fffffff;  // index of no cell

// DARK: cells around the peak that differences need, and rows that their blur needs.
constexpr int REACH = 2, SIDE = 2 * REACH + 1, TAPS = 11, ROWS = SIDE + TAPS - 1;
constexpr float LONGEST = 1, FLATTEST = 1e-3f, LEAST = 1e-10f;

template <class Cell>
struct Map {
    const Cell* cells;
    int height, width;
};

struct Peak {
    float value;
    int index;
};

struct Point {
    float x, y;
};

static __device__ __forceinline__ float value_of(float cell) { return cell; }
static __device__ __forceinline__ float value_of(unsigned short cell) { return half_to_float(cell); }

// Zero outside the map.
template <class Cell>
__device__ __forceinline__ float at(Map<Cell> map, int y, int x)
{
    const bool inside = x >= 0 && x < map.width && y >= 0 && y < map.height;
    return inside ? value_of(map.cells[y * map.width + x]) : 0;
}

// NaN compares with nothing, so it never wins. No branches, so that the loads of a loop do not wait for each other.
static __device__ __forceinline__ Peak better(Peak a, Peak b)
{
    const bool second = (b.value > a.value) | ((b.value == a.value) & (b.index < a.index));
    return {second ? b.value : a.value, second ? b.index : a.index};
}

// Index of the map's peak, in every thread: of each thread's cells, of a warp's threads, of the warps.
template <class Cell>
__device__ __forceinline__ int peak_of(Map<Cell> map)
{
    __shared__ Peak peaks[WARPS];
    Peak best = {__uint_as_float(0xff800000), NONE};  // minus infinity
#pragma unroll 8
    for (int i = threadIdx.x; i < map.height * map.width; i += BLOCK) best = better(best, {value_of(map.cells[i]), i});
    for (int apart = LANES / 2; apart > 0; apart /= 2) {
        const float value = __shfl_xor_sync(ALL_LANES, best.value, apart);
        const int index = __shfl_xor_sync(ALL_LANES, best.index, apart);
        best = better(best, {value, index});
    }
    if (threadIdx.x % LANES == 0) peaks[threadIdx.x / LANES] = best;
    __syncthreads();
    for (int warp = 0; warp < WARPS; ++warp) best = better(best, peaks[warp]);
    return best.index == NONE ? 0 : best.index;
}

static __device__ __forceinline__ int towards(float before, float after)
{
    return (after > before) - (after < before);
}

template <class Cell>
__device__ __forceinline__ Point quarter_step(Map<Cell> map, int y, int x, float shift)
{
    const bool inside_x = x > 0 && x < map.width - 1, inside_y = y > 0 && y < map.height - 1;
    return {inside_x ? shift * towards(at(map, y, x - 1), at(map, y, x + 1)) : 0,
            inside_y ? shift * towards(at(map, y - 1, x), at(map, y + 1, x)) : 0};
}

// Logarithm of the blurred cells around (x, y), which every thread may read: blurred along rows, then along columns.
template <class Cell>
__device__ __forceinline__ void log_of_blurred(Map<Cell> map, int y, int x, float (&logs)[SIDE][SIDE])
{
    // exp(-d^2 / (2 * 1.5^2)) for d = -5 .. 5, over their sum
    const float blur[TAPS] = {0.00102838008f, 0.00759875814f, 0.0360007721f, 0.10936069f, 0.213005538f, 0.266011725f,
                              0.213005538f, 0.10936069f, 0.0360007721f, 0.00759875814f, 0.00102838008f};
    __shared__ float rows[ROWS][SIDE];
    const int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    if (row < ROWS) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < TAPS; ++i) sum += blur[i] * at(map, y + row - ROWS / 2, x + column + i - ROWS / 2);
        rows[row][column] = sum;
    }
    __syncthreads();
    if (row < SIDE) {
        float sum = 0;
#pragma unroll
        for (int i = 0; i < TAPS; ++i) sum += blur[i] * rows[row + i][column];
        logs[row][column] = logf(sum < LEAST ? LEAST : sum);  // NaN stays NaN
    }
    __syncthreads();
}

template <class Cell>
__device__ __forceinline__ Point dark_step(Map<Cell> map, int y, int x)
{
    __shared__ float g[SIDE][SIDE];
    if (x < REACH || x >= map.width - REACH || y < REACH || y >= map.height - REACH) return {0, 0};
    log_of_blurred(map, y, x, g);
    const float dx = (g[2][3] - g[2][1]) / 2, dxx = (g[2][4] - 2 * g[2][2] + g[2][0]) / 4;
    const float dy = (g[3][2] - g[1][2]) / 2, dyy = (g[4][2] - 2 * g[2][2] + g[0][2]) / 4;
    const float dxy = (g[3][3] - g[3][1] - g[1][3] + g[1][1]) / 4, determinant = dxx * dyy - dxy * dxy;
    if (!(dxx < -FLATTEST && (dxx + FLATTEST) * (dyy + FLATTEST) > dxy * dxy)) return {0, 0};
    const float step_x = (dxy * dy - dyy * dx) / determinant, step_y = (dxy * dx - dxx * dy) / determinant;
    return {fminf(fmaxf(step_x, -LONGEST), LONGEST), fminf(fmaxf(step_y, -LONGEST), LONGEST)};
}

template <class Cell>
__device__ __forceinline__ void locate(
    const Cell* cells, int height, int width, const float* affine, float shift, int dark, float* out)
{
    const Map<Cell> map = {cells, height, width};
    const int peak = peak_of(map), row = peak / width, column = peak % width;
    const Point step = dark ? dark_step(map, row, column) : quarter_step(map, row, column, shift);
    const float x = column + step.x, y = row + step.y;
    if (threadIdx.x > 0) return;
    out[0] = affine[0] * x + affine[1] * y + affine[2];
    out[1] = affine[3] * x + affine[4] * y + affine[5];
    out[2] = value_of(cells[peak]);
}

extern "C" __global__ void __launch_bounds__(BLOCK) decode(
    const void* __restrict__ heatmaps, int half, int num_keypoints, int height, int width,
    const float* __restrict__ affines, float shift, int dark, float* __restrict__ out)
{
    const long long map = (long long)blockIdx.y * num_keypoints + blockIdx.x, first = map * height * width;
    const float* affine = affines + 6 * blockIdx.y;
    out += 3 * map;
    if (half) locate(static_cast<const unsigned short*>(heatmaps) + first, height, width, affine, shift, dark, out);
    else locate(static_cast<const float*>(heatmaps) + first, height, width, affine, shift, dark, out);
}
