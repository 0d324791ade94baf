//! Which compiled tests run in the guest: those of the kernel's interfaces and of the program that lends.

use std::{
    env,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cargo_metadata::{Message, TargetKind};

/// The folder of each suite's package, its name there, and which of its tests are left out.
const SUITES: [(&str, &str, &[&str]); 10] = [
    // The longer one of two with the same measurement stays.
    ("env-server/kernel", "real_cgroups", &["a_busy_process_gets_its_quota_and_no_more"]),
    ("env-server/kernel", "real_disks", &[]),
    // Slow without hardware support, and nothing that depends on the version of a kernel; and a rate that emulated processors
    // do not always carry.
    (
        "env-server/kernel",
        "network",
        &["finding::", "a_live_change", "a_veth_in_a_bridge", "tcp_gets_a_high_rate"],
    ),
    ("env-server", "binary", &[]),
    ("env-server", "network", &[]),
    ("env-server", "exact", &[]),
    ("env-server", "lives", &[]),
    // Where netem is; the relay is for kernels without it.
    ("injector", "network", &["relay", "bandwidth", "netem_where_there_is_none"]),
    // Without doses and schedules: emulated processors keep none exactly. The floor needs more memory than there is.
    (
        "injector",
        "injection",
        &[
            "what_is_planned_happens",
            "a_free_running_dose",
            "a_busy_target",
            "a_percentage_is_of_the_limit",
            "a_rate_of_memory_traffic",
            "a_percentage_of_memory_traffic",
            "a_part_of_the_cache",
            "the_floor",
        ],
    ),
    ("injector", "kill_loop", &[]),
    // Not crash_points: some hundred starts of the program, each followed by ptrace, would take a quarter of an hour here.
];

/// One test program.
pub(crate) struct Suite {
    /// Its package's folder and its name there.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// What it is called with.
    pub(crate) arguments: String,
}

/// The test programs, as cargo knows them. Their names alone are not unique.
pub(crate) fn build() -> Vec<Suite> {
    let built = built();
    let suite = |(folder, name, left_out): &(&str, &str, &[&str])| {
        let source = workspace().join(folder).join("tests").join(name);
        let is_it = |path: &Path| path == source.with_extension("rs") || path == source.join("main.rs");
        let found = built.iter().find(|(path, _)| is_it(path));
        let (_, program) = found.unwrap_or_else(|| panic!("cargo built no {folder} {name}"));
        let skip: String = left_out.iter().map(|test| format!(" --skip {test}")).collect();
        Suite {
            name: format!("{folder}/{name}"),
            program: program.clone(),
            arguments: format!("--test-threads=1 --show-output{skip}"),
        }
    };
    SUITES.iter().map(suite).collect()
}

/// Sources of tests, each with its program. With the flags of scripts/test, so that nothing is left to be built there.
fn built() -> Vec<(PathBuf, PathBuf)> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace()).stdin(Stdio::null()).stdout(Stdio::piped());
    command.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    command.args(SUITES.iter().flat_map(|(_, name, _)| ["--test", name]));
    // What cargo tells this test of its own package would have it build some dependencies anew.
    let told = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    for name in told {
        command.env_remove(name);
    }
    let mut cargo = command.spawn().unwrap();
    let output = BufReader::new(cargo.stdout.take().unwrap());
    let artifact = |message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.target.kind.contains(&TargetKind::Test) => {
            Some((artifact.target.src_path.into(), artifact.executable?.into()))
        }
        _ => None,
    };
    let built = Message::parse_stream(output).filter_map(artifact).collect();
    assert!(cargo.wait().unwrap().success(), "the suites cannot be built");
    built
}

/// The workspace's folder: this package is the folder `tests` there.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
