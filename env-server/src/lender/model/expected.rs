//! What a container's limits must be: the model, without a kernel and without a journal.

use super::{Pick, QUOTAS_US, RATES, Rates};

/// Microseconds of quota, bytes, operations.
pub(super) type Values = (i64, Rates, Rates);

/// One limit of a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<T> {
    pub(super) own: T,
    pub(super) in_force: T,
    pub(super) is_lent: bool,
    /// Whether it is known what was lent: not after a failed attempt to give it back.
    pub(super) is_watched: bool,
    pub(super) is_held: bool,
}

impl<T: Copy + PartialEq> Part<T> {
    pub(super) fn new(own: T) -> Self {
        Self { own, in_force: own, is_lent: false, is_watched: false, is_held: false }
    }

    pub(super) fn give_back(&mut self) {
        *self = Self { is_held: self.is_held, ..Self::new(self.own) };
    }

    pub(super) fn lend(&mut self, asked: Option<T>) {
        if let Some(asked) = asked.filter(|_| !self.is_held) {
            (self.in_force, self.is_lent, self.is_watched) = (asked, true, true);
        }
    }

    /// Whether that took a loan away.
    pub(super) fn meddle(&mut self, value: T) -> bool {
        let was_taken = self.is_watched && self.in_force != value;
        if was_taken {
            *self = Self { is_held: true, ..Self::new(value) };
        } else {
            self.in_force = value;
            self.own = if self.is_lent { self.own } else { value };
        }
        was_taken
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) cpu: Part<i64>,
    pub(super) bytes: Part<Rates>,
    pub(super) operations: Part<Rates>,
    pub(super) due_ms: Option<u64>,
    pub(super) failed_attempts: u32,
    pub(super) generation: u64,
    pub(super) held_until_ms: u64,
    pub(super) times_held: u32,
    pub(super) refuses: bool,
}

impl Model {
    pub(super) fn new((quota_us, bytes, operations): Values) -> Self {
        let (cpu, bytes, operations) = (Part::new(quota_us), Part::new(bytes), Part::new(operations));
        let (due_ms, failed_attempts, generation) = (None, 0, 0);
        let (held_until_ms, times_held, refuses) = (0, 0, false);
        Self {
            cpu,
            bytes,
            operations,
            due_ms,
            failed_attempts,
            generation,
            held_until_ms,
            times_held,
            refuses,
        }
    }

    pub(super) fn own(&self) -> Values {
        (self.cpu.own, self.bytes.own, self.operations.own)
    }

    pub(super) fn in_force(&self) -> Values {
        (self.cpu.in_force, self.bytes.in_force, self.operations.in_force)
    }

    /// Whether all of it came back.
    pub(super) fn give_back(&mut self, now_ms: u64) -> bool {
        // What is back is out of the books, whatever is refused beside it.
        self.bytes.give_back();
        self.operations.give_back();
        if self.refuses && self.cpu.in_force != self.cpu.own {
            self.cpu.is_watched = false;
            self.due_ms = Some(now_ms + (500 << self.failed_attempts.min(16)).min(30_000));
            self.failed_attempts += 1;
            return false;
        }
        self.cpu.give_back();
        (self.due_ms, self.failed_attempts) = (None, 0);
        true
    }

    pub(super) fn at(&mut self, now_ms: u64) {
        if self.due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
            self.give_back(now_ms);
        }
        if self.held_until_ms <= now_ms {
            (self.cpu.is_held, self.bytes.is_held, self.operations.is_held) = (false, false, false);
        }
    }

    /// What the next lender makes of it.
    pub(super) fn crash(&mut self, now_ms: u64) {
        self.end_hold();
        (self.generation, self.failed_attempts) = (0, 0);
        if self.due_ms.is_some() {
            self.give_back(now_ms);
        }
    }

    /// Whether the kernel would refuse what is asked.
    pub(super) fn is_refused(&self, pick: Pick) -> bool {
        let is_another = |quota| QUOTAS_US[quota] != self.cpu.in_force;
        self.refuses && !self.cpu.is_held && pick.quota.is_some_and(is_another)
    }

    pub(super) fn lend(&mut self, pick: Pick, due_ms: u64) {
        self.cpu.lend(pick.quota.map(|quota| QUOTAS_US[quota]));
        self.bytes.lend(pick.bytes.map(|rates| RATES[rates]));
        self.operations.lend(pick.operations.map(|rates| RATES[rates]));
        (self.due_ms, self.failed_attempts) = (self.is_lent().then_some(due_ms), 0);
    }

    pub(super) fn is_lent(&self) -> bool {
        self.cpu.is_lent || self.bytes.is_lent || self.operations.is_lent
    }

    /// A minute, then two, then four: the lives here are too short for the hour.
    pub(super) fn begin_hold(&mut self, now_ms: u64) {
        self.held_until_ms = now_ms + (60_000 << self.times_held);
        self.times_held += 1;
        self.due_ms = self.due_ms.filter(|_| self.is_lent());
    }

    pub(super) fn end_hold(&mut self) {
        (self.held_until_ms, self.times_held) = (0, 0);
        (self.cpu.is_held, self.bytes.is_held, self.operations.is_held) = (false, false, false);
    }
}
