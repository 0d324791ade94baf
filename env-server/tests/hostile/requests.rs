//! Hostile requests, drawn from a seed: the bytes of each, how they are sent, and what must become of it.
//!
//! None of them may be right: whoever sends them must see a refusal, or the connection's end where the bytes are no
//! request. Must not know what a plan can say: `plans` does.

use rand::{RngExt, rngs::StdRng};

use super::plans::{
    self, deep, half_right, odd_number, odd_shape, right, traversal_in_a_plan, wrong_generation,
};

/// The generation in force: older ones are refused.
pub(crate) const GENERATION: u64 = 1000;
pub(crate) const OBSERVE: &str = "observe-0123456789-hostile";
pub(crate) const ACT: &str = "act-0123456789-hostile";

/// What the sender does after the bytes, until it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing.
    Wait,
    /// It says that nothing more will come.
    End,
    /// It sends one more byte every so often.
    Drip,
}

pub(crate) struct Hostile {
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
    /// These bytes may be met with the connection's end instead of an answer: they are no whole request, or more than is
    /// read before the answer.
    pub(crate) may_be_cut: bool,
}

type Draw = fn(&mut StdRng) -> Hostile;

/// All kinds but the slow ones.
const KINDS: [Draw; 15] = [
    traversal_in_a_path,
    traversal_in_a_plan,
    unknown_place,
    oversized,
    wrong_generation,
    bad_token,
    bad_method,
    truncated,
    deep,
    odd_number,
    odd_shape,
    half_right,
    header_flood,
    odd_framing,
    garbage,
];

pub(crate) fn draw(rng: &mut StdRng) -> Hostile {
    pick(rng, &KINDS)(rng)
}

/// A head or a body that comes in drops.
pub(crate) fn draw_slow(rng: &mut StdRng) -> Hostile {
    let head = post_head(ACT, "application/json", 4000);
    let in_head = rng.random_range(0..2) == 0;
    let bytes =
        if in_head { head.as_bytes()[..rng.random_range(1..head.len() - 4)].to_vec() } else { head.into() };
    let kind = if in_head { "slow head" } else { "slow body" };
    Hostile { kind, bytes, then: Then::Drip, may_be_cut: in_head }
}

pub(crate) fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

pub(crate) fn whole(kind: &'static str, text: String) -> Hostile {
    Hostile { kind, bytes: text.into_bytes(), then: Then::Wait, may_be_cut: false }
}

