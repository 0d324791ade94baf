//! What must hold for any bytes that the injector reads: campaigns, traces of rates, answers of a service.
//!
//! Must not know how the bytes are found.

use ballast_injector::{
    campaign::{MOST_INJECTIONS, MOST_TEXT, Plan, Scheduled, schedule},
    load::{
        MOST_RATE,
        response::{AtEnd, MOST_HEAD, Malformed, ResponseParser},
        shape::Shape,
        trace_file::Trace,
    },
};

/// A text that repeats itself so often is longer than any head that is accepted.
const MOST_REPEATED: usize = 8;

/// A campaign is refused, or comes to a bounded number of injections with a bounded amount of text, in order, all of which begin
/// within it, and to the same ones each time.
pub fn campaign(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(plan) = Plan::parse(text) else { return };
    let scheduled = schedule(&plan);
    assert!(scheduled.len() <= MOST_INJECTIONS, "{} injections", scheduled.len());
    assert!(scheduled.is_sorted_by_key(|injection| injection.at_ms), "out of order");
    for (number, injection) in (1..).zip(&scheduled) {
        assert_eq!(injection.number, number);
        assert!(injection.at() <= plan.duration, "{injection:?} begins after the campaign");
    }
    let text: usize = scheduled.iter().map(text_of).sum();
    assert!(text <= MOST_TEXT, "{text} bytes");
    assert_eq!(schedule(&plan), scheduled, "the same campaign");
}

fn text_of(injection: &Scheduled) -> usize {
    let texts = [&injection.cgroup, &injection.url, &injection.intensity].into_iter().flatten();
    texts.chain(&injection.options).chain([&injection.kind]).map(String::len).sum()
}

/// A trace is refused, or holds rates that can be sent, each for some time, in all for as long as it says; and fills that time.
pub fn trace(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(trace) = Trace::parse(text) else { return };
    assert!(trace.seconds() > 0.0 && trace.seconds().is_finite());
    for (rate, lasts) in trace.steps() {
        assert!((0.0..=MOST_RATE).contains(&rate) && lasts > 0.0, "{rate}/s for {lasts} s");
    }
    let seconds = trace.seconds();
    let filled: f64 = Shape::Trace(trace).pieces(seconds, 1).map(|piece| piece.seconds).sum();
    assert!((filled - seconds).abs() <= 1e-9 * seconds, "{filled} s of {seconds} s");
}

/// A service answers anything: it is judged the same in whatever pieces it comes, and no more is kept of it than of a head. The
/// first byte says whether the request was HEAD (if odd), the second one how long the pieces are.
pub fn response(bytes: &[u8]) {
    let [flags, length, content @ ..] = bytes else { return };
    let to_head = flags % 2 == 1;
    let whole = judged(to_head, std::iter::once(content));
    assert_eq!(judged(to_head, content.chunks(1 + usize::from(*length))), whole, "in pieces");
    assert_eq!(judged(to_head, content.chunks(1)), whole, "byte by byte");
    // What follows an answer, or one that has no end.
    let mut parser = ResponseParser::new(to_head);
    for _ in 0..MOST_REPEATED {
        if parser.feed(content).is_err() {
            break;
        }
        assert!(parser.kept() <= MOST_HEAD, "{} bytes are kept", parser.kept());
    }
}

/// The status of the first answer, if its end comes. Whether the connection can be used again depends on what came with it.
fn judged<'a>(
    to_head: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Result<Result<u16, AtEnd>, Malformed> {
    let mut parser = ResponseParser::new(to_head);
    for piece in pieces {
        if let Some(answer) = parser.feed(piece)? {
            return Ok(Ok(answer.status));
        }
    }
    Ok(Err(parser.end()))
}
