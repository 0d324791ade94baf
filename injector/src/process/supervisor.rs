//! The process that the user started: sets the scene, has the worker start, measures it, ends it on time.
//!
//! Must not know how load is made nor how it is shown.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use ballast_api::{Clock, ContainerName, Cores, Limit, UnixNanos};
use ballast_kernel::{CgroupPath, Hierarchy, machine};

use super::{
    messages::{Message, Order, Reading},
    scene::Scene,
    sources::{Event, watch_signals, watch_stdin},
    worker_handle::WorkerHandle,
};
use crate::{
    clocks,
    console::warn,
    error::InjectorError,
    intensity::{Basis, Intensity},
    journal::{Entry, Journal},
    report::{Ending, Injection, Report},
    target::Target,
};

/// How often the load is measured and the target looked at. An owner who removes the target finds it busy for as long.
const TICK: Duration = Duration::from_millis(100);

/// How long after its time the worker may still be at it before it is killed. A throttled worker cannot end by itself.
const GRACE: Duration = Duration::from_millis(25);

/// How long the removal of a target may take from the worker's death to that of its last process.
const REMOVAL: Duration = Duration::from_millis(200);

/// How long a worker may take to begin: many periods of the smallest quota.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The shortest last interval that counts among the seconds of a report.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// The fewest threads by default, so that even a small dose contends with several of the target's.
const FEWEST_THREADS: usize = 4;

/// The most threads.
pub const MOST_THREADS: usize = 1024;

/// One injection of CPU load, as asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// The cgroup whose share is taken.
    pub target: CgroupPath,
    /// How much.
    pub intensity: Intensity,
    /// From the first burn to the last.
    pub duration: Duration,
    /// How many threads share the dose; absent for as many as contention needs.
    pub threads: Option<usize>,
    /// Whether the end of standard input ends the injection.
    pub until_stdin_closes: bool,
    /// Where the journal is.
    pub state_dir: PathBuf,
}

/// Who is told how it goes.
pub trait Observer {
    /// The load begins.
    fn started(&mut self, injection: &Injection);
    /// It has run for `elapsed`, lately at `cores`.
    fn progress(&mut self, elapsed: Duration, cores: Cores);
    /// It is over and cleaned up.
    fn ended(&mut self, report: &Report);
}

/// The dose in the kernel's terms.
#[derive(Debug, Clone, Copy)]
struct Dose {
    cores: Cores,
    basis: Basis,
    limit: Limit<Cores>,
    threads: usize,
}

impl Dose {
    fn of(request: &Request, target: &Target) -> Result<Self, InjectorError> {
        let online = machine::online_cpus("/sys/devices/system/cpu/online".as_ref())?;
        let limit = target.cpu_limit()?;
        let (cores, basis) = request.intensity.resolve(limit, Cores::saturating(f64::from(online)))?;
        let (needed, most_useful) = (whole(cores.get()), whole(2.0 * cores.get()));
        // One on each processor at least: wherever the target's threads run, the load is there to compete.
        let default = || FEWEST_THREADS.max(most_useful).max(online as usize).min(MOST_THREADS);
        match request.threads.unwrap_or_else(default) {
            threads if threads < needed => {
                Err(InjectorError::TooFewThreads { threads, cores: cores.get(), needed })
            }
            threads => Ok(Self { cores, basis, limit, threads }),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "cores of a node, checked: a small positive number"
)]
fn whole(cores: f64) -> usize {
    cores.ceil() as usize
}

/// Runs one injection from begin to end, and leaves nothing of it.
///
/// # Errors
/// Before the load: when the request cannot be carried out. After it: when something could not be removed.
pub fn run(
    request: &Request,
    hierarchy: &Hierarchy,
    clock: &dyn Clock,
    observer: &mut dyn Observer,
) -> Result<Ending, InjectorError> {
    let target = Target::find(hierarchy, &request.target)?;
    let dose = Dose::of(request, &target)?;
    raise_priority();
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone())?;
    if request.until_stdin_closes {
        watch_stdin(events.clone());
    }
    let id = new_id(clock)?;
    // Until it is moved into the target, the worker is a harmless process that ends with this one.
    let worker = WorkerHandle::spawn(events)?;
    let entry = Entry { id: id.clone(), target: request.target.to_string(), worker: worker.identity()? };
    let scene = Scene::set(&Journal::new(request.state_dir.clone()), entry)?;
    let outcome = target.is_populated().and_then(|was_populated| {
        Supervision { request, target: &target, dose, id, worker, was_populated, inbox }.run(observer)
    });
    let cleared = scene.clear();
    let report = outcome?;
    observer.ended(&report);
    cleared?;
    Ok(report.ending)
}

