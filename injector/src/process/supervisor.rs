//! The process that the user started: finds out what is asked for, employs who gives it, sets the scene, has the dose
//! supervised, clears the scene.
//!
//! Must not know how a dose is given nor how it is shown.

use std::{
    path::PathBuf,
    sync::mpsc::{self, Sender},
    time::Duration,
};

use ballast_api::{Clock, ContainerName};
use ballast_kernel::Hierarchy;

use super::{
    giver::{Acting, Employed, Giver},
    messages::Order,
    scene::Scene,
    sources::{Event, watch_signals, watch_stdin},
    supervision::Supervision,
    worker_handle::WorkerHandle,
};
use crate::{
    console::warn,
    error::InjectorError,
    guards::Guards,
    journal::{Entry, Journal},
    kinds::{Kind, Prepared, Situation, Work},
    place::{Camp, Place},
    report::{Ending, Injection, Report},
    target::Target,
    undo::Undo,
};

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
