//! Whatever the topology, the limits and the disturbance: no panic, no time that runs backwards, no CPU from nowhere.

use std::time::Duration;

use ballast_api::{Cores, Limit, LimitChange, Limits, Plan, trace::Span};
use ballast_sim::{Injection, SimConfig, Simulation, Topology};
use proptest::prelude::*;

use crate::support::drain;

/// One step of an operation; callees are chosen among later services, so that no call is circular.
#[derive(Debug, Clone)]
enum Shape {
    Cpu(f64),
    Call(Vec<usize>),
    Notify(Vec<usize>),
    Fetch(u32),
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        (1.0..20_000.0).prop_map(Shape::Cpu),
        proptest::collection::vec(0..8_usize, 0..3).prop_map(Shape::Call),
        proptest::collection::vec(0..8_usize, 0..2).prop_map(Shape::Notify),
        (1..50_u32).prop_map(Shape::Fetch),
    ]
}

/// Services with one operation each, and one store.
fn topology() -> impl Strategy<Value = Topology> {
    let service = (1..6_usize, 0.01..1.5_f64, proptest::collection::vec(shape(), 0..5));
    proptest::collection::vec(service, 1..6).prop_map(|services| toml_of(&services).parse().unwrap())
}

fn toml_of(services: &[(usize, f64, Vec<Shape>)]) -> String {
    let mut text = String::from(
        "name = \"random\"\nrequest = [{ name = \"GET /\", operation = \"s0.do\", share = 1.0, \
         objective = { percentile = 99.0, target_ms = 1.0 } }]\n\
         store = [{ name = \"cache\", kind = \"memcached\", cpu_limit_cores = 0.05 }]\n",
    );
    for (index, (workers, limit, steps)) in services.iter().enumerate() {
        let callees = |chosen: &[usize]| {
            let later = services.len() - index - 1;
            let chosen = chosen.iter().filter(|_| later > 0).map(|pick| index + 1 + pick % later.max(1));
            chosen.map(|callee| format!("\"s{callee}.do\"")).collect::<Vec<_>>().join(", ")
        };
        let steps = steps.iter().map(|step| match step {
            Shape::Cpu(mean) => format!("{{ cpu_us = {mean:?} }}"),
            Shape::Call(chosen) => format!("{{ call = [{}] }}", callees(chosen)),
            Shape::Notify(chosen) => format!("{{ notify = [{}] }}", callees(chosen)),
            Shape::Fetch(keys) => {
                format!("{{ fetch = {{ store = \"cache\", keys = {keys}, value_bytes = 9 }} }}")
            }
        });
        let steps = steps.collect::<Vec<_>>().join(", ");
        text += &format!(
            "[[service]]\nname = \"s{index}\"\nworkers = {workers}\ncpu_limit_cores = {limit:?}\n\
             [[operation]]\nname = \"s{index}.do\"\nsteps = [{steps}]\n"
        );
    }
    text
}

/// Something that happens to one container (chosen by number), then some time passes.
#[derive(Debug, Clone)]
enum Deed {
    Limit(Option<f64>, f64),
    Inject(f64, usize, u64),
    Rate(f64),
    Restore,
}

fn deed() -> impl Strategy<Value = (Deed, usize, u64)> {
    let deed = prop_oneof![
        (proptest::option::of(0.0..3.0_f64), 0.001..5.0).prop_map(|(limit, lease)| Deed::Limit(limit, lease)),
        (0.0..3.0_f64, 1..4_usize, 1..3000_u64)
            .prop_map(|(cores, threads, ms)| Deed::Inject(cores, threads, ms)),
        (0.0..300.0_f64).prop_map(Deed::Rate),
        Just(Deed::Restore),
    ];
    (deed, 0..6_usize, 0..1500_u64)
}

struct Run {
    simulation: Simulation,
    spans: Vec<Span>,
    /// CPU seconds that each container could have used at most, by quota.
    allowed: Vec<f64>,
    generation: u64,
}

impl Run {
    fn limits(&self) -> Vec<Option<f64>> {
        self.simulation.counters().iter().map(|sample| sample.cpu_limit_cores).collect()
    }

    fn used(&self) -> Vec<f64> {
        self.simulation.counters().iter().map(|sample| sample.cpu_usage_seconds.unwrap()).collect()
    }

