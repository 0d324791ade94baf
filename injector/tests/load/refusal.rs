//! Bad requests: a sentence, a code, and nothing sent.

use std::{fs, process::Output};

use crate::{
    server::{OK, Reply, Server},
    support::command,
};

fn refused(url: &str, arguments: &str, code: i32, told: &str) {
    let Output { status, stdout, stderr } = command(url, arguments).output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(told), "{stderr:?} does not say {told:?}");
    assert!(stdout.is_empty());
}

#[test]
fn bad_usage_is_told_before_anything_is_sent() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let url = server.url();
    for (arguments, told) in [
        ("", "--rate"),
        ("--rate 2000000 --duration 1s", "at most 1000000"),
        ("--rate 10 --duration 2h", "at most 1h"),
        ("--rate 10 --duration 1s --connections 20000", "1..=10000"),
        ("--rate 10 --duration 1s --header nonsense", "write 'Name: value'"),
        ("--rate 10 --duration 1s --frobnicate", "--frobnicate"),
    ] {
        refused(&url, arguments, 2, told);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn urls_that_cannot_be_asked_are_told_why() {
    let steady = "--rate 10 --duration 1s";
    refused("https://127.0.0.1/", steady, 2, "https is not supported: encrypting would cost the time");
    refused("127.0.0.1:8080", steady, 2, "write http://HOST:PORT/PATH");
    // A name that is reserved for not being there.
    refused("http://ballast.invalid/", steady, 3, "\"ballast.invalid\" has no address");
}

#[test]
fn a_bad_trace_is_told_with_its_line() {
    let server = Server::start(|_, _| Reply::keep(OK));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    for (text, told) in [
        ("10\n20\nmany\n", "line 3: \"many\" is no number"),
        ("0,10\n5,1\n4,1\n", "line 3: 4 s is not after"),
        ("10\n-3\n", "line 2: -3 requests/s are out of range"),
        ("", "it has no rate"),
        ("0\n0\n", "every rate is 0"),
    ] {
        fs::write(&file, text).unwrap();
        refused(&server.url(), &format!("--trace {}", file.display()), 2, told);
    }
    fs::write(&file, [0xff, 0xfe]).unwrap();
    refused(&server.url(), &format!("--trace {}", file.display()), 2, "no UTF-8");
    refused(&server.url(), "--trace /nonexistent/trace", 2, "cannot read the trace /nonexistent/trace");
    assert_eq!(server.connections(), 0);
}
