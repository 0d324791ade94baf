//! Who gives the dose: a worker, or the kernel at the supervisor's word.
//!
//! Must not know when it is enough.

use std::time::Duration;

use super::{
    messages::{Order, Reading},
    worker_handle::WorkerHandle,
};
use crate::{clocks, error::InjectorError, kinds::Act};

/// Either, until the end.
pub(super) enum Giver {
    Worker(Employed),
    Act(Acting),
}

/// A worker with its order.
pub(super) struct Employed {
    pub(super) worker: WorkerHandle,
    pub(super) order: Order,
    /// The last that it told.
    told: Option<Reading>,
}

/// A change of the kernel's state, and what it came to so far.
pub(super) struct Acting {
    act: Box<dyn Act>,
    in_force: f64,
    reading: Reading,
}

impl Employed {
    pub(super) fn new(worker: WorkerHandle, order: Order) -> Self {
        Self { worker, order, told: None }
    }

    pub(super) fn tell(&mut self, reading: Reading) {
        self.told = Some(reading);
    }
}

impl Acting {
    pub(super) fn new(act: Box<dyn Act>) -> Self {
        Self { act, in_force: 0.0, reading: Reading { monotonic: Duration::ZERO, amount: 0.0 } }
    }

    /// Makes the change, and answers when it was made.
    pub(super) fn begin(&mut self) -> Result<Reading, InjectorError> {
        let begun = self.act.begin();
        self.reading.monotonic = clocks::monotonic();
        if let Err(error) = begun {
            // What was made in part; the error that counts is the first.
            let _ = self.act.end();
            return Err(error);
        }
        self.in_force = self.act.in_force()?;
        Ok(self.reading)
    }

    /// What was in force at the last look is taken to have been so until now.
    fn read(&mut self) -> Result<Reading, InjectorError> {
        let now = clocks::monotonic();
        let past = now.saturating_sub(self.reading.monotonic).as_secs_f64();
        let in_force = self.act.in_force()?;
        let looked_at = || self.reading.amount + past * 0.5 * (self.in_force + in_force);
        let amount = self.act.given().unwrap_or_else(looked_at);
        (self.reading, self.in_force) = (Reading { monotonic: now, amount }, in_force);
        Ok(self.reading)
    }
}

impl Giver {
    /// How far it is; nothing new where that is not to be had: from a worker that has just died, of a target that is gone.
    pub(super) fn reading(&mut self) -> Option<Reading> {
        match self {
            Self::Worker(Employed { worker, order, told }) => {
                if order.load.is_cpu_time() {
                    worker.cpu_time()
                } else {
                    *told
                }
            }
            Self::Act(acting) => acting.read().ok(),
        }
    }

    /// What keeps others from the same place, once this is over: until it is dropped. A worker is gone when this returns.
    pub(super) fn into_claim(self) -> Option<Acting> {
        match self {
            Self::Worker(_) => None,
            Self::Act(acting) => Some(acting),
        }
    }

    /// Ends the dose now, and answers when that was. A worker does nothing any more once it is killed, though one that is
    /// throttled may take until its next period to be gone.
    pub(super) fn end(&mut self) -> Result<Duration, InjectorError> {
        match self {
            Self::Worker(employed) => {
                let killed = clocks::monotonic();
                employed.worker.kill().map(|()| killed)
            }
            Self::Act(acting) => acting.act.end(),
        }
    }
}
