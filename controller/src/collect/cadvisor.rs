//! cAdvisor's page of metrics to one counter sample for each container.
//!
//! Pure. Must not know how the page was fetched.

use std::{borrow::Cow, collections::BTreeMap};

use ballast_api::{ContainerId, NodeName, UnixNanos, counters::CounterSample};

use super::{
    exposition::{Line, parse_line},
    naming::{Identity, Naming},
};

/// The largest page read, in bytes: several thousand containers.
pub const MAX_PAGE_BYTES: usize = 16 << 20;

/// A page longer than [`MAX_PAGE_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page has {bytes} bytes, more than the {MAX_PAGE_BYTES} that are read")]
pub struct PageTooLong {
    /// Its length.
    pub bytes: usize,
}

/// What a page says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    /// One for each container, in the order of their names.
    pub samples: Vec<CounterSample>,
    /// Lines about any cgroup: none on a page that is not cAdvisor's.
    pub cgroup_lines: usize,
    /// Lines that follow no format and were passed over.
    pub malformed_lines: usize,
    /// Cgroups that are ours by the naming, but whose name Ballast refuses.
    pub refused_names: usize,
}

/// Reads cAdvisor's `/metrics`, or the kubelet's `/metrics/cadvisor`. A line's timestamp is the time of its sample;
/// lines without one are taken to be of `received_at`. Of two cgroups with one name (a container that was just
/// replaced) the one sampled last counts.
///
/// # Errors
/// When the page is longer than [`MAX_PAGE_BYTES`].
pub fn read_page(
    text: &str,
    node: &NodeName,
    naming: &Naming,
    received_at: UnixNanos,
) -> Result<Page, PageTooLong> {
    if text.len() > MAX_PAGE_BYTES {
        return Err(PageTooLong { bytes: text.len() });
    }
    let mut page = Page::default();
    let mut cgroups: BTreeMap<Cow<'_, str>, Cgroup<'_>> = BTreeMap::new();
    for line in text.lines() {
        match parse_line(line) {
            Ok(Some(line)) if line.metric.starts_with("container_") => {
                page.cgroup_lines += 1;
                match taken_at(&line, received_at) {
                    Some(taken_at) => note(&mut cgroups, &line, taken_at),
                    None => page.malformed_lines += 1,
                }
            }
            Ok(_) => {}
            Err(_) => page.malformed_lines += 1,
        }
    }
    let mut newest: BTreeMap<ContainerId, CounterSample> = BTreeMap::new();
    for cgroup in cgroups.into_values() {
        match naming.name(&cgroup.identity) {
            None => {}
            Some(Err(_)) => page.refused_names += 1,
            Some(Ok(name)) => {
                let sample = cgroup.sample(ContainerId { node: node.clone(), name });
                if let Some(sample) = sample
                    && newest.get(&sample.container).is_none_or(|other| other.taken_at < sample.taken_at)
                {
                    newest.insert(sample.container.clone(), sample);
                }
            }
        }
    }
    page.samples = newest.into_values().collect();
    Ok(page)
}

/// `None` when the timestamp is none that a clock shows.
fn taken_at(line: &Line<'_>, received_at: UnixNanos) -> Option<UnixNanos> {
    match line.timestamp_ms {
        None => Some(received_at),
        Some(ms) => u64::try_from(ms).ok()?.checked_mul(1_000_000).map(UnixNanos),
    }
}

/// The metrics that are kept.
#[derive(Debug, Clone, Copy)]
enum Metric {
    CpuUsage,
    Periods,
    ThrottledPeriods,
    ThrottledSeconds,
    WorkingSet,
    Quota,
    Period,
}

impl Metric {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "container_cpu_usage_seconds_total" => Self::CpuUsage,
            "container_cpu_cfs_periods_total" => Self::Periods,
            "container_cpu_cfs_throttled_periods_total" => Self::ThrottledPeriods,
            "container_cpu_cfs_throttled_seconds_total" => Self::ThrottledSeconds,
            "container_memory_working_set_bytes" => Self::WorkingSet,
            "container_spec_cpu_quota" => Self::Quota,
            "container_spec_cpu_period" => Self::Period,
            _ => return None,
        })
    }
}

/// What was read so far about one cgroup.
#[derive(Debug, Default)]
struct Cgroup<'a> {
    identity: Identity<'a>,
    quota_us: Option<f64>,
    period_us: Option<f64>,
    sampled: Option<Sampled>,
}

/// Values of one moment.
#[derive(Debug, Clone, Copy)]
struct Sampled {
    taken_at: UnixNanos,
    /// Where the source counts each CPU.
    cpu_usage_sum: Option<f64>,
    /// Where it counts all CPUs together (`cpu="total"`).
    cpu_usage_total: Option<f64>,
    periods: Option<f64>,
    throttled_periods: Option<f64>,
    throttled_seconds: Option<f64>,
    working_set: Option<f64>,
}

