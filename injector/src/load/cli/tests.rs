//! Loads asked for on the command line: what they come to, and what is refused with a reason.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    load: LoadArgs,
}

fn plan(arguments: &str) -> Result<Plan, String> {
    let line = ["load", "http://localhost/"].into_iter().chain(arguments.split_whitespace());
    let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
    line.load.plan().map_err(|error| error.to_string())
}

#[test]
fn every_shape_can_be_asked_for() {
    let shape = |arguments: &str| plan(&format!("{arguments} --duration 1s")).unwrap().shape;
    assert_eq!(shape("--rate 5"), Shape::Constant { rate: 5.0 });
    assert_eq!(shape("--intensity 5.5/s"), Shape::Constant { rate: 5.5 });
    assert_eq!(shape("--rate 5 --ramp-to 0"), Shape::Ramp { from: 5.0, to: 0.0 });
    assert_eq!(
        shape("--rate 5 --diurnal-to 50.5 --period 2m"),
        Shape::Diurnal { low: 5.0, high: 50.5, period_seconds: 120.0 }
    );
    assert_eq!(
        shape("--rate 0 --burst-to 9 --burst-length 500ms --burst-gap 3s"),
        Shape::Bursty { base: 0.0, burst: 9.0, length_seconds: 0.5, mean_gap_seconds: 3.0 }
    );
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    for (arguments, told) in [
        ("--rate 5", "--duration"),
        ("--duration 1s", "--rate"),
        ("--rate -1 --duration 1s", "-1"),
        ("--rate=-1 --duration 1s", "at least 0"),
        ("--rate 1000001 --duration 1s", "at most 1000000"),
        ("--rate NaN --duration 1s", "at least 0"),
        ("--rate many --duration 1s", "no number"),
        ("--rate 5/min --duration 1s", "no number"),
        ("--rate 0 --duration 1s", "every rate is 0"),
        ("--rate 1 --duration 2h", "at most 1h"),
        ("--rate 1 --duration 1ms", "at least 100ms"),
        ("--rate 1 --duration 1s --timeout 0s", "at least 1ms"),
        ("--rate 1 --duration 1s --connections 0", "1..=10000"),
        ("--rate 1 --duration 1s --connections 10001", "1..=10000"),
        ("--rate 1 --duration 1s --diurnal-to 5", "--period"),
        ("--rate 9 --duration 1s --diurnal-to 5 --period 1s", "begins at its low"),
        ("--rate 1 --duration 1s --burst-to 5", "--burst-length"),
        ("--rate 1 --duration 1s --period 5s", "--diurnal-to"),
        ("--rate 1 --duration 1s --ramp-to 5 --diurnal-to 5 --period 1s", "cannot be used with"),
        ("--rate 1 --trace x", "cannot be used with"),
        ("--trace /nonexistent/x", "cannot read the trace /nonexistent/x"),
        ("--rate 1 --duration 1s --method FETCH", "GET, HEAD"),
    ] {
        let error = plan(arguments).unwrap_err();
        assert!(error.contains(told), "{arguments}: {error}");
    }
}

#[test]
fn a_trace_says_how_long_it_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let with = |text: &str, more: &str| {
        std::fs::write(&file, text).unwrap();
        plan(&format!("--trace {} {more}", file.display())).map(|plan| plan.limits.duration)
    };
    assert_eq!(with("1\n2\n3\n", ""), Ok(Duration::from_secs(3)));
    assert_eq!(with("1\n2\n3\n", "--duration 2s"), Ok(Duration::from_secs(2)));
    assert!(with("1\n", "--duration 2s").unwrap_err().contains("lasts 1s"));
    assert!(with("0,1\n3600,1\n", "").unwrap_err().contains("at most 1h"));
    assert_eq!(with("0,1\n3600,1\n", "--duration 1h"), Ok(LONGEST));
}
