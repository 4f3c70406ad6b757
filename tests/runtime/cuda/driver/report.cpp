// Settings, statistics, and the names of results.
#include "simulator.hpp"

#include <cstdio>
#include <cstdlib>

namespace sim {
namespace {

std::string text(const char* name, const char* otherwise) {
    const char* value = std::getenv(name);
    return value ? value : otherwise;
}

int whole(const char* name, int otherwise) {
    const auto value = text(name, "");
    return value.empty() ? otherwise : std::atoi(value.c_str());
}

std::string json(const std::map<std::string, long>& counts) {
    std::string out;
    for (const auto& [name, count] : counts)
        out += (out.empty() ? "\"" : ", \"") + name + "\": " + std::to_string(count);
    return "{" + out + "}";
}

std::map<std::string, long> living() {
    auto& sim = simulator();
    std::map<std::string, long> count{{"contexts", 0}, {"retains", 0}, {"streams", 0}, {"events", 0}, {"modules", 0},
                                      {"device_allocations", 0}, {"device_bytes", 0}, {"host_allocations", 0},
                                      {"host_bytes", 0}};
    for (const auto& context : sim.contexts) {
        count["contexts"] += context->alive;
        count["retains"] += context->retains;
        count["streams"] += context->streams.size();
        count["events"] += context->events.size();
        count["modules"] += context->modules.size();
        for (const auto& allocation : context->memory) {
            const std::string where = allocation.kind == Allocation::DEVICE ? "device" : "host";
            count[where + "_allocations"]++;
            count[where + "_bytes"] += allocation.bytes;
        }
    }
    count["graphs"] = sim.graphs.size();
    count["graph_execs"] = sim.execs.size();
    return count;
}

struct Name {
    CUresult result;
    const char *name, *text;
};

#define X(name, number, text) {name, #name, text},
constexpr Name names[] = {CUDA_RESULTS(X)};
#undef X

CUresult name_of(CUresult result, const char* Name::*member, const char** out) {
    *out = nullptr;
    for (const auto& name : names)
        if (name.result == result) *out = name.*member;
    return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

Settings Settings::from_environment() {
    Settings settings;
    settings.schedule = text("HGEDGE_SIM_SCHEDULE", "lazy");
    settings.name = text("HGEDGE_SIM_NAME", "Simulated GPU");
    settings.kernels = text("HGEDGE_SIM_KERNELS", "");
    settings.capability = whole("HGEDGE_SIM_CAPABILITY", 87);
    settings.integrated = whole("HGEDGE_SIM_INTEGRATED", 0);
    settings.map_host = whole("HGEDGE_SIM_MAP_HOST", 1);
    settings.cuda = whole("HGEDGE_SIM_CUDA", 12060);
    settings.devices = whole("HGEDGE_SIM_DEVICES", 1);
    settings.init = whole("HGEDGE_SIM_INIT", 0);
    settings.memory = std::strtoull(text("HGEDGE_SIM_MEMORY", "8589934592").c_str(), nullptr, 10);
    settings.trace = whole("HGEDGE_SIM_TRACE", 0);
    return settings;
}

Simulator& simulator() {
    static auto& sim = []() -> Simulator& {
        auto& made = *new Simulator;  // never destroyed: Python may call until the very end
        const auto& schedule = made.settings.schedule;
        if (schedule.rfind("random:", 0) == 0) made.random.seed(std::atoi(schedule.c_str() + 7));
        else if (schedule != "eager" && schedule != "lazy") say("no such schedule, so it is random: " + schedule);
        return made;
    }();
    return sim;
}

void say(const std::string& message) { std::fprintf(stderr, "simulated CUDA: %s\n", message.c_str()); }

void count_result(const char* name, CUresult result) {
    auto& sim = simulator();
    sim.calls[name]++;
    if (sim.settings.trace) say(std::string(name) + ": " + std::to_string(result));
    if (result == CUDA_SUCCESS || result == CUDA_ERROR_NOT_READY) return;
    sim.errors[std::string(name) + " " + std::to_string(result)]++;
}

CUresult unsupported(const char* name) {
    return guarded(name, [] { throw Failure{CUDA_ERROR_NOT_SUPPORTED}; });
}

}  // namespace sim

using namespace sim;

API cuGetErrorName(CUresult result, const char** name) { return name_of(result, &Name::name, name); }

API cuGetErrorString(CUresult result, const char** text) { return name_of(result, &Name::text, text); }

// JSON: what lives, what was called, what failed, what ran, what leaked. Valid until the thread's next call.
extern "C" __attribute__((visibility("default"))) const char* hgedge_sim_statistics() {
    static thread_local std::string out;
    auto& sim = simulator();
    std::lock_guard lock(sim.mutex);
    out = "{\"live\": " + json(living()) + ", \"calls\": " + json(sim.calls) + ", \"errors\": " + json(sim.errors) +
          ", \"operations\": " + json(sim.operations) + ", \"leaked\": " + json(sim.leaked) +
          ", \"pending\": " + std::to_string(sim.pending.size()) +
          ", \"freed_in_use\": " + std::to_string(sim.freed_in_use) +
          ", \"overruns\": " + std::to_string(sim.overruns) + "}";
    return out.c_str();
}

// Where memory of the device really lies, for tests alone; null if it is no live memory of any context.
extern "C" __attribute__((visibility("default"))) void* hgedge_sim_host(CUdeviceptr address) {
    auto& sim = simulator();
    std::lock_guard lock(sim.mutex);
    for (const auto& context : sim.contexts)
        if (context->device_range(address, 1)) return context->real(address, 1);
    return nullptr;
}
