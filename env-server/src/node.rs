//! A Linux machine as a node: the lender's books, kept by the clock and shared among callers.
//!
//! Must not know of HTTP.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ballast_api::{
    ContainerName, ContainerState, Limits, NodeAgent, NodeError, NodeInfo, NodeName, Plan, PlanOutcome,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    journal::JournalError,
    lender::{Lender, Means},
};

/// Waited for when nothing is lent; any plan wakes earlier.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// Calls at work at a time. More wait without a thread or a copy of their plan, and not in front of the node's own work,
/// such as the end of a lease.
const CALLS: usize = 8;

/// The kernel's side of [`NodeAgent`]. Clones are the same node.
#[derive(Clone)]
pub struct LinuxNode(Arc<Shared>);

struct Shared {
    info: NodeInfo,
    sample_interval: Duration,
    lender: Mutex<Lender>,
    /// The moment from which the lender's times are measured.
    opened: Instant,
    /// A lease may end earlier than was known.
    leases_changed: Notify,
    calls: Arc<Semaphore>,
}

impl LinuxNode {
    /// Restores what an earlier env-server left lent, and takes the node over. Blocks for as long as writing takes.
    ///
    /// # Errors
    /// When the journal cannot be read; then no limit was changed.
    pub fn open(name: NodeName, means: Means) -> Result<Self, JournalError> {
        let info = NodeInfo {
            name,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            cgroup_version: means.machine.hierarchy().version(),
            capacity: *means.machine.capacity(),
            capabilities: means.machine.capabilities(),
        };
        let sample_interval = means.sample_interval;
        let lender = Mutex::new(Lender::open(means, Duration::ZERO)?);
        let opened = Instant::now();
        let (leases_changed, calls) = (Notify::new(), Arc::new(Semaphore::new(CALLS)));
        Ok(Self(Arc::new(Shared { info, sample_interval, lender, opened, leases_changed, calls })))
    }

    /// Samples containers and ends leases until `shutdown`.
    pub async fn keep(&self, shutdown: CancellationToken) {
        let mut samples = interval(self.0.sample_interval);
        samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.work(|lender, _| lender.next_due()).await.ok().flatten();
            let due = self.0.opened + due.unwrap_or_else(|| self.0.opened.elapsed() + NOTHING_DUE);
            // What a panic would lose here is tried again in the next round.
            let _ = tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(due) => self.work(Lender::expire).await,
                () = self.0.leases_changed.notified() => Ok(()),
                _ = samples.tick() => self.work(|lender, _| lender.sample()).await,
            };
        }
    }

    /// Restores every baseline and refuses plans from now on. Answers what could not be restored, a sentence each.
    pub async fn close(&self) -> Vec<String> {
        self.work(Lender::close).await.unwrap_or_else(|error| vec![error.to_string()])
    }

    /// Kernel files and the journal may block: not on the threads that serve.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Lender, Duration) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let node = self.clone();
        let working = tokio::task::spawn_blocking(move || {
            // A plan that waited for its turn must not end earlier for it: the time is read after the lock is taken.
            let mut lender = node.lender();
            work(&mut lender, node.0.opened.elapsed())
        });
        working.await.map_err(|error| NodeError::Internal { detail: error.to_string() })
    }

    /// A call's turn, to be held until [its work](Self::work_in) is done, also when its caller is gone.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, NodeError> {
        let turn = Arc::clone(&self.0.calls).acquire_owned().await;
        turn.map_err(|error| NodeError::Internal { detail: error.to_string() })
    }

    /// Works when it is a call's turn, and holds that until it is done.
    async fn work_in<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&mut Lender, Duration) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        self.work(move |lender, now| {
            let _turn = turn;
            work(lender, now)
        })
        .await
    }

    /// The same for what changes leases. That is told by who does the work, for whoever asked may be gone before it is done.
    async fn change_in<T: Send + 'static>(
        &self,
        turn: OwnedSemaphorePermit,
        work: impl FnOnce(&mut Lender, Duration) -> T + Send + 'static,
    ) -> Result<T, NodeError> {
        let node = self.clone();
        self.work_in(turn, move |lender, now| {
            let done = work(lender, now);
            node.0.leases_changed.notify_one();
            done
        })
        .await
    }

    /// After a panic the books are still the best there are, and the journal is never ahead of them.
    fn lender(&self) -> MutexGuard<'_, Lender> {
        self.0.lender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl NodeAgent for LinuxNode {
    async fn node(&self) -> Result<NodeInfo, NodeError> {
        // A disk may have been attached since.
        let capabilities = self.work(|lender, _| lender.capabilities()).await?;
        Ok(NodeInfo { capabilities, ..self.0.info.clone() })
    }

    async fn containers(&self) -> Result<Vec<ContainerState>, NodeError> {
        let turn = self.turn().await?;
        self.work_in(turn, Lender::containers).await?
    }

    async fn apply(&self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        let turn = self.turn().await?;
        let plan = plan.clone();
        self.change_in(turn, move |lender, now| lender.apply(&plan, now)).await?
    }

    async fn restore(&self, container: &ContainerName) -> Result<Limits, NodeError> {
        let turn = self.turn().await?;
        let container = container.clone();
        self.change_in(turn, move |lender, now| lender.restore(&container, now)).await?
    }
}

