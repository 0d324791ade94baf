//! A hundred containers limited by resctrl, on an emulated Xeon with seven groups to give. Each read and each write passes
//! through FUSE to the emulator's process and back, so a real kernel is faster: the figures bound it from above.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to measure")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use ballast_api::{Bytes, BytesPerSecond, Limit};
use ballast_kernel::{
    CgroupPath,
    resctrl::{ResctrlControl, ResctrlLimits, ResctrlNode},
};
use divan::Bencher;
use support::{PEAK, Process, Stage};

const CONTAINERS: u32 = 100;

/// What is printed when the tables are.
static FIGURES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn main() {
    divan::main();
    for figure in FIGURES.lock().unwrap().iter() {
        println!("figure: {figure}");
    }
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn resctrl_emulated_order_of_100_containers(bencher: Bencher<'_, '_>) {
    let Some(full) = FullMachine::new("resctrl_emulated_order_of_100_containers") else { return };
    let mut factor = 1.0;
    measure("resctrl_emulated_order_of_100_containers_p99", bencher, || {
        factor = 3.0 - factor;
        full.order(factor);
    });
}

#[divan::bench(sample_count = 100, sample_size = 1)]
fn resctrl_emulated_look_at_100_containers(bencher: Bencher<'_, '_>) {
    let Some(full) = FullMachine::new("resctrl_emulated_look_at_100_containers") else { return };
    full.order(1.0);
    measure("resctrl_emulated_look_at_100_containers_p99", bencher, || {
        for container in &full.containers {
            assert!(container.in_force().unwrap().disturbed.is_none());
        }
    });
}

/// Divan's loop, with a figure of our own.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn measure(name: &str, bencher: Bencher<'_, '_>, mut work: impl FnMut()) {
    let mut times = Vec::<Duration>::new();
    bencher.bench_local(|| {
        let began = Instant::now();
        work();
        times.push(began.elapsed());
    });
    times.sort_unstable();
    if let Some(p99) = times.get(times.len() * 99 / 100) {
        FIGURES.lock().unwrap().push(format!("{name} {:.3} ms", p99.as_secs_f64() * 1e3));
    }
}

/// An emulated machine with containers of one process each. All is gone when it is dropped.
struct FullMachine {
    node: ResctrlNode,
    containers: Vec<ResctrlControl>,
    _processes: Vec<Process>,
    _stage: Stage,
}

impl FullMachine {
    fn new(bench: &str) -> Option<Self> {
        let stage = support::stage(bench, "intel")?;
        let node = stage.node();
        let processes: Vec<_> = (0..CONTAINERS).map(|_| Process::idle()).collect();
        let container = |(i, process): (usize, &Process)| {
            let id = process.id();
            let path = CgroupPath::new(&format!("c{i}")).unwrap();
            node.container(path, None, std::sync::Arc::new(move || Ok(vec![id])))
        };
        let containers = processes.iter().enumerate().map(container).collect();
        Some(Self { node, containers, _processes: processes, _stage: stage })
    }

    /// Limits for all of them: of ten kinds, so that containers with different needs share a group.
    fn order(&self, factor: f64) {
        let limits = |i: usize| {
            let kind = f64::from(u32::try_from(i % 10).unwrap() + 1) * factor;
            ResctrlLimits {
                llc: Some(Limit::At(Bytes::new(kind * 1e6).unwrap())),
                memory_bandwidth: Some(Limit::At(BytesPerSecond::new(PEAK / 25.0 * kind).unwrap())),
            }
        };
        let orders: Vec<_> =
            self.containers.iter().enumerate().map(|(i, control)| (control, limits(i))).collect();
        assert_eq!(self.node.set_limits(&orders).unwrap().len(), self.containers.len());
    }
}
