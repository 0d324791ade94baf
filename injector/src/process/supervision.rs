//! One dose, from when everything is ready for it to its end: has it begin, measures it each moment, ends it on time, and
//! tells why it ended.
//!
//! Must not know how a dose is given, nor what is set up before it and cleared after it.

use std::{os::unix::process::ExitStatusExt, sync::mpsc::Receiver, time::Duration};

use ballast_api::{Clock, ContainerName};
use ballast_kernel::Hierarchy;

use super::{
    course::Course,
    giver::{Employed, Giver},
    messages::{Message, Reading},
    sources::Event,
    supervisor::{Observer, Request},
};
use crate::{
    clocks,
    error::InjectorError,
    kinds::Dose,
    place::Camp,
    report::{Ending, Injection, Report},
    target::Target,
};

/// How often the dose is measured and the target looked at. An owner who removes the target finds it busy for as long.
const TICK: Duration = Duration::from_millis(100);

/// How long after its time a worker may still be at it before it is killed. A throttled worker cannot end by itself.
const GRACE: Duration = Duration::from_millis(25);

/// How long the removal of a target may take from the worker's death to that of its last process.
const REMOVAL: Duration = Duration::from_millis(200);

/// How long a worker may take to begin: many periods of the smallest quota, and the filling of a large memory or file.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A dose under supervision.
pub(super) struct Supervision<'a> {
    pub(super) request: &'a Request,
    pub(super) hierarchy: &'a Hierarchy,
    pub(super) target: Option<&'a Target>,
    pub(super) dose: Dose,
    pub(super) id: ContainerName,
    pub(super) camp: Option<Camp>,
    pub(super) giver: Giver,
    /// Whether the target had a process before the dose.
    pub(super) was_populated: bool,
    pub(super) inbox: Receiver<Event>,
}

/// What came of a dose that began.
pub(super) struct Outcome {
    pub(super) report: Report,
    /// Why it could not go on, where its ending is that.
    pub(super) failure: Option<InjectorError>,
}

/// When and why a dose was over, and how far it was, where that was told.
struct Over {
    reading: Option<Reading>,
    ended: Duration,
    ending: Ending,
}

impl Supervision<'_> {
    /// Gives the dose, and tells the observer of it. It is over when this returns.
    pub(super) fn run(
        &mut self,
        clock: &dyn Clock,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, InjectorError> {
        let mut course = self.begin(clock)?;
        observer.started(&course.injection);
        let (Over { reading, ended, ending }, failure) = match self.attend(&mut course, observer) {
            Ok(over) => (over, None),
            Err(error) => {
                // What cannot be ended here is taken back with the scene.
                let _ = self.giver.end();
                let ended = clocks::monotonic();
                (Over { reading: None, ended, ending: Ending::Failed }, Some(error))
            }
        };
        Ok(Outcome { report: course.end(reading, ended, ending), failure })
    }

    /// Measures the dose each moment, until it is over.
    fn attend(&mut self, course: &mut Course, observer: &mut dyn Observer) -> Result<Over, InjectorError> {
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
                    let (reading, ended) = (Some(reading), reading.monotonic);
                    return Ok(Over { reading, ended, ending: Ending::Completed });
                }
                Ok(Event::Worker(Message::Done { reading })) => self.told(reading),
                Ok(Event::WorkerEnded) => {
                    let ending = self.death()?;
                    return Ok(Over { reading: None, ended: clocks::monotonic(), ending });
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
                Ok(Event::Guard(reason)) => return Err(InjectorError::Guarded { reason }),
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

    fn stop(&mut self, course: &mut Course, ending: Ending) -> Result<Over, InjectorError> {
        course.note(self.giver.reading());
        let ended = self.giver.end()?;
        Ok(Over { reading: None, ended, ending })
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

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use ballast_api::SystemClock;
    use clap::Parser;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        intensity::Basis,
        kinds::Act,
        process::giver::Acting,
        undo::Undo,
        unit::Unit,
    };

    /// In force, and not to be ended.
    struct Stuck;

    impl Act for Stuck {
        fn undo(&self) -> Vec<Undo> {
            Vec::new()
        }

        fn begin(&mut self) -> Result<(), InjectorError> {
            Ok(())
        }

        fn in_force(&mut self) -> Result<f64, InjectorError> {
            Ok(0.5)
        }

        fn end(&mut self) -> Result<Duration, InjectorError> {
            Err(InjectorError::Impossible { what: "end it", reason: "it is stuck".to_owned() })
        }
    }

    /// Counts what it is told.
    #[derive(Default)]
    struct Listener {
        started: usize,
    }

    impl Observer for Listener {
        fn started(&mut self, _: &Injection) {
            self.started += 1;
        }

        fn progress(&mut self, _: Duration, _: f64) {}

        fn ended(&mut self, _: &Report) {}
    }

    fn request() -> Request {
        let line = ["ballast-injector", "cpu", "--node", "--intensity", "50%", "--duration", "200ms"];
        match Cli::try_parse_from(line).unwrap().command {
            Command::Cpu(asked) => asked.common.request(asked.place, Box::new(asked.kind)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_dose_that_fails_in_the_midst_is_told_with_what_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let (mountinfo, point) = (folder.path().join("mountinfo"), folder.path().display());
        fs::write(&mountinfo, format!("41 31 0:38 / {point} rw - cgroup2 cgroup2 rw\n")).unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "cpu\n").unwrap();
        let (_events, inbox) = mpsc::channel();
        let mut supervision = Supervision {
            request: &request(),
            hierarchy: &Hierarchy::find(&mountinfo).unwrap(),
            target: None,
            dose: Dose {
                kind: "pause",
                intensity: "50%".to_owned(),
                intensity_basis: Basis::Absolute,
                unit: Unit::Share,
                requested: 0.5,
                target_limit: None,
                details: [].into(),
            },
            id: "test".parse().unwrap(),
            camp: None,
            giver: Giver::Act(Acting::new(Box::new(Stuck))),
            was_populated: false,
            inbox,
        };
        let mut listener = Listener::default();
        let Outcome { report, failure } = supervision.run(&SystemClock, &mut listener).unwrap();
        assert_eq!((listener.started, report.ending), (1, Ending::Failed));
        assert!((report.achieved - 0.5).abs() < 1e-9 && report.duration_seconds >= 0.2, "{report:?}");
        assert!(failure.unwrap().to_string().contains("it is stuck"));
    }
}
