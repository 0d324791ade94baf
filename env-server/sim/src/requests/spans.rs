//! The spans that calls leave, named and nested as the testbed's tracing does.
//!
//! Must not know when calls begin or end: that is said here, not decided.

use std::sync::Arc;

use ballast_api::trace::{Span, SpanKind};

use super::{Call, Requests, Work};
use crate::time::Nanos;

impl Requests {
    /// A service has done what it was asked. A store's work leaves no span.
    pub(super) fn end_server_span(&mut self, key: usize, now: Nanos) {
        let call = &self.calls[key];
        let Work::Operation(operation) = call.work else { return };
        let service = &self.program.containers[call.container].label;
        let operation = match call.caller {
            None => self.request_label(call),
            Some(_) => &self.program.operations[operation].label,
        };
        let span = Span {
            trace: self.open[call.request].trace,
            id: call.server,
            parent: Some(call.client),
            kind: if call.background { SpanKind::Consumer } else { SpanKind::Server },
            service: Arc::clone(service),
            container: Some(Arc::clone(service)),
            operation: Arc::clone(operation),
            peer: None,
            start: self.time_of_day(call.accepted),
            end: self.time_of_day(now),
            failed: false,
        };
        self.spans.push(span);
    }

    /// A caller has its reply; the load generator's span is the root, and has no container.
    pub(super) fn end_client_span(&mut self, key: usize, now: Nanos) {
        let call = &self.calls[key];
        let container = call.caller.map(|container| &self.program.containers[container].label);
        let operation = match (call.caller, call.work) {
            (None, _) => self.request_label(call),
            (_, Work::Operation(operation)) => &self.program.operations[operation].label,
            (_, Work::Fetch(fetch)) => &self.program.fetches[fetch].label,
        };
        let span = Span {
            trace: self.open[call.request].trace,
            id: call.client,
            parent: call.parent,
            kind: if call.background { SpanKind::Producer } else { SpanKind::Client },
            service: Arc::clone(container.unwrap_or(&self.load_generator)),
            container: container.cloned(),
            operation: Arc::clone(operation),
            peer: Some(Arc::clone(&self.program.containers[call.container].label)),
            start: self.time_of_day(call.sent),
            end: self.time_of_day(now),
            failed: false,
        };
        self.spans.push(span);
    }

    /// `GET /hotels`: what the load generator and the entry service call the request.
    fn request_label(&self, call: &Call) -> &Arc<str> {
        &self.program.requests[self.open[call.request].kind].label
    }
}
