//! All processes of the target stopped for a while, as a machine that hangs would do it.
//!
//! By the kernel's freezer: the processes cannot notice, nor catch it as they can a signal.

use std::time::Duration;

use ballast_kernel::{CgroupPath, Freezer};
use clap::Args;

use super::{Act, Dose, Kind, Prepared, Situation, Work, claim::Claim};
use crate::{
    clocks,
    error::InjectorError,
    intensity::Basis,
    report::Ending,
    undo::{MOUNTINFO, Undo},
    unit::Unit,
};

/// How long processes may take to be stopped before the time counts.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

const WHAT: &str = "pause the target";
const NO_FREEZER: &str =
    "it is in no freezer: that takes cgroup v1 with the controller freezer, or cgroup v2 (Linux 5.2)";

/// Options of the kind `pause`: there are none, a process is stopped or it is not.
#[derive(Debug, Clone, Args)]
pub struct Pause {}

impl Kind for Pause {
    fn prepare(&self, situation: &Situation<'_>) -> Result<Prepared, InjectorError> {
        let target = situation.target.ok_or_else(|| InjectorError::Impossible {
            what: "pause the whole node",
            reason: "whoever is to end it would be paused too: name a target".to_owned(),
        })?;
        let impossible = |reason: &str| InjectorError::Impossible { what: WHAT, reason: reason.to_owned() };
        let path = target.path();
        let freezer = Freezer::find(MOUNTINFO.as_ref(), path)?.ok_or_else(|| impossible(NO_FREEZER))?;
        if freezer.holds(std::process::id())? {
            return Err(impossible("this program is in it, and would be paused too: start it elsewhere"));
        }
        let claim = Claim::take("pause", target.identity(), WHAT)?;
        if freezer.is_frozen()? {
            return Err(impossible("somebody has paused it already"));
        }
        // What is open is the target's: where it is there after the opening, it was there at it.
        if !target.exists() {
            return Err(InjectorError::BeforeStart(Ending::TargetGone));
        }
        Ok(Prepared {
            dose: Dose {
                kind: "pause",
                intensity: "all of it".to_owned(),
                intensity_basis: Basis::Absolute,
                unit: Unit::Share,
                requested: 1.0,
                target_limit: None,
                details: [].into(),
            },
            work: Work::Act(Box::new(Pausing {
                freezer,
                path: path.clone(),
                identity: target.identity(),
                _claim: claim,
            })),
        })
    }
}

struct Pausing {
    freezer: Freezer,
    path: CgroupPath,
    identity: u64,
    _claim: Claim,
}

impl Act for Pausing {
    fn undo(&self) -> Vec<Undo> {
        vec![Undo::Thaw { cgroup: self.path.to_string(), identity: self.identity }]
    }

    fn begin(&mut self) -> Result<(), InjectorError> {
        match self.freezer.freeze(true) {
            Err(error) if error.is_gone() => return Err(InjectorError::BeforeStart(Ending::TargetGone)),
            frozen => frozen?,
        }
        // The time counts from when all are stopped. One in the midst of a long call may take longer: the report tells.
        let patience = clocks::monotonic() + PATIENCE;
        while !self.freezer.is_frozen()? && clocks::monotonic() < patience {
            clocks::sleep_until(clocks::monotonic() + LOOK_AGAIN);
        }
        Ok(())
    }

    fn in_force(&mut self) -> Result<f64, InjectorError> {
        Ok(if self.freezer.is_frozen()? { 1.0 } else { 0.0 })
    }

    fn end(&mut self) -> Result<Duration, InjectorError> {
        match self.freezer.freeze(false) {
            Err(error) if !error.is_gone() => Err(error.into()),
            _ => Ok(clocks::monotonic()),
        }
    }
}
