//! Limits are lent: plans are checked before anything changes, and what is not renewed goes back to the baseline.
//!
//! The answers are those of a real env-server. Must not know who plans.

use std::collections::BTreeSet;

use ballast_api::{
    AppliedLimits, Capability, ContainerName, Limit, LimitChange, Limits, NodeError, Plan, PlanOutcome,
};

use crate::{
    agent::capability,
    config::{MIN_QUOTA_US, PERIOD, SimError, quota_us},
    sampling::limits,
    simulation::Simulation,
    time::{NEVER, Nanos, ceil_u64},
};

/// The longest lease, in seconds.
pub const MAX_LEASE_SECONDS: f64 = 3600.0;

/// What is lent to one container.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The quota it was deployed with.
    pub(crate) baseline: Limit<u64>,
    /// Of the last plan that touched it.
    pub(crate) generation: u64,
    /// When the baseline comes back; `None` when nothing is lent.
    pub(crate) end: Option<Nanos>,
}

impl Lease {
    pub(crate) fn none(baseline_us: u64) -> Self {
        Self { baseline: Limit::At(baseline_us), generation: 0, end: None }
    }
}

/// A change that passed all checks.
struct Checked<'a> {
    container: usize,
    change: &'a LimitChange,
    quota: Limit<u64>,
}

impl Simulation {
    /// Lends limits, as `POST /v1/plans` does: all or nothing.
    ///
    /// # Errors
    /// [`NodeError::Invalid`] with every problem, [`NodeError::UnknownContainer`], [`NodeError::StaleGeneration`], or
    /// [`NodeError::WriteFailed`] where [`Self::refuse_writes`] said so.
    pub fn apply(&mut self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        let changes = self.check(plan)?;
        let applied = changes.iter().map(|checked| self.answer(checked)).collect();
        if !plan.dry_run {
            self.write(&changes)?;
            for checked in &changes {
                self.mark_lent(checked, plan);
            }
        }
        Ok(PlanOutcome { generation: plan.generation, dry_run: plan.dry_run, applied })
    }

    /// Puts a container back to its baseline, as `DELETE /v1/containers/{name}/limits` does, and answers its limits.
    ///
    /// # Errors
    /// [`NodeError::UnknownContainer`].
    pub fn restore(&mut self, container: &ContainerName) -> Result<Limits, NodeError> {
        let index = self.known(container)?;
        self.give_back(index);
        Ok(limits(self.machine.cpu.quota(index)))
    }

    /// From now on, what plans write of a container's limits fails, or does so no longer. Baselines still come back.
    ///
    /// # Errors
    /// [`SimError::UnknownContainer`].
    pub fn refuse_writes(&mut self, container: &ContainerName, refuse: bool) -> Result<(), SimError> {
        let unknown = || SimError::UnknownContainer(container.to_string());
        let index = self.index_of(container).ok_or_else(unknown)?;
        if refuse {
            self.unwritable.insert(index);
        } else {
            self.unwritable.remove(&index);
        }
        Ok(())
    }

    /// When the next lease ends.
    pub(crate) fn next_lease_end(&self) -> Nanos {
        self.leases.iter().filter_map(|lease| lease.end).min().unwrap_or(NEVER)
    }

    /// Restores the baseline of every container whose lease has ended.
    pub(crate) fn end_leases(&mut self) {
        let now = self.machine.now;
        for index in 0..self.leases.len() {
            if self.leases[index].end.is_some_and(|end| end <= now) {
                self.give_back(index);
            }
        }
    }