fn note<'a>(cgroups: &mut BTreeMap<Cow<'a, str>, Cgroup<'a>>, line: &Line<'a>, taken_at: UnixNanos) {
    let Some(metric) = Metric::named(line.metric) else { return };
    let (mut identity, mut cpu) = (Identity::default(), Cow::Borrowed(""));
    for (label, value) in line.labels() {
        match label {
            "id" => identity.id = value,
            "name" => identity.name = value,
            "container" => identity.container = value,
            "pod" => identity.pod = value,
            "namespace" => identity.namespace = value,
            "cpu" => cpu = value,
            _ => {}
        }
    }
    let cgroup =
        cgroups.entry(identity.id.clone()).or_insert_with(|| Cgroup { identity, ..Cgroup::default() });
    match metric {
        // A specification has no time: it is what holds when the page is asked for.
        Metric::Quota => cgroup.quota_us = Some(line.value),
        Metric::Period => cgroup.period_us = Some(line.value),
        _ => cgroup.note_sample(metric, &cpu, line.value, taken_at),
    }
}

impl Cgroup<'_> {
    fn note_sample(&mut self, metric: Metric, cpu: &str, value: f64, taken_at: UnixNanos) {
        let sampled = match &mut self.sampled {
            Some(sampled) if sampled.taken_at == taken_at => sampled,
            // Values of different moments cannot be told together.
            Some(newer) if newer.taken_at > taken_at => return,
            stale => stale.insert(Sampled::at(taken_at)),
        };
        match metric {
            Metric::CpuUsage if cpu == "total" => sampled.cpu_usage_total = Some(value),
            Metric::CpuUsage => sampled.cpu_usage_sum = Some(sampled.cpu_usage_sum.unwrap_or(0.0) + value),
            Metric::Periods => sampled.periods = Some(value),
            Metric::ThrottledPeriods => sampled.throttled_periods = Some(value),
            Metric::ThrottledSeconds => sampled.throttled_seconds = Some(value),
            Metric::WorkingSet => sampled.working_set = Some(value),
            Metric::Quota | Metric::Period => {}
        }
    }

    /// Absent for a cgroup of which only the specification is told.
    fn sample(&self, container: ContainerId) -> Option<CounterSample> {
        let sampled = self.sampled?;
        Some(CounterSample {
            container,
            taken_at: sampled.taken_at,
            cpu_usage_seconds: quantity(sampled.cpu_usage_total.or(sampled.cpu_usage_sum)),
            cfs_periods: quantity(sampled.periods),
            cfs_throttled_periods: quantity(sampled.throttled_periods),
            cfs_throttled_seconds: quantity(sampled.throttled_seconds),
            cpu_limit_cores: self.cpu_limit(),
            memory_working_set_bytes: quantity(sampled.working_set),
        })
    }

    /// The kernel writes -1, and some sources 0, for no quota.
    fn cpu_limit(&self) -> Option<f64> {
        let positive = |value: Option<f64>| quantity(value).filter(|value| *value > 0.0);
        quantity(Some(positive(self.quota_us)? / positive(self.period_us)?))
    }
}

impl Sampled {
    fn at(taken_at: UnixNanos) -> Self {
        Self {
            taken_at,
            cpu_usage_sum: None,
            cpu_usage_total: None,
            periods: None,
            throttled_periods: None,
            throttled_seconds: None,
            working_set: None,
        }
    }
}

