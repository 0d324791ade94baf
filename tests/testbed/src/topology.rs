//! Where the topology comes from, and what the testbed asks of it beyond what the simulator does.
//!
//! Must not know how services are run.

use std::{collections::BTreeSet, fs};

use anyhow::Context;
use axum::http::Method;
use ballast_sim::{Topology, topology::OperationName};

use crate::refusal::Refusal;

/// The path at which a service answers its callers.
#[must_use]
pub fn operation_path(name: &OperationName) -> String {
    format!("/operations/{}", name.operation)
}

/// Reads a shipped topology by its name, or a file by its path (a text with `/`, or ending in `.toml`).
///
/// # Errors
/// [`Refusal::BadInput`] when it cannot be read, is not valid, or has a request type that HTTP cannot ask for.
pub fn load(name_or_file: &str) -> anyhow::Result<Topology> {
    let topology = read(name_or_file).map_err(|error| Refusal::BadInput(format!("{error:#}")))?;
    let problems = request_problems(&topology);
    if problems.is_empty() { Ok(topology) } else { Err(Refusal::BadInput(problems.join("; ")).into()) }
}

fn read(name_or_file: &str) -> anyhow::Result<Topology> {
    if !(name_or_file.contains('/') || name_or_file.ends_with(".toml")) {
        return Ok(Topology::shipped(name_or_file)?);
    }
    let text = fs::read_to_string(name_or_file).with_context(|| format!("reading {name_or_file:?}"))?;
    text.parse().with_context(|| format!("in {name_or_file:?}"))
}

/// The method and path of a request type such as `GET /hotels`.
#[must_use]
pub fn method_and_path(request: &str) -> Option<(Method, &str)> {
    let (method, path) = request.split_once(' ')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    let method =
        [Method::GET, Method::POST, Method::PUT, Method::DELETE].into_iter().find(|m| m == method)?;
    (path.starts_with('/') && path.chars().all(plain)).then_some((method, path))
}

fn request_problems(topology: &Topology) -> Vec<String> {
    let mut problems = Vec::new();
    let mut entries = BTreeSet::new();
    let mut names = BTreeSet::new();
    for request in &topology.requests {
        entries.insert(&request.operation.service);
        if !names.insert(&request.name) {
            problems.push(format!("request {:?} is defined twice", request.name));
        }
        match method_and_path(&request.name) {
            None => problems.push(format!("request {:?} must be written like \"GET /hotels\"", request.name)),
            Some((_, path)) if path.starts_with("/operations/") || path == "/healthz" => {
                problems.push(format!("request {:?}: the testbed uses that path itself", request.name));
            }
            Some(_) => {}
        }
    }
    if entries.len() != 1 {
        problems.push(format!("all requests must enter through one service, not {}", entries.len()));
    }
    problems
}

/// The service through which all requests enter.
///
/// # Errors
/// When the topology has no request; [`load`] has refused it then.
pub fn entry(topology: &Topology) -> anyhow::Result<&ballast_api::ContainerName> {
    Ok(&topology.requests.first().context("the topology has no request")?.operation.service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_type_is_a_method_and_a_path() {
        assert_eq!(method_and_path("GET /hotels"), Some((Method::GET, "/hotels")));
        for bad in ["", "GET", "GET hotels", "get /hotels", "GET /a b", "GET /a?b", "BREW /tea"] {
            assert_eq!(method_and_path(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_shipped_topologies_can_be_run() {
        for (name, _) in ballast_sim::topology::SHIPPED {
            assert!(load(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_asked_over_http_is_refused() {
        let text = ballast_sim::topology::SHIPPED[0].1;
        for (from, to, told) in [
            ("\"GET /hotels\"", "\"hotels\"", "must be written like"),
            ("\"GET /hotels\"", "\"GET /healthz\"", "uses that path itself"),
            ("\"GET /hotels\"", "\"POST /user\"", "defined twice"),
            ("operation = \"frontend.user\"", "operation = \"user.check-user\"", "one service, not 2"),
        ] {
            let problems = request_problems(&text.replace(from, to).parse().unwrap()).join("; ");
            assert!(problems.contains(told), "{problems}");
        }
    }

    #[test]
    fn a_missing_file_and_an_unknown_name_are_told_apart() {
        assert!(load("./nowhere.toml").unwrap_err().to_string().contains("reading"));
        assert!(load("nowhere").unwrap_err().to_string().contains("no shipped topology"));
    }
}
