//! What is configured about access, checked.
//!
//! Must not know how it was asked for, nor read the files that it names.

use std::num::NonZeroU32;

use super::{TlsFiles, TokenFiles};

/// A controller asks a few times a second; people and scrapers less.
pub(crate) const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// Where tokens are kept; without any, none is asked for.
    pub tokens: TokenFiles,
    /// Where keys and certificates are; without them connections are in the clear.
    pub tls: Option<TlsFiles>,
    /// How many requests one peer may make.
    pub requests_per_second: NonZeroU32,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self { tokens: TokenFiles::default(), tls: None, requests_per_second: REQUESTS_PER_SECOND }
    }
}
