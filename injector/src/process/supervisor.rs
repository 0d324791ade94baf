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
    supervision::{Outcome, Supervision},
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
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone())?;
    request.guards.check()?;
    let Prepared { dose, work } = request.kind.prepare(&situation)?;
    raise_priority();
    if request.until_stdin_closes {
        watch_stdin(events.clone());
    }
    request.guards.watch(&events);
    let was_populated = target.as_ref().map_or(Ok(false), Target::is_populated)?;
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
    let mut supervision = Supervision {
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
    let outcome = supervision.run(clock, observer);
    // Who claims the same place next must not have it cleared away.
    let claim = supervision.giver.into_claim();
    let cleared = scene.clear();
    drop(claim);
    conclude(outcome, cleared, observer)
}

/// Tells what was given, and how it ended: what is left behind counts before everything else.
fn conclude(
    outcome: Result<Outcome, InjectorError>,
    cleared: Result<(), InjectorError>,
    observer: &mut dyn Observer,
) -> Result<Ending, InjectorError> {
    let ended = outcome.and_then(|Outcome { report, failure }| {
        observer.ended(&report);
        failure.map_or(Ok(report.ending), Err)
    });
    match (ended, cleared) {
        (Err(error), Err(left_behind)) => {
            warn(&format!("{:#}", anyhow::Error::from(error)));
            Err(left_behind)
        }
        (ended, cleared) => cleared.and(ended),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl Observer for Nobody {
        fn started(&mut self, _: &Injection) {}
        fn progress(&mut self, _: Duration, _: f64) {}
        fn ended(&mut self, _: &Report) {}
    }

    #[test]
    fn what_is_left_behind_counts_before_everything_else() {
        let timeout = || Err(InjectorError::StartTimeout { seconds: 30 });
        let left = Err(InjectorError::LeftBehind(Box::new(InjectorError::BeforeStart(Ending::TargetGone))));
        let both = conclude(timeout(), left, &mut Nobody).unwrap_err();
        assert!(matches!(both, InjectorError::LeftBehind(_)), "{both}");
        let one = conclude(timeout(), Ok(()), &mut Nobody).unwrap_err();
        assert!(matches!(one, InjectorError::StartTimeout { .. }), "{one}");
    }
}