/// The worker inherits it, and wins what there is to win inside the target; this process, which uses next to no CPU time,
/// ends the load punctually on a busy machine.
fn raise_priority() {
    const HIGHEST: i32 = -20;
    if let Err(error) = rustix::process::setpriority_process(None, HIGHEST) {
        warn(&format!("the load competes at normal priority: raising it was refused ({error})"));
    }
}

/// Unique on this machine, also after a reboot, and readable: the supervisor's process and when it began.
fn new_id(clock: &dyn Clock) -> Result<ContainerName, InjectorError> {
    let id = format!("{}-{}", std::process::id(), clock.now().0 / 1_000_000);
    ContainerName::new(id).map_err(|error| InjectorError::Process {
        operation: "name the injection",
        source: std::io::Error::other(error),
    })
}

/// A worker under supervision.
struct Supervision<'a> {
    request: &'a Request,
    target: &'a Target,
    dose: Dose,
    id: ContainerName,
    worker: WorkerHandle,
    was_populated: bool,
    inbox: Receiver<Event>,
}

/// A load that has begun.
struct Load {
    injection: Injection,
    start: Reading,
    last: Reading,
    second_began: Reading,
    each_second: Vec<Cores>,
}

impl Supervision<'_> {
    fn run(mut self, observer: &mut dyn Observer) -> Result<Report, InjectorError> {
        let mut load = self.start()?;
        observer.started(&load.injection);
        let end = load.start.monotonic + self.request.duration + GRACE;
        loop {
            let now = clocks::monotonic();
            if now >= end {
                return self.stop(load, Ending::Completed);
            }
            match self.inbox.recv_timeout(TICK.min(end - now)) {
                Ok(Event::Worker(Message::Finished { reading })) => {
                    return Ok(load.report(reading, Ending::Completed));
                }
                Ok(Event::Worker(_)) => {}
                Ok(Event::WorkerEnded) => {
                    let ending = self.death()?;
                    let last = load.last;
                    return Ok(load.report(last, ending));
                }
                Ok(Event::Signal) => return self.stop(load, Ending::Interrupted),
                Ok(Event::StdinClosed) => return self.stop(load, Ending::StdinClosed),
                Err(_) if self.target_is_gone()? => return self.stop(load, Ending::TargetGone),
                Err(_) => {
                    load.measure(&self.worker);
                    observer.progress(load.elapsed(), load.lately());
                }
            }
        }
    }

    /// Moves the worker into the target when it is ready, and waits until its load begins.
    fn start(&mut self) -> Result<Load, InjectorError> {
        let end = clocks::monotonic() + START_PATIENCE;
        loop {
            match self.inbox.recv_timeout(end.saturating_sub(clocks::monotonic())) {
                Ok(Event::Worker(Message::Ready)) => {
                    self.target.attach(self.worker.pid())?;
                    let Dose { cores, threads, .. } = self.dose;
                    let duration = self.request.duration;
                    self.worker.order(&Order::Cpu { cores: cores.get(), threads, duration })?;
                }
                Ok(Event::Worker(Message::Started { unix_nanos, reading })) => {
                    return Ok(Load::new(self.injection(unix_nanos), reading));
                }
                Ok(Event::Worker(Message::Finished { .. })) => {}
                Ok(Event::WorkerEnded) => return Err(InjectorError::BeforeStart(self.death()?)),
                Ok(Event::Signal) => return Err(InjectorError::BeforeStart(Ending::Interrupted)),
                Ok(Event::StdinClosed) => return Err(InjectorError::BeforeStart(Ending::StdinClosed)),
                Err(_) => return Err(InjectorError::StartTimeout { seconds: START_PATIENCE.as_secs() }),
            }
        }
    }

    fn injection(&self, started_unix_nanos: u64) -> Injection {
        Injection {
            kind: "cpu",
            id: self.id.to_string(),
            target: self.request.target.to_string(),
            intensity: self.request.intensity.to_string(),
            intensity_basis: self.dose.basis,
            intensity_requested_cores: self.dose.cores,
            target_limit_cores: self.dose.limit,
            threads: self.dose.threads,
            duration_requested_seconds: self.request.duration.as_secs_f64(),
            started_unix_nanos,
        }
    }

    /// A target that had no process to begin with is not gone for having none.
    fn target_is_gone(&self) -> Result<bool, InjectorError> {
        Ok(!self.target.exists() || (self.was_populated && !self.target.is_populated()?))
    }

    fn stop(mut self, mut load: Load, ending: Ending) -> Result<Report, InjectorError> {
        load.measure(&self.worker);
        self.worker.kill()?;
        let last = load.last;
        Ok(load.report(last, ending))
    }

    /// Why the worker is dead, although nobody here has killed it.
    fn death(&mut self) -> Result<Ending, InjectorError> {
        let status = self.worker.exit_status()?;
        if status.signal().is_none() {
            return Err(InjectorError::WorkerFailed { status: status.to_string() });
        }
        // Who removes a container kills all that is in it one after the other, the worker perhaps first.
        let end = clocks::monotonic() + REMOVAL;
        while !self.target_is_gone()? {
            if clocks::monotonic() >= end {
                return Ok(Ending::WorkerKilled);
            }
            // It is over already: whatever else is told meanwhile changes nothing.
            let _ = self.inbox.recv_timeout(REMOVAL / 20);
        }
        Ok(Ending::TargetGone)
    }
}