    /// Does the deed; a refusal is as good as the act.
    fn act(&mut self, deed: &Deed, container: usize) {
        let names = self.simulation.containers();
        let name = names[container % names.len()].clone();
        match *deed {
            Deed::Limit(limit, lease_seconds) => {
                let limit = limit.map_or(Limit::Max, |limit| Limit::At(Cores::new(limit).unwrap()));
                self.generation += 1;
                let changes = vec![LimitChange { container: name, limits: Limits::of_cpu(limit) }];
                let plan = Plan { generation: self.generation, lease_seconds, dry_run: false, changes };
                let _ = self.simulation.apply(&plan);
            }
            Deed::Inject(cores, threads, ms) => {
                let duration = Duration::from_millis(ms);
                let _ = self.simulation.inject(&name, Injection { cores, threads, duration });
            }
            Deed::Rate(rate) => self.simulation.set_arrival_rate(rate).unwrap(),
            Deed::Restore => drop(self.simulation.restore(&name).unwrap()),
        }
    }

    /// Advances in steps short enough to see every limit; a write of a limit refills the budget, so each grants one more.
    fn pass(&mut self, ms: u64) -> Result<(), TestCaseError> {
        for _ in 0..ms.div_ceil(50) {
            let (from, used, before) = (self.simulation.now(), self.used(), self.limits());
            let seen = self.spans.len();
            self.simulation.advance_into(Duration::from_millis(50), &mut self.spans);
            prop_assert_eq!(self.simulation.now().since(from), Duration::from_millis(50));
            for span in &self.spans[seen..] {
                // A raised limit releases a container at once: a span may end right at the beginning.
                prop_assert!(from <= span.end && span.end <= self.simulation.now(), "{span:?}");
                prop_assert!(span.start <= span.end, "{span:?}");
            }
            let (now_used, after) = (self.used(), self.limits());
            let node: f64 = now_used.iter().zip(&used).map(|(now, then)| now - then).sum();
            prop_assert!(node <= 2.0 * 0.05 + 1e-6, "the node used {node} s in 50 ms");
            for (index, allowed) in self.allowed.iter_mut().enumerate() {
                prop_assert!(now_used[index] >= used[index]);
                *allowed += match (before[index], after[index]) {
                    (Some(old), Some(new)) if old == new => old * 0.05,
                    (Some(old), Some(new)) => old.max(new) * 0.15,
                    _ => 2.0 * 0.05,
                };
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_breaks(
        topology in topology(),
        seed in any::<u64>(),
        deeds in proptest::collection::vec(deed(), 0..8),
    ) {
        let config = SimConfig { seed, requests_per_second: 50.0, max_in_flight: 200, ..SimConfig::default() };
        let Ok(simulation) = Simulation::new(&topology, config) else { return Ok(()) };
        let quotas: Vec<f64> = simulation.counters().iter().map(|s| s.cpu_limit_cores.unwrap() * 0.1).collect();
        // Two budgets at hand: the one of the period before the first boundary, and the one of the period under way.
        let allowed = quotas.iter().map(|quota| 2.0 * quota + 1e-6).collect();
        let mut run = Run { simulation, spans: Vec::new(), allowed, generation: 0 };
        run.pass(500)?;
        for (deed, container, ms) in &deeds {
            // A write refills the budget, and one more is at hand. Giving back writes also what does not change.
            let before = run.limits();
            run.act(deed, *container);
            let touched = container % before.len();
            for (index, (before, after)) in before.iter().zip(run.limits()).enumerate() {
                if *before != after || index == touched {
                    run.allowed[index] += 0.2 * after.unwrap_or(2.0);
                }
            }
            run.pass(*ms)?;
            for (used, allowed) in run.used().iter().zip(&run.allowed) {
                prop_assert!(used <= allowed, "used {used} s, allowed {allowed} s");
            }
        }
        prop_assert!(run.simulation.in_flight().count() <= 200);
    }

    #[test]
    fn everybody_is_answered_in_the_end(topology in topology(), seed in any::<u64>()) {
        let config = SimConfig { seed, requests_per_second: 20.0, max_in_flight: 50, ..SimConfig::default() };
        let Ok(mut simulation) = Simulation::new(&topology, config) else { return Ok(()) };
        let mut spans = simulation.advance(Duration::from_secs(1));
        drain(&mut simulation, &mut spans);
        prop_assert_eq!(simulation.in_flight().count(), 0);
    }
}
