//! The traps of real exports, and bytes that are none: nothing panics, nothing is invented.

use ballast_api::{
    clock::UnixNanos,
    trace::{SpanId, SpanKind, TraceId},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status},
};
use proptest::prelude::*;
use prost::Message;

use super::*;

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn otlp_span(id: u64, parent: Option<u64>) -> OtlpSpan {
    OtlpSpan {
        trace_id: vec![0xab; 16],
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: parent.map_or(vec![], |parent| parent.to_be_bytes().to_vec()),
        name: "geo.nearby".to_owned(),
        kind: 3,
        start_time_unix_nano: 1_000,
        end_time_unix_nano: 3_000,
        attributes: vec![attribute("peer.service", "rate")],
        status: Some(Status { code: 2, ..Status::default() }),
        ..OtlpSpan::default()
    }
}

fn request(resource: &[(&str, &str)], spans: Vec<OtlpSpan>) -> ExportTraceServiceRequest {
    let attributes = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

fn protobuf(resource: &[(&str, &str)], spans: Vec<OtlpSpan>) -> Export {
    decode(Encoding::Protobuf, &request(resource, spans).encode_to_vec()).unwrap()
}

fn json(text: &str) -> Export {
    decode(Encoding::Json, text.as_bytes()).unwrap()
}

/// One document with one span of these fields.
fn document(fields: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"geo"}}}}]}},
            "scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#
    )
}

const IDS: &str = r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174""#;
const TIMES: &str = r#""startTimeUnixNano":"1000","endTimeUnixNano":"3000""#;

#[test]
fn both_encodings_say_the_same() {
    let sent =
        protobuf(&[("service.name", "search"), ("container.name", "search-1")], vec![otlp_span(7, Some(9))]);
    let same = json(
        r#"{"resourceSpans":[{"resource":{"attributes":[
            {"key":"service.name","value":{"stringValue":"search"}},
            {"key":"container.name","value":{"stringValue":"search-1"}},
            {"key":"process.pid","value":{"intValue":"12"}}]},
          "scopeSpans":[{"scope":{"name":"x"},"spans":[{
            "traceId":"abababababababababababababababab","spanId":"0000000000000007","parentSpanId":"0000000000000009",
            "name":"geo.nearby","kind":3,"startTimeUnixNano":"1000","endTimeUnixNano":3000,
            "attributes":[{"key":"peer.service","value":{"stringValue":"rate"}}],"status":{"code":2},
            "events":[{"timeUnixNano":"1500","name":"e"}],"links":[]}]}]}]}"#,
    );
    assert_eq!(sent, same);
    let [span] = &sent.spans[..] else { panic!("one span expected") };
    assert_eq!((span.id, span.parent, span.kind), (SpanId(7), Some(SpanId(9)), SpanKind::Client));
    assert_eq!(
        (&*span.service, span.container.as_deref(), span.peer.as_deref()),
        ("search", Some("search-1"), Some("rate"))
    );
    assert_eq!((span.start, span.end, span.failed), (UnixNanos(1_000), UnixNanos(3_000), true));
}

