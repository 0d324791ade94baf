//! The settings about those who name containers: Docker's engine and the kubelet.
//!
//! Must not ask them.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use hyper::Uri;

use crate::{
    cli::ServeFlags,
    discovery::sources::{Endpoint, Source},
};

/// The kubelet's ports.
const READ_ONLY_PORT: u16 = 10255;
const AUTHENTICATED_PORT: u16 = 10250;

/// Who names containers; absent where nobody is to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameSources {
    /// Docker's engine.
    pub docker: Option<Source>,
    /// The kubelet.
    pub kubelet: Option<Source>,
}

/// Takes one key from the file where no flag says it.
pub(super) fn fill_in(asked: &mut ServeFlags, key: &str, text: Option<String>) {
    if key == "kubelet_url" {
        asked.kubelet_url = asked.kubelet_url.take().or(text);
        return;
    }
    let path = match key {
        "docker_socket" => &mut asked.docker_socket,
        "kubelet_token_file" => &mut asked.kubelet_token_file,
        _ => &mut asked.kubelet_ca_file,
    };
    *path = path.take().or(text.map(PathBuf::from));
}

pub(super) fn checked(asked: &ServeFlags, problems: &mut Vec<String>) -> NameSources {
    let docker = asked.docker_socket.as_deref().map(|socket| {
        if !socket.is_absolute() {
            let told = "give its whole path, such as /run/docker.sock";
            problems.push(format!("docker_socket {} is no file of the engine's: {told}", socket.display()));
        }
        Source::Docker(Endpoint::Unix(socket.to_owned()))
    });
    let (token, ca) = (&asked.kubelet_token_file, &asked.kubelet_ca_file);
    let kubelet = match &asked.kubelet_url {
        Some(url) => match endpoint(url, token.as_deref(), ca.as_deref()) {
            Ok(endpoint) => Some(Source::Kubelet(endpoint, token.clone())),
            Err(problem) => {
                problems.push(format!("kubelet_url {url:?}: {problem}"));
                None
            }
        },
        None => {
            if token.is_some() || ca.is_some() {
                problems.push("kubelet_token_file and kubelet_ca_file go with a kubelet_url".to_owned());
            }
            None
        }
    };
    NameSources { docker, kubelet }
}

fn endpoint(url: &str, token: Option<&Path>, ca: Option<&Path>) -> Result<Endpoint, &'static str> {
    const FORM: &str = "write it as http://127.0.0.1:10255 or https://NODE:10250";
    let url: Uri = url.parse().map_err(|_| FORM)?;
    let authority = url.authority().ok_or(FORM)?;
    let is_bare = url.path_and_query().is_none_or(|path| path.as_str() == "/");
    if authority.host().is_empty() || authority.as_str().contains('@') || !is_bare {
        return Err(FORM);
    }
    let host = authority.host().to_owned();
    let port =
        authority.as_str()[host.len()..].strip_prefix(':').map(str::parse).transpose().map_err(|_| FORM)?;
    match (url.scheme_str(), ca) {
        (Some("http"), Some(_)) => Err("certificates are checked only with https"),
        (Some("http"), None) if token.is_some() => {
            Err("a token is sent only with https, where nobody reads it")
        }
        (Some("http"), None) if !is_loopback(&host) => Err(
            "what another host says over http may be anybody's word: write https, with a kubelet_ca_file, or ask the \
             kubelet of this machine at http://127.0.0.1:10255",
        ),
        (Some("http"), None) => Ok(Endpoint::Tcp(host, port.unwrap_or(READ_ONLY_PORT))),
        (Some("https"), Some(ca)) => {
            Ok(Endpoint::Tls(host, port.unwrap_or(AUTHENTICATED_PORT), ca.to_owned()))
        }
        (Some("https"), None) => {
            Err("with https goes a kubelet_ca_file, for nobody else vouches for a kubelet")
        }
        _ => Err(FORM),
    }
}

/// Whether nobody between here and there can answer in its place. An IPv6 address is in brackets.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, token: Option<&str>, ca: Option<&str>) -> Result<Option<Source>, Vec<String>> {
        let asked = ServeFlags {
            kubelet_url: Some(url.to_owned()),
            kubelet_token_file: token.map(PathBuf::from),
            kubelet_ca_file: ca.map(PathBuf::from),
            ..ServeFlags::default()
        };
        let mut problems = Vec::new();
        let sources = checked(&asked, &mut problems);
        if problems.is_empty() { Ok(sources.kubelet) } else { Err(problems) }
    }

    #[test]
    fn a_kubelet_is_asked_openly_or_with_certificates() {
        let tcp = |host: &str, port| Some(Source::Kubelet(Endpoint::Tcp(host.to_owned(), port), None));
        assert_eq!(of("http://127.0.0.1:10255", None, None).unwrap(), tcp("127.0.0.1", 10255));
        assert_eq!(of("http://[::1]/", None, None).unwrap(), tcp("[::1]", 10255));
        for loopback in ["localhost", "LOCALHOST", "127.8.8.8", "[::ffff:127.0.0.1]"] {
            assert_eq!(of(&format!("http://{loopback}:1"), None, None).unwrap(), tcp(loopback, 1));
        }
        let tls = Endpoint::Tls("node1".to_owned(), 10250, "/ca".into());
        let with_token = of("https://node1", Some("/token"), Some("/ca")).unwrap();
        assert_eq!(with_token, Some(Source::Kubelet(tls, Some("/token".into()))));
    }

    #[test]
    fn what_another_host_says_openly_is_not_believed() {
        for host in [
            "node1",
            "10.0.0.5",
            "0.0.0.0",
            "[::]",
            "[2001:db8::1]",
            "127.0.0.1.example",
            "localhost.example",
        ] {
            let told = of(&format!("http://{host}:10255"), None, None).unwrap_err().join("; ");
            assert!(told.contains("write https, with a kubelet_ca_file"), "{host}: {told}");
        }
    }

    #[test]
    fn what_makes_no_sense_or_gives_a_secret_away_is_refused() {
        for (url, token, ca) in [
            ("127.0.0.1:10255", None, None),
            ("ftp://a", None, None),
            ("http://", None, None),
            ("http://me:secret@a", None, None),
            ("http://a/pods", None, None),
            ("http://a", Some("/t"), None),
            ("http://a", None, Some("/ca")),
            ("https://a", Some("/t"), None),
            ("http://a:99999", None, None),
        ] {
            assert!(of(url, token, ca).is_err(), "{url} {token:?} {ca:?}");
        }
        let mut problems = Vec::new();
        let alone = ServeFlags { kubelet_ca_file: Some("/ca".into()), ..ServeFlags::default() };
        checked(&alone, &mut problems);
        checked(
            &ServeFlags { docker_socket: Some("tcp://x".into()), ..ServeFlags::default() },
            &mut problems,
        );
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
