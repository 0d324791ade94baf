//! What metrics are told apart by: the labels, and the values that each can have.
//!
//! Must not count.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

/// What became of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum PlanResult {
    /// Limits are in force.
    Applied,
    /// It was checked, as asked, and would be accepted.
    DryRun,
    /// It was refused before anything was written.
    Refused,
    /// Writing failed; what had been written was undone.
    Undone,
    /// The node's own state failed, and nothing was written; or writing failed and so did undoing it, which is retried.
    Failed,
}

/// Why limits went back to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Cause {
    /// The lease ended.
    Expiry,
    /// Somebody asked.
    Request,
    /// This process ends.
    Shutdown,
    /// The process before this one did not end properly.
    Restart,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expiry => "expiry",
            Self::Request => "request",
            Self::Shutdown => "shutdown",
            Self::Restart => "restart",
        })
    }
}

/// The label of `ballast_plans_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabel {
    pub(super) result: PlanResult,
}

/// The label of `ballast_restorations_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CauseLabel {
    pub(super) cause: Cause,
}
