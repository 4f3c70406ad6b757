// When operations run. Each has those that it comes after; any order that keeps to them is legal. `eager` runs all at
// once, `lazy` only what somebody waits for, the newest first, `random:SEED` one now and then, in any order.
#include "simulator.hpp"

#include <algorithm>

namespace sim {

thread_local bool in_host_function = false;

namespace {

bool eager() { return simulator().settings.schedule == "eager"; }
bool lazy() { return simulator().settings.schedule == "lazy"; }

bool ready(const OperationPtr& operation) {
    return operation->state == Operation::PENDING &&
           std::all_of(operation->after.begin(), operation->after.end(),
                       [](const OperationPtr& other) { return other->state == Operation::DONE; });
}

void run_on_host(const Work& work) {
    auto& sim = simulator();
    in_host_function = true;
    sim.mutex.unlock();  // it may take as long as it likes, and may need Python's lock
    work.run();
    sim.mutex.lock();
    in_host_function = false;
}

void run(const OperationPtr& operation) {
    auto& sim = simulator();
    Context& context = *operation->context;
    operation->state = Operation::RUNNING;
    if (operation->work.run && context.error == CUDA_SUCCESS) {
        sim.operations[operation->work.what]++;
        if (sim.settings.trace) say("runs " + operation->work.what);
        try {
            operation->work.on_host ? run_on_host(operation->work) : operation->work.run();
        } catch (const Failure& failure) {
            say(operation->work.what + " failed while it ran; the context is lost");
            context.error = failure.result;
        }
    }
    operation->finished = std::chrono::steady_clock::now();
    operation->state = Operation::DONE;
    operation->after.clear();
    operation->work = {};
    sim.pending.erase(std::find(sim.pending.begin(), sim.pending.end(), operation));
    sim.progress.notify_all();
}

// What must have run when `goal` has, and is not done; with the goal.
std::vector<OperationPtr> needed(const OperationPtr& goal) {
    std::vector<OperationPtr> found{goal};
    std::set<Operation*> seen{goal.get()};
    for (std::size_t index = 0; index < found.size(); index++)
        for (const auto& other : std::vector(found[index]->after))
            if (other->state != Operation::DONE && seen.insert(other.get()).second) found.push_back(other);
    return found;
}

template <class Operations>
OperationPtr choose(const Operations& operations) {
    std::vector<OperationPtr> legal;
    std::copy_if(operations.begin(), operations.end(), std::back_inserter(legal), ready);
    if (legal.empty()) return nullptr;
    auto by_number = [](const OperationPtr& a, const OperationPtr& b) { return a->number < b->number; };
    if (lazy()) return *std::max_element(legal.begin(), legal.end(), by_number);
    if (eager()) return *std::min_element(legal.begin(), legal.end(), by_number);
    return legal[simulator().random() % legal.size()];
}

OperationPtr choose_for(const OperationPtr& goal) {
    return lazy() ? choose(needed(goal)) : choose(simulator().pending);
}

}  // namespace

OperationPtr enqueue(Context& context, Stream& stream, Work work, std::vector<OperationPtr> after) {
    after.push_back(stream.last);
    if (&stream == &context.legacy) {  // it waits for all blocking streams, and they for it
        for (const auto& [handle, other] : context.streams)
            if (other->blocking()) after.push_back(other->last);
        after.insert(after.end(), context.orphans.begin(), context.orphans.end());
        context.orphans.clear();
    } else if (stream.blocking()) {
        after.push_back(context.legacy.last);
    }
    auto past = [](const OperationPtr& other) { return !other || other->state == Operation::DONE; };
    after.erase(std::remove_if(after.begin(), after.end(), past), after.end());
    auto& sim = simulator();
    stream.last = std::make_shared<Operation>(Operation{&context, std::move(work), std::move(after), ++sim.numbers});
    sim.pending.push_back(stream.last);
    return stream.last;
}

void force(const OperationPtr& goal) {
    while (goal && goal->state != Operation::DONE) {
        if (const auto next = choose_for(goal)) run(next);
        else simulator().progress.wait(simulator().mutex);  // for another thread's host function
    }
    if (goal) require(goal->context->error == CUDA_SUCCESS, goal->context->error);
}

void force_all(Context& context) {
    auto its_own = [&](const OperationPtr& operation) { return operation->context == &context; };
    auto& pending = simulator().pending;
    for (;;) {
        std::vector<OperationPtr> own;
        std::copy_if(pending.begin(), pending.end(), std::back_inserter(own), its_own);
        if (own.empty()) return;
        if (const auto next = choose(own)) run(next);
        else simulator().progress.wait(simulator().mutex);
    }
}

void step_towards(const OperationPtr& goal) {
    if (!goal || goal->state == Operation::DONE) return;
    if (const auto next = choose_for(goal)) run(next);
}

void run_some() {
    auto& sim = simulator();
    if (lazy()) return;
    auto count = eager() ? sim.pending.size() : sim.random() % 3 / 2;
    for (; count > 0; count--)
        if (const auto next = choose(sim.pending)) run(next);
}

}  // namespace sim
