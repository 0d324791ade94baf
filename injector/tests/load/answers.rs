//! What servers answer, or do not.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    server::{OK, Reply, Server},
    support::{count, report},
};

/// 100 requests in half a second.
const HUNDRED: &str = "--rate 200 --gaps uniform --duration 500ms";

#[test]
fn every_request_arrives_and_is_counted() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let report = report(&server.url(), HUNDRED);
    assert_eq!(server.requests(), 100);
    assert_eq!((count(&report["requested"]), count(&report["statuses"]["2xx"])), (100, 100), "{report}");
    // A quick server needs one connection, or a few where this machine is busy.
    assert!(server.connections() < 30, "{}", server.connections());
}

#[test]
fn statuses_are_counted_by_class_and_all_framings_are_read() {
    let server = Server::start(|number, _| {
        Reply::keep(match number % 5 {
            0 => "HTTP/1.1 204 No Content\r\n\r\n",
            1 => "HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            2 => "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
            3 => "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            _ => "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
        })
    });
    let report = report(&server.url(), HUNDRED);
    let statuses = &report["statuses"];
    assert_eq!(*statuses, serde_json::json!({"2xx": 20, "3xx": 40, "4xx": 20, "5xx": 20, "other": 0}));
}

#[test]
fn the_request_is_sent_as_asked() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    let server = Server::start(move |_, head| {
        kept.lock().unwrap().push(head.to_owned());
        Reply::keep(OK)
    });
    let url = server.url() + "a?b=c";
    report(&url, "--rate 20 --gaps uniform --duration 500ms --method POST --header X-Test:1 --body {}");
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 10);
    for head in heads.iter() {
        assert!(head.starts_with("POST /a?b=c HTTP/1.1\r\nX-Test: 1\r\nHost: 127.0.0.1:"), "{head}");
        assert!(head.ends_with("Content-Length: 2\r\n\r\n{}"), "{head}");
    }
}

#[test]
fn answers_to_head_have_no_body() {
    let server = Server::start(|_, head| {
        assert!(head.starts_with("HEAD "), "{head}");
        Reply::keep("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    });
    let report = report(&server.url(), &format!("{HUNDRED} --method HEAD"));
    assert_eq!(count(&report["answered"]), 100, "{report}");
}

#[test]
fn a_server_that_closes_after_each_answer_is_asked_anew() {
    let with_length = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
    for answer in [with_length, "HTTP/1.1 200 OK\r\n\r\nuntil the end"] {
        let server = Server::start(move |_, _| Reply::close(answer));
        let report = report(&server.url(), HUNDRED);
        assert_eq!((count(&report["answered"]), server.connections()), (100, 100), "{report}");
    }
}

#[test]
fn connections_that_are_closed_instead_of_an_answer_are_counted() {
    for cut in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let server = Server::start(move |number, _| match number % 2 {
            0 => Reply::keep(OK),
            _ => Reply::close(cut),
        });
        let report = report(&server.url(), HUNDRED);
        assert_eq!((count(&report["answered"]), count(&report["errors"]["closed"])), (50, 50), "{report}");
    }
}

#[test]
fn garbage_is_counted_as_malformed() {
    let endless_head = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(20_000));
    let bad_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n".to_owned();
    for garbage in ["220 mail ready\r\n".to_owned(), "\0\0\0".to_owned(), endless_head, bad_chunk] {
        let bytes = garbage.clone();
        let server = Server::start(move |_, _| Reply::keep(bytes.clone()));
        let report = report(&server.url(), HUNDRED);
        assert_eq!(count(&report["errors"]["malformed"]), 100, "{garbage:.20}: {report}");
    }
}

#[test]
fn a_request_that_is_sent_in_pieces_arrives() {
    // More than one read of the server's, and perhaps more than one write of ours.
    let body = "x".repeat(100_000);
    let server = Server::start(|_, _| Reply::keep(OK));
    let report = report(&server.url(), &format!("{HUNDRED} --connections 100 --method POST --body {body}"));
    assert_eq!(count(&report["answered"]), 100, "{report}");
}

#[test]
fn a_server_that_speaks_first_is_malformed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let greeting = std::thread::spawn(move || {
        let greet = |socket: std::io::Result<TcpStream>| {
            let mut socket = socket.unwrap();
            let _ = socket.write_all(b"220 mail ready\r\n");
            socket
        };
        listener.incoming().take(10).map(greet).collect::<Vec<_>>()
    });
    let report = report(&url, "--rate 20 --gaps uniform --duration 500ms --timeout 5s");
    assert_eq!(count(&report["errors"]["malformed"]), 10, "{report}");
    assert_eq!(greeting.join().unwrap().len(), 10);
}

#[test]
fn nobody_listening_is_counted_and_not_waited_for() {
    // Bound, so that nobody else gets the port, and closed at once.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = report(&format!("http://{address}/"), HUNDRED);
    assert_eq!((count(&report["errors"]["connect"]), count(&report["sent"])), (100, 0), "{report}");
    assert!(report["latency_seconds"].is_null(), "{report}");
}

#[test]
fn a_server_that_never_answers_times_out() {
    let server = Server::start(|_, _| Reply::keep(""));
    let report = report(&server.url(), &format!("{HUNDRED} --timeout 100ms --connections 100"));
    assert_eq!(count(&report["errors"]["timeout"]), 100, "{report}");
    // A connection whose answer is owed is not used again.
    assert_eq!(server.connections(), 100);
}

#[test]
fn a_full_queue_drops_and_says_so() {
    let server = Server::start(|_, _| Reply::keep(OK));
    server.stall(Duration::ZERO, Duration::from_secs(2));
    let report = report(&server.url(), &format!("{HUNDRED} --connections 5 --queue 10"));
    let errors = &report["errors"];
    assert_eq!((count(&errors["dropped"]), count(&errors["unsent"])), (85, 10), "{report}");
    assert_eq!((count(&report["sent"]), count(&report["answered"])), (5, 5), "{report}");
    assert_eq!(server.connections(), 5);
}
