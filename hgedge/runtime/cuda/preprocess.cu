// Crops of a uint8 frame as the network takes them, in one pass: bilinear, black outside the frame, normalised, NCHW.
//
// Equals, for every crop, `reference_crop` (hgedge/runtime/preprocess.py) of `bgr_from` (hgedge/runtime/pixels.py) of
// the frame, in grey for a net of one channel, times scale plus offset. Taps are converted before they are blended.
//
// frame    rows of `pitch` bytes: `height` of them; of NV12 `height` of Y, then half as many of U and V in turn, each
//          for 2 x 2 pixels
// affines  (count, 6) frame from crop, row-major, in units of 2^-32 frame pixels: sample points are exact
// out      (count, channels, out_height, out_width), float or half, in the order of colours that `rgb` says
//
// Launch: grid (ceil(out_width * out_height / block), count), any block; a thread writes one pixel of every channel.

#include "half.cuh"

enum Pixels { BGR, BGRX, NV12, GRAY };

struct Frame {
    const unsigned char* data;
    unsigned width, height;
    long long pitch;
    int pixels;
};

struct Color {
    int blue, green, red;
};

static __device__ __forceinline__ int byte_of(int fixed)
{
    return min(max(fixed >> 20, 0), 255);
}

// BT.601 in units of 2^-20. Source: OpenCV, modules/imgproc/src/color_yuv.simd.hpp
static __device__ __forceinline__ Color color_of_yuv(int y, int u, int v)
{
    const int luma = max(y - 16, 0) * 1220542 + (1 << 19);
    u -= 128;
    v -= 128;
    return {byte_of(luma + 2116026 * u), byte_of(luma - 409993 * u - 852492 * v), byte_of(luma + 1673527 * v)};
}

// BT.601 in units of 2^-15. Source: OpenCV, modules/imgproc/src/color_rgb.simd.hpp
static __device__ __forceinline__ int gray_of(Color color)
{
    return (color.blue * 3735 + color.green * 19235 + color.red * 9798 + (1 << 14)) >> 15;
}

// Left of the frame and above it, x and y are unsigned and so beyond its other end.
static __device__ __forceinline__ Color tap(const Frame& frame, unsigned x, unsigned y)
{
    if (x >= frame.width || y >= frame.height) return {0, 0, 0};
    const unsigned char* row = frame.data + y * frame.pitch;
    if (frame.pixels == GRAY) return {row[x], row[x], row[x]};
    if (frame.pixels == NV12) {
        const unsigned char* uv = frame.data + (frame.height + y / 2) * frame.pitch + x / 2 * 2;
        return color_of_yuv(row[x], uv[0], uv[1]);
    }
    const unsigned char* bgr = row + x * (frame.pixels == BGR ? 3 : 4);
    return {bgr[0], bgr[1], bgr[2]};
}

static __device__ __forceinline__ float blend(int a, int b, int c, int d, float right, float down)
{
    const float upper = a + (b - a) * right, lower = c + (d - c) * right;
    return upper + (lower - upper) * down;
}

static __device__ __forceinline__ float fraction(long long fixed)
{
    return (unsigned)fixed * 2.3283064365386963e-10f;  // 2^-32
}

static __device__ __forceinline__ void store(void* out, int half, long long index, float value)
{
    if (half) static_cast<unsigned short*>(out)[index] = float_to_half(value);
    else static_cast<float*>(out)[index] = value;
}

extern "C" __global__ void preprocess(
    const unsigned char* __restrict__ frame, int width, int height, int pitch, int pixels,
    const long long* __restrict__ affines, void* __restrict__ out, int half, int out_width, int out_height,
    int channels, int rgb, float scale0, float scale1, float scale2, float offset0, float offset1, float offset2)
{
    const int plane = out_width * out_height, pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= plane) return;
    const long long v = pixel / out_width, u = pixel % out_width, *affine = affines + 6 * blockIdx.y;
    const long long x = affine[0] * u + affine[1] * v + affine[2], y = affine[3] * u + affine[4] * v + affine[5];
    const unsigned left = x >> 32, top = y >> 32;
    const float right = fraction(x), down = fraction(y);

    const Frame source = {frame, (unsigned)width, (unsigned)height, pitch, pixels};
    const Color a = tap(source, left, top), b = tap(source, left + 1, top);
    const Color c = tap(source, left, top + 1), d = tap(source, left + 1, top + 1);

    const long long first = (long long)blockIdx.y * channels * plane + pixel;
    if (channels == 1) {
        const float gray = blend(gray_of(a), gray_of(b), gray_of(c), gray_of(d), right, down);
        store(out, half, first, gray * scale0 + offset0);
        return;
    }
    const float blue = blend(a.blue, b.blue, c.blue, d.blue, right, down);
    const float green = blend(a.green, b.green, c.green, d.green, right, down);
    const float red = blend(a.red, b.red, c.red, d.red, right, down);
    store(out, half, first, (rgb ? red : blue) * scale0 + offset0);
    store(out, half, first + plane, green * scale1 + offset1);
    store(out, half, first + 2 * plane, (rgb ? blue : red) * scale2 + offset2);
}
