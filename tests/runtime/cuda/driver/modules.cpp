// Modules and kernels. PTX text is read for its version, target, entries and their parameters; what runs is launch_NAME
// of the libraries named in HGEDGE_SIM_KERNELS.
#include "simulator.hpp"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace sim {
namespace {

std::string without_comments(const std::string& ptx) {
    std::istringstream lines(ptx);
    std::string line, text;
    while (std::getline(lines, line)) text += line.substr(0, line.find("//")) + "\n";
    return text;
}

std::string word_after(const std::string& text, const std::string& directive, std::size_t from = 0) {
    const auto found = text.find(directive, from);
    if (found == std::string::npos) return "";
    std::istringstream rest(text.substr(found + directive.size(), 200));
    std::string word;
    rest >> word;
    return word;
}

// The newest PTX that a driver of this CUDA takes, as ten times its version. Source: the PTX manual's release history.
int newest_ptx(int cuda) {
    static const std::map<int, int> first_cuda{
        {11000, 70}, {11010, 71}, {11020, 72}, {11030, 73}, {11040, 74}, {11050, 75}, {11060, 76}, {11070, 77},
        {11080, 78}, {12000, 80}, {12010, 81}, {12020, 82}, {12030, 83}, {12040, 84}, {12050, 85}, {12070, 86},
        {12080, 87}, {12090, 88}, {13000, 90}, {13010, 91}, {13020, 92}, {13030, 93}, {13040, 94}};
    const auto newer = first_cuda.upper_bound(cuda);
    return newer == first_cuda.begin() ? 65 : std::prev(newer)->second;
}

void check_version(const std::string& text) {
    const auto version = word_after(text, ".version");
    require(!version.empty(), CUDA_ERROR_INVALID_PTX);
    const int tenfold = static_cast<int>(std::strtod(version.c_str(), nullptr) * 10 + 0.5);
    require(tenfold <= newest_ptx(simulator().settings.cuda), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
}

// PTX serves its own architecture and newer ones; with the suffix `a` its own alone.
void check_target(const std::string& text) {
    const auto target = word_after(text, ".target");
    require(target.rfind("sm_", 0) == 0, CUDA_ERROR_INVALID_PTX);
    char* suffix;
    const long architecture = std::strtol(target.c_str() + 3, &suffix, 10);
    const int capability = simulator().settings.capability;
    require(*suffix == 'a' ? architecture == capability : architecture <= capability, CUDA_ERROR_NO_BINARY_FOR_GPU);
}

// Bytes of ".u64", ".f32", ".b8".
std::size_t bytes_of(const std::string& type) {
    return type.size() > 2 && std::strchr("usfb", type[1]) ? std::strtoul(type.c_str() + 2, nullptr, 10) / 8 : 0;
}

// Such as ".param .u64 .ptr .align 4 name" or ".param .align 8 .b8 name[24]".
Parameter parse_parameter(const std::string& declaration, std::size_t offset) {
    std::istringstream words(declaration);
    std::string word, before;
    std::size_t size = 0, alignment = 0;
    bool pointer = false;  // from here on the alignment is that of what it points to
    while (words >> word) {
        if (word == ".ptr") pointer = true;
        if (before == ".align" && !pointer) alignment = std::stoul(word);
        if (!size) size = bytes_of(word);
        before = word;
    }
    require(size > 0, CUDA_ERROR_INVALID_PTX);
    alignment = std::max(alignment, size);
    if (const auto count = before.find('['); count != std::string::npos) size *= std::stoul(before.substr(count + 1));
    return {(offset + alignment - 1) / alignment * alignment, size};
}

std::shared_ptr<Function> parse_entry(const std::string& text, std::size_t at) {
    const auto open = text.find('(', at), close = text.find(')', at), body = text.find('{', at);
    auto function = std::make_shared<Function>();
    function->name = word_after(text.substr(0, std::min(open, body)), ".entry", at);
    if (open < body) {
        std::istringstream declarations(text.substr(open + 1, close - open - 1));
        std::string declaration;
        while (std::getline(declarations, declaration, ','))
            if (declaration.find(".param") != std::string::npos)
                function->parameters.push_back(parse_parameter(declaration, function->bytes()));
    }
    const auto limit = word_after(text.substr(0, body), ".maxntid", at);
    function->max_threads = limit.empty() ? 1024 : std::strtoul(limit.c_str(), nullptr, 10);
    return function;
}

Function::Launch find_launch(const std::string& name) {
    std::istringstream libraries(simulator().settings.kernels);
    std::string path;
    while (std::getline(libraries, path, ':')) {
        void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library) say(std::string("cannot load kernels: ") + dlerror());
        void* symbol = library ? dlsym(library, ("launch_" + name).c_str()) : nullptr;
        if (symbol) return reinterpret_cast<Function::Launch>(symbol);
    }
    return nullptr;
}

CUmodule load(Context& context, const std::string& image) {
    forbid_in_capture();
    require(image.rfind("\x7f" "ELF", 0) != 0, CUDA_ERROR_NO_BINARY_FOR_GPU);
    const auto text = without_comments(image);
    require(text.find(".version") != std::string::npos, CUDA_ERROR_INVALID_IMAGE);
    check_version(text);
    check_target(text);
    auto module = std::make_shared<Module>();
    for (auto at = text.find(".entry"); at != std::string::npos; at = text.find(".entry", at + 1)) {
        auto function = parse_entry(text, at);
        module->entries[function->name] = function;
    }
    return context.modules.add(module);
}

// Logs of the compiler: both are empty, and pycuda reads their sizes back.
void empty_logs(unsigned count, const int* options, void** values) {
    constexpr int INFO_SIZE = 4, ERROR_SIZE = 6;
    for (unsigned index = 0; index < count; index++)
        if (options[index] == INFO_SIZE || options[index] == ERROR_SIZE) values[index] = nullptr;
}

// As in CU_LAUNCH_PARAM_BUFFER_POINTER: at natural alignment.
std::vector<char> pack(const Function& function, void** parameters, void** extra) {
    std::vector<char> packed(function.bytes());
    if (extra) {
        require(!parameters, CUDA_ERROR_INVALID_VALUE);
        const char* buffer = nullptr;
        std::size_t size = 0;
        for (; *extra; extra += 2) {
            const auto key = reinterpret_cast<std::uintptr_t>(*extra);
            if (key == 1) buffer = static_cast<const char*>(extra[1]);
            if (key == 2) size = *static_cast<std::size_t*>(extra[1]);
        }
        require(size >= packed.size() && size < packed.size() + 8, CUDA_ERROR_INVALID_VALUE);  // the last may be padded
        std::copy_n(buffer, packed.size(), packed.begin());
    } else {
        require(parameters || function.parameters.empty(), CUDA_ERROR_INVALID_VALUE);
        for (const auto& parameter : function.parameters)
            std::memcpy(&packed[parameter.offset], *parameters++, parameter.bytes);
    }
    return packed;
}

std::vector<std::uint64_t> words(const std::vector<char>& packed) {
    std::vector<std::uint64_t> found(packed.size() / 8);
    std::memcpy(found.data(), packed.data(), found.size() * 8);
    return found;
}

bool is_host_memory(std::uint64_t address) {
    const std::uint64_t page = sysconf(_SC_PAGESIZE);
    unsigned char resident;
    return mincore(reinterpret_cast<void*>(address / page * page), 1, &resident) == 0;
}

// Device addresses in the arguments become real ones; none may be an address of the host's, pinned or not.
std::vector<char> translated(Context& context, const Function& function, std::vector<char> packed) {
    auto check = [&](bool fine, std::size_t offset, const char* what) {
        if (fine) return;
        say("kernel " + function.name + ": the argument at byte " + std::to_string(offset) + " is " + what);
        throw Failure{CUDA_ERROR_ILLEGAL_ADDRESS};
    };
    for (const auto& parameter : function.parameters)
        for (auto at = parameter.offset; at + 8 <= parameter.offset + parameter.bytes; at += 8) {
            std::uint64_t word;
            std::memcpy(&word, &packed[at], sizeof word);
            check(!is_host_memory(word), at, "an address of the host's memory");
            if (!in_device_space(word)) continue;
            check(context.device_range(word, 1), at, "no address of memory that lives on the device");
            const char* real = context.real(word, 1);
            std::memcpy(&packed[at], &real, sizeof real);
        }
    return packed;
}

void check_shape(const Function& function, const unsigned* grid, const unsigned* block, unsigned shared) {
    const auto threads = std::uint64_t(block[0]) * block[1] * block[2];
    const bool whole = std::uint64_t(grid[0]) * grid[1] * grid[2] * threads > 0;
    require(whole && grid[0] <= 2147483647 && grid[1] <= 65535 && grid[2] <= 65535, CUDA_ERROR_INVALID_VALUE);
    require(threads <= function.max_threads && block[2] <= 64 && shared <= 49152, CUDA_ERROR_INVALID_VALUE);
}

}  // namespace
}  // namespace sim

