// What lives in the simulated driver: contexts with their memory, streams, events and modules; graphs; and the
// operations that were submitted and have not run yet. README.md tells the rules; everything here is under one lock.
#pragma once

#include "cuda.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace sim {

struct Failure {
    CUresult result;
};

inline void require(bool condition, CUresult otherwise) {
    if (!condition) throw Failure{otherwise};
}

// No number is used twice, by whatever kind, so a handle that is foreign or was destroyed is always found out.
inline std::uintptr_t new_handle() {
    static std::uintptr_t last = 0x51000000;
    return last += 16;
}

// Live objects by handle.
template <class Handle, class Object>
class Registry {
  public:
    Handle add(std::shared_ptr<Object> object) {
        const auto handle = reinterpret_cast<Handle>(new_handle());
        objects_.emplace(handle, std::move(object));
        return handle;
    }
    std::shared_ptr<Object> get(Handle handle) const {
        const auto found = objects_.find(handle);
        require(found != objects_.end(), CUDA_ERROR_INVALID_HANDLE);
        return found->second;
    }
    std::shared_ptr<Object> take(Handle handle) {
        auto object = get(handle);
        objects_.erase(handle);
        return object;
    }
    bool holds(Handle handle) const { return objects_.count(handle) > 0; }
    std::size_t size() const { return objects_.size(); }
    void clear() { objects_.clear(); }
    auto begin() const { return objects_.begin(); }
    auto end() const { return objects_.end(); }

  private:
    std::map<Handle, std::shared_ptr<Object>> objects_;
};

