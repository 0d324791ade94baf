//! The campaigns of this service: those that run, and the last ones that are over.
//!
//! Bounded by [`MOST_RUNNING`] and [`MOST_KEPT`]; a campaign by the number of its injections. Must not know how they are run.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ballast_api::{
    Clock,
    injector::{CampaignEnd, CampaignState, InjectionRecord},
};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

/// Campaigns at a time: two that hurt the same target make each other's doses untrue.
pub(super) const MOST_RUNNING: usize = 4;

/// Campaigns that are over and still told of.
const MOST_KEPT: usize = 32;

/// Of a report, what grows with its duration: the operator's log has it.
const LONG: &str = "achieved_each_second";

/// What a running campaign is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// Until when it may go on.
    pub(super) ends: Instant,
    /// Whether somebody asked for its end.
    pub(super) called_off: bool,
}

/// All campaigns.
#[derive(Debug, Default)]
pub(super) struct Book {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    last: u64,
    /// By number, so the oldest comes first.
    campaigns: BTreeMap<u64, Page>,
}

#[derive(Debug)]
struct Page {
    state: CampaignState,
    records: Vec<InjectionRecord>,
    lease: watch::Sender<Lease>,
}

impl Page {
    fn told(&self) -> CampaignState {
        let mut state = self.state.clone();
        let left = self.lease.borrow().ends.saturating_duration_since(Instant::now());
        state.lease_remaining_seconds = state.ended.is_none().then_some(left.as_secs_f64());
        state
    }
}

impl Pages {
    fn running(&self) -> usize {
        self.campaigns.values().filter(|page| page.state.ended.is_none()).count()
    }

