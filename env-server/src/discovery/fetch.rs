//! One HTTP GET over a Unix socket, TCP or TLS, bounded in time and size.
//!
//! Must not know what is asked for.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ballast_api::with_causes;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// For all of it. On one machine an answer takes milliseconds.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A pod's entry of some 10 KiB, times a thousand pods, and room.
const LONGEST_ANSWER: usize = 32 << 20;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host, by name or address, and its port.
    Tcp(String, u16),
    /// The same, with TLS; the file holds the certificates (PEM) that the host's is checked against.
    Tls(String, u16, PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(host, port) => write!(f, "http://{host}:{port}"),
            Self::Tls(host, port, _) => write!(f, "https://{host}:{port}"),
        }
    }
}

/// Gets `path` with a bearer token, if there is one. The body of an answer 200.
///
/// # Errors
/// Whatever goes wrong, as a sentence that does not hold the token.
pub(super) async fn get(endpoint: &Endpoint, path: &str, token: Option<&str>) -> Result<Bytes, String> {
    match timeout(LONGEST_WAIT, connect_and_get(endpoint, path, token)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", LONGEST_WAIT.as_secs())),
    }
}

async fn connect_and_get(endpoint: &Endpoint, path: &str, token: Option<&str>) -> Result<Bytes, String> {
    let refused = |error: io::Error| format!("cannot connect: {}", with_causes(&error));
    match endpoint {
        Endpoint::Unix(socket) => {
            exchange(UnixStream::connect(socket).await.map_err(refused)?, "localhost", path, token).await
        }
        Endpoint::Tcp(host, port) => {
            exchange(TcpStream::connect((bare(host), *port)).await.map_err(refused)?, host, path, token).await
        }
        Endpoint::Tls(host, port, ca_file) => {
            let connector = TlsConnector::from(Arc::new(tls(ca_file)?));
            let name = ServerName::try_from(bare(host).to_owned()).map_err(|error| error.to_string())?;
            let stream = TcpStream::connect((bare(host), *port)).await.map_err(refused)?;
            let stream = connector.connect(name, stream).await.map_err(refused)?;
            exchange(stream, host, path, token).await
        }
    }
}

/// An IPv6 address is written in brackets in URLs only.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Read anew each time: such files are renewed while a node lives.
fn tls(ca_file: &Path) -> Result<ClientConfig, String> {
    let wrong = |error: &dyn fmt::Display| format!("the certificates in {}: {error}", ca_file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() {
        return Err(wrong(&"there is none"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Result<Bytes, String> {
    let failed = |error: hyper::Error| with_causes(&error);
    let mut request = Request::get(path).header(HOST, host);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| "the token is no header".to_owned())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            status => return Err(format!("the answer is {status}")),
        }
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        Ok(body.map_err(|error| format!("the answer breaks off or is too long: {error}"))?.to_bytes())
    };
    tokio::pin!(asking);
    // The connection is driven by this task, so that giving up closes it.
    tokio::select! {
        answer = &mut asking => answer,
        ended = connection => match ended {
            // Everything was received, and what is read from now on is in memory.
            Ok(()) => asking.await,
            Err(error) => Err(failed(error)),
        },
    }
}

#[cfg(test)]
mod tests;
