//! Where samples come from: one interface for cAdvisor and the env-server.
//!
//! Must not know how often it is asked.

use async_trait::async_trait;
use ballast_api::{NodeError, counters::CounterSample};
use tracing::{info, warn};

use super::{
    cadvisor::PageTooLong, cadvisor_source::CadvisorSource, node_source::NodeSource, rates::ContainerRates,
};

/// What a source answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// Counters: the collector makes rates of them.
    Counters(Vec<CounterSample>),
    /// Rates over an interval of the source's own.
    Rates(Vec<ContainerRates>),
}

impl Observed {
    /// How many containers it speaks of.
    #[must_use]
    pub fn containers(&self) -> usize {
        match self {
            Self::Counters(samples) => samples.len(),
            Self::Rates(rates) => rates.len(),
        }
    }
}

/// Somebody who knows the containers of one node.
#[async_trait]
pub trait Source: Send {
    /// For people: what it is and where.
    fn describe(&self) -> String;

    /// The latest sample of every container. Answers within a few seconds, with an error if need be.
    async fn poll(&mut self) -> Result<Observed, SourceError>;
}

/// Why a source tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The address makes no sense; asking again will not help.
    #[error("cAdvisor URL {url:?}: {detail}")]
    Url {
        /// As it was given.
        url: String,
        /// What is wrong.
        detail: String,
    },
    /// Nobody answers, or not in time.
    #[error("no cAdvisor answers at {url}: {detail}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// The whole chain of reasons.
        detail: String,
    },
    /// Somebody answers, but not with cAdvisor's metrics.
    #[error("{url} does not answer as cAdvisor does: {detail}")]
    NotCadvisor {
        /// Who answered.
        url: String,
        /// What was odd.
        detail: String,
    },
    /// The answer is without bound.
    #[error("{url}: {cause}")]
    TooLong {
        /// Who answered.
        url: String,
        /// The bound.
        #[source]
        cause: PageTooLong,
    },
    /// The env-server does not tell.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// cAdvisor where one answers, else the env-server's own samples, which is said in the log. Decided once: a cAdvisor
/// that goes down later is waited for.
pub async fn choose_source(cadvisor: Option<CadvisorSource>, node: NodeSource) -> Box<dyn Source> {
    let Some(mut cadvisor) = cadvisor else {
        info!(source = node.describe(), "no cAdvisor is configured: the env-server's own samples are used");
        return Box::new(node);
    };
    match cadvisor.poll().await {
        Ok(_) => Box::new(cadvisor),
        Err(error) => {
            warn!(%error, source = node.describe(), "cAdvisor does not answer: the env-server's own samples are used");
            Box::new(node)
        }
    }
}
