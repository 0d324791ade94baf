//! The CPU of one node: containers that share its cores, each under its quota, and tasks that share their container.
//!
//! Between two events every rate is constant, so time is advanced in one go. Must not know what the tasks are for.

mod container;
mod pool;
mod quota;
mod water;

use std::collections::VecDeque;

use ballast_api::Limit;

pub(crate) use self::quota::QuotaCounters;
use self::{container::ContainerCpu, quota::Quota};
use crate::{
    config::PERIOD,
    time::{NEVER, Nanos, float, nanos},
};

/// What a piece of CPU work belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// The step under way of the call with this key.
    Call(usize),
    /// A thread of an injection.
    Burner {
        /// Key of the injection.
        injection: usize,
        /// Which of its threads.
        thread: usize,
    },
}

/// All containers of one node.
#[derive(Debug)]
pub(crate) struct NodeCpu {
    cores: f64,
    now: Nanos,
    containers: Vec<ContainerCpu>,
    /// Whether somebody began or ceased to want CPU since the rates were computed.
    changed: bool,
    next_event: Nanos,
    finished: VecDeque<(usize, Task)>,
    released: Vec<usize>,
    demands: Vec<f64>,
    rates: Vec<f64>,
}

impl NodeCpu {
    /// A node whose containers have these quotas (microseconds for each period) and phases (begin of their first period).
    pub(crate) fn new(cores: f64, containers: impl Iterator<Item = (u64, Nanos)>) -> Self {
        let containers: Vec<_> =
            containers.map(|(us, phase)| ContainerCpu::new(Quota::new(Limit::At(us), phase))).collect();
        let idle = vec![0.0; containers.len()];
        Self {
            cores,
            now: 0,
            containers,
            changed: false,
            next_event: NEVER,
            finished: VecDeque::new(),
            released: Vec::new(),
            demands: idle.clone(),
            rates: idle,
        }
    }

    /// When it next has to be advanced: a task ends, a quota is used up, or a period begins.
    pub(crate) fn next_event(&mut self) -> Nanos {
        if self.changed {
            self.changed = false;
            self.share_cores();
            self.next_event = self.find_next_event();
        }
        self.next_event
    }

    /// Runs until `now`, which must not be after [`Self::next_event`]. Afterwards [`Self::take_finished`] and
    /// [`Self::take_released`] say what came of it.
    pub(crate) fn advance_to(&mut self, now: Nanos) {
        let elapsed_ns = float(now.saturating_sub(self.now));
        let due = now >= self.next_event();
        self.now = now;
        let cores = self.cores;
        for (index, container) in self.containers.iter_mut().enumerate() {
            container.run(elapsed_ns, cores);
            if due {
                container.take_finished(|task| self.finished.push_back((index, task)));
            }
            if container.begin_period(now) {
                self.released.push(index);
            }
        }
        self.changed |= due;
    }

    /// A task that has ended, with its container.
    pub(crate) fn take_finished(&mut self) -> Option<(usize, Task)> {
        self.finished.pop_front()
    }

    /// A container that was throttled, was knocked at, and may run again.
    pub(crate) fn take_released(&mut self) -> Option<usize> {
        self.released.pop()
    }

    /// Begins `work_ns` of CPU time in a container.
    pub(crate) fn start(&mut self, container: usize, task: Task, work_ns: f64) {
        self.containers[container].start(task, work_ns);
        self.changed = true;
    }

    /// Ends the threads of an injection, whatever work is left.
    pub(crate) fn cancel_burners(&mut self, container: usize, injection: usize) {
        self.containers[container].cancel_burners(injection);
        self.changed = true;
    }

    /// Whether a container has quota left, so that it would run if it had something to do.
    pub(crate) fn may_run(&self, container: usize) -> bool {
        self.containers[container].quota.may_run()
    }

    /// Says that something outside waits for a throttled container to run again.
    pub(crate) fn knock(&mut self, container: usize) {
        self.containers[container].knock();
        self.changed = true;
    }

    /// CPU time used by a container since the beginning.
    pub(crate) fn used_ns(&self, container: usize) -> f64 {
        self.containers[container].used_ns
    }

    /// Periods and throttling of a container since the beginning.
    pub(crate) fn quota_counters(&self, container: usize) -> QuotaCounters {
        self.containers[container].quota.counters
    }

    /// The quota in force, in microseconds for each period.
    pub(crate) fn quota(&self, container: usize) -> Limit<u64> {
        self.containers[container].quota.limit_us()
    }

    /// Writes a quota, in microseconds for each period. As in the kernel, the container gets a full one at once.
    pub(crate) fn set_quota(&mut self, container: usize, us: Limit<u64>) {
        if self.containers[container].set_quota(us) {
            self.released.push(container);
        }
        self.changed = true;
    }

    fn share_cores(&mut self) {
        for (demand, container) in self.demands.iter_mut().zip(&self.containers) {
            *demand = container.demand_cores();
        }
        water::fill(self.cores, &self.demands, &mut self.rates);
        for (container, rate) in self.containers.iter_mut().zip(&self.rates) {
            container.set_rate(*rate);
        }
    }

    fn find_next_event(&self) -> Nanos {
        self.containers.iter().map(|container| container.next_event(self.now)).min().unwrap_or(NEVER)
    }
}

/// The period in nanoseconds.
fn period_ns() -> Nanos {
    nanos(PERIOD)
}

#[cfg(test)]
mod tests;