    fn check<'a>(&self, plan: &'a Plan) -> Result<Vec<Checked<'a>>, NodeError> {
        let mut problems = Vec::new();
        let lease = plan.lease_seconds;
        if !(lease > 0.0 && lease <= MAX_LEASE_SECONDS) {
            problems.push(format!(
                "lease_seconds must be more than 0 and at most {MAX_LEASE_SECONDS}, not {lease}"
            ));
        }
        let mut seen = BTreeSet::new();
        let mut quotas = Vec::new();
        for change in &plan.changes {
            if !seen.insert(&change.container) {
                problems.push(format!("{} is changed twice", change.container));
            }
            quotas.extend(self.quota_of(change, &mut problems));
        }
        if !problems.is_empty() {
            return Err(NodeError::Invalid { problems });
        }
        // Without problems every change has its quota.
        let known: Vec<_> =
            plan.changes.iter().map(|change| self.known(&change.container)).collect::<Result<_, _>>()?;
        let checked = plan.changes.iter().zip(quotas).zip(known).map(|((change, quota), container)| {
            let current = self.leases[container].generation;
            if plan.generation < current {
                let container = change.container.to_string();
                return Err(NodeError::StaleGeneration { container, offered: plan.generation, current });
            }
            Ok(Checked { container, change, quota })
        });
        checked.collect()
    }

    /// The quota that a change asks for, or what is wrong with it.
    fn quota_of(&self, change: &LimitChange, problems: &mut Vec<String>) -> Option<Limit<u64>> {
        let LimitChange { container, limits } = change;
        if limits.named().next().is_none() {
            problems.push(format!("{container}: the change names no resource"));
        }
        for resource in limits.named() {
            if let Capability::Unavailable { reason } = capability(resource) {
                problems.push(format!("{container}: {reason}"));
            }
        }
        match limits.cpu? {
            Limit::Max => Some(Limit::Max),
            Limit::At(asked) if asked.get() > self.config.node_cores => {
                let capacity = self.config.node_cores;
                problems.push(format!(
                    "{container}: {asked} is more than the node has ({capacity} cores); write \"max\" for no limit"
                ));
                None
            }
            Limit::At(asked) => {
                let quota = quota_us(asked.get());
                if quota.is_none() {
                    problems.push(format!(
                        "{container}: {asked} is too little, the smallest limit is {MIN_QUOTA_US} us of quota for each \
                         period of {} ms",
                        PERIOD.as_millis()
                    ));
                }
                quota.map(Limit::At)
            }
        }
    }

    fn known(&self, container: &ContainerName) -> Result<usize, NodeError> {
        self.index_of(container)
            .ok_or_else(|| NodeError::UnknownContainer { container: container.to_string() })
    }

    /// What the plan's answer says of a change.
    fn answer(&self, checked: &Checked<'_>) -> AppliedLimits {
        AppliedLimits {
            container: checked.change.container.clone(),
            requested: checked.change.limits,
            before: limits(self.machine.cpu.quota(checked.container)),
            applied: limits(checked.quota),
            shared_with: Vec::new(),
        }
    }

    /// One quota after the other; a failure undoes those before it. A quota that is in force already is not written, as
    /// an env-server does not: writing would refill the budget.
    fn write(&mut self, changes: &[Checked<'_>]) -> Result<(), NodeError> {
        let mut written = Vec::new();
        for Checked { container, change, quota } in changes {
            let before = self.machine.cpu.quota(*container);
            if before == *quota {
                continue;
            }
            if self.unwritable.contains(container) {
                written.into_iter().rev().for_each(|(container, before)| self.set_quota(container, before));
                let detail = format!("the simulated kernel refuses {}", limits(*quota));
                return Err(NodeError::WriteFailed { container: change.container.to_string(), detail });
            }
            self.set_quota(*container, *quota);
            written.push((*container, before));
        }
        Ok(())
    }

    fn mark_lent(&mut self, checked: &Checked<'_>, plan: &Plan) {
        let lasts = ceil_u64(plan.lease_seconds * 1e9);
        let lease = &mut self.leases[checked.container];
        lease.generation = plan.generation;
        lease.end = Some(self.machine.now.saturating_add(lasts));
    }

    fn give_back(&mut self, container: usize) {
        if self.leases[container].end.take().is_some() {
            self.set_quota(container, self.leases[container].baseline);
        }
    }
}
