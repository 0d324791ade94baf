//! The unit in deploy/ fits the program, and systemd understands the units there. Needs no root.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command as Process,
};

use ballast_injector::cli::{Cli, Command};
use clap::Parser;

const UNIT: &str = "ballast-injector.service";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The one value of `key`.
fn value(unit: &str, key: &str) -> String {
    let values: Vec<_> = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect();
    assert_eq!(values.len(), 1, "{key}");
    values[0].to_owned()
}

/// The command of `key` as the program understands it.
fn command(unit: &str, key: &str) -> Command {
    let line = value(unit, key);
    assert!(line.starts_with("/usr/local/bin/ballast-injector "), "{line}");
    Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{key}: {error}")).command
}

#[test]
fn the_unit_serves_and_restores_what_is_noted_down_in_its_own_folder() {
    let unit = fs::read_to_string(folder().join(UNIT)).unwrap();
    assert!(matches!(command(&unit, "ExecStart"), Command::Serve(_)));
    let Command::Restore(restore) = command(&unit, "ExecStopPost") else { panic!("{unit}") };
    // The configuration there names no other folder: what is served has the same default.
    let own = Path::new("/run").join(value(&unit, "RuntimeDirectory"));
    assert_eq!(restore.state_dir, own);
    assert!(!fs::read_to_string(folder().join("injector.toml")).unwrap().contains("state_dir"));
    assert_eq!(value(&unit, "RuntimeDirectoryPreserve"), "yes", "after a crash it is needed");
    assert_eq!(value(&unit, "RestartPreventExitStatus"), "2", "a configuration does not mend itself");
    assert_eq!(value(&unit, "LimitCORE"), "0", "tokens are in memory");
}

#[test]
fn the_unit_may_write_the_log_that_the_configuration_suggests() {
    let unit = fs::read_to_string(folder().join(UNIT)).unwrap();
    let configuration = fs::read_to_string(folder().join("injector.toml")).unwrap();
    let suggested = configuration.lines().find_map(|line| line.strip_prefix("# log = \"")?.strip_suffix('"'));
    let log = Path::new(suggested.unwrap());
    assert_eq!(value(&unit, "ProtectSystem"), "strict", "it may write what is named, and nothing else");
    let writable = Path::new("/var/log").join(value(&unit, "LogsDirectory"));
    assert!(log.starts_with(&writable), "{} is not below {}", log.display(), writable.display());
}

#[test]
fn systemd_understands_every_unit() {
    let scratch = tempfile::tempdir().unwrap();
    let units: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let units = units.iter().filter(|path| path.extension().is_some_and(|extension| extension == "service"));
    let mut seen = 0;
    for unit in units {
        let copy = scratch.path().join(unit.file_name().unwrap());
        // The programs are not installed here, and it looks for them.
        let text = fs::read_to_string(unit).unwrap().replace("/usr/local/bin/", "/bin/true ");
        fs::write(&copy, text).unwrap();
        let mut verify = Process::new("systemd-analyze");
        let skipped =
            |reason: &str| eprintln!("SKIPPED systemd_understands_every_unit: systemd-analyze: {reason}");
        let told = match verify.args(["verify", "--man=no"]).arg(&copy).output() {
            Ok(output) => output,
            Err(error) => return skipped(&error.to_string()),
        };
        let all = String::from_utf8_lossy(&told.stderr);
        let name = copy.file_name().unwrap().to_str().unwrap();
        let problems: Vec<_> = all.lines().filter(|line| line.contains(name)).collect();
        assert!(problems.is_empty(), "{}: {problems:?}", unit.display());
        if !told.status.success() {
            // Something of this machine, not of the unit.
            return skipped(all.lines().next().unwrap_or("it fails without a word"));
        }
        seen += 1;
    }
    assert!(seen > 0, "there is none");
}
