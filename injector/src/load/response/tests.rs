//! Answers as they should be, as they should not be, and in pieces.

use proptest::prelude::*;

use super::*;

/// What came of a stream: the first answer, or what was wrong, or neither by its end.
type Outcome = Result<Result<Answer, AtEnd>, Malformed>;

fn fed(parser: &mut ResponseParser, pieces: &[&[u8]]) -> Outcome {
    for piece in pieces {
        if let Some(answer) = parser.feed(piece)? {
            return Ok(Ok(answer));
        }
    }
    Ok(Err(parser.end()))
}

fn whole(text: &str) -> Outcome {
    fed(&mut ResponseParser::new(false), &[text.as_bytes()])
}

fn answer(status: u16, keep_alive: bool) -> Outcome {
    Ok(Ok(Answer { status, keep_alive }))
}

#[test]
fn bodies_end_where_their_head_says() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", answer(200, true)),
        ("HTTP/1.1 200\ncontent-length: 0\n\n", answer(200, true)),
        ("HTTP/1.1 503 Busy\r\nContent-Length: 2, 2\r\nConnection: close\r\n\r\nno", answer(503, false)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", answer(200, false)),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\nx", answer(200, true)),
        ("HTTP/1.1 204 No Content\r\n\r\n", answer(204, true)),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", answer(304, true)),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", answer(201, true)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", answer(200, true)),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\nA;x=y\r\n0123456789\r\n00\r\nT: v\r\n\r\n",
            answer(200, true),
        ),
    ] {
        assert_eq!(whole(text), expected, "{text}");
    }
}

#[test]
fn a_body_without_length_ends_with_the_stream() {
    let complete = AtEnd::Complete(Answer { status: 200, keep_alive: false });
    assert_eq!(whole("HTTP/1.1 200 OK\r\n\r\nall of it"), Ok(Err(complete)));
    assert_eq!(whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n..."), Ok(Err(complete)));
    for cut in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"] {
        assert_eq!(whole(cut), Ok(Err(AtEnd::Cut)), "{cut}");
    }
}

#[test]
fn answers_to_head_have_no_body() {
    let text = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n";
    assert_eq!(fed(&mut ResponseParser::new(true), &[text]), answer(200, true));
}

#[test]
fn answers_follow_each_other() {
    let mut parser = ResponseParser::new(false);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    for _ in 0..3 {
        assert_eq!(fed(&mut parser, &[&chunked[..20], &chunked[20..]]), answer(200, true));
    }
}

#[test]
fn what_nobody_asked_for_ends_the_connection() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n";
    assert_eq!(whole(text), answer(200, false));
}

#[test]
fn what_is_no_answer_is_refused() {
    let ok = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
    for (text, problem) in [
        ("SSH-2.0-OpenSSH\r\n".to_owned(), Malformed::NotHttp),
        ("h".to_owned(), Malformed::NotHttp),
        ("HTTP/2 200\r\n\r\n".to_owned(), Malformed::NotHttp),
        ("HTTP/1.1 2x0 OK\r\n\r\n".to_owned(), Malformed::Head),
        (ok("no colon"), Malformed::Head),
        (ok(&"a: b\r\n".repeat(MOST_FIELDS + 1)), Malformed::Head),
        (ok(&format!("a: {}", "x".repeat(MOST_HEAD))), Malformed::HeadTooLong),
        ("HTTP/1.1 101 Switching\r\n\r\n".to_owned(), Malformed::Framing),
        (ok("Content-Length: x"), Malformed::Framing),
        (ok("Content-Length: -1"), Malformed::Framing),
        (ok("Content-Length: +1"), Malformed::Framing),
        (ok("Content-Length: "), Malformed::Framing),
        (ok("Content-Length: 99999999999999999999"), Malformed::Framing),
        (ok("Content-Length: 1\r\nContent-Length: 2"), Malformed::Framing),
        (ok("Content-Length: 1\r\nTransfer-Encoding: chunked"), Malformed::Framing),
        (ok("Transfer-Encoding: chunked") + "g\r\n", Malformed::Chunk),
        (ok("Transfer-Encoding: chunked") + "\r\n", Malformed::Chunk),
        (ok("Transfer-Encoding: chunked") + "10000000000000000\r\n", Malformed::Chunk),
        (ok("Transfer-Encoding: chunked") + "1\r\nxy\r\n", Malformed::Chunk),
        (ok("Transfer-Encoding: chunked") + "1;" + &"x".repeat(5000), Malformed::Chunk),
        (ok("Transfer-Encoding: chunked") + "0\r\n" + &"a: b\r\n".repeat(5000), Malformed::Chunk),
        (ok("Transfer-Encoding: chunked") + &"0".repeat(20_000), Malformed::Chunk),
    ] {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(whole(&text), Err(problem), "{shown}");
    }
}

fn any_answer() -> impl Strategy<Value = String> {
    let framing = prop_oneof![
        (0_usize..200).prop_map(|n| format!("Content-Length: {n}\r\n\r\n{}", "x".repeat(n))),
        prop::collection::vec(1_usize..40, 0..5).prop_map(|chunks| {
            let chunks: String = chunks.iter().map(|n| format!("{n:x}\r\n{}\r\n", "\n".repeat(*n))).collect();
            format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
        }),
        Just("\r\nuntil the end".to_owned()),
    ];
    let interim = prop_oneof![Just(""), Just("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")];
    // Those of 204 and 304 have no body, so that what follows is another answer.
    let status = prop_oneof![200_u16..204, 205_u16..304, 305_u16..600];
    (interim, status, framing).prop_map(|(interim, status, framing)| {
        format!("{interim}HTTP/1.1 {status} Some reason\r\nServer: x\r\n{framing}")
    })
}

/// The bytes in pieces that end at these places.
fn split<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn an_answer_is_the_same_in_any_pieces(
        text in any_answer(), places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let outcome = fed(&mut ResponseParser::new(false), &split(text.as_bytes(), &places));
        prop_assert_eq!(outcome, whole(&text));
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(fed(&mut ResponseParser::new(false), &bytes), whole(&text));
    }

    #[test]
    fn a_broken_answer_is_judged_the_same_in_any_pieces(
        text in any_answer(), turned in any::<prop::sample::Index>(), with: u8,
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = text.into_bytes();
        let at = turned.index(bytes.len());
        bytes[at] = with;
        let status = |outcome: Outcome| outcome.map(|ended| ended.map(|answer| answer.status));
        let together = status(fed(&mut ResponseParser::new(false), &[&bytes]));
        let apart = status(fed(&mut ResponseParser::new(false), &split(&bytes, &places)));
        prop_assert_eq!(apart, together);
    }

    #[test]
    fn garbage_is_judged_without_panic_and_bounded(
        bytes in prop::collection::vec(any::<u8>(), 0..400), begin in prop_oneof![
            Just(""), Just("HTTP/1.1 "), Just("HTTP/1.1 200 OK\r\n"),
            Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ],
    ) {
        let mut parser = ResponseParser::new(false);
        for piece in [begin.as_bytes(), &bytes, &bytes] {
            if parser.feed(piece).is_err() {
                break;
            }
            prop_assert!(parser.head.len() <= MOST_HEAD);
        }
    }
}
