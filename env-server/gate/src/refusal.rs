//! An error on its way out: always a [`NodeError`], with a fitting status and the headers that go with that.
//!
//! Must not know why.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use ballast_api::NodeError;

/// An answer that is none.
#[derive(Debug)]
pub struct Refusal(pub StatusCode, pub NodeError);

impl From<NodeError> for Refusal {
    fn from(error: NodeError) -> Self {
        let status = match error {
            NodeError::UnknownContainer { .. } => StatusCode::NOT_FOUND,
            NodeError::StaleGeneration { .. } => StatusCode::CONFLICT,
            NodeError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            NodeError::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            NodeError::Forbidden { .. } => StatusCode::FORBIDDEN,
            NodeError::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            NodeError::WriteFailed { .. }
            | NodeError::Internal { .. }
            | NodeError::Unreachable { .. }
            | NodeError::Protocol { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let extra = match &self.1 {
            NodeError::Unauthenticated { .. } => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ballast\"")))
            }
            NodeError::TooManyRequests { retry_after_seconds } => {
                Some((header::RETRY_AFTER, HeaderValue::from(*retry_after_seconds)))
            }
            _ => None,
        };
        let mut response = (self.0, Json(self.1)).into_response();
        response.headers_mut().extend(extra);
        response
    }
}

/// What is asked cannot be: with this status, and this sentence.
#[must_use]
pub fn invalid(status: StatusCode, problem: String) -> Refusal {
    Refusal(status, NodeError::Invalid { problems: vec![problem] })
}
