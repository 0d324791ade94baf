//! Whether a page in somebody's browser asks, for which a browser is used as a way into this machine.
//!
//! Must not know who is asked who they are, nor how.

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header, uri::Authority},
};

/// Refuses what pages send. Where nobody is `asked` who they are, a page could also have its own name mean this machine
/// (DNS rebinding) and be of the same origin then: so the node has no name but an address, which cannot be made to mean
/// another machine.
pub(crate) fn check(request: &Request, asked: bool) -> Result<(), &'static str> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) || comes_from_another_site(headers) {
        return Err("it is sent by a page in a browser, and this is not for pages");
    }
    let named = headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    let mut named = named.chain(request.uri().authority().map(|authority| authority.as_str().as_bytes()));
    if asked || named.all(is_no_name) {
        return Ok(());
    }
    Err(
        "nobody is asked who they are here, so this node is asked for by its address or as localhost only: any other \
         name could be that of a page in a browser",
    )
}

fn comes_from_another_site(headers: &HeaderMap) -> bool {
    headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|site| site.as_bytes() == b"cross-site" || site.as_bytes() == b"same-site")
}

/// Whether `host`, which may have a port, is an address or `localhost`.
fn is_no_name(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok() || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn an_address_is_no_name() {
        for host in ["127.0.0.1", "10.0.0.1:7400", "[::1]", "[::1]:7400", "localhost", "LocalHost:1"] {
            assert!(is_no_name(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            "evil.example:7400",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "1",
            "\u{e9}",
            "[x]",
        ] {
            assert!(!is_no_name(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn pages_are_refused_and_names_only_where_nobody_is_asked() {
        let check = |name: &str, value: &str, asked| {
            let request = Request::builder().uri("/v1/node").header(name, value).body(Body::empty()).unwrap();
            check(&request, asked).is_ok()
        };
        for (name, value, when_asked, else_) in [
            ("host", "127.0.0.1:7400", true, true),
            ("host", "n1.example", true, false),
            ("origin", "http://127.0.0.1:7400", false, false),
            ("origin", "null", false, false),
            ("sec-fetch-site", "cross-site", false, false),
            ("sec-fetch-site", "none", true, true),
            ("accept", "*/*", true, true),
        ] {
            assert_eq!(
                (check(name, value, true), check(name, value, false)),
                (when_asked, else_),
                "{name}: {value}"
            );
        }
        let absolute = Request::builder().uri("http://evil.example/v1/node").body(Body::empty()).unwrap();
        assert!(super::check(&absolute, true).is_ok() && super::check(&absolute, false).is_err());
    }
}