    fn forget_the_oldest(&mut self) {
        while self.campaigns.len() - self.running() > MOST_KEPT {
            let over = self.campaigns.iter().find(|(_, page)| page.state.ended.is_some());
            let Some(number) = over.map(|(number, _)| *number) else { return };
            self.campaigns.remove(&number);
        }
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A campaign that begins now: its number, its id, and where its runner hears of its lease. Absent where so many run that none may
    /// begin.
    pub(super) fn begin(
        &self,
        name: &str,
        scheduled: usize,
        lease: Duration,
        clock: &dyn Clock,
    ) -> Option<(u64, String, watch::Receiver<Lease>)> {
        let mut pages = self.pages();
        if pages.running() >= MOST_RUNNING {
            return None;
        }
        pages.last += 1;
        let number = pages.last;
        let begun_at = clock.now();
        // Not the number alone: after a restart it would be another campaign's.
        let id = format!("{:x}-{number}", begun_at.0);
        let state = CampaignState {
            id: id.clone(),
            name: name.to_owned(),
            begun_at_unix_nanos: begun_at,
            ended: None,
            scheduled: u64::try_from(scheduled).unwrap_or(u64::MAX),
            begun: 0,
            completed: 0,
            failed: 0,
            lease_remaining_seconds: None,
        };
        let (lease, heard) = watch::channel(Lease { ends: Instant::now() + lease, called_off: false });
        pages.campaigns.insert(number, Page { state, records: Vec::new(), lease });
        Some((number, id, heard))
    }

    /// Notes down a line that the campaign's process printed. Answers how an injection ended, where the line tells.
    pub(super) fn hear(&self, number: u64, mut line: Value) -> Option<bool> {
        let mut pages = self.pages();
        let page = pages.campaigns.get_mut(&number)?;
        let count = |key: &str| line[key].as_u64();
        match line["event"].as_str()? {
            "started" => page.state.begun += 1,
            "ended" => {
                let injection = count("number")?;
                let done = line["ending"] == "completed";
                let report = line.as_object_mut()?;
                for told_otherwise in ["event", "number", "campaign", LONG] {
                    report.remove(told_otherwise);
                }
                *(if done { &mut page.state.completed } else { &mut page.state.failed }) += 1;
                page.records.push(InjectionRecord { number: injection, report: line });
                return Some(done);
            }
            // Knows also of those that could not begin, and of those that ended without a word.
            "campaign_ended" => {
                let counted = [count("begun"), count("completed"), count("failed")];
                if let [Some(begun), Some(completed), Some(failed)] = counted {
                    (page.state.begun, page.state.completed, page.state.failed) = (begun, completed, failed);
                }
            }
            _ => {}
        }
        None
    }

    /// Notes down that a campaign is over.
    pub(super) fn end(&self, number: u64, why: CampaignEnd) {
        let mut pages = self.pages();
        if let Some(page) = pages.campaigns.get_mut(&number) {
            page.state.ended = Some(why);
            // Where its process died, nobody told of those that were there: they did not complete.
            let unheard = page.state.begun.saturating_sub(page.state.completed);
            page.state.failed = page.state.failed.max(unheard);
            // Whoever waits for the end looks again.
            page.lease.send_modify(|_| {});
        }
        pages.forget_the_oldest();
    }

    /// How many run.
    pub(super) fn running(&self) -> usize {
        self.pages().running()
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<CampaignState> {
        self.pages().campaigns.values().map(Page::told).collect()
    }

    /// One of them; absent where there is none of this id. So with all that follow.
    pub(super) fn state(&self, id: &str) -> Option<CampaignState> {
        self.with(id, Page::told)
    }

    /// Its injections that are over, in the order of their ends.
    pub(super) fn records(&self, id: &str) -> Option<Vec<InjectionRecord>> {
        self.with(id, |page| page.records.clone())
    }

    /// Lets it go on from now for so long.
    pub(super) fn renew(&self, id: &str, lease: Duration) -> Option<CampaignState> {
        self.with(id, |page| {
            page.lease.send_modify(|held| held.ends = Instant::now() + lease);
            page.told()
        })
    }

    /// Asks for its end, and answers where to hear that something changed.
    pub(super) fn call_off(&self, id: &str) -> Option<watch::Receiver<Lease>> {
        self.with(id, |page| {
            page.lease.send_modify(|held| held.called_off = true);
            page.lease.subscribe()
        })
    }

    fn with<T>(&self, id: &str, look: impl FnOnce(&Page) -> T) -> Option<T> {
        self.pages().campaigns.values().find(|page| page.state.id == id).map(look)
    }
}

#[cfg(test)]
mod tests {
    use ballast_api::SystemClock;
    use serde_json::json;

    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn begin(book: &Book) -> Option<u64> {
        book.begin("c", 3, LEASE, &SystemClock).map(|(number, ..)| number)
    }

    #[test]
    fn so_many_run_and_so_many_are_kept() {
        let book = Book::default();
        let running: Vec<_> = (0..MOST_RUNNING).filter_map(|_| begin(&book)).collect();
        assert_eq!((running.len(), begin(&book)), (MOST_RUNNING, None));
        for number in running {
            book.end(number, CampaignEnd::Completed);
        }
        let first = book.all()[0].id.clone();
        for _ in 0..MOST_KEPT {
            let number = begin(&book).unwrap();
            book.end(number, CampaignEnd::Requested);
        }
        assert_eq!((book.all().len(), book.running()), (MOST_KEPT, 0));
        assert_eq!(book.state(&first), None, "the oldest is forgotten");
    }

    #[test]
    fn what_its_process_prints_is_counted_and_kept() {
        let book = Book::default();
        let number = begin(&book).unwrap();
        let id = book.all()[0].id.clone();
        book.hear(number, json!({ "event": "started", "number": 1 }));
        let ended = json!({
            "event": "ended", "number": 1, "campaign": "c", "kind": "cpu", "ending": "completed", LONG: [1.0],
        });
        assert_eq!(book.hear(number, ended), Some(true));
        book.hear(number, json!({ "event": "started", "number": 2 }));
        book.hear(number, json!({ "event": "ended", "number": 2, "ending": "target_gone" }));
        for odd in [json!(7), json!({}), json!({ "event": "ended" }), json!({ "event": 3 })] {
            book.hear(number, odd);
        }
        let state = book.state(&id).unwrap();
        assert_eq!((state.begun, state.completed, state.failed), (2, 1, 1));
        let record = &book.records(&id).unwrap()[0];
        assert_eq!((record.number, &record.report), (1, &json!({ "kind": "cpu", "ending": "completed" })));
        book.hear(number, json!({ "event": "campaign_ended", "begun": 3, "completed": 1, "failed": 2 }));
        book.end(number, CampaignEnd::Completed);
        let state = book.state(&id).unwrap();
        assert_eq!((state.begun, state.failed, state.lease_remaining_seconds), (3, 2, None));
    }

    #[tokio::test]
    async fn a_lease_is_renewed_and_called_off() {
        let book = Book::default();
        let (_, id, mut heard) = book.begin("c", 1, LEASE, &SystemClock).unwrap();
        let before = heard.borrow_and_update().ends;
        let left = book.renew(&id, 2 * LEASE).unwrap().lease_remaining_seconds.unwrap();
        assert!(left > LEASE.as_secs_f64(), "{left}");
        assert!(heard.has_changed().unwrap() && heard.borrow_and_update().ends > before);
        assert!(book.call_off(&id).is_some() && heard.borrow().called_off);
        assert_eq!(book.renew("another", LEASE), None);
    }
}
