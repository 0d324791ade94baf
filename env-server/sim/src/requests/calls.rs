//! The life of a call: sent, accepted, worked on step by step, answered, returned.
//!
//! Must not know where requests come from, nor how a throttled container's messages are kept.

use std::sync::Arc;

use ballast_api::trace::SpanId;

use super::{Call, Machine, Requests, Work};
use crate::{
    cpu::Task,
    program::{Action, Fetch},
    random::Stream,
    timers::{Event, Message},
};

impl Requests {
    /// The callee takes a request: a worker begins, or it queues for one.
    pub(super) fn accept(&mut self, machine: &mut Machine, key: usize) {
        let call = &mut self.calls[key];
        call.accepted = machine.now;
        let container = call.container;
        if call.background {
            self.send(machine, key, Message::Reply(key));
        }
        let workers = &mut self.workers[container];
        if workers.idle > 0 {
            workers.idle -= 1;
            self.proceed(machine, key);
        } else {
            workers.queue.push_back(key);
        }
    }

    /// Idle workers take the next calls. A loop, because a call without work makes the next vacancy at once.
    pub(super) fn fill_vacancies(&mut self, machine: &mut Machine) {
        while let Some(container) = self.vacancies.pop() {
            let workers = &mut self.workers[container];
            match workers.queue.pop_front() {
                Some(next) => self.proceed(machine, next),
                None => workers.idle += 1,
            }
        }
    }

    /// Runs the steps of a call until one takes time.
    pub(super) fn proceed(&mut self, machine: &mut Machine, key: usize) {
        let program = Arc::clone(&self.program);
        let steps = match self.calls[key].work {
            Work::Operation(operation) => &program.operations[operation].steps[..],
            Work::Fetch(fetch) if self.calls[key].step == 0 => {
                let Fetch { container, work_ns, .. } = program.fetches[fetch];
                return machine.cpu.start(container, Task::Call(key), work_ns);
            }
            Work::Fetch(_) => &[],
        };
        while let Some(action) = steps.get(self.calls[key].step) {
            if self.takes_time(machine, key, action) {
                return;
            }
            self.calls[key].step += 1;
        }
        self.finish(machine, key);
    }

    /// Begins a step; says whether the call has to wait for it.
    fn takes_time(&mut self, machine: &mut Machine, key: usize, action: &Action) -> bool {
        let call = &mut self.calls[key];
        match action {
            Action::Compute { mean_ns } => {
                let work_ns = call.stream.erlang4(*mean_ns);
                machine.cpu.start(call.container, Task::Call(key), work_ns);
                true
            }
            Action::Fetch(fetch) => {
                call.awaited = 1;
                self.call_from(machine, key, Work::Fetch(*fetch), false);
                true
            }
            Action::Call(callees) => {
                call.awaited = callees.len();
                for callee in callees {
                    self.call_from(machine, key, Work::Operation(*callee), false);
                }
                !callees.is_empty()
            }
            Action::Notify(callees) => {
                for callee in callees {
                    self.call_from(machine, key, Work::Operation(*callee), true);
                }
                false
            }
        }
    }

    fn call_from(&mut self, machine: &mut Machine, key: usize, work: Work, background: bool) {
        let call = &mut self.calls[key];
        let (request, stream) = (call.request, call.stream.child());
        let waiter = (!background).then_some(key);
        let caller = Caller { container: Some(call.container), span: Some(call.server), waiter, background };
        self.call(machine, request, work, &caller, stream);
    }

    pub(super) fn call(
        &mut self,
        machine: &mut Machine,
        request: usize,
        work: Work,
        from: &Caller,
        mut stream: Stream,
    ) {
        let container = match work {
            Work::Operation(operation) => self.program.operations[operation].container,
            Work::Fetch(fetch) => self.program.fetches[fetch].container,
        };
        let call = self.calls.insert(Call {
            request,
            work,
            container,
            caller: from.container,
            waiter: from.waiter,
            parent: from.span,
            client: stream.span_id(),
            server: stream.span_id(),
            sent: machine.now,
            accepted: machine.now,
            step: 0,
            awaited: 0,
            background: from.background,
            ends_left: if from.background { 2 } else { 1 },
            stream,
        });
        self.open[request].open_calls += 1;
        self.send(machine, call, Message::Request(call));
    }

    fn send(&mut self, machine: &mut Machine, call: usize, message: Message) {
        let delay = self.calls[call].stream.hop_delay(machine.hop_delay_ns);
        machine.timers.at(machine.now.saturating_add(delay), Event::Arrives(message));
    }

    /// The last step is done: the server's span ends, the worker is free, and the reply leaves.
    fn finish(&mut self, machine: &mut Machine, key: usize) {
        self.end_server_span(key, machine.now);
        self.vacancies.push(self.calls[key].container);
        if self.calls[key].background {
            self.forget_after_last_end(key);
        } else {
            self.send(machine, key, Message::Reply(key));
        }
    }

    /// The caller has the reply: the client's span ends, and the caller goes on when it was the last one awaited.
    pub(super) fn returned(&mut self, machine: &mut Machine, key: usize) {
        self.end_client_span(key, machine.now);
        let Call { request, caller, waiter, .. } = self.calls[key];
        if caller.is_none() {
            self.answered(request, machine.now);
        }
        self.forget_after_last_end(key);
        if let Some(waiter) = waiter {
            let waiting = &mut self.calls[waiter];
            waiting.awaited -= 1;
            if waiting.awaited == 0 {
                waiting.step += 1;
                self.proceed(machine, waiter);
            }
        }
    }

    fn forget_after_last_end(&mut self, key: usize) {
        let call = &mut self.calls[key];
        call.ends_left -= 1;
        if call.ends_left > 0 {
            return;
        }
        let request = call.request;
        self.calls.remove(key);
        self.open[request].open_calls -= 1;
        if self.open[request].open_calls == 0 {
            self.open.remove(request);
        }
    }
}

/// Who calls.
pub(super) struct Caller {
    /// `None` for the load generator.
    container: Option<usize>,
    /// The span under which the call happens.
    span: Option<SpanId>,
    /// The call that goes on afterwards.
    waiter: Option<usize>,
    background: bool,
}

impl Caller {
    /// A user.
    pub(super) const USER: Self = Self { container: None, span: None, waiter: None, background: false };
}