using namespace sim;

API cuModuleLoadData(CUmodule* module, const void* image) {
    return in_context(__func__, [&](Context& context) { *module = load(context, static_cast<const char*>(image)); });
}

API cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count, const int* options, void** values) {
    empty_logs(count, options, values);
    return cuModuleLoadData(module, image);
}

API cuModuleLoad(CUmodule* module, const char* path) {
    return in_context(__func__, [&](Context& context) {
        std::ifstream file(path, std::ios::binary);
        require(file.good(), CUDA_ERROR_FILE_NOT_FOUND);
        *module = load(context, {std::istreambuf_iterator<char>(file), {}});
    });
}

API cuModuleUnload(CUmodule handle) {
    return in_context(__func__, [&](Context& context) {
        forbid_in_capture();
        const auto module = context.modules.take(handle);
        for (const auto& [name, function] : module->entries) {
            const auto used = number(function.get());
            count_if_used([=](std::uint64_t address) { return address == used; });
        }
        force_all(context);
        for (const auto function : module->handles) context.functions.take(function)->loaded = false;
    });
}

API cuModuleGetFunction(CUfunction* handle, CUmodule module_handle, const char* name) {
    return in_context(__func__, [&](Context& context) {
        const auto module = context.modules.get(module_handle);
        const auto entry = module->entries.find(name);
        require(entry != module->entries.end(), CUDA_ERROR_NOT_FOUND);
        const auto function = entry->second;
        if (!function->launch) function->launch = find_launch(name);
        if (!function->launch) say(std::string("HGEDGE_SIM_KERNELS names no library with launch_") + name);
        require(function->launch, CUDA_ERROR_NOT_FOUND);
        *handle = context.functions.add(function);
        module->handles.push_back(*handle);
    });
}

