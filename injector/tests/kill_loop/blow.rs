//! What is done to an injection: some of its processes are killed, its target restarts or is made anew, or both.
//!
//! Must not know what comes of it.

use std::time::Duration;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{RngExt, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

use crate::{
    scene::{Injection, Scene},
    shared::{children_of, pause},
    support::has_role,
};

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Supervisor,
    Worker,
    Janitor,
}

const VICTIMS: [Victim; 3] = [Victim::Supervisor, Victim::Worker, Victim::Janitor];

/// What happens to the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    Stays,
    /// All its processes end, and others come; its network stays.
    Restarts,
    /// It is removed with its network, and made again.
    IsMadeAnew,
}

const FATES: [Fate; 4] = [Fate::Stays, Fate::Stays, Fate::Restarts, Fate::IsMadeAnew];

/// Between two kills: a janitor that is killed a while after its supervisor is at work then.
const FARTHEST_APART: Duration = Duration::from_millis(15);

#[derive(Debug)]
pub(crate) struct Blow {
    /// In this order.
    killed: Vec<Victim>,
    apart: Duration,
    pub(crate) target: Fate,
    target_first: bool,
}

impl Blow {
    pub(crate) fn draw(chance: &mut Pcg64Mcg) -> Self {
        let target = FATES[chance.random_range(0..FATES.len())];
        let mut killed = VICTIMS.to_vec();
        killed.shuffle(chance);
        killed.truncate(chance.random_range(usize::from(target == Fate::Stays)..=VICTIMS.len()));
        let at_once: bool = chance.random();
        let apart =
            if at_once { Duration::ZERO } else { chance.random_range(Duration::ZERO..FARTHEST_APART) };
        Self { killed, apart, target, target_first: chance.random() }
    }

    pub(crate) fn strike(&self, scene: &mut Scene, injection: &Injection) {
        let children = children_of(injection.supervisor());
        let child = |role: &str| children.iter().copied().find(|pid| has_role(*pid, role));
        let pid = |victim: &Victim| match victim {
            Victim::Supervisor => Some(injection.supervisor()),
            Victim::Worker => child("worker"),
            Victim::Janitor => child("janitor"),
        };
        let pids: Vec<_> = self.killed.iter().filter_map(pid).collect();
        if self.target_first {
            self.change(scene);
        }
        for pid in pids {
            // Who is gone already is gone.
            let _ = kill(Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL);
            pause(self.apart);
        }
        if !self.target_first {
            self.change(scene);
        }
    }

    fn change(&self, scene: &mut Scene) {
        match self.target {
            Fate::Stays => {}
            Fate::Restarts => scene.restart_target(),
            Fate::IsMadeAnew => scene.remake_target(),
        }
    }

    /// Whether neither supervisor nor janitor is there afterwards.
    pub(crate) fn leaves_nobody(&self) -> bool {
        self.killed.contains(&Victim::Supervisor) && self.killed.contains(&Victim::Janitor)
    }
}
