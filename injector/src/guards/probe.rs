//! A service asked over HTTP whether it is still well.
//!
//! Must not know what is done when it is not.

use std::time::Duration;

use ureq::Agent;

use crate::clocks;

/// One URL, and how it has answered lately.
pub(super) struct Probe {
    agent: Agent,
    url: String,
    within: Duration,
    most_misses: u32,
    misses: u32,
}

/// Checks that it is a URL that can be asked.
pub(super) fn url(text: &str) -> Result<String, String> {
    let uri: ureq::http::Uri = text.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some() => Ok(text.to_owned()),
        _ => Err("write http://HOST:PORT/PATH, or https".to_owned()),
    }
}

impl Probe {
    pub(super) fn new(url: String, within: Duration, most_misses: u32) -> Self {
        // The service itself is asked, and no proxy that the environment names.
        let agent = Agent::config_builder().timeout_global(Some(within)).proxy(None).build().into();
        Self { agent, url, within, most_misses, misses: 0 }
    }

    /// Asks once. Answers why to stop, once it has missed too often in a row.
    pub(super) fn ask(&mut self) -> Option<String> {
        let began = clocks::monotonic();
        // A status of 400 or above is an error too.
        let answer = self.agent.get(&self.url).call().map(drop).map_err(|error| error.to_string());
        let took = clocks::monotonic().saturating_sub(began);
        let answer =
            answer.and_then(|()| if took <= self.within { Ok(()) } else { Err(format!("it took {took:?}")) });
        match answer {
            Ok(()) => self.misses = 0,
            Err(reason) => {
                self.misses += 1;
                if self.misses >= self.most_misses {
                    let Self { url, within, misses, .. } = self;
                    return Some(format!("{url} missed {within:?} {misses} times in a row: {reason}"));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// Answers as many requests as there are statuses, one after the other.
    fn server(statuses: &'static [u16]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for status in statuses {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        format!("http://{address}/healthz")
    }

    #[test]
    fn only_misses_in_a_row_count() {
        let url = server(&[200, 500, 200, 503, 404]);
        let mut probe = Probe::new(url, Duration::from_secs(10), 2);
        let answers: Vec<_> = (0..5).map(|_| probe.ask()).collect();
        assert!(answers[..4].iter().all(Option::is_none), "{answers:?}");
        assert!(answers[4].as_ref().unwrap().contains("404"), "{answers:?}");
    }

    #[test]
    fn who_does_not_answer_misses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut probe = Probe::new(url, Duration::from_millis(50), 1);
        assert!(probe.ask().unwrap().contains("missed 50ms 1 times in a row"));
        drop(listener);
        assert!(probe.ask().is_some(), "nobody listens any more");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        assert!(url("https://shop.example/healthz").is_ok());
        for bad in ["", "shop", "ftp://x/", "http://", "file:///etc/passwd"] {
            assert!(url(bad).is_err(), "{bad}");
        }
    }
}
