//! One campaign on several nodes' injectors: begun on all or on none, kept going, and ended on all.
//!
//! Must not know how it is shown, nor what a campaign does.

use std::time::Duration;

use ballast_api::{
    HttpInjector, NodeError,
    injector::{CampaignLease, CampaignOrder, CampaignState, InjectionRecord, ScheduledInjection},
};
use futures::future::join_all;
use tokio::time::Instant;
use tracing::warn;

/// How long a campaign goes on when this program dies.
const LEASE: Duration = Duration::from_secs(10);

/// How often leases are renewed: several times in each.
pub const LOOK: Duration = Duration::from_secs(1);

/// What is to be done on every node.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The text of its file.
    pub text: String,
    /// The first node's seed; each further one has the next. Absent for the file's, on all.
    pub seed: Option<u64>,
}

impl Campaign {
    fn order(&self, node: u64, dry_run: bool) -> CampaignOrder {
        CampaignOrder {
            campaign: self.text.clone(),
            seed: self.seed.map(|seed| seed.wrapping_add(node)),
            lease_seconds: LEASE.as_secs_f64(),
            dry_run,
        }
    }
}

/// An injector's answer that is an error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{url}: {error}")]
pub struct Refused {
    /// Whose.
    pub url: String,
    /// What it said.
    pub error: NodeError,
}

fn refused(injector: &HttpInjector, error: NodeError) -> Refused {
    Refused { url: injector.url().to_string(), error }
}

/// What would happen on each node, in their order.
///
/// # Errors
/// The first injector that does not take it.
pub async fn schedules(
    injectors: &[HttpInjector],
    campaign: &Campaign,
) -> Result<Vec<Vec<ScheduledInjection>>, Refused> {
    let asked = (0..).zip(injectors).map(|(node, injector)| async move {
        let outcome = injector.begin(&campaign.order(node, true)).await;
        outcome.map(|outcome| outcome.schedule).map_err(|error| refused(injector, error))
    });
    join_all(asked).await.into_iter().collect()
}

/// A campaign on one node.
#[derive(Debug)]
pub struct Part {
    injector: HttpInjector,
    /// As the injector last told.
    pub state: CampaignState,
    /// Records that were taken over.
    taken: usize,
    heard_at: Instant,
    /// Why nothing is known of it any more.
    pub lost: Option<NodeError>,
}

/// An injection that is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The injector's address.
    pub url: String,
    /// What it was.
    pub record: InjectionRecord,
}

impl Part {
    /// The injector's address.
    #[must_use]
    pub fn url(&self) -> String {
        self.injector.url().to_string()
    }

    fn is_over(&self) -> bool {
        self.lost.is_some() || self.state.ended.is_some()
    }

    /// Renews the lease. An injector that is silent for longer than the lease has ended its part.
    async fn look(&mut self) {
        let lease = CampaignLease { lease_seconds: LEASE.as_secs_f64() };
        let answer = self.injector.renew(&self.state.id, lease).await;
        self.heard(answer);
    }

    async fn end(&mut self) {
        let answer = self.injector.end(&self.state.id).await;
        self.heard(answer);
    }

    fn heard(&mut self, answer: Result<CampaignState, NodeError>) {
        match answer {
            Ok(state) => (self.state, self.heard_at) = (state, Instant::now()),
            // Whoever does not know it any more was started anew.
            Err(error @ NodeError::Invalid { .. }) => self.lost = Some(error),
            Err(error) if self.heard_at.elapsed() > LEASE => self.lost = Some(error),
            Err(error) => warn!(url = self.url(), %error, "an injector does not answer"),
        }
    }

    /// What is over and was not taken yet.
    async fn records(&mut self) -> Vec<Truth> {
        let over = self.state.completed.saturating_add(self.state.failed);
        if self.lost.is_some() || u64::try_from(self.taken).is_ok_and(|taken| taken >= over) {
            return Vec::new();
        }
        match self.injector.injections(&self.state.id).await {
            Ok(records) => {
                let new: Vec<_> = records.into_iter().skip(self.taken).collect();
                self.taken += new.len();
                new.into_iter().map(|record| Truth { url: self.url(), record }).collect()
            }
            Err(error) => {
                warn!(url = self.url(), %error, "what is over cannot be asked for now");
                Vec::new()
            }
        }
    }
}

/// A campaign that runs.
#[derive(Debug)]
pub struct Running {
    /// One for each node.
    pub parts: Vec<Part>,
}

impl Running {
    /// Begins it on all nodes.
    ///
    /// # Errors
    /// The first injector that does not; the others' parts are ended.
    pub async fn begin(injectors: &[HttpInjector], campaign: &Campaign) -> Result<Self, Refused> {
        let asked = (0..).zip(injectors).map(|(node, injector)| async move {
            let outcome = injector.begin(&campaign.order(node, false)).await;
            let state = outcome.and_then(|outcome| outcome.state.ok_or_else(|| no_state(injector)));
            state.map_err(|error| refused(injector, error)).map(|state| Part {
                injector: injector.clone(),
                state,
                taken: 0,
                heard_at: Instant::now(),
                lost: None,
            })
        });
        let (parts, refusals): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().partition(Result::is_ok);
        let mut running = Self { parts: parts.into_iter().flatten().collect() };
        match refusals.into_iter().find_map(Result::err) {
            None => Ok(running),
            Some(refusal) => {
                running.end().await;
                Err(refusal)
            }
        }
    }

    /// Renews all leases, and answers what is over since the last look.
    pub async fn look(&mut self) -> Vec<Truth> {
        join_all(self.parts.iter_mut().filter(|part| !part.is_over()).map(Part::look)).await;
        join_all(self.parts.iter_mut().map(Part::records)).await.concat()
    }

    /// Whether it is over on all nodes.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.parts.iter().all(Part::is_over)
    }

    /// Ends it on all nodes, and answers what is over since the last look.
    pub async fn end(&mut self) -> Vec<Truth> {
        join_all(self.parts.iter_mut().filter(|part| !part.is_over()).map(Part::end)).await;
        join_all(self.parts.iter_mut().map(Part::records)).await.concat()
    }
}

fn no_state(injector: &HttpInjector) -> NodeError {
    let detail = "it began a campaign and does not say which".to_owned();
    NodeError::Protocol { url: injector.url().to_string(), detail }
}
