//! OTLP in protobuf.
//!
//! Must not judge what it reads.

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;

use super::{
    Export, OtlpError,
    admit::{self, Names, RawSpan, Sender},
};

pub(super) fn decode(body: &[u8]) -> Result<Export, OtlpError> {
    let request = ExportTraceServiceRequest::decode(body)?;
    let (mut export, mut names) = (Export::default(), Names::default());
    for resource_spans in &request.resource_spans {
        let attributes = resource_spans.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let sender = Sender::of(texts(attributes), &mut names);
        for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
            admit::admit(&raw(span), &sender, admit::peer(texts(&span.attributes)), &mut names, &mut export);
        }
    }
    Ok(export)
}

fn raw(span: &Span) -> RawSpan<'_> {
    RawSpan {
        trace_id: &span.trace_id,
        span_id: &span.span_id,
        parent_id: &span.parent_span_id,
        kind: admit::kind(span.kind.into()),
        name: &span.name,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        failed: span.status.as_ref().is_some_and(|status| i64::from(status.code) == admit::STATUS_ERROR),
    }
}

/// Attributes whose value is a text.
fn texts(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().filter_map(|attribute| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some((attribute.key.as_str(), text.as_str())),
        _ => None,
    })
}