inline std::uint64_t number(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

struct Context;
struct Event;

// What is to be done, wherever and however often.
struct Work {
    std::string what;                  // "kernel decode", "copy to device"
    std::function<void()> run;         // nothing: a mark
    std::vector<std::uint64_t> uses;   // addresses that it is known to touch, and its kernel's
    bool on_host = false;              // a host function: runs without the lock
};

// Work that was submitted once.
struct Operation {
    enum State { PENDING, RUNNING, DONE };
    Context* context;
    Work work;
    std::vector<std::shared_ptr<Operation>> after;
    unsigned long number;  // in the order of submission
    State state = PENDING;
    std::chrono::steady_clock::time_point finished{};
};
using OperationPtr = std::shared_ptr<Operation>;

struct Node {
    Context* context;
    Work work;
    std::set<std::size_t> after;                // indices of earlier nodes
    std::shared_ptr<Event> records, waits_for;  // external events
};
using Nodes = std::vector<Node>;

struct Capture {
    unsigned long id;
    Context* context;
    CUstreamCaptureMode mode;
    std::thread::id thread;
    CUstream origin;
    Nodes nodes;
    CUstreamCaptureStatus status = CAPTURE_ACTIVE;  // NONE: ended
};
using CapturePtr = std::shared_ptr<Capture>;

struct Graph {
    Nodes nodes;
};

struct GraphExec {
    Nodes nodes;
    OperationPtr last;  // launches of one executable graph never overlap
};

struct Stream {
    unsigned flags = 0;
    int priority = 0;
    OperationPtr last;
    CapturePtr capture;
    std::set<std::size_t> heads;  // nodes of the capture that the next one follows
    bool blocking() const { return !(flags & CU_STREAM_NON_BLOCKING); }
};

struct Event {
    unsigned flags;
    OperationPtr recorded;
    CapturePtr capture;  // where it was last recorded in a capturing stream
    std::set<std::size_t> heads;
};

struct Parameter {
    std::size_t offset, bytes;
};

struct Function {
    using Launch = void (*)(const unsigned*, const unsigned*, const void*);
    std::string name;
    std::vector<Parameter> parameters;
    unsigned max_threads;
    Launch launch = nullptr;
    bool loaded = true;  // false when its module is unloaded
    std::size_t bytes() const { return parameters.empty() ? 0 : parameters.back().offset + parameters.back().bytes; }
};

struct Module {
    std::map<std::string, std::shared_ptr<Function>> entries;
    std::vector<CUfunction> handles;
};

struct Allocation {
    enum Kind { DEVICE, PINNED, REGISTERED };
    Kind kind;
    CUdeviceptr address;  // the device's
    char* host;           // where it really lies
    std::size_t bytes;
    unsigned flags;
    char* mapping = nullptr;
    std::size_t mapped = 0;
};

struct Context {
    CUdevice device;
    bool primary;
    int retains = 0;  // of a primary context; it lives while there is one
    bool alive = true;
    CUresult error = CUDA_SUCCESS;  // sticky: of an operation that failed while it ran
    Stream legacy;
    std::vector<OperationPtr> orphans;  // pending work of blocking streams that were destroyed
    Registry<CUstream, Stream> streams;
    Registry<CUevent, Event> events;
    Registry<CUmodule, Module> modules;
    Registry<CUfunction, Function> functions;
    std::vector<Allocation> memory;

    bool is_legacy(CUstream handle) const { return number(handle) <= CU_STREAM_LEGACY; }
    Stream& stream(CUstream handle) { return is_legacy(handle) ? legacy : *streams.get(handle); }
    Allocation* device_range(CUdeviceptr address, std::size_t bytes);     // the live allocation that holds all of it
    Allocation* pinned_range(const void* host, std::size_t bytes);
    char* real(CUdeviceptr address, std::size_t bytes);                   // for operations; ILLEGAL_ADDRESS
};

struct Settings {  // HGEDGE_SIM_*: README.md
    std::string schedule, name, kernels;
    int capability, integrated, map_host, cuda, devices, init;
    std::size_t memory;
    bool trace;
    static Settings from_environment();
};

struct Simulator {
    Settings settings = Settings::from_environment();
    std::mutex mutex;
    std::condition_variable_any progress;  // an operation ended
    std::mt19937 random;
    bool initialised = false;
    std::vector<std::unique_ptr<Context>> contexts;  // also those that were destroyed; primary contexts first
    std::deque<OperationPtr> pending;                // in the order of submission
    Registry<CUgraph, Graph> graphs;
    Registry<CUgraphExec, GraphExec> execs;
    std::vector<CapturePtr> captures;                // not ended yet
    unsigned long numbers = 0;
    std::map<std::string, long> calls, errors, operations, leaked;
    long freed_in_use = 0, overruns = 0;
};

Simulator& simulator();
void say(const std::string& message);                 // to stderr, where a result alone would puzzle
void count_result(const char* name, CUresult result);

// scheduler.cpp
OperationPtr enqueue(Context&, Stream&, Work, std::vector<OperationPtr> after = {});
void force(const OperationPtr& goal);                 // run what must have run before and with it
void force_all(Context&);
void step_towards(const OperationPtr& goal);          // at most one operation
void run_some();                                      // what the schedule runs after each call

// capture.cpp
OperationPtr submit(Context&, CUstream, Work);        // into the stream; null when it was captured into a graph
void forbid_in_capture();                             // calls that are unsafe beside a capture
void forbid_legacy_beside_capture(Context&);
[[noreturn]] void invalidate(Capture&, CUresult);

// contexts.cpp
Context& current_context();

// memory.cpp
bool in_device_space(std::uint64_t address);
void count_if_used(const std::function<bool(std::uint64_t)>& freed);  // by pending work
void release(Allocation&);                            // to the machine

extern thread_local bool in_host_function;

// The frame of every call: the lock, the count, the result, and what the schedule runs afterwards.
template <class Body>
CUresult guarded(const char* name, Body&& body) {
    if (in_host_function) return CUDA_ERROR_NOT_PERMITTED;  // cuLaunchHostFunc: "must not make any CUDA API calls"
    auto& sim = simulator();
    std::lock_guard lock(sim.mutex);
    CUresult result = CUDA_SUCCESS;
    try {
        body();
    } catch (const Failure& failure) {
        result = failure.result;
    } catch (const std::bad_alloc&) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    count_result(name, result);
    run_some();
    return result;
}

template <class Body>
CUresult initialised(const char* name, Body&& body) {
    return guarded(name, [&] {
        require(simulator().initialised, CUDA_ERROR_NOT_INITIALIZED);
        body();
    });
}

template <class Body>
CUresult in_context(const char* name, Body&& body) {
    return initialised(name, [&] { body(current_context()); });
}

}  // namespace sim
