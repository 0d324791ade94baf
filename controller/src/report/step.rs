//! One step of control in a line or two.

use std::fmt::Write as _;

use crate::operate::{Acting, StepReport};

/// What happened in a step, without a final newline.
#[must_use]
pub fn step(report: &StepReport) -> String {
    let mut text = String::new();
    for objective in report.objectives.iter().filter(|objective| objective.violated) {
        // Writing into a String cannot fail.
        let _ =
            write!(text, "{} violated ({} of {} late). ", objective.request, objective.late, objective.count);
    }
    if let Some(culprit) = &report.culprit {
        let _ = write!(text, "Culprit: {culprit}. ");
    }
    for change in &report.decision.changes {
        let verb = if report.acting == Acting::Act { "is" } else { "would be" };
        let _ = write!(
            text,
            "CPU limit of {} {verb} {:.3} -> {:.3} cores ({}). ",
            change.container,
            change.before_cores,
            change.after_cores,
            change.reasons.join("; "),
        );
    }
    for container in &report.decision.scale_out {
        let _ = write!(text, "{container} is at its bound: it needs more replicas. ");
    }
    text.trim_end().to_owned()
}
