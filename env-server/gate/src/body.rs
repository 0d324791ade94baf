//! The body of a request: within bounds of length and time, and of the type that the call takes.
//!
//! Must not know what it says.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::{StatusCode, header},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::refusal::{Refusal, invalid};

/// The longest body accepted: a plan for a thousand containers fits.
pub const MAX_BODY_BYTES: usize = 256 << 10;

/// How long a peer may take for a body: even the longest comes in far less over a bad line.
const IN_TIME: Duration = Duration::from_secs(5);

/// The body as what `T` is on the wire. Only `application/json` is taken: a page in somebody's browser cannot send that here
/// without being asked first.
///
/// # Errors
/// What is not as the OpenAPI document says is a bad request (400, 415); too long a body is 413, too slow a one 408.
pub async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    if announced_bytes(&request).is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64) {
        let problem = format!("the body is longer than {MAX_BODY_BYTES} bytes");
        return Err(invalid(StatusCode::PAYLOAD_TOO_LARGE, problem));
    }
    let body = timeout(IN_TIME, Json::<T>::from_request(request, &())).await.map_err(|_| {
        let problem = format!("the body did not come within {} s", IN_TIME.as_secs());
        invalid(StatusCode::REQUEST_TIMEOUT, problem)
    })?;
    body.map(|Json(body)| body).map_err(|rejection| not_as_described(&rejection))
}

/// The other status, 422, is for what is as described, and cannot be carried out.
fn not_as_described(rejection: &JsonRejection) -> Refusal {
    let status = match rejection {
        JsonRejection::JsonDataError(_) => StatusCode::BAD_REQUEST,
        other => other.status(),
    };
    invalid(status, rejection.body_text())
}

fn announced_bytes(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
