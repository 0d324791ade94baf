//! Additive increase, multiplicative decrease: the textbook rule, and the heuristic that a learned policy must beat.

use super::{Evidence, LimitPolicy};

/// Violated: plus a tenth of the maximum. Else: five hundredths less.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aimd;

/// Growth while violated, as a share of the largest limit.
const INCREASE: f64 = 0.10;
/// What is kept of the limit while all is well.
const DECREASE: f64 = 0.95;

impl LimitPolicy for Aimd {
    fn name(&self) -> &'static str {
        "aimd"
    }

    fn propose(&self, evidence: &Evidence<'_>) -> Option<f64> {
        Some(if evidence.violated() {
            evidence.limit_cores + INCREASE * evidence.bounds.max_cores
        } else {
            evidence.limit_cores * DECREASE
        })
    }
}
