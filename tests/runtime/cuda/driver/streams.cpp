// Streams, events and host functions.
#include "simulator.hpp"

#include <algorithm>

namespace sim {
namespace {

using std::chrono::duration;

bool done(const OperationPtr& operation) { return !operation || operation->state == Operation::DONE; }

// Neither may a capturing stream be waited for nor, by a thread that is not to disturb captures, another.
OperationPtr tail_to_wait_for(Context& context, CUstream handle) {
    Stream& stream = context.stream(handle);
    if (stream.capture) invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    if (context.is_legacy(handle)) {
        forbid_legacy_beside_capture(context);
        forbid_in_capture();
        return enqueue(context, stream, {});  // it stands for all blocking streams
    }
    forbid_in_capture();
    return stream.last;
}

OperationPtr work_of(Event& event) {
    if (event.capture) {
        if (event.capture->status == CAPTURE_ACTIVE) invalidate(*event.capture, CUDA_ERROR_CAPTURED_EVENT);
        throw Failure{CUDA_ERROR_CAPTURED_EVENT};
    }
    forbid_in_capture();
    return event.recorded;
}

void report_progress(const OperationPtr& operation) {
    step_towards(operation);
    require(done(operation), CUDA_ERROR_NOT_READY);
    if (operation) require(operation->context->error == CUDA_SUCCESS, operation->context->error);
}

}  // namespace
}  // namespace sim

using namespace sim;

API cuStreamCreateWithPriority(CUstream* handle, unsigned flags, int priority) {
    return in_context(__func__, [&](Context& context) {
        require(flags <= CU_STREAM_NON_BLOCKING, CUDA_ERROR_INVALID_VALUE);
        auto stream = std::make_shared<Stream>();
        stream->flags = flags;
        stream->priority = std::clamp(priority, -5, 0);
        *handle = context.streams.add(stream);
    });
}

API cuStreamCreate(CUstream* handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }

// Work that is pending in it still runs.
API cuStreamDestroy_v2(CUstream handle) {
    return in_context(__func__, [&](Context& context) {
        const auto stream = context.streams.take(handle);
        if (stream->blocking() && !done(stream->last)) context.orphans.push_back(stream->last);
        if (stream->capture) invalidate(*stream->capture, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    });
}

API cuStreamGetFlags(CUstream handle, unsigned* flags) {
    return in_context(__func__, [&](Context& context) { *flags = context.stream(handle).flags; });
}

API cuStreamGetPriority(CUstream handle, int* priority) {
    return in_context(__func__, [&](Context& context) { *priority = context.stream(handle).priority; });
}

API cuStreamSynchronize(CUstream handle) {
    return in_context(__func__, [&](Context& context) { force(tail_to_wait_for(context, handle)); });
}

API cuStreamQuery(CUstream handle) {
    return in_context(__func__, [&](Context& context) { report_progress(tail_to_wait_for(context, handle)); });
}

API cuEventCreate(CUevent* handle, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        require(flags < 8, CUDA_ERROR_INVALID_VALUE);
        *handle = context.events.add(std::make_shared<Event>(Event{flags}));
    });
}

API cuEventDestroy_v2(CUevent handle) {
    return in_context(__func__, [&](Context& context) { context.events.take(handle); });
}

API cuEventRecordWithFlags(CUevent handle, CUstream stream_handle, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        const auto event = context.events.get(handle);
        Stream& stream = context.stream(stream_handle);
        require(flags <= CU_EVENT_EXTERNAL && !(flags && !stream.capture), CUDA_ERROR_INVALID_VALUE);
        if (stream.capture && !flags) {
            if (stream.capture->status != CAPTURE_ACTIVE) throw Failure{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED};
            event->capture = stream.capture, event->heads = stream.heads, event->recorded = nullptr;
            return;
        }
        const auto mark = submit(context, stream_handle, {});
        if (stream.capture) stream.capture->nodes.back().records = event;
        else event->recorded = mark, event->capture = nullptr;
    });
}

API cuEventRecord(CUevent handle, CUstream stream) { return cuEventRecordWithFlags(handle, stream, 0); }

namespace sim {
namespace {

// A wait for an event of a capture draws the stream into it.
void join(Stream& stream, const Event& event, bool legacy) {
    Capture& capture = *event.capture;
    if (capture.status == CAPTURE_NONE) throw Failure{CUDA_ERROR_CAPTURED_EVENT};
    if (capture.status == CAPTURE_INVALIDATED) throw Failure{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED};
    if (legacy) invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
    if (stream.capture && stream.capture != event.capture) {
        stream.capture->status = CAPTURE_INVALIDATED;
        invalidate(capture, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    stream.capture = event.capture;
    stream.heads.insert(event.heads.begin(), event.heads.end());
}

}  // namespace
}  // namespace sim

API cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned flags) {
    return in_context(__func__, [&](Context& context) {
        const auto event = context.events.get(event_handle);
        Stream& stream = context.stream(handle);
        require(flags <= CU_EVENT_EXTERNAL && !(flags && !stream.capture), CUDA_ERROR_INVALID_VALUE);
        if (flags) {
            submit(context, handle, {});
            stream.capture->nodes.back().waits_for = event;
        } else if (event->capture) {
            join(stream, *event, context.is_legacy(handle));
        } else if (stream.capture) {  // also of an event that was never recorded: strict where nothing is promised
            invalidate(*stream.capture, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        } else {
            if (context.is_legacy(handle)) forbid_legacy_beside_capture(context);
            if (!done(event->recorded)) enqueue(context, stream, {}, {event->recorded});
        }
    });
}

API cuEventQuery(CUevent handle) {
    return in_context(__func__, [&](Context& context) { report_progress(work_of(*context.events.get(handle))); });
}

API cuEventSynchronize(CUevent handle) {
    return in_context(__func__, [&](Context& context) { force(work_of(*context.events.get(handle))); });
}

API cuEventElapsedTime_v2(float* milliseconds, CUevent start_handle, CUevent end_handle) {
    return in_context(__func__, [&](Context& context) {
        const auto start = context.events.get(start_handle), end = context.events.get(end_handle);
        for (const auto& event : {start, end}) {
            require(!event->capture, CUDA_ERROR_CAPTURED_EVENT);
            require(event->recorded && !(event->flags & CU_EVENT_DISABLE_TIMING), CUDA_ERROR_INVALID_HANDLE);
            require(done(event->recorded), CUDA_ERROR_NOT_READY);
        }
        const duration<float, std::milli> elapsed = end->recorded->finished - start->recorded->finished;
        *milliseconds = elapsed.count();
    });
}

API cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime_v2(milliseconds, start, end);
}

API cuLaunchHostFunc(CUstream handle, CUhostFn function, void* data) {
    return in_context(__func__, [&](Context& context) {
        require(function, CUDA_ERROR_INVALID_VALUE);
        submit(context, handle, {"host function", [function, data] { function(data); }, {}, true});
    });
}