API cuFuncGetAttribute(int* value, int attribute, CUfunction handle) {
    return in_context(__func__, [&](Context& context) {
        const auto function = context.functions.get(handle);
        *value = attribute == 0 ? static_cast<int>(function->max_threads) : 0;
    });
}

API cuFuncSetCacheConfig(CUfunction handle, int) {
    return in_context(__func__, [&](Context& context) { context.functions.get(handle); });
}

// pycuda calls it before each launch, though the launch says it too.
API cuFuncSetBlockShape(CUfunction handle, int x, int y, int z) {
    return in_context(__func__, [&](Context& context) {
        const unsigned grid[3]{1, 1, 1}, block[3]{unsigned(x), unsigned(y), unsigned(z)};
        check_shape(*context.functions.get(handle), grid, block, 0);
    });
}

API cuLaunchKernel(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, CUstream stream, void** parameters,
                   void** extra) {
    return in_context(__func__, [&](Context& context) {
        const auto function = context.functions.get(handle);
        const std::vector<unsigned> grid{grid_x, grid_y, grid_z}, block{block_x, block_y, block_z};
        check_shape(*function, grid.data(), block.data(), shared);
        auto packed = pack(*function, parameters, extra);
        auto uses = words(packed);
        uses.push_back(number(function.get()));
        auto run = [&context, function, grid, block, packed = std::move(packed)] {
            require(function->loaded, CUDA_ERROR_ILLEGAL_ADDRESS);  // replayed after its module was unloaded
            function->launch(grid.data(), block.data(), translated(context, *function, packed).data());
        };
        submit(context, stream, {"kernel " + function->name, std::move(run), std::move(uses)});
    });
}
