//! The process that the user started: sets the scene, has the dose given, measures it, ends it on time.
//!
//! Must not know how a dose is given nor how it is shown.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    sync::mpsc::{self, Receiver, Sender},
    time::Duration,
};

use ballast_api::{Clock, ContainerName};
use ballast_kernel::Hierarchy;

use super::{
    course::Course,
    giver::{Acting, Employed, Giver},
    messages::{Message, Order, Reading},
    scene::Scene,
    sources::{Event, watch_signals, watch_stdin},
    worker_handle::WorkerHandle,
};
use crate::{
    clocks,
    console::warn,
    error::InjectorError,
    guards::Guards,
    journal::{Entry, Journal},
    kinds::{Dose, Kind, Prepared, Situation, Work},
    place::{Camp, Place},
    report::{Ending, Injection, Report},
    target::Target,
    undo::Undo,
};

/// How often the dose is measured and the target looked at. An owner who removes the target finds it busy for as long.
const TICK: Duration = Duration::from_millis(100);

/// How long after its time a worker may still be at it before it is killed. A throttled worker cannot end by itself.
const GRACE: Duration = Duration::from_millis(25);

/// How long the removal of a target may take from the worker's death to that of its last process.
const REMOVAL: Duration = Duration::from_millis(200);

/// How long a worker may take to begin: many periods of the smallest quota, and the filling of a large memory or file.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// One injection, as asked.
pub struct Request {
    /// Where.
    pub place: Place,
    /// What, and how much of it.
    pub kind: Box<dyn Kind>,
    /// From its first moment to its last.
    pub duration: Duration,
    /// As its owner calls it.
    pub label: Option<String>,
    /// What ends it early.
    pub guards: Guards,
    /// Whether the end of standard input ends the injection.
    pub until_stdin_closes: bool,
    /// Where the journal is.
    pub state_dir: PathBuf,
}

/// Who is told how it goes.
pub trait Observer {
    /// The dose begins.
    fn started(&mut self, injection: &Injection);
    /// It has run for `elapsed`, lately at so much.
    fn progress(&mut self, elapsed: Duration, lately: f64);
    /// It is over and cleaned up.
    fn ended(&mut self, report: &Report);
}

/// Runs one injection from begin to end, and leaves nothing of it.
///
/// # Errors
/// Before the dose: when the request cannot be carried out. After it: when something could not be removed.
pub fn run(
    request: &Request,
    hierarchy: &Hierarchy,
    clock: &dyn Clock,
    observer: &mut dyn Observer,
) -> Result<Ending, InjectorError> {
    let target = request.place.find(hierarchy)?;
    let situation = Situation {
        hierarchy,
        target: target.as_ref(),
        is_inside: request.place.is_inside(),
        duration: request.duration,
    };
    let Prepared { dose, work } = request.kind.prepare(&situation)?;
    request.guards.check()?;
    raise_priority();
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone())?;
    if request.until_stdin_closes {
        watch_stdin(events.clone());
    }
    request.guards.watch(&events);
    let id = new_id(clock)?;
    let camp = (!request.place.is_inside()).then(|| Camp::of(id.as_str()));
    let (giver, undo) = employ(request, target.as_ref(), work, camp.as_ref(), events)?;
    let entry = Entry {
        id: id.clone(),
        kind: dose.kind.to_owned(),
        target: target.as_ref().map(|target| target.path().to_string()),
        undo,
    };
    let scene = Scene::set(&Journal::new(request.state_dir.clone()), entry, request.duration)?;
    let was_populated = target.as_ref().map_or(Ok(false), Target::is_populated);
    let outcome = was_populated.and_then(|was_populated| {
        let supervision = Supervision {
            request,
            hierarchy,
            target: target.as_ref(),
            dose,
            id,
            camp,
            giver,
            was_populated,
            inbox,
        };
        supervision.run(clock, observer)
    });
    let cleared = scene.clear();
    let report = outcome?;
    observer.ended(&report);
    cleared?;
    Ok(report.ending)
}

/// Who is to give the dose, and what takes it back. Until it is moved to its place, a worker is a harmless process that ends
/// with this one.
fn employ(
    request: &Request,
    target: Option<&Target>,
    work: Work,
    camp: Option<&Camp>,
    events: Sender<Event>,
) -> Result<(Giver, Vec<Undo>), InjectorError> {
    match work {
        Work::Load(load) => {
            let worker = WorkerHandle::spawn(events)?;
            let ends = Undo::EndProcess { process: worker.identity()? };
            let undo = [ends].into_iter().chain(camp.map(Camp::undo)).collect();
            let beside = target.filter(|_| !request.place.is_inside());
            let processors = beside.map_or(Ok(Vec::new()), Target::processors)?;
            let order = Order { load, duration: request.duration, processors };
            Ok((Giver::Worker(Employed::new(worker, order)), undo))
        }
        Work::Act(act) => {
            let undo = act.undo();
            Ok((Giver::Act(Acting::new(act)), undo))
        }
    }
}

/// The worker inherits it, and wins what there is to win inside the target; this process, which uses next to no CPU time,
/// ends the dose punctually on a busy machine.
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

