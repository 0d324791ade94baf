//! What every request passes before its call is made: the peer's pace, who asks, and whether that is theirs to ask.
//!
//! Must not know what the calls do.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Request, State},
    http::{Method, header},
    middleware::Next,
    response::Response,
};
use ballast_api::NodeError;

use super::Refusal;
use crate::{
    access::{Access, Denied, Peer, Role},
    metrics::{Metrics, Reason},
};

/// The one path that anybody may ask for: it says nothing but that somebody is there.
pub(super) const OPEN: &str = "/healthz";

#[derive(Clone)]
pub(super) struct Admission {
    pub(super) access: Arc<Access>,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) async fn admit(
    State(admission): State<Admission>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if let Err((reason, error)) = admission.check(&peer, &request) {
        admission.metrics.refused(reason);
        return Err(error.into());
    }
    Ok(next.run(request).await)
}

impl Admission {
    fn check(&self, peer: &Peer, request: &Request) -> Result<(), (Reason, NodeError)> {
        self.access.pace(peer).map_err(|wait| {
            let retry_after_seconds = wait.as_secs().saturating_add(1);
            (Reason::Pace, NodeError::TooManyRequests { retry_after_seconds })
        })?;
        if request.uri().path() == OPEN {
            return Ok(());
        }
        let authorization = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
        let role = self.access.role(peer, authorization).map_err(denied)?;
        if role < needed(request.method()) {
            let detail = "it needs the role act, and this is the role observe".to_owned();
            return Err((Reason::Role, NodeError::Forbidden { detail }));
        }
        Ok(())
    }
}

/// What only reads is for everyone who is known.
fn needed(method: &Method) -> Role {
    if method.is_safe() { Role::Observe } else { Role::Act }
}

fn denied(denied: Denied) -> (Reason, NodeError) {
    let detail = denied.to_string();
    match denied {
        Denied::NoRole => (Reason::Role, NodeError::Forbidden { detail }),
        Denied::NoToken | Denied::UnknownToken => (Reason::Identity, NodeError::Unauthenticated { detail }),
    }
}