pub(crate) fn post_head(token: &str, content_type: &str, length: usize) -> String {
    format!(
        "POST /v1/plans HTTP/1.1\r\nhost: n1\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    )
}

pub(crate) fn post(kind: &'static str, body: &str) -> Hostile {
    whole(kind, post_head(ACT, "application/json", body.len()) + body)
}

fn call(kind: &'static str, method: &str, path: &str, more: &str) -> Hostile {
    whole(
        kind,
        format!(
            "{method} {path} HTTP/1.1\r\nhost: n1\r\nconnection: close\r\nauthorization: Bearer {ACT}\r\n{more}\r\n"
        ),
    )
}

fn traversal_in_a_path(rng: &mut StdRng) -> Hostile {
    let names = [
        "..",
        ".",
        "%2e%2e",
        "..%2fgeo",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "geo%00",
        "geo%2f..%2frate",
        ".geo",
        "-geo",
        "%ff%fe",
        "geo%20",
        "geo%0a",
        "geo;rate",
        "geo,rate",
        "..%5cgeo",
        "%252e%252e%252fgeo",
        "geo*",
        "~",
    ];
    let name = match rng.random_range(0..4) {
        0 => "../".repeat(rng.random_range(1..50)) + "geo",
        1 => "%2e%2e%2f".repeat(rng.random_range(1..50)) + "geo",
        2 => "a".repeat(rng.random_range(201..2000)),
        _ => pick(rng, &names).to_owned(),
    };
    call("traversal in a path", "DELETE", &format!("/v1/containers/{name}/limits"), "")
}

fn unknown_place(rng: &mut StdRng) -> Hostile {
    let paths = [
        "/",
        "/../../etc/passwd",
        "/v1/../../etc/shadow",
        "//v1/node",
        "/v1/node/",
        "/v1//node",
        "/v1/node/..",
        "/V1/node",
        "/v2/node",
        "/v1/containers/geo",
        "/v1/containers/geo/limits/",
        "/%2e%2e/metrics",
        "/v1/node%00",
        "/.git/config",
    ];
    match rng.random_range(0..3) {
        0 => {
            let name = format!("x{}", rng.random_range(0..9999));
            post("unknown container", &plans::of("2000", "10", &name, &plans::limits(rng)))
        }
        1 => call(
            "unknown container",
            "DELETE",
            &format!("/v1/containers/x{}/limits", rng.random_range(0..9999)),
            "",
        ),
        _ => call("unknown path", "GET", pick(rng, &paths), ""),
    }
}

/// Announced only, or really sent.
fn oversized(rng: &mut StdRng) -> Hostile {
    let kind = "oversized body";
    if rng.random_range(0..8) > 0 {
        let length = rng.random_range(300_000..usize::MAX >> 1);
        return Hostile { may_be_cut: true, ..whole(kind, post_head(ACT, "application/json", length) + "{") };
    }
    let filler = " ".repeat(rng.random_range(262_145..400_000));
    let framing = "content-type: application/json\r\ntransfer-encoding: chunked\r\n";
    let mut sent = call(kind, "POST", "/v1/plans", framing);
    sent.bytes.extend(format!("{:x}\r\n{filler}\r\n0\r\n\r\n", filler.len()).bytes());
    Hostile { may_be_cut: true, ..sent }
}

fn bad_token(rng: &mut StdRng) -> Hostile {
    let body = right(rng);
    let token = match rng.random_range(0..7) {
        0 => String::new(),
        1 => ACT[..rng.random_range(1..ACT.len())].to_owned(),
        2 => format!("{ACT}x"),
        3 => ACT.to_uppercase(),
        4 => OBSERVE.to_owned(),
        5 => "x".repeat(rng.random_range(1..8000)),
        _ => (0..ACT.len()).map(|_| char::from(rng.random_range(b'!'..=b'~'))).collect(),
    };
    whole("bad token", post_head(&token, "application/json", body.len()) + &body)
}

fn bad_method(rng: &mut StdRng) -> Hostile {
    let methods = ["PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "get", "G@T", "DELETE", "XYZZY"];
    let places = ["/v1/node", "/v1/containers", "/v1/plans", "/metrics"];
    call("bad method", pick(rng, &methods), pick(rng, &places), "")
}

/// The end comes too early.
fn truncated(rng: &mut StdRng) -> Hostile {
    let mut whole = post("truncated", &right(rng));
    whole.bytes.truncate(rng.random_range(1..whole.bytes.len()));
    Hostile { then: Then::End, may_be_cut: true, ..whole }
}

fn header_flood(rng: &mut StdRng) -> Hostile {
    let headers = match rng.random_range(0..2) {
        0 => "x: y\r\n".repeat(rng.random_range(100..1000)),
        _ => format!("x: {}\r\n", "y".repeat(rng.random_range(20_000..60_000))),
    };
    Hostile { may_be_cut: true, ..call("header flood", "DELETE", "/v1/containers/geo/limits", &headers) }
}

/// Two lengths, unknown encodings, chunks that are none: where proxies and servers disagree, requests are smuggled.
fn odd_framing(rng: &mut StdRng) -> Hostile {
    let framings = [
        "content-length: 10\r\ncontent-length: 200\r\n",
        "content-length: -1\r\n",
        "content-length: 1e3\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: chunked\r\nx : y\r\n",
        "content-length: 99999999999999999999999\r\n",
    ];
    let head = format!("content-type: application/json\r\n{}", pick(rng, &framings));
    let mut sent = call("odd framing", "POST", "/v1/plans", &head);
    sent.bytes.extend(format!("zz\r\n{}\r\n0\r\n\r\n", right(rng)).bytes());
    Hostile { then: Then::End, may_be_cut: true, ..sent }
}

fn garbage(rng: &mut StdRng) -> Hostile {
    let mut bytes: Vec<u8> = (0..rng.random_range(1..3000)).map(|_| rng.random_range(0..=255)).collect();
    if rng.random_range(0..2) == 0 {
        // As a TLS client would begin.
        bytes.splice(0..0, [0x16, 3, 1, 2, 0, 1]);
    }
    Hostile { kind: "garbage", bytes, then: Then::End, may_be_cut: true }
}