/// A dose under supervision.
struct Supervision<'a> {
    request: &'a Request,
    hierarchy: &'a Hierarchy,
    target: Option<&'a Target>,
    dose: Dose,
    id: ContainerName,
    camp: Option<Camp>,
    giver: Giver,
    was_populated: bool,
    inbox: Receiver<Event>,
}

impl Supervision<'_> {
    fn run(mut self, clock: &dyn Clock, observer: &mut dyn Observer) -> Result<Report, InjectorError> {
        let mut course = self.begin(clock)?;
        observer.started(&course.injection);
        let grace = if matches!(self.giver, Giver::Worker(_)) { GRACE } else { Duration::ZERO };
        let end = course.start.monotonic + self.request.duration + grace;
        let mut look = course.start.monotonic + TICK;
        loop {
            let now = clocks::monotonic();
            if now >= end {
                return self.stop(course, Ending::Completed);
            }
            if now >= look {
                look = now + TICK;
                if self.target_is_gone()? {
                    return self.stop(course, Ending::TargetGone);
                }
                course.note(self.giver.reading());
                observer.progress(course.elapsed(), course.lately());
            }
            match self.inbox.recv_timeout(look.min(end) - now) {
                Ok(Event::Worker(Message::Finished { reading })) => {
                    return Ok(course.end(Some(reading), reading.monotonic, Ending::Completed));
                }
                Ok(Event::Worker(Message::Done { reading })) => self.told(reading),
                Ok(Event::WorkerEnded) => {
                    let ending = self.death()?;
                    return Ok(course.end(None, clocks::monotonic(), ending));
                }
                Ok(Event::Signal) => return self.stop(course, Ending::Interrupted),
                Ok(Event::StdinClosed) => return self.stop(course, Ending::StdinClosed),
                Ok(Event::Guard(reason)) => {
                    course.guard = Some(reason);
                    return self.stop(course, Ending::Guarded);
                }
                Ok(Event::Worker(_)) | Err(_) => {}
            }
        }
    }

    /// Has the dose begin.
    fn begin(&mut self, clock: &dyn Clock) -> Result<Course, InjectorError> {
        if let Giver::Act(acting) = &mut self.giver {
            let start = acting.begin()?;
            return Ok(Course::new(self.injection(clock.now().0), start));
        }
        if let Giver::Worker(Employed { worker, order, .. }) = &mut self.giver {
            worker.order(order)?;
        }
        let end = clocks::monotonic() + START_PATIENCE;
        loop {
            match self.inbox.recv_timeout(end.saturating_sub(clocks::monotonic())) {
                Ok(Event::Worker(Message::Ready)) => self.place_and_go()?,
                Ok(Event::Worker(Message::Started { unix_nanos, reading })) => {
                    self.told(reading);
                    return Ok(Course::new(self.injection(unix_nanos), reading));
                }
                Ok(Event::Worker(_)) => {}
                Ok(Event::WorkerEnded) => return Err(InjectorError::BeforeStart(self.death()?)),
                Ok(Event::Signal) => return Err(InjectorError::BeforeStart(Ending::Interrupted)),
                Ok(Event::StdinClosed) => return Err(InjectorError::BeforeStart(Ending::StdinClosed)),
                Ok(Event::Guard(_)) => return Err(InjectorError::BeforeStart(Ending::Guarded)),
                Err(_) => return Err(InjectorError::StartTimeout { seconds: START_PATIENCE.as_secs() }),
            }
        }
    }

    /// Moves the worker, which knows what to do, to where the load is to be, and has it begin.
    fn place_and_go(&mut self) -> Result<(), InjectorError> {
        let Giver::Worker(Employed { worker, .. }) = &mut self.giver else { return Ok(()) };
        match (&self.camp, self.target) {
            (Some(camp), _) => camp.make_for(self.hierarchy, worker.pid())?,
            (None, Some(target)) => target.attach(worker.pid())?,
            (None, None) => {}
        }
        worker.go()
    }

    fn told(&mut self, reading: Reading) {
        if let Giver::Worker(employed) = &mut self.giver {
            employed.tell(reading);
        }
    }

    fn injection(&self, started_unix_nanos: u64) -> Injection {
        Injection {
            id: self.id.to_string(),
            label: self.request.label.clone(),
            place: self.request.place.word(),
            target: self.target.map(|target| target.path().to_string()),
            dose: self.dose.clone(),
            duration_requested_seconds: self.request.duration.as_secs_f64(),
            started_unix_nanos,
        }
    }

    /// A target that had no process to begin with is not gone for having none.
    fn target_is_gone(&self) -> Result<bool, InjectorError> {
        let Some(target) = self.target else { return Ok(false) };
        Ok(!target.exists() || (self.was_populated && !target.is_populated()?))
    }

    fn stop(mut self, mut course: Course, ending: Ending) -> Result<Report, InjectorError> {
        course.note(self.giver.reading());
        let ended = self.giver.end()?;
        Ok(course.end(None, ended, ending))
    }

    /// Why the worker is dead, although nobody here has killed it.
    fn death(&mut self) -> Result<Ending, InjectorError> {
        let Giver::Worker(Employed { worker, .. }) = &mut self.giver else { return Ok(Ending::WorkerKilled) };
        let status = worker.exit_status()?;
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