impl Load {
    fn new(injection: Injection, start: Reading) -> Self {
        Self { injection, start, last: start, second_began: start, each_second: Vec::new() }
    }

    fn measure(&mut self, worker: &WorkerHandle) {
        // A worker that has just died keeps its last reading.
        self.last = worker.reading().unwrap_or(self.last);
        self.count_second(Duration::from_secs(1));
    }

    fn count_second(&mut self, at_least: Duration) {
        if self.last.monotonic.saturating_sub(self.second_began.monotonic) >= at_least {
            self.each_second.push(Cores::saturating(self.last.cores_since(self.second_began)));
            self.second_began = self.last;
        }
    }

    fn elapsed(&self) -> Duration {
        self.last.monotonic.saturating_sub(self.start.monotonic)
    }

    /// The last full second's dose; in the first second, the dose so far.
    fn lately(&self) -> Cores {
        let so_far = || Cores::saturating(self.last.cores_since(self.start));
        self.each_second.last().copied().unwrap_or_else(so_far)
    }

    fn report(mut self, end: Reading, ending: Ending) -> Report {
        self.last = end;
        self.count_second(HALF_A_SECOND);
        Report {
            ended_unix_nanos: UnixNanos(self.injection.started_unix_nanos).plus(self.elapsed()).0,
            duration_seconds: self.elapsed().as_secs_f64(),
            achieved_cores: Cores::saturating(end.cores_since(self.start)),
            achieved_cores_each_second: self.each_second,
            ending,
            injection: self.injection,
        }
    }
}
