//! OTLP in JSON: ids in hexadecimal (either case), 64-bit numbers as text or as numbers, enumerations as numbers or names.
//!
//! Reads only the fields that spans need. Lenient where senders differ, so that one odd span costs no other. Must not
//! judge what it reads.

use ballast_api::trace::SpanKind;
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    Export, OtlpError,
    admit::{self, Names, RawSpan, Sender},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default, deserialize_with = "or_default")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans {
    #[serde(deserialize_with = "or_default")]
    resource: Resource,
    #[serde(deserialize_with = "or_default")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resource {
    #[serde(deserialize_with = "or_default")]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ScopeSpans {
    #[serde(deserialize_with = "or_default")]
    spans: Vec<Span>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Span {
    trace_id: Scalar,
    span_id: Scalar,
    parent_span_id: Scalar,
    kind: Scalar,
    name: Scalar,
    start_time_unix_nano: Scalar,
    end_time_unix_nano: Scalar,
    #[serde(deserialize_with = "or_default")]
    status: Status,
    #[serde(deserialize_with = "or_default")]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    code: Scalar,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Attribute {
    key: Scalar,
    #[serde(deserialize_with = "or_default")]
    value: AttributeValue,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AttributeValue {
    string_value: Scalar,
}

/// A text, a number, or something that no field here may be.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(u64),
    /// `null`, or no field at all.
    #[default]
    Null,
    Other(IgnoredAny),
}

/// JSON's `null` means the field's default, as everywhere in protobuf's JSON.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Scalar {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// The bytes of a hexadecimal id. What is no id gives bytes of a length that no id has.
    fn id(&self) -> Vec<u8> {
        const NO_ID: [u8; 1] = [0];
        match self {
            Self::Text(text) => from_hex(text).unwrap_or(NO_ID.to_vec()),
            Self::Null => Vec::new(),
            Self::Number(_) | Self::Other(_) => NO_ID.to_vec(),
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let (pairs, []) = digits.as_ref()?.as_chunks::<2>() else { return None };
    Some(pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

pub(super) fn decode(body: &[u8]) -> Result<Export, OtlpError> {
    let (mut export, mut names) = (Export::default(), Names::default());
    let documents =
        serde_json::Deserializer::from_slice(body).into_iter().collect::<Result<Vec<Request>, _>>()?;
    if documents.is_empty() {
        // No document at all is none of JSON's; this tells the reader's own error.
        serde_json::from_slice::<Request>(body)?;
    }
    for request in documents {
        for resource_spans in request.resource_spans {
            let sender = Sender::of(texts(&resource_spans.resource.attributes), &mut names);
            for span in resource_spans.scope_spans.iter().flat_map(|scope| &scope.spans) {
                take(span, &sender, &mut names, &mut export);
            }
        }
    }
    Ok(export)
}

fn take(span: &Span, sender: &Sender, names: &mut Names, export: &mut Export) {
    let (trace_id, span_id, parent_id) = (span.trace_id.id(), span.span_id.id(), span.parent_span_id.id());
    let raw = RawSpan {
        trace_id: &trace_id,
        span_id: &span_id,
        parent_id: &parent_id,
        kind: kind(&span.kind),
        name: span.name.text(),
        start: span.start_time_unix_nano.number(),
        end: span.end_time_unix_nano.number(),
        failed: is_error(&span.status.code),
    };
    admit::admit(&raw, sender, admit::peer(texts(&span.attributes)), names, export);
}

fn kind(kind: &Scalar) -> SpanKind {
    match kind.text() {
        "SPAN_KIND_SERVER" => SpanKind::Server,
        "SPAN_KIND_CLIENT" => SpanKind::Client,
        "SPAN_KIND_PRODUCER" => SpanKind::Producer,
        "SPAN_KIND_CONSUMER" => SpanKind::Consumer,
        _ => admit::kind(i64::try_from(kind.number()).unwrap_or(0)),
    }
}

fn is_error(code: &Scalar) -> bool {
    code.text() == "STATUS_CODE_ERROR" || i64::try_from(code.number()) == Ok(admit::STATUS_ERROR)
}

/// Attributes whose value is a text.
fn texts(attributes: &[Attribute]) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().filter_map(|attribute| match &attribute.value.string_value {
        Scalar::Text(text) => Some((attribute.key.text(), text.as_str())),
        _ => None,
    })
}
