//! Who may ask what: roles, what gives one, and how often a peer may ask.
//!
//! Everything that is configured is demanded: with a client CA a certificate, with token files a token, with both the
//! lesser of the two roles counts. With nothing configured everybody may do everything, which the settings allow on
//! loopback only. Must not know of routes.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Duration};

use ballast_api::files::Watched;
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

mod expiry;
mod pace;
mod settings;
pub(crate) mod tls;
mod tokens;

pub use pace::Pace;
pub(crate) use pace::network;
pub use settings::AccessSettings;
pub(crate) use settings::REQUESTS_PER_SECOND;
pub use tls::TlsFiles;
pub use tokens::TokenFiles;

use tls::Tls;
use tokens::Tokens;

use crate::metrics::{Files, Metrics};

/// How often files are looked at. A look is one system call for each.
const LOOK: Duration = Duration::from_secs(1);

/// What a peer may do: the later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// See everything, change nothing.
    Observe,
    /// Lend limits and give them back.
    Act,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub ip: IpAddr,
    /// What its certificate gives it; absent where it has none, or one that names no role.
    pub role: Option<Role>,
}

/// Why somebody may do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token.
    #[error("send the header `Authorization: Bearer TOKEN`")]
    NoToken,
    /// There is one that this node does not know.
    #[error("this token is not known here")]
    UnknownToken,
    /// There is a certificate of the right CA that names no role.
    #[error(
        "the certificate names no role: it needs the subject alternative name URI:ballast:observe or URI:ballast:act"
    )]
    NoRole,
}

/// Who is let in.
pub struct Access {
    tokens: Option<Watched<Tokens>>,
    tls: Option<Watched<Tls>>,
    /// Whether every peer must have a certificate.
    mutual: bool,
    /// Who vouches for clients now.
    clients: watch::Sender<Vec<CertificateDer<'static>>>,
    requests: Pace,
    connections: Pace,
}

impl Access {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Every problem, a sentence each.
    pub fn open(settings: &AccessSettings) -> Result<Self, Vec<String>> {
        let tokens = settings.tokens.clone();
        let tokens = (!tokens.is_empty())
            .then(|| Watched::open(tokens.files(), Box::new(move || Tokens::read(&tokens))))
            .transpose();
        let mutual = settings.tls.as_ref().is_some_and(|files| files.client_ca.is_some());
        let tls = settings.tls.clone();
        let tls = tls.map(|tls| Watched::open(tls.files(), Box::new(move || tls.read()))).transpose();
        // Who asks too often on connections of their own is still told so.
        let connections = settings.requests_per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1));
        match (tokens, tls) {
            (Ok(tokens), Ok(tls)) => {
                let clients = tls.as_ref().map(|tls| tls.get().clients.clone()).unwrap_or_default();
                Ok(Self {
                    tokens,
                    tls,
                    mutual,
                    clients: watch::Sender::new(clients),
                    requests: Pace::new(settings.requests_per_second),
                    connections: Pace::new(connections),
                })
            }
            (tokens, tls) => Err([tokens.err(), tls.err()].into_iter().flatten().flatten().collect()),
        }
    }

    /// Whether every request must bring a token.
    #[must_use]
    pub fn demands_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whether every peer must have a certificate.
    #[must_use]
    pub fn demands_certificate(&self) -> bool {
        self.mutual
    }

    /// Whether anybody is asked who they are.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.demands_token() || self.demands_certificate()
    }

    /// How new connections are secured; absent where they are not.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|tls| Arc::clone(&tls.get().config))
    }

    /// Changes when somebody else vouches for clients. To be had before [`Self::tls`], so that no change is missed.
    #[must_use]
    pub(crate) fn clients(&self) -> watch::Receiver<Vec<CertificateDer<'static>>> {
        self.clients.subscribe()
    }

    /// The role of a peer that sent this `Authorization` header: the lesser one of what its certificate and its token
    /// give, where both are demanded.
    ///
    /// # Errors
    /// See [`Denied`].
    pub fn role(&self, peer: &Peer, authorization: Option<&[u8]>) -> Result<Role, Denied> {
        let by_token = match &self.tokens {
            None => Role::Act,
            Some(tokens) => {
                let token = authorization.and_then(bearer).ok_or(Denied::NoToken)?;
                tokens.get().role_of(token).ok_or(Denied::UnknownToken)?
            }
        };
        let by_certificate = if self.mutual { peer.role.ok_or(Denied::NoRole)? } else { Role::Act };
        Ok(by_token.min(by_certificate))
    }

    /// Counts a request of `peer`.
    ///
    /// # Errors
    /// When it came too soon: the time to wait.
    pub fn pace(&self, peer: &Peer) -> Result<(), Duration> {
        self.requests.admit(peer.ip)
    }

    /// Counts a connection from `ip`: whether it may come in. It costs before anything is asked, above all with TLS.
    #[must_use]
    pub fn connects(&self, ip: IpAddr) -> bool {
        self.connections.admit(ip).is_ok()
    }

    /// Takes over files that change, until `stop`. A file that cannot be used is told once and tried again, and the last
    /// good one stays in force.
    pub async fn keep(self: Arc<Self>, metrics: Metrics, stop: CancellationToken) {
        self.tell_expiry(&metrics);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            let (access, metrics) = (Arc::clone(&self), metrics.clone());
            // A panic would lose one look.
            let _ = tokio::task::spawn_blocking(move || access.look(&metrics)).await;
        }
    }

    fn look(&self, metrics: &Metrics) {
        if let Some(outcome) = self.tokens.as_ref().and_then(Watched::look) {
            told(Files::Tokens, outcome, metrics);
        }
        let Some(tls) = &self.tls else { return };
        if let Some(outcome) = tls.look() {
            told(Files::Certificates, outcome, metrics);
            self.tell_expiry(metrics);
            let now = tls.get();
            self.clients.send_if_modified(|known| {
                let changed = *known != now.clients;
                known.clone_from(&now.clients);
                changed
            });
        }
    }

    fn tell_expiry(&self, metrics: &Metrics) {
        if let Some(ends_at) = self.tls.as_ref().and_then(|tls| tls.get().ends_at) {
            metrics.certificate_ends(ends_at);
        }
    }
}

fn told(what: Files, outcome: Result<(), Vec<String>>, metrics: &Metrics) {
    match outcome {
        Ok(()) => info!(?what, "files changed and were read again"),
        Err(problems) => {
            metrics.not_reloaded(what);
            error!(
                ?what,
                problems = problems.join("; "),
                "files changed and cannot be used: the last good ones stay in force"
            );
        }
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER  abc "), Some(&b"abc"[..]));
        for other in [&b""[..], b"Basic abc", b"Bearer", b"Bearerabc"] {
            assert_eq!(bearer(other), None);
        }
    }

    #[test]
    fn with_nothing_configured_everybody_may_act() {
        let access = Access::open(&AccessSettings::default()).unwrap();
        let peer = Peer { ip: [127, 0, 0, 1].into(), role: None };
        assert_eq!(access.role(&peer, None), Ok(Role::Act));
    }
}
