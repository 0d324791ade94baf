//! How a service is asked: one route for each operation, and one for each request type at the entry.
//!
//! Must not know what operations do.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ballast_sim::{Topology, topology::Operation};
use bytes::Bytes;
use opentelemetry::{Context, trace::SpanKind};

use super::operation::{Service, end};
use crate::{telemetry::Telemetry, topology::operation_path};

/// The header of a call that nobody waits for.
pub const BACKGROUND: &str = "ballast-background";

/// What is done for one method and path.
#[derive(Debug)]
struct Route {
    /// Name of the server span: the request type at the entry, else the operation.
    span: String,
    operation: Operation,
    payload: Bytes,
}

#[derive(Debug)]
struct Server {
    service: Arc<Service>,
    /// By method and path, as in `GET /hotels`.
    routes: HashMap<String, Arc<Route>>,
}

/// Answers `POST /operations/NAME` for each of the service's operations, the request types that enter through it, and
/// `GET /healthz`.
pub fn router(service: Arc<Service>, topology: &Topology) -> Router {
    let own = topology.operations.iter().filter(|operation| operation.name.service == *service.name());
    let mut routes = HashMap::new();
    for operation in own {
        let route = |span: String| {
            let payload = Bytes::from(vec![b'x'; operation.reply_bytes as usize]);
            Arc::new(Route { span, operation: operation.clone(), payload })
        };
        let name = &operation.name;
        routes.insert(format!("POST {}", operation_path(name)), route(name.to_string()));
        for request in topology.requests.iter().filter(|request| request.operation == *name) {
            routes.insert(request.name.clone(), route(request.name.clone()));
        }
    }
    Router::new().fallback(answer).with_state(Arc::new(Server { service, routes }))
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    if asked == "GET /healthz" {
        return StatusCode::OK.into_response();
    }
    let Some(route) = server.routes.get(&asked).cloned() else {
        return (StatusCode::NOT_FOUND, format!("there is no {asked:?} here\n")).into_response();
    };
    let parent = server.service.telemetry().extract(request.headers());
    if request.headers().contains_key(BACKGROUND) {
        let service = Arc::clone(&server.service);
        tokio::spawn(async move { handle(&service, &route, SpanKind::Consumer, &parent).await });
        return StatusCode::ACCEPTED.into_response();
    }
    handle(&server.service, &route, SpanKind::Server, &parent).await
}

/// The span begins on arrival, so waiting for a worker is part of it.
async fn handle(service: &Arc<Service>, route: &Route, kind: SpanKind, parent: &Context) -> Response {
    let span = Telemetry::span(route.span.clone(), kind, None);
    let context = service.telemetry().start(span, parent);
    let outcome = service.perform(&route.operation, &context).await;
    end(&context, &outcome);
    match outcome {
        Ok(()) => route.payload.clone().into_response(),
        Err(error) => {
            tracing::warn!(operation = %route.operation.name, error = format!("{error:#}"), "failed");
            (StatusCode::BAD_GATEWAY, format!("{error:#}\n")).into_response()
        }
    }
}
