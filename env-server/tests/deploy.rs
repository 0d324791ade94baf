//! What lies in deploy/ fits the program: flags, files, capabilities. Needs no root.
#![expect(clippy::unwrap_used, reason = "a helper of tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ballast_env_server::{
    cli::{Cli, Command, DEFAULT_STATE_DIR},
    privileges::KEPT,
    settings::{Settings, state_dir},
};
use clap::Parser;

const UNIT: &str = "ballast-env-server.service";
const CONFIG: &str = "/etc/ballast/env-server.toml";

fn deploy(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)).unwrap()
}

/// The values of `key`, in their order.
fn values(unit: &str, key: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

fn value(unit: &str, key: &str) -> String {
    let values = values(unit, key);
    assert_eq!(values.len(), 1, "{key}");
    values[0].clone()
}

/// The command of `key` as the program understands it.
fn command(unit: &str, key: &str) -> Cli {
    let line = value(unit, key);
    assert!(line.starts_with("/usr/local/bin/ballast-env-server "), "{line}");
    Cli::try_parse_from(line.split(' ')).unwrap()
}

#[test]
fn the_unit_grants_what_the_program_keeps() {
    let unit = deploy(UNIT);
    let granted = value(&unit, "CapabilityBoundingSet");
    let granted: BTreeSet<_> = granted.split(' ').map(str::to_owned).collect();
    assert_eq!(granted, KEPT.iter().map(|(capability, _)| capability.to_string()).collect());
}

#[test]
fn the_unit_starts_and_restores_with_one_configuration() {
    let unit = deploy(UNIT);
    let start = command(&unit, "ExecStart");
    assert!(start.command.is_none());
    assert_eq!(start.serve.config.as_deref(), Some(Path::new(CONFIG)));
    let Command::Restore(restore) = command(&unit, "ExecStopPost").command.unwrap();
    assert_eq!(restore.config, start.serve.config);
    assert_eq!(value(&unit, "RestartPreventExitStatus"), "2", "a configuration does not mend itself");

    let text = deploy("env-server.toml");
    let file = Some((Path::new(CONFIG), text.as_str()));
    let settings = Settings::new(&start.serve, file, "n1").unwrap();
    assert_eq!(state_dir(&restore, file).unwrap(), settings.state_dir);
    let kept = PathBuf::from("/run").join(value(&unit, "RuntimeDirectory"));
    assert_eq!(settings.state_dir, kept, "systemd makes the state directory, and lets it be written");
    assert_eq!(kept, Path::new(DEFAULT_STATE_DIR));
    assert_eq!(value(&unit, "RuntimeDirectoryPreserve"), "yes");
}

#[test]
fn no_core_with_tokens_is_written() {
    assert_eq!(value(&deploy(UNIT), "LimitCORE"), "0");
}
