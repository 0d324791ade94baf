//! What a node shows of its containers: counters as cAdvisor counts them, and rates over the last sampling interval.
//!
//! Must not know what the CPU time was spent on.

use std::collections::BTreeMap;

use ballast_api::{
    Amounts, ContainerId, ContainerSource, ContainerState, Cores, Limit, Limits, PerResource, Throttling,
    counters::CounterSample,
};

use crate::{
    config::{PERIOD, SAMPLE_INTERVAL},
    cpu::{NodeCpu, QuotaCounters},
    simulation::Simulation,
    time::{Nanos, float, nanos, seconds},
};

/// The last two samples of all containers; the first is taken at the beginning.
#[derive(Debug)]
pub(crate) struct Sampler {
    before: Option<Sample>,
    last: Sample,
}

#[derive(Debug)]
struct Sample {
    at: Nanos,
    readings: Vec<Reading>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    used_ns: f64,
    quota: QuotaCounters,
}

impl Sampler {
    pub(crate) fn new(cpu: &NodeCpu, containers: usize) -> Self {
        Self { before: None, last: Sample::take(0, cpu, containers) }
    }

    pub(crate) fn due(&self) -> Nanos {
        self.last.at.saturating_add(nanos(SAMPLE_INTERVAL))
    }

    pub(crate) fn sample_if_due(&mut self, now: Nanos, cpu: &NodeCpu) {
        if now >= self.due() {
            let taken = Sample::take(now, cpu, self.last.readings.len());
            self.before = Some(std::mem::replace(&mut self.last, taken));
        }
    }

    /// Usage and throttling of a container between the last two samples.
    fn rates(&self, container: usize) -> Option<(Cores, Throttling)> {
        let before = self.before.as_ref()?;
        let elapsed_ns = float(self.last.at - before.at);
        let (old, new) = (before.readings[container], self.last.readings[container]);
        let periods = float(new.quota.periods - old.quota.periods);
        let throttled = float(new.quota.throttled_periods - old.quota.throttled_periods);
        let throttling = Throttling {
            throttled_share: if periods > 0.0 { throttled / periods } else { 0.0 },
            throttled_seconds_per_second: (new.quota.throttled_ns - old.quota.throttled_ns) / elapsed_ns,
        };
        Some((Cores::saturating((new.used_ns - old.used_ns) / elapsed_ns), throttling))
    }
}

impl Sample {
    fn take(at: Nanos, cpu: &NodeCpu, containers: usize) -> Self {
        let reading = |index| Reading { used_ns: cpu.used_ns(index), quota: cpu.quota_counters(index) };
        Self { at, readings: (0..containers).map(reading).collect() }
    }
}

impl Simulation {
    /// The counters of every container now, in the order of [`Self::containers`]. Memory is not modelled: absent.
    #[must_use]
    pub fn counters(&self) -> Vec<CounterSample> {
        let cpu = &self.machine.cpu;
        let sample = |(index, name): (usize, &ballast_api::ContainerName)| {
            let quota = cpu.quota_counters(index);
            CounterSample {
                container: ContainerId { node: self.config.node.clone(), name: name.clone() },
                taken_at: self.now(),
                cpu_usage_seconds: Some(seconds(cpu.used_ns(index))),
                cfs_periods: Some(float(quota.periods)),
                cfs_throttled_periods: Some(float(quota.throttled_periods)),
                cfs_throttled_seconds: Some(seconds(quota.throttled_ns)),
                cpu_limit_cores: match cores(cpu.quota(index)) {
                    Limit::At(limit) => Some(limit.get()),
                    Limit::Max => None,
                },
                memory_working_set_bytes: None,
            }
        };
        self.containers().iter().enumerate().map(sample).collect()
    }

    /// Every container as `GET /v1/containers` shows it, in the order of their names.
    #[must_use]
    pub fn container_states(&self) -> Vec<ContainerState> {
        let states = self.containers().iter().enumerate().map(|(index, name)| {
            let rates = self.sampler.rates(index);
            let lease = &self.leases[index];
            ContainerState {
                name: name.clone(),
                source: ContainerSource::Plain,
                labels: BTreeMap::new(),
                usage: rates.map(|(cpu, _)| Amounts { cpu: Some(cpu), ..Amounts::default() }),
                throttling: rates.map(|(_, throttling)| throttling),
                unmeasured: PerResource::default(),
                limits: limits(self.machine.cpu.quota(index)),
                baseline: limits(lease.baseline),
                missing: PerResource::default(),
                drift: PerResource::default(),
                sampled_at_unix_nanos: self
                    .config
                    .start
                    .plus(std::time::Duration::from_nanos(self.sampler.last.at)),
                generation: lease.generation,
                lease_remaining_seconds: lease
                    .end
                    .map(|end| seconds(float(end.saturating_sub(self.machine.now)))),
            }
        });
        let mut states: Vec<_> = states.collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }
}

/// A quota as limits in cores.
pub(crate) fn limits(quota_us: Limit<u64>) -> Limits {
    Limits::of_cpu(cores(quota_us))
}

fn cores(quota_us: Limit<u64>) -> Limit<Cores> {
    match quota_us {
        Limit::At(us) => Limit::At(Cores::saturating(float(us) / (PERIOD.as_secs_f64() * 1e6))),
        Limit::Max => Limit::Max,
    }
}
