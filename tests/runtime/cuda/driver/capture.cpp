// Stream capture and graphs. A capture is a list of nodes, each with the nodes that it follows; a launch of the graph
// turns them into operations which run in any order that this allows.
#include "simulator.hpp"

#include <algorithm>

namespace sim {
namespace {

thread_local CUstreamCaptureMode thread_mode = CAPTURE_GLOBAL;

void check_active(const Capture& capture) {
    require(capture.status == CAPTURE_ACTIVE, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

// Prohibited is who has a capture of their own, and with GLOBAL on either side, who is beside another's
// (cuThreadExchangeStreamCaptureMode).
bool disturbs(const Capture& capture) {
    if (capture.status != CAPTURE_ACTIVE || thread_mode == CAPTURE_RELAXED) return false;
    if (capture.thread == std::this_thread::get_id()) return capture.mode != CAPTURE_RELAXED;
    return thread_mode == CAPTURE_GLOBAL && capture.mode == CAPTURE_GLOBAL;
}

void add_node(Context& context, Stream& stream, Work work) {
    check_active(*stream.capture);
    auto& nodes = stream.capture->nodes;
    nodes.push_back({&context, std::move(work), stream.heads});
    stream.heads = {nodes.size() - 1};
}

std::set<std::size_t> reached_from(const Nodes& nodes, const std::set<std::size_t>& heads) {
    std::vector<std::size_t> open(heads.begin(), heads.end());
    std::set<std::size_t> reached;
    while (!open.empty()) {
        const auto index = open.back();
        open.pop_back();
        if (reached.insert(index).second) open.insert(open.end(), nodes[index].after.begin(), nodes[index].after.end());
    }
    return reached;
}

void leave(Context& context, const CapturePtr& capture) {
    for (const auto& [handle, stream] : context.streams)
        if (stream->capture == capture) stream->capture = nullptr, stream->heads.clear();
    auto& captures = simulator().captures;
    captures.erase(std::remove(captures.begin(), captures.end(), capture), captures.end());
}

CUresult end_capture(Context& context, CUstream handle, CUgraph* graph) {
    *graph = nullptr;
    Stream& stream = context.stream(handle);
    const CapturePtr capture = stream.capture;
    require(capture != nullptr, CUDA_ERROR_ILLEGAL_STATE);
    if (capture->origin != handle) invalidate(*capture, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    if (capture->mode != CAPTURE_RELAXED)
        require(capture->thread == std::this_thread::get_id(), CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
    const bool valid = capture->status == CAPTURE_ACTIVE;
    const bool joined = reached_from(capture->nodes, stream.heads).size() == capture->nodes.size();
    capture->status = CAPTURE_NONE;
    leave(context, capture);
    if (!valid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (!joined) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
    *graph = simulator().graphs.add(std::make_shared<Graph>(Graph{capture->nodes}));
    return CUDA_SUCCESS;
}

// "Each launch is ordered behind both any previous work in hStream and any previous launches of hGraphExec."
void launch(Context& context, GraphExec& exec, Stream& stream) {
    const OperationPtr start = enqueue(context, stream, {}, {exec.last});
    std::vector<OperationPtr> operations;
    for (const Node& node : exec.nodes) {
        std::vector<OperationPtr> after{start};
        for (const auto index : node.after) after.push_back(operations[index]);
        if (node.waits_for && node.waits_for->recorded) after.push_back(node.waits_for->recorded);
        Stream branch;  // of no other order than the node's
        branch.flags = CU_STREAM_NON_BLOCKING;
        operations.push_back(enqueue(*node.context, branch, node.work, std::move(after)));
        if (node.records) node.records->recorded = operations.back(), node.records->capture = nullptr;
    }
    exec.last = enqueue(context, stream, {}, std::move(operations));
}

}  // namespace

void invalidate(Capture& capture, CUresult result) {
    if (capture.status == CAPTURE_ACTIVE) capture.status = CAPTURE_INVALIDATED;
    throw Failure{result};
}

void forbid_in_capture() {
    bool disturbed = false;
    for (const auto& capture : simulator().captures)
        if (disturbs(*capture)) capture->status = CAPTURE_INVALIDATED, disturbed = true;
    require(!disturbed, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
}

void forbid_legacy_beside_capture(Context& context) {
    for (const auto& [handle, stream] : context.streams)
        if (stream->capture && stream->blocking()) invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
}

OperationPtr submit(Context& context, CUstream handle, Work work) {
    if (context.is_legacy(handle)) forbid_legacy_beside_capture(context);
    Stream& stream = context.stream(handle);
    if (!stream.capture) return enqueue(context, stream, std::move(work));
    add_node(context, stream, std::move(work));
    return nullptr;
}

}  // namespace sim

using namespace sim;

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
    return initialised(__func__, [&] { std::swap(*mode, thread_mode); });
}

API cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
    return in_context(__func__, [&](Context& context) {
        auto& sim = simulator();
        require(!context.is_legacy(handle), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        require(mode >= CAPTURE_GLOBAL && mode <= CAPTURE_RELAXED, CUDA_ERROR_INVALID_VALUE);
        Stream& stream = context.stream(handle);
        require(!stream.capture, CUDA_ERROR_ILLEGAL_STATE);
        const auto thread = std::this_thread::get_id();
        stream.capture = std::make_shared<Capture>(Capture{++sim.numbers, &context, mode, thread, handle});
        stream.heads.clear();
        sim.captures.push_back(stream.capture);
    });
}

API cuStreamEndCapture(CUstream handle, CUgraph* graph) {
    return in_context(__func__, [&](Context& context) {
        const CUresult result = end_capture(context, handle, graph);
        require(result == CUDA_SUCCESS, result);
    });
}

API cuStreamGetCaptureInfo_v2(CUstream handle, CUstreamCaptureStatus* status, std::uint64_t* id, CUgraph* graph,
                              const CUgraphNode** dependencies, std::size_t* count) {
    return in_context(__func__, [&](Context& context) {
        require(!graph && !dependencies && !count, CUDA_ERROR_NOT_SUPPORTED);
        if (context.is_legacy(handle))  // IMPLICIT, but "the blocking stream capture is not invalidated"
            for (const auto& [other, stream] : context.streams)
                require(!stream->capture || !stream->blocking(), CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        const auto capture = context.stream(handle).capture;
        *status = capture ? capture->status : CAPTURE_NONE;
        if (id && capture) *id = capture->id;
    });
}

API cuStreamGetCaptureInfo_v3(CUstream handle, CUstreamCaptureStatus* status, std::uint64_t* id, CUgraph* graph,
                              const CUgraphNode** dependencies, const void** edges, std::size_t* count) {
    return edges ? CUDA_ERROR_NOT_SUPPORTED : cuStreamGetCaptureInfo_v2(handle, status, id, graph, dependencies, count);
}

API cuStreamGetCaptureInfo(CUstream handle, CUstreamCaptureStatus* status, std::uint64_t* id) {
    return cuStreamGetCaptureInfo_v2(handle, status, id, nullptr, nullptr, nullptr);
}

API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
    return cuStreamGetCaptureInfo_v2(handle, status, nullptr, nullptr, nullptr, nullptr);
}

API cuGraphDestroy(CUgraph handle) {
    return initialised(__func__, [&] { simulator().graphs.take(handle); });
}

// Writes as many as there is room for and fills the rest with NULL; without a list, tells how many there are.
API cuGraphGetNodes(CUgraph handle, CUgraphNode* list, std::size_t* count) {
    return initialised(__func__, [&] {
        const auto size = simulator().graphs.get(handle)->nodes.size();
        for (std::size_t index = 0; list && index < *count; index++)
            list[index] = index < size ? reinterpret_cast<CUgraphNode>(index + 1) : nullptr;
        *count = list ? std::min(*count, size) : size;
    });
}

API cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
    return initialised(__func__, [&] {
        require((flags & ~8ull) == 0, CUDA_ERROR_INVALID_VALUE);  // 8: the nodes' own priorities
        auto& sim = simulator();
        *exec = sim.execs.add(std::make_shared<GraphExec>(GraphExec{sim.graphs.get(graph)->nodes, nullptr}));
    });
}

API cuGraphUpload(CUgraphExec exec, CUstream stream) {
    return in_context(__func__, [&](Context& context) {
        simulator().execs.get(exec);
        submit(context, stream, {});
    });
}

API cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
    return in_context(__func__, [&](Context& context) {
        const auto exec = simulator().execs.get(handle);
        if (context.is_legacy(stream_handle)) forbid_legacy_beside_capture(context);
        Stream& stream = context.stream(stream_handle);
        if (stream.capture) invalidate(*stream.capture, CUDA_ERROR_NOT_SUPPORTED);  // a graph in a graph: not simulated
        launch(context, *exec, stream);
    });
}

API cuGraphExecDestroy(CUgraphExec handle) {
    return initialised(__func__, [&] { simulator().execs.take(handle); });
}
