//! How many injections a schedule has at a time.
//!
//! Pure. Must not know what an injection is.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::schedule::Scheduled;

/// So many injections of a campaign may be there at a time. Each is several processes, and its log, journal and pipes are open: very
/// many would make the machine late, and every dose untrue.
pub(super) const MOST_AT_ONCE: usize = 64;

/// What is wrong with a schedule, in the order of its begins, that has more of them at a time.
pub(super) fn problem(schedule: &[Scheduled]) -> Option<String> {
    let mut ends = BinaryHeap::new();
    for Scheduled { number, at_ms, duration_ms, .. } in schedule {
        while ends.peek().is_some_and(|Reverse(end)| end <= at_ms) {
            ends.pop();
        }
        ends.push(Reverse(at_ms.saturating_add(*duration_ms)));
        if ends.len() > MOST_AT_ONCE {
            return Some(format!(
                "injection {number} begins while {MOST_AT_ONCE} others are there, and no more may be at a time: plan longer gaps \
                 or shorter injections"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Plan, schedule};

    /// So many pauses of 100 ms, each so much later than the one before.
    fn told(pauses: usize, apart_ms: usize) -> Option<String> {
        let pause = |number| {
            let at_ms = number * apart_ms;
            format!("[[injection]]\nat = '{at_ms}ms'\nduration = '100ms'\nkind = 'pause'\ntarget = 'a'\n")
        };
        let text: String = (0..pauses).map(pause).collect();
        problem(&schedule(&Plan::parse(&format!("duration = '1h'\n{text}")).unwrap()))
    }

    #[test]
    fn more_than_so_many_at_a_time_are_a_problem() {
        assert_eq!(told(MOST_AT_ONCE, 1), None);
        let problem = told(MOST_AT_ONCE + 1, 1).unwrap();
        assert!(problem.contains("injection 65 begins while 64 others"), "{problem}");
        assert_eq!(told(10 * MOST_AT_ONCE, 2), None, "at most 50 at a time");
        assert_eq!(told(3, 100), None, "one ends as the next begins");
    }
}
