//! The program: it mounts, takes counters on standard input, and unmounts when that ends.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::geteuid;

#[test]
fn it_stays_mounted_until_its_standard_input_ends() {
    if !geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!(
            "SKIPPED it_stays_mounted_until_its_standard_input_ends: mounting needs root and /dev/fuse"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_ballast-resctrl-emulator"))
        .args(["--flavour", "amd"])
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(program.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mount = answers.next().unwrap();
    assert!(mount.contains(" - resctrl resctrl rw"), "{mount}");
    assert_eq!(fs::read_to_string(folder.path().join("info/L3/cbm_mask")).unwrap(), "ffff\n");

    let mut input = program.stdin.take().unwrap();
    for (line, answer) in
        [("nonsense", "a line is"), ("/ 8 mbm_total_bytes 12345", "ok"), ("x 8 y 1", "no such event")]
    {
        writeln!(input, "{line}").unwrap();
        assert!(answers.next().unwrap().contains(answer), "{line}");
    }
    let counter = folder.path().join("mon_data/mon_L3_08/mbm_total_bytes");
    assert_eq!(fs::read_to_string(&counter).unwrap(), "12345\n");
    drop(input);
    assert!(program.wait().unwrap().success());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "unmounted");
}

#[test]
fn an_unknown_flavour_is_refused_with_those_there_are() {
    let program = Command::new(env!("CARGO_BIN_EXE_ballast-resctrl-emulator"))
        .args(["--flavour", "vax", "/nowhere"])
        .output()
        .unwrap();
    let said = String::from_utf8(program.stderr).unwrap();
    assert!(!program.status.success() && said.contains("haswell"), "{said}");
}