#[cfg(test)]
mod tests {
    use ballast_api::{Cores, Limit, LimitChange, UnixNanos};

    use super::*;
    use crate::{
        discovery::Discovery,
        fake::{FakeClock, FakeMachine, cores, name},
        journal::Journal,
        metrics::Metrics,
    };

    fn open(machine: &FakeMachine, clock: Arc<FakeClock>) -> LinuxNode {
        open_sampling(machine, clock, Duration::from_secs(1))
    }

    fn open_sampling(machine: &FakeMachine, clock: Arc<FakeClock>, sample_interval: Duration) -> LinuxNode {
        let means = Means {
            machine: machine.machine(),
            discovery: Discovery::of_parents(&machine.parents(&["p"])),
            sample_interval,
            clock,
            metrics: Arc::new(Metrics::default()),
            journal: Journal::new(&machine.state_dir(), "boot"),
        };
        LinuxNode::open(NodeName::new("n").unwrap(), means).unwrap()
    }

    fn plan(limit: Limit<Cores>, lease_seconds: f64) -> Plan {
        let change = LimitChange { container: name("geo"), limits: Limits::of_cpu(limit) };
        Plan { generation: 1, lease_seconds, dry_run: false, changes: vec![change] }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_ends_by_itself() {
        let machine = FakeMachine::v2();
        machine.add("p/geo", "50000");
        let node = open(&machine, FakeClock::at(0.0));
        let stop = CancellationToken::new();
        let keeping = tokio::spawn({
            let (node, stop) = (node.clone(), stop.clone());
            async move { node.keep(stop).await }
        });
        node.apply(&plan(cores(0.2), 10.0)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(8)).await;
        node.apply(&plan(cores(0.2), 10.0)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(machine.quota("p/geo"), "20000", "the lease was renewed");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(machine.quota("p/geo"), "50000");
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_of_a_caller_who_is_gone_ends_in_time() {
        let machine = FakeMachine::v2();
        machine.add("p/geo", "50000");
        // No sample is to find by chance what nobody told.
        let node = open_sampling(&machine, FakeClock::at(0.0), Duration::from_secs(60));
        let stop = CancellationToken::new();
        let keeping = tokio::spawn({
            let (node, stop) = (node.clone(), stop.clone());
            async move { node.keep(stop).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        let plan = plan(cores(0.2), 10.0);
        let mut asking = node.apply(&plan);
        tokio::select! {
            biased;
            outcome = &mut asking => drop(outcome),
            () = std::future::ready(()) => {}
        }
        drop(asking);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(machine.quota("p/geo"), "20000", "it is applied all the same");
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(machine.quota("p/geo"), "50000");
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_however_many_callers_wait() {
        let machine = FakeMachine::v2();
        machine.add("p/geo", "50000");
        let node = open(&machine, FakeClock::at(0.0));
        let stop = CancellationToken::new();
        let keeping = tokio::spawn({
            let (node, stop) = (node.clone(), stop.clone());
            async move { node.keep(stop).await }
        });
        node.apply(&plan(cores(0.2), 10.0)).await.unwrap();
        let mut at_work = Vec::new();
        for _ in 0..CALLS {
            at_work.push(node.turn().await.unwrap());
        }
        let waiting = tokio::time::timeout(Duration::from_secs(11), node.containers()).await;
        assert!(waiting.is_err(), "one call too many is at work");
        assert_eq!(machine.quota("p/geo"), "50000");
        at_work.pop();
        assert_eq!(node.containers().await.unwrap().len(), 1);
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn usage_is_there_after_two_samples() {
        let machine = FakeMachine::v1();
        machine.add("p/geo", "-1");
        let clock = FakeClock::at(100.0);
        let node = open(&machine, clock.clone());
        let first = node.containers().await.unwrap();
        assert_eq!((first[0].usage, first[0].throttling), (None, None));
        let stop = CancellationToken::new();
        let keeping = tokio::spawn({
            let (node, stop) = (node.clone(), stop.clone());
            async move { node.keep(stop).await }
        });
        machine.count("p/geo", 500);
        clock.set(102.0);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let second = node.containers().await.unwrap();
        assert_eq!(second[0].usage.unwrap().cpu, Some(Cores::new(0.25).unwrap()));
        assert_eq!(second[0].sampled_at_unix_nanos, UnixNanos(102_000_000_000));
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test]
    async fn after_closing_everything_is_back_and_plans_are_refused() {
        let machine = FakeMachine::v1();
        machine.add("p/geo", "-1");
        let node = open(&machine, FakeClock::at(0.0));
        node.apply(&plan(cores(0.2), 10.0)).await.unwrap();
        assert_eq!(machine.quota("p/geo"), "20000");
        assert!(node.close().await.is_empty());
        assert_eq!(machine.quota("p/geo"), "-1");
        assert!(matches!(node.apply(&plan(cores(0.2), 10.0)).await, Err(NodeError::Internal { .. })));
        assert_eq!(machine.quota("p/geo"), "-1");
    }
}
