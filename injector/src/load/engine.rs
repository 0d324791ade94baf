//! The loop that sends each request when it is due and takes the answers: one thread, which waits for nobody.
//!
//! Memory is bounded by the connections (of each no more than a head is kept) and by the queue. Must not know how rates
//! come about nor how results are shown.

use std::{collections::VecDeque, io, time::Duration};

use super::{
    connection::{Connection, Next, Shared},
    pool::Pool,
    schedule::Schedule,
    stop::Stop,
    tally::{Failure, Tally},
    target::Target,
    ticker::{Alarm, Ticker},
};
use crate::report::Ending;

/// How often the user is told and asked.
const TICK: u64 = 100_000_000;

/// How much of an answer is read at once, in bytes.
const BUFFER: usize = 64 << 10;

/// A sleep ends this early, in nanoseconds, and the rest is spent looking for answers: waking up takes some time.
const EARLY: u64 = 20_000;

/// The longest time, in nanoseconds, that what is due is left alone while there is no connection for it.
const LAZY: u64 = 1_000_000;

/// What the loop needs to know.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From the first to the last request.
    pub duration: Duration,
    /// The most connections.
    pub connections: u32,
    /// The most requests that wait for a connection.
    pub queue: usize,
    /// How long a request may take once it is given to a connection.
    pub timeout: Duration,
}

/// Who is told how it goes.
pub trait Observer {
    /// It has run for `elapsed`. Called ten times a second, from the loop: must not wait.
    fn progress(&mut self, elapsed: Duration, tally: &mut Tally);
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// Counts and times.
    pub tally: Tally,
    /// How long requests were sent.
    pub sending: Duration,
    /// Why it ended.
    pub ending: Ending,
}

struct Engine<'a> {
    target: &'a Target,
    limits: &'a Limits,
    schedule: Schedule,
    /// When the next request is due.
    next: Option<u64>,
    pool: Pool,
    alarm: Alarm,
    shared: Shared,
    /// The intended times of requests for which there is no connection yet.
    queue: VecDeque<u64>,
    next_sweep: u64,
    next_tick: u64,
}

