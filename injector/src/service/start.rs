//! From an order to a campaign that runs: judged first, then started in a task of its own.
//!
//! Must not know how an order came here, nor who hears of the outcome.

use std::sync::Arc;

use ballast_api::{NodeError, injector::CampaignEnd, with_causes};
use tokio::sync::{Mutex, oneshot, watch};
use tokio_util::task::TaskTracker;

use super::{book::Lease, order::Order, rules::Rules, runner::Runner};
use crate::campaign::cli::{Campaign, CampaignArgs};

/// What judges and starts campaigns.
#[derive(Clone)]
pub(super) struct Starter {
    pub(super) rules: Arc<Rules>,
    /// One order is judged at a time: a few kilobytes may come to very many command lines, of which none is kept.
    pub(super) judging: Arc<Mutex<()>>,
    /// As a campaign's process will have them.
    pub(super) arguments: Arc<CampaignArgs>,
    pub(super) runner: Runner,
    /// Campaigns that run.
    pub(super) tasks: TaskTracker,
}

impl Starter {
    /// The campaign that is ordered.
    ///
    /// # Errors
    /// Every problem, where it may not be asked for here.
    pub(super) async fn judge(&self, order: &Order) -> Result<Campaign, NodeError> {
        let (order, rules, arguments) = (order.clone(), Arc::clone(&self.rules), Arc::clone(&self.arguments));
        // Each injection is parsed as a command line: not on a thread that serves.
        let alone = Arc::clone(&self.judging).lock_owned().await;
        let judged = tokio::task::spawn_blocking(move || {
            // Held here, not by the caller, who may go away in the midst.
            let _alone = alone;
            taken(&order, &rules, &arguments)
        });
        let judged = judged.await.map_err(|error| NodeError::Internal { detail: error.to_string() })?;
        judged.map_err(|problems| NodeError::Invalid { problems })
    }

    /// Starts the campaign that has `number` in the book. In a task of its own: a caller that goes away in the midst must not
    /// leave a campaign that nobody runs.
    ///
    /// # Errors
    /// When it cannot be started; it is over then.
    pub(super) async fn start(
        &self,
        number: u64,
        order: Order,
        heard: watch::Receiver<Lease>,
    ) -> Result<(), NodeError> {
        let (runner, (tell, told)) = (self.runner.clone(), oneshot::channel());
        self.tasks.spawn(async move {
            match runner.start(&order).await {
                Ok(started) => {
                    let _ = tell.send(Ok(()));
                    runner.run(number, started, heard).await;
                }
                Err(error) => {
                    runner.book.end(number, CampaignEnd::Died);
                    let _ = tell.send(Err(with_causes(&error)));
                }
            }
        });
        let outcome = told.await.unwrap_or_else(|error| Err(error.to_string()));
        outcome.map_err(|detail| NodeError::Internal { detail })
    }
}

/// The campaign, where all of it may be asked for here. What the rules forbid is not looked at any further.
fn taken(order: &Order, rules: &Rules, arguments: &CampaignArgs) -> Result<Campaign, Vec<String>> {
    let campaign = order.campaign()?;
    let mut problems = rules.problems(&campaign);
    if problems.is_empty() {
        problems = arguments.problems(&campaign);
    }
    if problems.is_empty() { Ok(campaign) } else { Err(problems) }
}
