//! The loop of long-lived control: a step each second until told to stop, then every limit goes back.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ballast_api::{Clock, NodeError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Acting, Controller, StepReport};
use crate::{store::MetricStore, traces::TraceWindow};

/// Between two steps.
const STEP: Duration = Duration::from_secs(1);

/// Steps until `shutdown`, telling `on_step` of each, and then gives every lent limit back.
///
/// # Errors
/// When a limit could not be given back; it goes back when its lease ends.
pub async fn control(
    mut controller: Controller,
    traces: Arc<Mutex<TraceWindow>>,
    metrics: Arc<dyn MetricStore>,
    acting: Acting,
    clock: &dyn Clock,
    shutdown: CancellationToken,
    mut on_step: impl FnMut(&StepReport),
) -> Result<(), NodeError> {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = clock.now();
        let window = traces.lock().unwrap_or_else(PoisonError::into_inner).traces(now);
        on_step(&controller.step(now, &window, metrics.as_ref(), acting).await);
    }
    controller.release().await
}
