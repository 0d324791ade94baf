//! Answers good and bad over each kind of connection.

use std::net::Ipv4Addr;

use axum::{Router, http::HeaderMap, routing};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
};

use super::*;

async fn echo(headers: HeaderMap) -> String {
    headers.get(AUTHORIZATION).map_or_else(|| "nobody".to_owned(), |token| token.to_str().unwrap().to_owned())
}

fn routes() -> Router {
    let long = || async { vec![b'x'; LONGEST_ANSWER + 1] };
    let never = || async { std::future::pending::<&str>().await };
    Router::new()
        .route("/who", routing::get(echo))
        .route("/long", routing::get(long))
        .route("/never", routing::get(never))
}

/// Lives as long as the test's runtime.
async fn served() -> Endpoint {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, routes()).into_future());
    Endpoint::Tcp("127.0.0.1".to_owned(), port)
}

#[tokio::test]
async fn a_socket_and_a_port_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    tokio::spawn(axum::serve(UnixListener::bind(&socket).unwrap(), routes()).into_future());
    assert_eq!(get(&Endpoint::Unix(socket), "/who", None).await.unwrap(), "nobody");
    assert_eq!(get(&served().await, "/who", Some("t0")).await.unwrap(), "Bearer t0");
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    let endpoint = served().await;
    assert!(get(&endpoint, "/nowhere", None).await.unwrap_err().contains("404"));
    assert!(get(&endpoint, "/long", None).await.unwrap_err().contains("too long"));
    let secret = get(&endpoint, "/who", Some("se\ncret")).await.unwrap_err();
    assert!(!secret.contains("cret"), "{secret}");
    let absent = Endpoint::Unix("/nowhere/engine.sock".into());
    assert!(get(&absent, "/who", None).await.unwrap_err().contains("No such file"));
    let Endpoint::Tcp(host, port) = endpoint else { panic!("it is one") };
    let plain = get(&Endpoint::Tls(host, port, "/nowhere/ca.pem".into()), "/who", None).await;
    assert!(plain.unwrap_err().contains("/nowhere/ca.pem"));
}

#[tokio::test]
async fn who_never_answers_is_given_up() {
    let endpoint = served().await;
    let began = tokio::time::Instant::now();
    assert!(get(&endpoint, "/never", None).await.unwrap_err().contains("no answer within 5 s"));
    assert!(began.elapsed() < LONGEST_WAIT * 2);
}

/// Answers one request after the other with what it was asked.
async fn serve_tls(listener: TcpListener, config: ServerConfig) {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let Ok(mut stream) = acceptor.accept(stream).await else { continue };
        let mut request = vec![0; 4096];
        let read = stream.read(&mut request).await.unwrap();
        let body = String::from_utf8_lossy(&request[..read]).into_owned();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn with_tls_the_host_must_be_who_the_certificates_say() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let files = ["ca.pem", "other.pem", "empty.pem"].map(|name| folder.path().join(name));
    let pems = [cert.pem(), other.cert.pem(), String::new()];
    files.iter().zip(pems).for_each(|(file, pem)| std::fs::write(file, pem).unwrap());
    let [ca, other, empty] = files;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(serve_tls(listener, config));

    let at = |host: &str, ca: &Path| Endpoint::Tls(host.to_owned(), port, ca.to_owned());
    let answer = get(&at("localhost", &ca), "/pods", Some("t0")).await.unwrap();
    let asked = String::from_utf8(answer.to_vec()).unwrap();
    assert!(asked.starts_with("GET /pods HTTP/1.1\r\n") && asked.contains("Bearer t0"), "{asked}");
    for (host, ca, told) in [
        ("localhost", &other, "certificate"),
        ("127.0.0.1", &ca, "certificate"),
        ("localhost", &empty, "there is none"),
    ] {
        let refused = get(&at(host, ca), "/pods", Some("t0")).await.unwrap_err();
        assert!(refused.contains(told), "{host} {}: {refused}", ca.display());
    }
}
