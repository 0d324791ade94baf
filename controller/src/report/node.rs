//! Nodes as people read them: what each has and can limit, and every limit that its containers have.

use std::{fmt::Write, time::Duration};

use ballast_api::{Amounts, Capability, CgroupVersion, ContainerState, Limit, NodeInfo, Resource, UnixNanos};

use super::table::{
    Side::{Left, Right},
    Table,
};
use crate::operate::NodeView;
use quantities::{QUANTITIES, Quantity, amounts, limits};

mod quantities;
#[cfg(test)]
mod tests;

/// From this age on a sample tells so: a few sampling intervals, after which the controller shrinks no limit either.
const OLD: Duration = Duration::from_secs(5);

/// All nodes that answered, as of `now`: an age is right as far as the node's clock is.
#[must_use]
pub fn nodes(views: &[NodeView], now: UnixNanos) -> String {
    let answered = views.iter().filter(|view| view.node.is_some() || view.containers.is_some());
    answered.map(|view| node(view, now)).collect::<Vec<_>>().join("\n")
}

fn node(view: &NodeView, now: UnixNanos) -> String {
    let mut text = match &view.node {
        Some(info) => heading(info, &view.url),
        None => format!("node at {}\n", view.url),
    };
    // Writing into a string cannot fail.
    let _ = match view.containers.as_deref() {
        None => Ok(()),
        Some([]) => write!(text, "\n  no containers\n"),
        Some(states) => write!(text, "\n{}", containers(states, now)),
    };
    text
}

fn heading(info: &NodeInfo, url: &str) -> String {
    let kernel = match info.cgroup_version {
        CgroupVersion::V1 => "cgroup v1",
        CgroupVersion::V2 => "cgroup v2",
        CgroupVersion::Simulated => "simulated",
    };
    let mut table = Table::new([("resource", Left), ("capacity", Left), ("limited by", Left)]);
    for resource in Resource::ALL {
        let Some(capability) = info.capabilities.get(resource) else { continue };
        let how = match capability {
            Capability::Available { mechanism } => mechanism.clone(),
            Capability::Unavailable { reason } => format!("not available: {reason}"),
        };
        table.row([resource.to_string(), capacity(resource, &info.capacity), how]);
    }
    let table = if table.is_empty() { String::new() } else { table.to_string() };
    format!("node {} at {url}, env-server {}, {kernel}\n{table}", info.name, info.software_version)
}

/// What the node has of a resource; empty where that is not known.
fn capacity(resource: Resource, of: &Amounts) -> String {
    let mine = QUANTITIES.iter().zip(amounts(of)).filter(|(quantity, _)| quantity.resource == resource);
    let known: Vec<(&Quantity, f64)> =
        mine.filter_map(|(quantity, amount)| Some((quantity, amount?))).collect();
    match known.as_slice() {
        [(quantity, amount)] => format!("{amount:.1} {}", quantity.unit),
        several => {
            let text = |(quantity, amount): &(&Quantity, f64)| {
                format!("{} {amount:.1} {}", quantity.name, quantity.unit)
            };
            several.iter().map(text).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A container has a row for its CPU, and one for each other limit that somebody set and each other thing that it uses.
fn containers(states: &[ContainerState], now: UnixNanos) -> Table<9> {
    let mut table = Table::new([
        ("container", Left),
        ("", Left),
        ("usage", Right),
        ("limit", Right),
        ("baseline", Right),
        ("throttled", Right),
        ("lease", Right),
        ("plan", Right),
        ("sampled", Right),
    ]);
    states.iter().for_each(|state| container(&mut table, state, now));
    table
}

fn container(table: &mut Table<9>, state: &ContainerState, now: UnixNanos) {
    let mut own = own_cells(state, now);
    for line in lines(state).into_iter().filter(Line::says_something) {
        // Its first row has what belongs to the container.
        let [name, throttled, lease, plan, sampled] = std::mem::take(&mut own);
        table.row([
            name,
            format!("{}, {}", line.quantity.name, line.quantity.unit),
            line.usage.map_or_else(|| "-".to_owned(), |usage| format!("{usage:.3}")),
            limit_text(line.limit),
            line.baseline
                .filter(|_| line.baseline != line.limit)
                .map_or_else(String::new, |it| limit_text(Some(it))),
            throttled,
            lease,
            plan,
            sampled,
        ]);
    }
    for (resource, reason) in state.missing.iter() {
        table.note(format!("its {resource} cannot be limited: {reason}"));
    }
    for (resource, reason) in state.drift.iter() {
        table.note(format!("its {resource} is left alone: {reason}"));
    }
}

/// Name, share of time throttled, seconds that the lease has left, the last plan, and the age of an old sample, or how far
/// it is dated ahead.
fn own_cells(state: &ContainerState, now: UnixNanos) -> [String; 5] {
    let throttled = state.throttling.map(|throttling| format!("{:.0} %", throttling.throttled_share * 100.0));
    let lease = state.lease_remaining_seconds.map(|left| format!("{left:.0} s"));
    [
        Some(state.name.to_string()),
        throttled,
        lease,
        (state.generation > 0).then(|| state.generation.to_string()),
        age_of(state.sampled_at_unix_nanos, now),
    ]
    .map(Option::unwrap_or_default)
}

/// Nothing of a fresh one.
fn age_of(sampled_at: UnixNanos, now: UnixNanos) -> Option<String> {
    match sampled_at.age_at(now) {
        Some(age) => (age >= OLD).then(|| format!("{:.0} s ago", age.as_secs_f64())),
        None => Some(format!("{:.0} s ahead", sampled_at.since(now).as_secs_f64())),
    }
}

/// One limit of a container.
struct Line {
    quantity: &'static Quantity,
    usage: Option<f64>,
    limit: Option<Limit<f64>>,
    baseline: Option<Limit<f64>>,
}

impl Line {
    fn says_something(&self) -> bool {
        let is_set = |limit| matches!(limit, Some(Limit::At(_)));
        self.quantity.resource == Resource::Cpu
            || is_set(self.limit)
            || is_set(self.baseline)
            || self.usage.is_some_and(|usage| usage > 0.0)
    }
}

fn lines(state: &ContainerState) -> Vec<Line> {
    let usage = amounts(&state.usage.unwrap_or_default());
    let both = limits(&state.limits).into_iter().zip(limits(&state.baseline));
    let lines = QUANTITIES.iter().zip(usage).zip(both);
    lines.map(|((quantity, usage), (limit, baseline))| Line { quantity, usage, limit, baseline }).collect()
}

fn limit_text(limit: Option<Limit<f64>>) -> String {
    match limit {
        None => "-".to_owned(),
        Some(Limit::Max) => "max".to_owned(),
        Some(Limit::At(amount)) => format!("{amount:.3}"),
    }
}
