//! Requests on their way through the services: calls, queues for workers, and the spans that they leave.
//!
//! As in the testbed, a service works on at most `workers` requests at once, first come, first served, and a request
//! holds its worker until it is done, also while it waits for callees; waiting for a worker is within the server's span.
//! Who is notified answers at once and works afterwards. A message reaches a throttled container when that next may
//! run: so its server span begins only then, and its callers' client spans show the wait. A store is a pool of
//! [`crate::config::STORE_WORKERS`] threads that leaves no span of its own. Sizes do not matter yet.
//!
//! Must not know quotas' arithmetic, injections, or who chose the limits.

mod calls;
mod spans;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ballast_api::{
    UnixNanos,
    trace::{Span, SpanId, TraceId},
};
use slab::Slab;

use self::calls::Caller;
use crate::{
    cpu::NodeCpu,
    latency::{Completion, InFlight},
    program::Program,
    random::Stream,
    time::Nanos,
    timers::{Message, Timers},
};

/// The service that the root spans name: users, seen from outside.
pub const LOAD_GENERATOR: &str = "load-generator";

/// What requests run on.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) now: Nanos,
    pub(crate) cpu: NodeCpu,
    pub(crate) timers: Timers,
    pub(crate) hop_delay_ns: f64,
}

/// All requests of a simulation.
#[derive(Debug)]
pub(crate) struct Requests {
    program: Arc<Program>,
    start: UnixNanos,
    load_generator: Arc<str>,
    max_in_flight: usize,
    open: Slab<Request>,
    calls: Slab<Call>,
    workers: Vec<Workers>,
    /// Containers where a worker has become idle.
    vacancies: Vec<usize>,
    inboxes: Vec<VecDeque<Message>>,
    pub(crate) spans: Vec<Span>,
    pub(crate) completions: Vec<Completion>,
    pub(crate) dropped: u64,
}

#[derive(Debug)]
struct Request {
    /// Index in the program.
    kind: usize,
    trace: TraceId,
    start: Nanos,
    /// Calls that have not returned, background ones included.
    open_calls: usize,
    answered: bool,
}

/// One call or fetch, from the sending of the request to the arrival of the reply.
#[derive(Debug)]
struct Call {
    request: usize,
    work: Work,
    /// The container that computes.
    container: usize,
    /// The container that called; `None` for the load generator.
    caller: Option<usize>,
    /// The call that goes on when this one and its siblings have returned.
    waiter: Option<usize>,
    parent: Option<SpanId>,
    client: SpanId,
    server: SpanId,
    sent: Nanos,
    accepted: Nanos,
    /// Index of the step under way.
    step: usize,
    /// Callees that have not returned.
    awaited: usize,
    /// Nobody waits for the work, only for the word that it was accepted.
    background: bool,
    /// What has to happen before it can be forgotten: the reply's arrival, and for a background call the work's end.
    ends_left: u8,
    stream: Stream,
}

/// What a call does.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// The operation with this index.
    Operation(usize),
    /// The fetch with this index.
    Fetch(usize),
}

/// Who may work on requests in a container, and which calls wait for one.
#[derive(Debug)]
struct Workers {
    idle: usize,
    queue: VecDeque<usize>,
}

impl Requests {
    pub(crate) fn new(program: Arc<Program>, start: UnixNanos, max_in_flight: usize) -> Self {
        let workers = program.containers.iter().map(|container| container.workers);
        Self {
            workers: workers.map(|idle| Workers { idle, queue: VecDeque::new() }).collect(),
            vacancies: Vec::new(),
            inboxes: program.containers.iter().map(|_| VecDeque::new()).collect(),
            program,
            start,
            load_generator: LOAD_GENERATOR.into(),
            max_in_flight,
            open: Slab::new(),
            calls: Slab::new(),
            spans: Vec::new(),
            completions: Vec::new(),
            dropped: 0,
        }
    }

    /// A user sends a request.
    pub(crate) fn arrive(&mut self, machine: &mut Machine, mut stream: Stream) {
        if self.open.len() >= self.max_in_flight {
            self.dropped += 1;
            return;
        }
        let drawn = stream.uniform();
        let kinds = &self.program.requests;
        let kind = kinds.partition_point(|kind| kind.cumulative_share <= drawn).min(kinds.len() - 1);
        let operation = kinds[kind].operation;
        let trace = stream.trace_id();
        let start = machine.now;
        let request = self.open.insert(Request { kind, trace, start, open_calls: 0, answered: false });
        self.call(machine, request, Work::Operation(operation), &Caller::USER, stream);
    }

    /// Requests that users wait for, oldest key first.
    pub(crate) fn in_flight(&self, now: Nanos) -> impl Iterator<Item = InFlight> {
        let waiting = self.open.iter().filter(|(_, request)| !request.answered);
        waiting.map(move |(_, request)| InFlight {
            request_type: Arc::clone(&self.program.requests[request.kind].label),
            trace: request.trace,
            intended_start: self.time_of_day(request.start),
            age: Duration::from_nanos(now - request.start),
        })
    }

    /// A message arrives; a throttled recipient will read it later.
    pub(crate) fn arrives(&mut self, machine: &mut Machine, message: Message) {
        let recipient = match message {
            Message::Request(call) => Some(self.calls[call].container),
            Message::Reply(call) => self.calls[call].caller,
        };
        match recipient {
            Some(container) if !machine.cpu.may_run(container) => {
                self.inboxes[container].push_back(message);
                machine.cpu.knock(container);
            }
            _ => self.read(machine, message),
        }
        self.fill_vacancies(machine);
    }

    /// A container that was throttled reads what has arrived meanwhile.
    pub(crate) fn released(&mut self, machine: &mut Machine, container: usize) {
        while let Some(message) = self.inboxes[container].pop_front() {
            self.read(machine, message);
        }
        self.fill_vacancies(machine);
    }

    /// A step that computes is done.
    pub(crate) fn computed(&mut self, machine: &mut Machine, call: usize) {
        self.calls[call].step += 1;
        self.proceed(machine, call);
        self.fill_vacancies(machine);
    }

    fn read(&mut self, machine: &mut Machine, message: Message) {
        match message {
            Message::Request(call) => self.accept(machine, call),
            Message::Reply(call) => self.returned(machine, call),
        }
    }

    fn answered(&mut self, key: usize, now: Nanos) {
        let intended_start = self.time_of_day(self.open[key].start);
        let request = &mut self.open[key];
        request.answered = true;
        self.completions.push(Completion {
            request_type: Arc::clone(&self.program.requests[request.kind].label),
            trace: request.trace,
            intended_start,
            latency: Duration::from_nanos(now - request.start),
        });
    }

    fn time_of_day(&self, at: Nanos) -> UnixNanos {
        self.start.plus(Duration::from_nanos(at))
    }
}
