//! One container: its own tasks and the burners in it share what its quota and its part of the node allow.
//!
//! Must not know other containers.

use ballast_api::Limit;

use super::{Task, pool::Pool, quota::Quota};
use crate::{
    injection::BURNER_WEIGHT,
    time::{NEVER, Nanos, ceil_u64},
};

#[derive(Debug)]
pub(super) struct ContainerCpu {
    own: Pool,
    burners: Pool,
    /// Cores for each task of the two pools.
    rates: Rates,
    pub(super) used_ns: f64,
    pub(super) quota: Quota,
    /// Whether something outside waits for it to run.
    knocked: bool,
}

/// Cores for one task, at most 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Rates {
    own: f64,
    burner: f64,
}

impl Rates {
    /// Divides `cores`, at most one for each task, among so many tasks by their weight.
    fn divide(cores: f64, own: f64, burners: f64) -> Self {
        let level = cores / (own + BURNER_WEIGHT * burners);
        if burners > 0.0 && BURNER_WEIGHT * level > 1.0 {
            // A burner has one core at most; what that leaves is for the container's own.
            let left = (cores - burners).max(0.0);
            return Self { own: if own > 0.0 { (left / own).min(1.0) } else { 0.0 }, burner: 1.0 };
        }
        Self { own: level.min(1.0), burner: BURNER_WEIGHT * level }
    }
}

impl ContainerCpu {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            own: Pool::default(),
            burners: Pool::default(),
            rates: Rates::default(),
            used_ns: 0.0,
            quota,
            knocked: false,
        }
    }

    pub(super) fn start(&mut self, task: Task, work_ns: f64) {
        match task {
            Task::Call(_) => self.own.start(task, work_ns),
            Task::Burner { .. } => self.burners.start(task, work_ns),
        }
        self.quota.want();
    }

    pub(super) fn cancel_burners(&mut self, of: usize) {
        self.burners.cancel(|task| matches!(task, Task::Burner { injection, .. } if injection == of));
    }

    pub(super) fn knock(&mut self) {
        self.knocked = true;
        self.quota.want();
    }

    /// Cores that it would use now: one for each task.
    pub(super) fn demand_cores(&self) -> f64 {
        if self.quota.may_run() { self.runnable() } else { 0.0 }
    }

    /// From now on all its tasks together have so many cores.
    pub(super) fn set_rate(&mut self, cores: f64) {
        self.rates = if cores > 0.0 {
            Rates::divide(cores, self.own.runnable(), self.burners.runnable())
        } else {
            Rates::default()
        };
    }

    /// Runs for `elapsed_ns` at its rates, or is held back on at most `cores` CPUs.
    pub(super) fn run(&mut self, elapsed_ns: f64, cores: f64) {
        if !self.wants() {
            return;
        }
        if self.quota.may_run() {
            let cpu_ns = self.own.serve(self.rates.own * elapsed_ns)
                + self.burners.serve(self.rates.burner * elapsed_ns);
            self.used_ns += cpu_ns;
            self.quota.charge(cpu_ns);
        } else {
            self.quota.hold_back(elapsed_ns * self.runnable().max(1.0).min(cores));
        }
    }

    /// Hands over the tasks that are done.
    pub(super) fn take_finished(&mut self, mut each: impl FnMut(Task)) {
        self.own.take_finished(&mut each);
        self.burners.take_finished(&mut each);
    }

    /// Begins the period that `now` is in; says whether that ends the wait of somebody who knocked.
    pub(super) fn begin_period(&mut self, now: Nanos) -> bool {
        let wants = self.wants();
        self.quota.begin_period(now, wants);
        self.answer()
    }

    /// Writes a quota; says whether that ends the wait of somebody who knocked.
    pub(super) fn set_quota(&mut self, us: Limit<u64>) -> bool {
        self.quota.set(us);
        self.answer()
    }

    /// When it next needs attention if its rates stay.
    pub(super) fn next_event(&self, now: Nanos) -> Nanos {
        if !self.wants() {
            return NEVER;
        }
        if !self.quota.may_run() {
            return self.quota.boundary;
        }
        let Rates { own, burner } = self.rates;
        let done_ns = (self.own.first_done_ns() / own).min(self.burners.first_done_ns() / burner);
        match self.quota.budget_ns() {
            None => after(now, done_ns),
            Some(budget_ns) => {
                let rate = own * self.own.runnable() + burner * self.burners.runnable();
                after(now, done_ns.min(budget_ns / rate)).min(self.quota.boundary)
            }
        }
    }

    fn answer(&mut self) -> bool {
        let answered = self.knocked && self.quota.may_run();
        self.knocked &= !answered;
        answered
    }

    fn wants(&self) -> bool {
        self.knocked || !self.own.is_empty() || !self.burners.is_empty()
    }

    fn runnable(&self) -> f64 {
        self.own.runnable() + self.burners.runnable()
    }
}

/// The first whole nanosecond that is at least `ns` later, and later in any case.
fn after(now: Nanos, ns: f64) -> Nanos {
    now.saturating_add(ceil_u64(ns).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn burners_weigh_more_but_have_one_core_each() {
        // As measured: three fifths of the quota against 32 busy threads.
        let crowd = Rates::divide(2.0, 32.0, 4.0);
        assert!((4.0 * crowd.burner / 2.0 - 0.6).abs() < 1e-12, "{crowd:?}");
        assert_eq!(Rates::divide(2.0, 1.0, 1.0), Rates { own: 1.0, burner: 1.0 });
        assert_eq!(Rates::divide(2.0, 4.0, 1.0), Rates { own: 0.25, burner: 1.0 });
        assert_eq!(Rates::divide(2.0, 4.0, 0.0).own, 0.5);
    }

    proptest! {
        #[test]
        fn all_that_is_given_is_divided(own in 0..50_u32, burners in 0..50_u32, share in 0.001..1.0_f64) {
            prop_assume!(own + burners > 0);
            let (own, burners) = (f64::from(own), f64::from(burners));
            let cores = (own + burners) * share;
            let rates = Rates::divide(cores, own, burners);
            prop_assert!(rates.own <= 1.0 && (burners == 0.0 || rates.burner <= 1.0));
            let given = own * rates.own + burners * rates.burner;
            prop_assert!((given / cores - 1.0).abs() < 1e-9, "{given} of {cores}");
        }
    }
}
