//! A node's injector, reached over HTTP.

use hyper::Method;
use url::Url;

use super::{Credentials, http::Http};
use crate::{
    injector::{CampaignLease, CampaignOrder, CampaignOutcome, CampaignState, InjectionRecord, InjectorInfo},
    node::NodeError,
};

/// An injector in service mode at a base URL such as `http://127.0.0.1:7401`.
#[derive(Debug, Clone)]
pub struct HttpInjector(Http);

impl HttpInjector {
    /// A client for the injector at `base_url`, which may lie under a path of another server. Nothing is sent yet.
    ///
    /// # Errors
    /// When the text is no `http` or `https` URL, holds more than an address, or the credentials cannot be used.
    pub fn with_credentials(base_url: &str, credentials: &Credentials) -> Result<Self, NodeError> {
        Http::new(base_url, credentials).map(Self)
    }

    /// The address of the injector.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.0.url()
    }

    /// What may be injected there.
    ///
    /// # Errors
    /// See [`NodeError`]; so with every call.
    pub async fn info(&self) -> Result<InjectorInfo, NodeError> {
        self.0.get(&["v1", "injector"]).await
    }

    /// Begins a campaign, or only tells its schedule.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn begin(&self, order: &CampaignOrder) -> Result<CampaignOutcome, NodeError> {
        self.0.send(Method::POST, &["v1", "campaigns"], order).await
    }

    /// How a campaign is doing.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn campaign(&self, id: &str) -> Result<CampaignState, NodeError> {
        self.0.get(&["v1", "campaigns", id]).await
    }

    /// What its injections that are over were: the ground truth.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn injections(&self, id: &str) -> Result<Vec<InjectionRecord>, NodeError> {
        self.0.get(&["v1", "campaigns", id, "injections"]).await
    }

    /// Lets a campaign go on for a while.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn renew(&self, id: &str, lease: CampaignLease) -> Result<CampaignState, NodeError> {
        self.0.send(Method::PUT, &["v1", "campaigns", id, "lease"], &lease).await
    }

    /// Ends a campaign with all its injections.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn end(&self, id: &str) -> Result<CampaignState, NodeError> {
        self.0.delete(&["v1", "campaigns", id]).await
    }
}