#[test]
fn ids_may_be_in_upper_case() {
    let export =
        json(&document(&format!(r#"{IDS},{TIMES},"parentSpanId":"EEE19B7EC3C1B173","name":"x","kind":2"#)));
    assert_eq!(export.spans[0].trace, TraceId(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c));
    assert_eq!(export.spans[0].parent, Some(SpanId(0xeee1_9b7e_c3c1_b173)));
}

#[test]
fn a_document_a_line_is_read_to_the_end() {
    let one = document(&format!("{IDS},{TIMES}"));
    let two = one.replace('\n', " ").replace("EEE19B7EC3C1B174", "0000000000000002");
    assert_eq!(json(&format!("{}\n{two}\n", one.replace('\n', " "))).spans.len(), 2);
}

#[test]
fn each_resource_keeps_its_own_name() {
    let mut both = request(&[("service.name", "geo")], vec![otlp_span(1, None)]);
    both.resource_spans.extend(request(&[("service.name", "rate")], vec![otlp_span(2, None)]).resource_spans);
    let export = decode(Encoding::Protobuf, &both.encode_to_vec()).unwrap();
    let services: Vec<&str> = export.spans.iter().map(|span| &*span.service).collect();
    assert_eq!(services, ["geo", "rate"]);
}

#[test]
fn a_missing_service_name_is_counted_and_called_unknown() {
    for resource in [&[][..], &[("service.name", "")], &[("host.name", "n1")]] {
        let export = protobuf(resource, vec![otlp_span(1, None)]);
        assert_eq!((export.unnamed, &*export.spans[0].service), (1, UNKNOWN_SERVICE));
    }
    assert_eq!(json(r#"{"resourceSpans":[{"scopeSpans":[]}]}"#), Export::default());
}

#[test]
fn kubernetes_name_of_a_container_stands_in_for_the_general_one() {
    let container = |resource: &[_]| protobuf(resource, vec![otlp_span(1, None)]).spans[0].container.clone();
    assert_eq!(container(&[("k8s.container.name", "geo-k")]).as_deref(), Some("geo-k"));
    assert_eq!(
        container(&[("container.name", "geo-1"), ("k8s.container.name", "geo-k")]).as_deref(),
        Some("geo-1")
    );
    assert_eq!(container(&[]), None);
}

#[test]
fn a_span_that_makes_no_sense_costs_no_other() {
    let bad = [
        OtlpSpan { trace_id: vec![0; 16], ..otlp_span(1, None) },
        OtlpSpan { trace_id: vec![1; 8], ..otlp_span(1, None) },
        OtlpSpan { span_id: vec![0; 8], ..otlp_span(1, None) },
        OtlpSpan { span_id: vec![], ..otlp_span(1, None) },
        OtlpSpan { parent_span_id: vec![1; 7], ..otlp_span(1, None) },
        OtlpSpan { start_time_unix_nano: 0, ..otlp_span(1, None) },
        otlp_span(2, None),
    ];
    let export = protobuf(&[("service.name", "geo")], bad.to_vec());
    assert_eq!(export.rejected, Rejected { trace_id: 2, span_id: 2, parent_id: 1, start: 1 });
    assert_eq!(export.spans.iter().map(|span| span.id.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn json_that_makes_no_sense_is_refused_span_by_span_too() {
    for (fields, expected) in [
        (
            format!(r#""traceId":"xyz","spanId":"EEE19B7EC3C1B174",{TIMES}"#),
            Rejected { trace_id: 1, ..Rejected::default() },
        ),
        (
            format!(r#""traceId":12,"spanId":"EEE19B7EC3C1B174",{TIMES}"#),
            Rejected { trace_id: 1, ..Rejected::default() },
        ),
        (format!(r#"{IDS},{TIMES},"parentSpanId":"é""#), Rejected { parent_id: 1, ..Rejected::default() }),
        (format!(r#"{IDS},{TIMES},"parentSpanId":{{}}"#), Rejected { parent_id: 1, ..Rejected::default() }),
        (
            format!(r#"{IDS},"startTimeUnixNano":-5,"endTimeUnixNano":"7""#),
            Rejected { start: 1, ..Rejected::default() },
        ),
    ] {
        assert_eq!(json(&document(&fields)).rejected, expected, "{fields}");
    }
    let export = json(&document(&format!(
        r#"{IDS},{TIMES},"parentSpanId":null,"kind":"SPAN_KIND_SERVER","status":null,"attributes":[{{"key":"a","value":{{"newValue":[1]}}}}]"#
    )));
    assert_eq!((export.spans[0].parent, export.spans[0].kind), (None, SpanKind::Server));
}

#[test]
fn an_end_before_the_start_is_moved_to_it() {
    let export = protobuf(
        &[("service.name", "geo")],
        vec![OtlpSpan { end_time_unix_nano: 999, ..otlp_span(1, None) }],
    );
    assert_eq!((export.clamped, export.spans[0].end), (1, UnixNanos(1_000)));
}

#[test]
fn a_parent_of_zeros_is_no_parent() {
    let export = protobuf(&[("service.name", "geo")], vec![otlp_span(1, Some(0))]);
    assert_eq!(export.spans[0].parent, None);
}

#[test]
fn what_is_no_export_is_told_so() {
    let refused = |encoding, body: &[u8]| decode(encoding, body).unwrap_err().to_string();
    assert!(refused(Encoding::Protobuf, b"hello").contains("protobuf"));
    for body in ["", " ", "{", "3", "{}x", r#"{"resourceSpans":3}"#] {
        assert!(refused(Encoding::Json, body.as_bytes()).contains("JSON"), "{body:?}");
    }
    assert!(refused(Encoding::Json, &vec![b' '; MAX_BODY_BYTES + 1]).contains("smaller batches"));
    // Nesting that would exhaust the stack of a careless reader.
    assert!(refused(Encoding::Json, "[".repeat(1_000_000).as_bytes()).contains("JSON"));
    assert!(decode(Encoding::Protobuf, b"").unwrap().spans.is_empty());
}

/// A valid body with some bytes changed, cut or doubled.
fn mutated(body: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    (changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, cut, double)| {
        let mut body = body.clone();
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        body.truncate(cut.index(body.len() + 1));
        if double {
            body.extend_from_within(..);
        }
        body
    })
}

fn holds_only_valid_spans(export: &Export) -> bool {
    export.spans.iter().all(|span| span.trace.0 != 0 && span.id.0 != 0 && span.end >= span.start)
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        for encoding in [Encoding::Protobuf, Encoding::Json] {
            if let Ok(export) = decode(encoding, &body) {
                prop_assert!(holds_only_valid_spans(&export));
            }
        }
    }

    #[test]
    fn damaged_protobuf_never_panics(
        body in mutated(request(&[("service.name", "geo")], vec![otlp_span(1, None), otlp_span(2, Some(1))]).encode_to_vec())
    ) {
        if let Ok(export) = decode(Encoding::Protobuf, &body) {
            prop_assert!(holds_only_valid_spans(&export));
        }
    }

    #[test]
    fn damaged_json_never_panics(body in mutated(document(&format!("{IDS},{TIMES}")).into_bytes())) {
        if let Ok(export) = decode(Encoding::Json, &body) {
            prop_assert!(holds_only_valid_spans(&export));
        }
    }
}
