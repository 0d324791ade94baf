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

impl Supervision<'_> {
    /// Gives the dose, and tells the observer of it. It is over when this returns.
    pub(super) fn run(
        mut self,
        clock: &dyn Clock,
        observer: &mut dyn Observer,
    ) -> Result<Report, InjectorError> {
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
