//! What must hold before the first write of a plan.
//!
//! Reads limits, writes nothing; must not know what is done with the answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use ballast_api::{
    Amounts, Capability, ContainerName, Limit, LimitChange, Limits, NodeError, PerResource, Plan,
};

use ballast_kernel::{
    AncestorQuotas, KernelError,
    resctrl::{ResctrlControl, ResctrlLimits},
};

use super::{Container, Means, internal};
use crate::{
    controls::{Controls, Devices, Reading},
    discovery::Place,
};

/// The longest lease, in seconds.
const LONGEST_LEASE_S: f64 = 3600.0;

/// A change that may be made.
pub(super) struct Change {
    pub(super) name: ContainerName,
    pub(super) place: Place,
    pub(super) devices: Devices,
    pub(super) controls: Controls,
    pub(super) requested: Limits,
    /// In force now.
    pub(super) before: Reading,
    /// What the kernel will make of the request.
    pub(super) target: Limits,
    /// In force now of the rest of the request, which is left to somebody else.
    pub(super) held: Limits,
}

impl Change {
    /// What of it is ordered of resctrl.
    pub(super) fn order(&self) -> Option<(&ResctrlControl, ResctrlLimits)> {
        self.controls.order(&self.before, &self.target)
    }
}

/// The changes of a plan, all of them or none. `readings` are of its containers, as far as these exist.
///
/// # Errors
/// [`NodeError::Invalid`] with every problem, else [`NodeError::UnknownContainer`], else
/// [`NodeError::StaleGeneration`]; [`NodeError::Internal`] when a limit cannot be read.
pub(super) fn changes(
    plan: &Plan,
    containers: &BTreeMap<ContainerName, Container>,
    mut readings: BTreeMap<ContainerName, Result<Reading, KernelError>>,
    means: &Means,
    now: Duration,
) -> Result<Vec<Change>, NodeError> {
    let mut problems = Vec::new();
    if !(plan.lease_seconds > 0.0 && plan.lease_seconds <= LONGEST_LEASE_S) {
        let lease = plan.lease_seconds;
        problems
            .push(format!("lease_seconds must be more than 0 and at most {LONGEST_LEASE_S}, not {lease}"));
    }
    let mut seen = BTreeSet::new();
    let capabilities = means.machine.capabilities();
    for LimitChange { container, limits } in &plan.changes {
        if !seen.insert(container) {
            problems.push(format!("{container} is changed twice"));
        }
        check_resources(container, limits, &capabilities, means.machine.capacity(), &mut problems);
    }
    let mut changes = Vec::new();
    let mut refusal = None;
    let mut ancestors = AncestorQuotas::new(means.machine.hierarchy());
    for change in &plan.changes {
        let found = containers.get(&change.container).zip(readings.remove(&change.container));
        match look_up(plan.generation, change, found, &capabilities, now, &mut ancestors, &mut problems)? {
            Ok(found) => changes.extend(found),
            Err(unknown @ NodeError::UnknownContainer { .. }) => refusal = Some(unknown),
            Err(stale) => refusal = refusal.or(Some(stale)),
        }
    }
    match refusal {
        _ if !problems.is_empty() => Err(NodeError::Invalid { problems }),
        Some(refusal) => Err(refusal),
        None => Ok(changes),
    }
}

fn check_resources(
    name: &ContainerName,
    limits: &Limits,
    capabilities: &PerResource<Capability>,
    capacity: &Amounts,
    problems: &mut Vec<String>,
) {
    if limits.named().next().is_none() {
        problems.push(format!("{name}: the change names no resource"));
    }
    for resource in limits.named() {
        if let Some(Capability::Unavailable { reason }) = capabilities.get(resource) {
            problems.push(format!("{name}: {reason}"));
        }
    }
    let excesses = [
        excess(limits.cpu, capacity.cpu),
        excess(limits.llc, capacity.llc),
        excess(limits.memory_bandwidth, capacity.memory_bandwidth),
    ];
    problems.extend(excesses.into_iter().flatten().map(|excess| format!("{name}: {excess}")));
}

fn excess<U: PartialOrd + fmt::Display>(limit: Option<Limit<U>>, capacity: Option<U>) -> Option<String> {
    match (limit?, capacity?) {
        (Limit::At(asked), capacity) if asked > capacity => {
            Some(format!("{asked} is more than the node has ({capacity}); write \"max\" for no limit"))
        }
        _ => None,
    }
}

/// The change as it would be made; none when it has problems. The outer error stops the check, the inner one is a refusal
/// that counts only when there are no problems.
fn look_up(
    generation: u64,
    LimitChange { container: name, limits }: &LimitChange,
    found: Option<(&Container, Result<Reading, KernelError>)>,
    capabilities: &PerResource<Capability>,
    now: Duration,
    ancestors: &mut AncestorQuotas<'_>,
    problems: &mut Vec<String>,
) -> Result<Result<Option<Change>, NodeError>, NodeError> {
    let unknown = || NodeError::UnknownContainer { container: name.to_string() };
    let Some((container, reading)) = found else { return Ok(Err(unknown())) };
    if generation < container.generation {
        let (offered, current) = (generation, container.generation);
        return Ok(Err(NodeError::StaleGeneration { container: name.to_string(), offered, current }));
    }
    let before = match reading {
        Ok(reading) => reading,
        Err(error) if error.is_gone() => return Ok(Err(unknown())),
        Err(error) => return Err(internal(&error)),
    };
    let mut found = cannot_be_limited(limits, &before, &container.missing, capabilities);
    let rounded = container.controls.rounded(&before, limits, ancestors, &mut found);
    let target = rounded.map_err(|error| internal(&error))?;
    problems.extend(found.iter().map(|problem| format!("{name}: {problem}")));
    let held = container.hold.at(now).or(before.injected());
    Ok(Ok(found.is_empty().then(|| Change {
        name: name.clone(),
        place: container.place.clone(),
        devices: container.devices,
        controls: container.controls.clone(),
        requested: *limits,
        target: target.without(&held),
        held: before.limits.among(limits).among(&held),
        before,
    })))
}

/// Why a container cannot be limited in a resource that is asked for, although its machine can.
fn cannot_be_limited(
    asked: &Limits,
    reading: &Reading,
    missing: &PerResource<String>,
    capabilities: &PerResource<Capability>,
) -> Vec<String> {
    let absent = reading.failed.clone().or(missing.clone());
    let is_controlled = |resource| reading.limits.named().any(|controlled| controlled == resource);
    let can_be = |resource| matches!(capabilities.get(resource), Some(Capability::Available { .. }));
    let reasons = asked.named().filter_map(|resource| match absent.get(resource) {
        Some(reason) => Some((resource, reason.as_str())),
        None if is_controlled(resource) || !can_be(resource) => None,
        None => Some((resource, "it is not under control yet")),
    });
    reasons.map(|(resource, reason)| format!("its {resource} cannot be limited: {reason}")).collect()
}