/// Sends the requests of a schedule, and waits for the last answers no longer than for any.
///
/// # Errors
/// When the kernel refuses what no single request needs.
pub fn run(
    target: &Target,
    limits: &Limits,
    schedule: Schedule,
    stop: &Stop,
    observer: &mut dyn Observer,
) -> io::Result<Outcome> {
    let mut engine = Engine::new(target, limits, schedule)?;
    let end = nanos(limits.duration);
    let asked = engine.send_until(end, stop, observer)?;
    let sending = engine.shared.ticker.nanos().min(end);
    engine.leave_queue();
    let asked_late = if asked.is_none() { engine.await_answers(stop, observer)? } else { None };
    engine.leave_connections();
    let ending = asked.or(asked_late).unwrap_or(Ending::Completed);
    Ok(Outcome { tally: engine.shared.tally, sending: Duration::from_nanos(sending), ending })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<'a> Engine<'a> {
    fn new(target: &'a Target, limits: &'a Limits, mut schedule: Schedule) -> io::Result<Self> {
        let alarm = Alarm::new()?;
        let pool = Pool::new(limits.connections, &alarm)?;
        let next = schedule.next();
        let shared = Shared {
            request: target.request.clone(),
            buffer: vec![0; BUFFER].into(),
            tally: Tally::new(nanos(limits.duration)),
            ticker: Ticker::start(),
        };
        Ok(Self {
            target,
            limits,
            schedule,
            next,
            pool,
            alarm,
            shared,
            queue: VecDeque::new(),
            next_sweep: 0,
            next_tick: TICK,
        })
    }

    /// Answers who asked for an earlier end.
    fn send_until(
        &mut self,
        end: u64,
        stop: &Stop,
        observer: &mut dyn Observer,
    ) -> io::Result<Option<Ending>> {
        loop {
            let now = self.shared.ticker.nanos();
            self.send_due(now.min(end));
            if now >= end {
                return Ok(None);
            }
            if let Some(asked) = self.housekeeping(now, stop, observer) {
                return Ok(Some(asked));
            }
            self.take_events(self.next.unwrap_or(end).min(end))?;
            self.serve_queue();
        }
    }

    /// The same without sending: what is under way is answered, fails, or times out.
    fn await_answers(&mut self, stop: &Stop, observer: &mut dyn Observer) -> io::Result<Option<Ending>> {
        while self.pool.is_busy() {
            let now = self.shared.ticker.nanos();
            if let Some(asked) = self.housekeeping(now, stop, observer) {
                return Ok(Some(asked));
            }
            self.take_events(u64::MAX)?;
        }
        Ok(None)
    }

    fn send_due(&mut self, now: u64) {
        while let Some(intended) = self.next.filter(|intended| *intended <= now) {
            self.next = self.schedule.next();
            self.shared.tally.request(intended);
            if !self.queue.is_empty() || !self.start(intended) {
                if self.queue.len() < self.limits.queue {
                    self.queue.push_back(intended);
                } else {
                    self.shared.tally.fail(Failure::Dropped, now);
                }
            }
        }
    }

    fn serve_queue(&mut self) {
        while let Some(intended) = self.queue.front().copied() {
            if !self.start(intended) {
                break;
            }
            self.queue.pop_front();
        }
    }

    /// Gives a request to a connection; false when all are busy.
    fn start(&mut self, intended: u64) -> bool {
        if let Some(slot) = self.pool.take_idle() {
            let next = self.pool.at(slot).map_or(Next::Close, |idle| idle.send(intended, &mut self.shared));
            self.settle(slot, next);
            return true;
        }
        if !self.pool.has_room() {
            return false;
        }
        let now = self.shared.ticker.nanos();
        let opened = Connection::open(self.target.address, self.target.is_head(), intended, now)
            .and_then(|connection| self.pool.add(connection));
        if opened.is_err() {
            self.shared.tally.fail(Failure::Connect, now);
        }
        true
    }

    fn settle(&mut self, slot: u32, next: Next) {
        match next {
            Next::Wait => {}
            Next::Reuse => self.pool.set_idle(slot),
            Next::Close => self.pool.close(slot),
        }
    }

    /// Waits until something happens or the next request is due.
    fn take_events(&mut self, due: u64) -> io::Result<()> {
        // What is due while all connections are busy can do nothing but queue up, and may do so a little later.
        let due = if self.pool.is_exhausted() { due.max(self.shared.ticker.nanos() + LAZY) } else { due };
        let wake = due.saturating_sub(EARLY).min(self.next_tick).min(self.next_sweep);
        let may_wait = wake > self.shared.ticker.nanos();
        if may_wait {
            self.alarm.set(wake, &self.shared.ticker)?;
        }
        let events = self.pool.wait(may_wait)?;
        if self.pool.is_exhausted() {
            // Before a connection becomes free: whether the queue has room is judged as of the moment that each was due.
            self.send_due(self.shared.ticker.nanos().min(nanos(self.limits.duration)));
        }
        for index in 0..events {
            let Some((slot, ended)) = self.pool.event(index) else { continue };
            let Some(connection) = self.pool.at(slot) else { continue };
            let was_idle = connection.busy_since().is_none();
            let next = connection.proceed(ended, &mut self.shared);
            if was_idle {
                self.pool.set_busy(slot);
            }
            self.settle(slot, next);
        }
        Ok(())
    }

    /// Gives up what is late, tells how it goes, and answers who asked for the end.
    fn housekeeping(&mut self, now: u64, stop: &Stop, observer: &mut dyn Observer) -> Option<Ending> {
        if now >= self.next_sweep {
            let timeout = nanos(self.limits.timeout);
            self.give_up(Failure::Timeout, |since| now.saturating_sub(since) >= timeout);
            self.next_sweep = now + (timeout / 10).clamp(TICK / 100, TICK);
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            observer.progress(Duration::from_nanos(now), &mut self.shared.tally);
            return stop.asked();
        }
        None
    }

    /// Closes the connections whose request has been under way since such a moment.
    fn give_up(&mut self, failure: Failure, is_over: impl Fn(u64) -> bool) {
        let over: Vec<u32> = self
            .pool
            .occupied()
            .filter(|(_, connection)| connection.busy_since().is_some_and(&is_over))
            .map(|(slot, _)| slot)
            .collect();
        for slot in over {
            if let Some(connection) = self.pool.at(slot) {
                connection.fail(failure, &mut self.shared);
            }
            self.pool.close(slot);
        }
    }

    /// No request is sent any more.
    fn leave_queue(&mut self) {
        let now = self.shared.ticker.nanos();
        for _ in self.queue.drain(..) {
            self.shared.tally.fail(Failure::Unsent, now);
        }
    }

    fn leave_connections(&mut self) {
        self.give_up(Failure::Unfinished, |_| true);
    }
}
