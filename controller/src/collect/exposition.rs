//! The Prometheus text format (0.0.4), one line at a time and without copying.
//!
//! Must not know any metric. Written here because the crate `prometheus-parse` cuts label values at `,`, `=` and `}` and
//! drops such lines without a word, and labels of real containers (image digests, JSON annotations) hold all three.

use std::borrow::Cow;

/// Space and tab separate tokens; nothing else does.
const BLANK: [char; 2] = [' ', '\t'];

/// A line that is no sample, comment or blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    /// The metric's name.
    pub(super) metric: &'a str,
    /// What stands between the braces, checked.
    labels: &'a str,
    /// May be NaN or infinite.
    pub(super) value: f64,
    /// Milliseconds since 1970, where the source says.
    pub(super) timestamp_ms: Option<i64>,
}

impl<'a> Line<'a> {
    /// Names and values, unescaped, in the order written.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (name, raw, after) = next_label(rest).ok()??;
            rest = after;
            Some((name, unescape(raw)))
        })
    }
}

/// Reads one line; `None` for a blank one or a comment.
pub(super) fn parse_line(text: &str) -> Result<Option<Line<'_>>, Malformed> {
    let text = text.trim_matches(BLANK);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (metric, rest) = split_name(text, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))?;
    let (labels, rest) = match rest.trim_start_matches(BLANK).strip_prefix('{') {
        Some(inside) => split_labels(inside)?,
        None if rest.starts_with(BLANK) => ("", rest),
        None => return Err(Malformed),
    };
    let mut words = rest.split(BLANK).filter(|word| !word.is_empty());
    let value = words.next().and_then(|word| word.parse().ok()).ok_or(Malformed)?;
    let timestamp_ms = words.next().map(str::parse).transpose().map_err(|_| Malformed)?;
    match words.next() {
        None => Ok(Some(Line { metric, labels, value, timestamp_ms })),
        Some(_) => Err(Malformed),
    }
}

/// The name that `text` begins with, and what follows.
fn split_name(text: &str, allowed: impl Fn(char) -> bool) -> Result<(&str, &str), Malformed> {
    let end = text.find(|c| !allowed(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok((name, rest))
}

/// Splits what follows `{` into the labels and what follows `}`.
fn split_labels(inside: &str) -> Result<(&str, &str), Malformed> {
    let mut rest = inside;
    while let Some((_, _, after)) = next_label(rest)? {
        rest = after;
    }
    let end = inside.len() - rest.len();
    let after = rest.trim_start_matches(BLANK).strip_prefix('}').ok_or(Malformed)?;
    Ok((&inside[..end], after))
}

/// The next label's name, its value as written, and what follows; `None` before `}` or at the end.
fn next_label(text: &str) -> Result<Option<(&str, &str, &str)>, Malformed> {
    let text = text.trim_start_matches(BLANK);
    if text.is_empty() || text.starts_with('}') {
        return Ok(None);
    }
    let (name, rest) = split_name(text, |c| c.is_ascii_alphanumeric() || c == '_')?;
    let rest = rest.trim_start_matches(BLANK).strip_prefix('=').ok_or(Malformed)?;
    let rest = rest.trim_start_matches(BLANK).strip_prefix('"').ok_or(Malformed)?;
    let end = closing_quote(rest).ok_or(Malformed)?;
    let (raw, rest) = (&rest[..end], rest[end + 1..].trim_start_matches(BLANK));
    match rest.strip_prefix(',') {
        Some(after) => Ok(Some((name, raw, after))),
        None if rest.is_empty() || rest.starts_with('}') => Ok(Some((name, raw, rest))),
        None => Err(Malformed),
    }
}

/// Where the first quote stands that no backslash takes away.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

/// The format knows three escapes; another stays as it is written.
fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut plain = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('\\' | '"' | 'n'))) => {
                chars.next();
                plain.push(if next == 'n' { '\n' } else { next });
            }
            _ => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Line<'_> {
        parse_line(text).unwrap().unwrap()
    }

    fn labels(text: &str) -> Vec<(String, String)> {
        line(text).labels().map(|(name, value)| (name.to_owned(), value.into_owned())).collect()
    }

    #[test]
    fn reads_name_labels_value_and_time() {
        let text = r#"container_cpu_usage_seconds_total{cpu="cpu00",id="/a/b"} 0.81 1795288836777"#;
        let read = line(text);
        assert_eq!(
            (read.metric, read.value, read.timestamp_ms),
            ("container_cpu_usage_seconds_total", 0.81, Some(1_795_288_836_777))
        );
        assert_eq!(labels(text), [("cpu".into(), "cpu00".into()), ("id".into(), "/a/b".into())]);
    }

    #[test]
    fn labels_may_be_missing_empty_or_end_with_a_comma() {
        assert_eq!(line("up 1").timestamp_ms, None);
        assert!(labels("up{} 1").is_empty());
        assert_eq!(labels("up{ a = \"b\" , }\t1 2").len(), 1);
        assert!(line("up NaN").value.is_nan());
        assert_eq!(line("up +Inf").value, f64::INFINITY);
        assert_eq!(line("up 1.795288838e+09").value, 1.795_288_838e9);
    }

    #[test]
    fn values_hold_what_containers_are_labelled_with() {
        let read = labels(r#"m{image="x@sha256:ab",note="{\"a\":1,\"b\"=2}",path="C:\\n",odd="\d"} 1"#);
        let values: Vec<_> = read.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["x@sha256:ab", r#"{"a":1,"b"=2}"#, r"C:\n", r"\d"]);
    }

    #[test]
    fn comments_and_blanks_are_no_samples() {
        for text in ["", "  \t", "# HELP up x", "#"] {
            assert_eq!(parse_line(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_line() {
        for text in [
            "up",
            "up ",
            "up x",
            "up 1 2 3",
            "up 1 1.5",
            "1up 1",
            "up-1 5",
            "up{ 1",
            "up{a} 1",
            "up{a=b} 1",
            "up{a=\"b} 1",
            "up{a=\"b\\\"} 1",
            "up{a=\"b\"c=\"d\"} 1",
            "up{a=\"b\"} ",
            "{a=\"b\"} 1",
            "up{,} 1",
            "{} 1",
        ] {
            assert_eq!(parse_line(text), Err(Malformed), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_label_value_reads_back(value in any::<String>(), number in proptest::num::f64::NORMAL) {
            let escaped = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            let text = format!("m{{a=\"{escaped}\",b=\"x\"}} {number}");
            prop_assert_eq!(line(&text).value, number);
            prop_assert_eq!(labels(&text), [("a".to_owned(), value), ("b".to_owned(), "x".to_owned())]);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(Some(line)) = parse_line(&text) {
                line.labels().for_each(drop);
            }
        }
    }
}
