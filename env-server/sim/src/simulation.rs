//! The simulation: its clock, what users and experimenters do to it, and what it shows.
//!
//! Same topology, configuration and calls: same bytes out. It reads no clock and touches no kernel.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ballast_api::{ContainerName, Limit, UnixNanos, trace::Span};
use slab::Slab;

use crate::{
    config::{PERIOD, SimConfig, SimError, is_arrival_rate},
    cpu::{NodeCpu, Task},
    injection::{Burners, Injection},
    latency::{Completion, InFlight},
    lending::Lease,
    program::Program,
    random::{Arrivals, Stream},
    requests::{Machine, Requests},
    sampling::Sampler,
    time::{NEVER, Nanos, nanos},
    timers::{Event, Timers},
    topology::Topology,
};

/// A topology under load on one node.
#[derive(Debug)]
pub struct Simulation {
    pub(crate) config: SimConfig,
    names: Vec<ContainerName>,
    pub(crate) machine: Machine,
    requests: Requests,
    arrivals: Arrivals,
    injections: Slab<Burners>,
    pub(crate) leases: Vec<Lease>,
    /// Containers whose limits cannot be written now.
    pub(crate) unwritable: BTreeSet<usize>,
    pub(crate) sampler: Sampler,
}

impl Simulation {
    /// An idle cluster; the first request arrives after [`Self::advance`].
    ///
    /// # Errors
    /// [`SimError::Invalid`] with every problem of the configuration, or of the topology as a cluster.
    pub fn new(topology: &Topology, config: SimConfig) -> Result<Self, SimError> {
        let mut problems = config.problems();
        let program = match Program::compile(topology) {
            Ok(program) if problems.is_empty() => Arc::new(program),
            Ok(_) => return Err(SimError::Invalid(problems)),
            Err(more) => {
                problems.extend(more);
                return Err(SimError::Invalid(problems));
            }
        };
        let mut chance = Stream::from_seed(config.seed);
        let arrivals = Arrivals::new(chance.child(), config.requests_per_second);
        let period = nanos(PERIOD);
        let quotas = program.containers.iter().map(|container| (container.quota_us, chance.below(period)));
        let machine = Machine {
            now: 0,
            cpu: NodeCpu::new(config.node_cores, quotas),
            timers: Timers::default(),
            hop_delay_ns: crate::time::float(nanos(config.hop_delay)),
        };
        Ok(Self {
            names: program.containers.iter().map(|container| container.name.clone()).collect(),
            requests: Requests::new(Arc::clone(&program), config.start, config.max_in_flight),
            leases: program.containers.iter().map(|container| Lease::none(container.quota_us)).collect(),
            unwritable: BTreeSet::new(),
            sampler: Sampler::new(&machine.cpu, program.containers.len()),
            injections: Slab::new(),
            arrivals,
            machine,
            config,
        })
    }

