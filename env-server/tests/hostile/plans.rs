//! Hostile plans: each asks for something that this node lends, of a container that is there, but for one flaw.
//!
//! Must not know how they are sent.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::requests::{ACT, GENERATION, Hostile, pick, post, post_head, whole};

/// What would be lent of each resource, beside what is: this much, or a little more.
const LIMITS: [&str; 6] = [
    r#""cpu":0.3"#,
    r#""llc":4194304"#,
    r#""memory_bandwidth":2e9"#,
    r#""disk":{"read":3e6,"write":"max"}"#,
    r#""disk_operations":{"read":"max","write":700}"#,
    r#""network":{"egress":9e6,"ingress":8e6}"#,
];

/// The same with a number, or what passes for one, in the place of the limit.
const ANY: [(&str, &str); 6] = [
    (r#""cpu":"#, ""),
    (r#""llc":"#, ""),
    (r#""memory_bandwidth":"#, ""),
    (r#""disk":{"write":9e6,"read":"#, "}"),
    (r#""disk_operations":{"read":80,"write":"#, "}"),
    (r#""network":{"egress":9e6,"ingress":"#, "}"),
];

/// A plan that would be accepted, if its parts were what is asked for.
pub(crate) fn of(generation: &str, lease: &str, container: &str, limits: &str) -> String {
    format!(
        "{{\"generation\":{generation},\"lease_seconds\":{lease},\"changes\":\
         [{{\"container\":\"{container}\",\"limits\":{limits}}}]}}"
    )
}

/// Limits of one resource or more, of all five.
pub(crate) fn limits(rng: &mut StdRng) -> String {
    let number = rng.random_range(1..=2);
    let drawn: Vec<_> = LIMITS.sample(rng, number).copied().collect();
    format!("{{{}}}", drawn.join(","))
}

/// What would be lent if whoever sent it might ask, and if all of it arrived. On a machine without resctrl, a part of it only.
pub(crate) fn right(rng: &mut StdRng) -> String {
    of("2000", "10", "geo", &limits(rng))
}

pub(crate) fn traversal_in_a_plan(rng: &mut StdRng) -> Hostile {
    let names = [
        "..",
        "../geo",
        "/geo",
        "geo/",
        "geo/../rate",
        ".geo",
        "",
        "geo\\u0000",
        "g\\u00e9o",
        "geo\\n",
        "a b",
    ];
    let name = match rng.random_range(0..3) {
        0 => "../".repeat(rng.random_range(1..200)) + "etc/passwd",
        1 => "a".repeat(rng.random_range(201..5000)),
        _ => pick(rng, &names).to_owned(),
    };
    post("traversal in a plan", &of("2000", "10", &name, &limits(rng)))
}

pub(crate) fn wrong_generation(rng: &mut StdRng) -> Hostile {
    let generation = match rng.random_range(0..3) {
        0 => pick(rng, &["-1", "1.5", "1e30", "18446744073709551616", "\"2000\"", "null", "[]"]).to_owned(),
        _ => rng.random_range(0..GENERATION).to_string(),
    };
    post("wrong generation", &of(&generation, "10", "geo", &limits(rng)))
}

pub(crate) fn deep(rng: &mut StdRng) -> Hostile {
    let depth = rng.random_range(200..60_000);
    let opening = pick(rng, &["[", "{\"changes\":", "{\"a\":", "[[{\"generation\":"]);
    let mut body = opening.repeat(depth.min(250_000 / opening.len()));
    if rng.random_range(0..2) == 0 {
        body = format!("{{\"generation\":2000,\"lease_seconds\":10,\"changes\":{body}");
    }
    post("deep JSON", &body)
}

pub(crate) fn odd_number(rng: &mut StdRng) -> Hostile {
    // No limit of anything, nor the length of a lease.
    let never = [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "-1",
        "-0.0001",
        "0x10",
        "1_0",
        "+1",
        ".5",
        "[]",
        "null",
        "\"-1\"",
    ];
    // No more than that, and no cores; an interface or a disk may be that fast.
    let out_of_bounds = ["1e308", "0", "1e18"];
    let body = match rng.random_range(0..4) {
        0 => of("2000", pick(rng, &never), "geo", &limits(rng)),
        1 => of("2000", pick(rng, &out_of_bounds), "geo", &limits(rng)),
        2 => of("2000", "10", "geo", &format!("{{\"cpu\":{}}}", pick(rng, &out_of_bounds))),
        _ => {
            let (before, after) = pick(rng, &ANY);
            // Absent is no limit that is asked for, but beside it nothing is.
            of("2000", "10", "geo", &format!("{{{before}{}{after}}}", pick(rng, &never)))
        }
    };
    post("odd number", &body)
}

pub(crate) fn odd_shape(rng: &mut StdRng) -> Hostile {
    let limits = limits(rng);
    let change = format!(r#"{{"container":"geo","limits":{limits}}}"#);
    let (before, after) = pick(rng, &ANY);
    let odd = |limit: &str| of("2000", "10", "geo", &format!("{{{before}{limit}{after}}}"));
    let bodies = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        format!("{} x", of("2000", "10", "geo", &limits)),
        format!(r#"{{"generation":2000,"lease_seconds":10,"changes":[{change},{change}]}}"#),
        format!(r#"{{"generation":2000,"lease_seconds":10,"force":true,"changes":[{change}]}}"#),
        format!(r#"{{"generation":2000,"generation":2001,"lease_seconds":10,"changes":[{change}]}}"#),
        format!(r#"{{"generation":2000,"lease_seconds":10,"dry_run":"no","changes":[{change}]}}"#),
        r#"{"generation":2000,"lease_seconds":10,"changes":[{"container":"geo","limits":{"gpu":1}}]}"#
            .to_owned(),
        odd("\"unlimited\""),
        odd("true"),
        odd("{}"),
    ];
    let body = &bodies[rng.random_range(0..bodies.len())];
    if rng.random_range(0..4) == 0 {
        let kind = pick(
            rng,
            &["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "x"],
        );
        let good = of("2000", "10", "geo", &limits);
        return whole("odd shape", post_head(ACT, kind, good.len()) + &good);
    }
    post("odd shape", body)
}

/// One change of two is right: neither is made.
pub(crate) fn half_right(rng: &mut StdRng) -> Hostile {
    let right = format!(r#"{{"container":"geo","limits":{}}}"#, limits(rng));
    let wrong = match rng.random_range(0..4) {
        0 => r#"{"container":"rate","limits":{"cpu":0}}"#.to_owned(),
        1 => r#"{"container":"rate","limits":{}}"#.to_owned(),
        2 => format!(r#"{{"container":"nobody","limits":{}}}"#, limits(rng)),
        // It has no process that would show a network.
        _ => r#"{"container":"rate","limits":{"network":{"egress":9e6,"ingress":8e6}}}"#.to_owned(),
    };
    let mut changes = [right, wrong];
    if rng.random_range(0..2) == 0 {
        changes.reverse();
    }
    let changes = changes.join(",");
    post("half right", &format!(r#"{{"generation":2000,"lease_seconds":10,"changes":[{changes}]}}"#))
}
