//! The load generator against servers of the test: an open loop, latencies from the intended time, honest failures.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{sync::Arc, time::Duration};

use axum::{Router, http::StatusCode};
use common::{finish, testbed};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, sleep_until},
};

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn load(args: &[&str]) -> (i32, String, String) {
    let command = testbed(&[&["load", "--json", "--arrivals", "uniform"][..], args].concat());
    tokio::task::spawn_blocking(|| finish(command)).await.unwrap()
}

#[tokio::test]
async fn a_stall_of_the_server_shows_in_all_requests_that_were_due_meanwhile() {
    // The server stands still for the second second after its first request.
    let first = Arc::new(Mutex::new(None));
    let answer = move || async move {
        let begin = *first.lock().await.get_or_insert_with(Instant::now);
        let (stall, end) = (begin + Duration::from_secs(1), begin + Duration::from_secs(2));
        if Instant::now() > stall {
            sleep_until(end).await;
        }
    };
    let url = serve(Router::new().fallback(answer)).await;
    let (code, stdout, stderr) = load(&["--url", &url, "--rate", "100", "--duration", "3s"]).await;
    assert_eq!(code, 0, "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    // A third was due in the stall; a closed loop would have sent, and seen, one request in it.
    assert_eq!(summary["sent"], 299, "{stdout}");
    let hotels = &summary["per_type"]["GET /hotels"]["latency_ms"];
    assert!(hotels["p95"].as_f64().unwrap() > 600.0, "{stdout}");
    assert!(hotels["p50"].as_f64().unwrap() < 300.0, "{stdout}");
    assert!((summary["rate_achieved"].as_f64().unwrap() - 100.0).abs() < 2.0, "{stdout}");
}

#[tokio::test]
async fn failures_are_counted_and_are_an_exit_code_when_there_is_nothing_else() {
    let url = serve(Router::new().fallback(|| async { StatusCode::BAD_GATEWAY })).await;
    let (code, stdout, stderr) = load(&["--url", &url, "--rate", "50", "--duration", "500ms"]).await;
    assert_eq!(code, 1, "{stderr}");
    let summary: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((summary["failed"].as_u64(), summary["completed"].as_u64()), (Some(24), Some(0)), "{stdout}");
    assert!(summary["per_type"]["GET /hotels"]["latency_ms"].is_null(), "{stdout}");
}

#[tokio::test]
async fn bad_usage_is_a_sentence_and_exit_code_2() {
    for (args, told) in [
        (&["--url", "http://127.0.0.1:1", "--rate", "-5"][..], "rate"),
        (&["--url", "ftp://127.0.0.1"][..], "must look like"),
        (&["--url", "http://127.0.0.1:1", "--topology", "nope"][..], "hotel-reservation"),
        (&["--url", "http://127.0.0.1:1", "--duration", "soon"][..], "soon"),
    ] {
        let (code, _, stderr) = load(args).await;
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
    let service = |args: &[&str]| finish(testbed(&[&["service", "--service"][..], args].concat()));
    for (args, told) in [
        (&["nope"][..], "it has frontend"),
        (&["geo", "--listen", "0.0.0.0:0"][..], "loopback"),
        (&["search"][..], "where geo is"),
    ] {
        let (code, _, stderr) = service(args);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
}