    /// The time of day in the simulation.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        self.config.start.plus(self.elapsed())
    }

    /// Time simulated so far.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.machine.now)
    }

    /// Lets `by` pass and answers the spans that ended meanwhile, by their end. Forgets earlier [`Self::completions`].
    pub fn advance(&mut self, by: Duration) -> Vec<Span> {
        let mut spans = Vec::new();
        self.advance_into(by, &mut spans);
        spans
    }

    /// As [`Self::advance`], appending the spans to `spans`.
    pub fn advance_into(&mut self, by: Duration, spans: &mut Vec<Span>) {
        self.requests.completions.clear();
        let end = self.machine.now.saturating_add(nanos(by));
        loop {
            let next = self.next_event();
            if next > end || next == NEVER {
                break;
            }
            self.pass_until(next);
            self.handle_due();
        }
        self.pass_until(end);
        spans.append(&mut self.requests.spans);
    }

    /// Requests answered during the last [`Self::advance`], in the order of their answers.
    #[must_use]
    pub fn completions(&self) -> &[Completion] {
        &self.requests.completions
    }

    /// Requests whose users still wait.
    pub fn in_flight(&self) -> impl Iterator<Item = InFlight> {
        self.requests.in_flight(self.machine.now)
    }

    /// Arrivals turned away since the beginning, because [`SimConfig::max_in_flight`] requests were in the cluster.
    #[must_use]
    pub fn dropped_arrivals(&self) -> u64 {
        self.requests.dropped
    }

    /// Changes the rate of Poisson arrivals, in requests per second; 0 stops them.
    ///
    /// # Errors
    /// [`SimError::ArrivalRate`] when it is negative, not a number, or above
    /// [`MAX_REQUESTS_PER_SECOND`](crate::config::MAX_REQUESTS_PER_SECOND).
    pub fn set_arrival_rate(&mut self, per_second: f64) -> Result<(), SimError> {
        if !is_arrival_rate(per_second) {
            return Err(SimError::ArrivalRate(per_second));
        }
        self.arrivals.set_rate(self.machine.now, per_second);
        Ok(())
    }

    /// Burns CPU inside a container from now on. Several injections may overlap.
    ///
    /// # Errors
    /// [`SimError::UnknownContainer`], or [`SimError::Injection`] when it cannot be done.
    pub fn inject(&mut self, container: &ContainerName, injection: Injection) -> Result<(), SimError> {
        if let Some(problem) = injection.problem() {
            return Err(SimError::Injection(problem));
        }
        let index =
            self.index_of(container).ok_or_else(|| SimError::UnknownContainer(container.to_string()))?;
        let key = self.injections.insert(Burners::new(index, &injection, self.machine.now));
        self.burn(key);
        Ok(())
    }

    /// All containers: services first, then stores.
    #[must_use]
    pub fn containers(&self) -> &[ContainerName] {
        &self.names
    }

    pub(crate) fn index_of(&self, container: &ContainerName) -> Option<usize> {
        self.names.iter().position(|name| name == container)
    }

    /// Writes a quota in microseconds for each period. A throttled container reads its messages at once.
    pub(crate) fn set_quota(&mut self, container: usize, us: Limit<u64>) {
        self.machine.cpu.set_quota(container, us);
        self.wake_released();
    }

    fn next_event(&mut self) -> Nanos {
        self.machine
            .cpu
            .next_event()
            .min(self.machine.timers.next())
            .min(self.arrivals.due())
            .min(self.next_lease_end())
            .min(self.sampler.due())
    }

    fn pass_until(&mut self, now: Nanos) {
        self.machine.cpu.advance_to(now);
        self.machine.now = now;
    }

    /// Everything that is due now, in a fixed order.
    fn handle_due(&mut self) {
        while let Some((container, task)) = self.machine.cpu.take_finished() {
            self.finished(container, task);
        }
        self.wake_released();
        while let Some(event) = self.machine.timers.take_due(self.machine.now) {
            match event {
                Event::Arrives(message) => self.requests.arrives(&mut self.machine, message),
                Event::BurnerCycle(injection) => self.burn(injection),
            }
        }
        while self.arrivals.due() <= self.machine.now {
            let stream = self.arrivals.take(self.machine.now);
            self.requests.arrive(&mut self.machine, stream);
        }
        self.end_leases();
        self.sampler.sample_if_due(self.machine.now, &self.machine.cpu);
    }

    fn finished(&mut self, container: usize, task: Task) {
        match task {
            Task::Call(call) => self.requests.computed(&mut self.machine, call),
            Task::Burner { injection, thread } => {
                let next = self.injections.get_mut(injection).and_then(|burners| burners.next_burn(thread));
                if let Some(work_ns) = next {
                    self.machine.cpu.start(container, task, work_ns);
                }
            }
        }
    }

    fn wake_released(&mut self) {
        while let Some(container) = self.machine.cpu.take_released() {
            self.requests.released(&mut self.machine, container);
        }
    }

    /// Begins the next cycle of an injection, or ends it.
    fn burn(&mut self, key: usize) {
        let Machine { now, cpu, timers, .. } = &mut self.machine;
        let burners = &mut self.injections[key];
        let container = burners.container;
        if *now >= burners.end {
            cpu.cancel_burners(container, key);
            self.injections.remove(key);
            return;
        }
        let cycle_end = burners.begin_cycle(*now, |thread, work_ns| {
            cpu.start(container, Task::Burner { injection: key, thread }, work_ns);
        });
        timers.at(cycle_end, Event::BurnerCycle(key));
    }
}
