//! An engine and a kubelet of this test, and books that follow them.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, http::HeaderMap, routing::get};
use tokio::{net::UnixListener, time::timeout};

use super::*;
use crate::discovery::id::RuntimeId;

type Answer = Arc<Mutex<String>>;

fn id(digit: char) -> RuntimeId {
    RuntimeId::parse(&String::from(digit).repeat(64)).unwrap()
}

fn container(digit: char, name: &str) -> String {
    format!(r#"{{"Id":"{}","Names":["/{name}"],"Labels":{{}}}}"#, id(digit))
}

async fn answer(State(answer): State<Answer>) -> String {
    answer.lock().unwrap().clone()
}

/// An engine at `socket`, until the handle is dropped.
fn engine(socket: &Path, said: &Answer) -> AbortOnDropHandle<()> {
    let routes = Router::new().route(docker::LIST, get(answer)).with_state(said.clone());
    let listener = UnixListener::bind(socket).unwrap();
    AbortOnDropHandle::new(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }))
}

/// Looks each 20 ms until the container is called so.
async fn until_named(book: &NameBook, id: &RuntimeId, name: &str) {
    let named = async {
        while book.open().find(id).map(|known| known.name.to_string()).as_deref() != Ok(name) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(8), named).await.expect("it is named");
}

#[tokio::test]
async fn an_engine_may_begin_late_go_away_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("engine.sock");
    let (book, _keeping) = Source::Docker(Endpoint::Unix(socket.clone())).keep();
    let told = || book.open().find(&id('a')).unwrap_err();
    while !told().contains("No such file") {
        sleep(Duration::from_millis(20)).await;
    }
    let said = Answer::new(Mutex::new(format!("[{}]", container('a', "web"))));
    let serving = engine(&socket, &said);
    until_named(&book, &id('a'), "web").await;
    // One that begins is asked for at once, not in ten seconds.
    *said.lock().unwrap() = format!("[{},{}]", container('a', "web"), container('b', "db"));
    let began = tokio::time::Instant::now();
    until_named(&book, &id('b'), "db").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(serving);
    std::fs::remove_file(&socket).unwrap();
    assert!(book.open().find(&id('c')).is_err());
    sleep(Duration::from_millis(500)).await;
    assert_eq!(book.open().find(&id('a')).unwrap().name.as_str(), "web", "what was known still is");
    *said.lock().unwrap() = format!("[{}]", container('a', "shop"));
    let _serving = engine(&socket, &said);
    assert!(book.open().find(&id('c')).is_err());
    until_named(&book, &id('a'), "shop").await;
}

async fn pods(headers: HeaderMap) -> &'static str {
    assert!(headers.get("authorization").is_none(), "there is no token");
    include_str!("../kubernetes/recorded/pods.json")
}

#[tokio::test]
async fn a_kubelet_names_the_containers_of_its_pods() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(axum::serve(listener, Router::new().route(kubernetes::LIST, get(pods))).into_future());
    let (book, _keeping) = Source::Kubelet(Endpoint::Tcp("127.0.0.1".to_owned(), port), None).keep();
    let recorded = "a2892b1090a111a2bd58b96ef06dd316080b9bee60a9b57be18717883629a1a0";
    until_named(&book, &RuntimeId::parse(recorded).unwrap(), "default.p1.c").await;
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_told_by_its_file() {
    let endpoint = Endpoint::Tls("localhost".to_owned(), 1, "/nowhere/ca.pem".into());
    let told = Source::Kubelet(endpoint, Some("/nowhere/token".into())).ask().await.unwrap_err();
    assert!(told.contains("/nowhere/token"), "{told}");
}

#[tokio::test]
async fn an_answer_that_breaks_the_program_is_a_failure_like_others() {
    assert_eq!(unbroken(async { Ok(1) }).await, Ok(1));
    let broken: Result<(), _> = unbroken(async { panic!("as a parser should not") }).await;
    assert!(broken.unwrap_err().contains("stderr"));
}
