// Kernels for checks.py, as the shim would make them of CUDA C. Their PTX is written there by hand.

#define KERNEL(name) extern "C" __attribute__((visibility("default"))) void name([[maybe_unused]] const unsigned* grid, [[maybe_unused]] const unsigned* block, const void* packed)

// target[i] = source[i] * factor
KERNEL(launch_scale) {
    struct Arguments {
        const float* source;
        float factor;
        float* target;
        int count;
    };
    const auto& given = *static_cast<const Arguments*>(packed);
    for (int index = 0; index < given.count; index++) given.target[index] = given.source[index] * given.factor;
}