/// A value that can be an amount: NaN, infinite and negative ones are absent.
fn quantity(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite() && *value >= 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In the shape of cAdvisor on plain cgroups, one with a quota and one without.
    const PLAIN: &str = r#"
# TYPE container_cpu_usage_seconds_total counter
container_cpu_cfs_periods_total{id="/shop/geo"} 52 1795288836777
container_cpu_cfs_throttled_periods_total{id="/shop/geo"} 51 1795288836777
container_cpu_cfs_throttled_seconds_total{id="/shop/geo"} 3.5 1795288836777
container_cpu_usage_seconds_total{cpu="cpu00",id="/shop/geo"} 0.75 1795288836777
container_cpu_usage_seconds_total{cpu="cpu01",id="/shop/geo"} 0.25 1795288836777
container_cpu_usage_seconds_total{cpu="cpu00",id="/shop/rate"} 2 1795288836000
container_cpu_usage_seconds_total{cpu="cpu00",id="/"} 900 1795288836000
container_last_seen{id="/shop/geo"} 1.795288838e+09 1795288838688
container_memory_working_set_bytes{id="/shop/geo"} 753664 1795288836777
container_spec_cpu_period{id="/shop/geo"} 100000
container_spec_cpu_quota{id="/shop/geo"} 20000
container_spec_cpu_period{id="/shop/rate"} 100000
container_spec_cpu_quota{id="/shop/rate"} -1
"#;

    fn node() -> NodeName {
        "n1".parse().unwrap()
    }

    fn read(text: &str, naming: &Naming) -> Page {
        read_page(text, &node(), naming, UnixNanos(7)).unwrap()
    }

    fn shop() -> Naming {
        Naming::children_of(["/shop"])
    }

    #[test]
    fn a_plain_cgroup_is_read_whole() {
        let page = read(PLAIN, &shop());
        assert_eq!((page.cgroup_lines, page.malformed_lines, page.refused_names), (13, 0, 0));
        assert_eq!(
            page.samples[0],
            CounterSample {
                container: "n1/geo".parse().unwrap(),
                taken_at: UnixNanos(1_795_288_836_777_000_000),
                cpu_usage_seconds: Some(1.0),
                cfs_periods: Some(52.0),
                cfs_throttled_periods: Some(51.0),
                cfs_throttled_seconds: Some(3.5),
                cpu_limit_cores: Some(0.2),
                memory_working_set_bytes: Some(753_664.0),
            }
        );
    }

    #[test]
    fn what_is_not_told_is_absent() {
        let page = read(PLAIN, &shop());
        let rate = &page.samples[1];
        assert_eq!((page.samples.len(), rate.cpu_usage_seconds), (2, Some(2.0)));
        assert_eq!(
            (rate.cpu_limit_cores, rate.cfs_periods, rate.memory_working_set_bytes),
            (None, None, None)
        );
    }

    #[test]
    fn all_cpus_together_are_not_added_to_each() {
        let text = "container_cpu_usage_seconds_total{cpu=\"cpu00\",id=\"/shop/a\"} 1 5\n\
                    container_cpu_usage_seconds_total{cpu=\"total\",id=\"/shop/a\"} 3 5";
        assert_eq!(read(text, &shop()).samples[0].cpu_usage_seconds, Some(3.0));
    }

    #[test]
    fn of_a_replaced_container_the_newer_cgroup_counts() {
        let text = "container_cpu_usage_seconds_total{cpu=\"total\",id=\"/docker/b\",name=\"web\"} 1 9\n\
                    container_cpu_usage_seconds_total{cpu=\"total\",id=\"/docker/a\",name=\"web\"} 8 5";
        let page = read(text, &Naming::default().and_docker());
        assert_eq!((page.samples.len(), page.samples[0].cpu_usage_seconds), (1, Some(1.0)));
    }

    #[test]
    fn values_of_different_moments_are_never_mixed() {
        let text = "container_cpu_cfs_periods_total{id=\"/shop/a\"} 5 1000\n\
                    container_cpu_usage_seconds_total{cpu=\"total\",id=\"/shop/a\"} 3 2000";
        let sample = &read(text, &shop()).samples[0];
        assert_eq!((sample.cfs_periods, sample.cpu_usage_seconds), (None, Some(3.0)));
    }

    #[test]
    fn what_cannot_be_used_is_counted_and_the_rest_is_kept() {
        let text = format!(
            "{PLAIN}container_x{{id=\"/shop/geo\"\ncontainer_cpu_cfs_periods_total{{id=\"/shop/geo\"}} 1 -5\n\
             container_cpu_cfs_periods_total{{id=\"/shop/a b\"}} 1 5\n"
        );
        let page = read(&text, &shop());
        assert_eq!((page.malformed_lines, page.refused_names), (2, 1));
        assert_eq!(page.samples, read(PLAIN, &shop()).samples);
    }

    #[test]
    fn numbers_that_are_no_amount_are_absent() {
        for bad in ["NaN", "+Inf", "-1"] {
            let text = format!("container_cpu_usage_seconds_total{{cpu=\"0\",id=\"/shop/a\"}} {bad} 5");
            assert_eq!(read(&text, &shop()).samples[0].cpu_usage_seconds, None, "{bad}");
        }
    }

    #[test]
    fn without_a_timestamp_the_time_of_the_answer_counts() {
        let text = "container_cpu_usage_seconds_total{cpu=\"total\",id=\"/shop/a\"} 3";
        assert_eq!(read(text, &shop()).samples[0].taken_at, UnixNanos(7));
    }

    #[test]
    fn a_page_without_bound_is_refused() {
        let text = " ".repeat(MAX_PAGE_BYTES + 1);
        assert!(read_page(&text, &node(), &shop(), UnixNanos(0)).is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_page_never_stops_the_reader(
            damages in prop::collection::vec((0..PLAIN.len(), any::<u8>()), 1..40),
            cut in 0..PLAIN.len(),
        ) {
            let mut bytes = PLAIN.as_bytes().to_vec();
            for (at, byte) in damages {
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            let naming = shop().and_docker().and_kubernetes();
            for sample in read(&String::from_utf8_lossy(&bytes), &naming).samples {
                let values = [sample.cpu_usage_seconds, sample.cpu_limit_cores, sample.cfs_periods];
                prop_assert!(values.into_iter().flatten().all(|value| value.is_finite() && value >= 0.0));
            }
        }

        #[test]
        fn any_text_is_a_page(text in any::<String>()) {
            read(&text, &shop());
        }
    }
}
