//! What every request passes before its call is made: the peer's pace, whether a page in somebody's browser sends it, who
//! asks, and whether that is theirs to ask.
//!
//! Must not know what the calls do.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use ballast_api::NodeError;
use http_body_util::{BodyExt, Limited};
use tokio::time::timeout;
use tracing::debug;

use crate::{
    access::{Access, Denied, Peer, Role},
    body::MAX_BODY_BYTES,
    metrics::{Metrics, Reason},
    page,
    refusal::Refusal,
};

/// The one path that anybody may ask for: it says nothing but that somebody is there.
pub(crate) const OPEN: &str = "/healthz";

/// How long the body of a refused request is taken in.
const LINGER: Duration = Duration::from_secs(1);

/// Puts the gate in front of all routes so far: requests must say who their [`Peer`] is, as those of [`crate::connections`] do.
pub(crate) fn guard(router: Router, access: Arc<Access>, metrics: Metrics) -> Router {
    router
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Admission { access, metrics }, admit))
}

#[derive(Clone)]
struct Admission {
    access: Arc<Access>,
    metrics: Metrics,
}

async fn admit(
    State(admission): State<Admission>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = match admission.check(&peer, &request) {
        Ok(role) => {
            let answer = next.run(request).await;
            if !method.is_safe() {
                debug!(ip = %peer.ip, ?role, %method, path, status = answer.status().as_u16(), "asked to act");
            }
            answer
        }
        Err((reason, error)) => {
            debug!(ip = %peer.ip, role = ?peer.role, %method, path, %error, "refused");
            admission.metrics.refused(reason);
            refused(error, request.into_body()).await
        }
    };
    admission.metrics.answered(answer.status().as_u16());
    answer
}

/// Whoever is refused does not keep the place of somebody who would not be.
async fn refused(error: NodeError, body: Body) -> Response {
    // What is still on its way would cost the answer: a connection that ends with bytes unread is reset.
    let mut body = Limited::new(body, MAX_BODY_BYTES);
    let _ = timeout(LINGER, async { while let Some(Ok(_)) = body.frame().await {} }).await;
    let mut answer = Refusal::from(error).into_response();
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

impl Admission {
    /// The role of who asks; absent where anybody may.
    fn check(&self, peer: &Peer, request: &Request) -> Result<Option<Role>, (Reason, NodeError)> {
        self.access.pace(peer).map_err(|wait| {
            let retry_after_seconds = wait.as_secs().saturating_add(1);
            (Reason::Pace, NodeError::TooManyRequests { retry_after_seconds })
        })?;
        if request.uri().path() == OPEN {
            return Ok(None);
        }
        page::check(request, self.access.asks())
            .map_err(|detail| (Reason::Page, NodeError::Forbidden { detail: detail.to_owned() }))?;
        let authorization = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let role = self.access.role(peer, authorization).map_err(denied)?;
        if role < needed(request.method()) {
            let detail = "it needs the role act, and this is the role observe".to_owned();
            return Err((Reason::Role, NodeError::Forbidden { detail }));
        }
        Ok(Some(role))
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
