//! The CFS bandwidth limit of one container: a budget of CPU time that is refilled at every period.
//!
//! Must not know who uses the time. Left out: the kernel hands the budget to each CPU in slices of 5 ms, so that real
//! containers are throttled a little earlier or later.

use ballast_api::Limit;

use super::period_ns;
use crate::time::{Nanos, float};

/// Less than this is an empty budget, in nanoseconds: the rounding of event times.
const EMPTY_NS: f64 = 0.5;

/// As `cpu.stat` counts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct QuotaCounters {
    /// Periods in which the container wanted to run (`nr_periods`).
    pub(crate) periods: u64,
    /// Those in which its budget did not suffice (`nr_throttled`).
    pub(crate) throttled_periods: u64,
    /// Time for which it was held back, summed over the CPUs it would have run on (`throttled_time`).
    pub(crate) throttled_ns: f64,
}

#[derive(Debug)]
pub(super) struct Quota {
    limit: Limit<u64>,
    /// CPU time left in this period; a little below zero when the last event overran it.
    budget_ns: f64,
    /// When the next period begins.
    pub(super) boundary: Nanos,
    wanted: bool,
    held_back: bool,
    pub(super) counters: QuotaCounters,
}

impl Quota {
    /// A quota in microseconds for each period; the first full period begins at `phase`.
    pub(super) fn new(limit: Limit<u64>, phase: Nanos) -> Self {
        let mut quota = Self {
            limit,
            budget_ns: 0.0,
            boundary: phase.max(1),
            wanted: false,
            held_back: false,
            counters: QuotaCounters::default(),
        };
        quota.set(limit);
        quota
    }

    pub(super) fn limit_us(&self) -> Limit<u64> {
        self.limit
    }

    /// Whether there is budget left.
    pub(super) fn may_run(&self) -> bool {
        self.limit == Limit::Max || self.budget_ns > EMPTY_NS
    }

    /// CPU time left in this period; `None` when it is not limited.
    pub(super) fn budget_ns(&self) -> Option<f64> {
        (self.limit != Limit::Max).then_some(self.budget_ns)
    }

    /// The container wants to run in this period.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The container ran for so much CPU time.
    pub(super) fn charge(&mut self, cpu_ns: f64) {
        self.budget_ns -= cpu_ns;
    }

    /// The container wanted so much CPU time and was throttled.
    pub(super) fn hold_back(&mut self, cpu_ns: f64) {
        self.held_back = true;
        self.counters.throttled_ns += cpu_ns;
    }

    /// Writes a limit. The kernel refills the budget and lets the container run at once; the period goes on.
    pub(super) fn set(&mut self, limit: Limit<u64>) {
        self.limit = limit;
        self.refill(0.0);
    }

    /// Begins the period that `now` is in, unless it has begun; `wants` says whether the container wants to run in it.
    pub(super) fn begin_period(&mut self, now: Nanos, wants: bool) {
        if now < self.boundary {
            return;
        }
        // Between this period and the last one begun the container was idle: such periods are not counted.
        if self.limit != Limit::Max {
            self.counters.periods += u64::from(self.wanted);
            self.counters.throttled_periods += u64::from(self.held_back);
        }
        let passed = (now - self.boundary) / period_ns() + 1;
        self.boundary = self.boundary.saturating_add(passed.saturating_mul(period_ns()));
        self.wanted = wants;
        self.held_back = false;
        self.refill(self.budget_ns.min(0.0));
    }

    fn refill(&mut self, carried_ns: f64) {
        self.budget_ns = match self.limit {
            Limit::At(us) => float(us) * 1e3 + carried_ns,
            Limit::Max => 0.0,
        };
    }
}
