//! A target with a network, injections of it, and what there is before and after.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read},
    net::UdpSocket,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_injector::clocks;
use ballast_kernel::network;
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use tempfile::TempDir;

use crate::{
    container::{CONTAINER_ADDRESS, Container, HOST_ADDRESS, mbits},
    shared::{PROGRAM, occupy, pause, signal},
    support::{NOBODY, Stage},
    traces,
};

/// How long an injection may take to clean up, on a busy machine.
const SOON: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long an injection may go on that a blow has not ended, before it is asked to end.
const PATIENCE: Duration = Duration::from_millis(700);

/// Longer than any round: only a blow ends an injection.
const DURATION: &str = "10m";

/// A pod: a sandbox, which has the network, and beside it the target, whose one process is in that network.
pub(crate) struct Scene {
    inhabitant: Child,
    container: Container,
    stage: Stage,
    /// On a disk: the kind disk wants one.
    disk: TempDir,
    /// Of the last injection.
    supervisor: u32,
}

impl Scene {
    /// To be called in a network namespace of its own. `None`, after saying why, where this machine cannot do it.
    pub(crate) fn set(test: &str) -> Option<Self> {
        let stage = Stage::set(test)?;
        keep_mounts_apart();
        let container = Container::start();
        let inhabitant = inhabit(&stage, &container);
        let disk = tempfile::tempdir_in("/var/tmp").unwrap();
        Some(Self { inhabitant, container, stage, disk, supervisor: NOBODY })
    }

    /// Whether this machine can do it; says why not.
    pub(crate) fn can(&self, kind: &[&str], test: &str) -> bool {
        let tried = self.command(kind, "--target", "200ms").stderr(Stdio::piped()).output().unwrap();
        if !tried.status.success() {
            eprintln!("SKIPPED {test} ({}): {}", kind[0], String::from_utf8_lossy(&tried.stderr).trim());
        }
        tried.status.success()
    }

    /// Begins an injection; whether it has begun when this returns is left to chance.
    pub(crate) fn inject(&mut self, kind: &[&str], place: &str) -> Injection {
        let supervisor = self.command(kind, place, DURATION).stderr(Stdio::null()).spawn().unwrap();
        self.supervisor = supervisor.id();
        Injection { supervisor }
    }

    fn command(&self, kind: &[&str], place: &str, duration: &str) -> Command {
        let what = [kind, &[place]].concat();
        let mut command = match place {
            "--node" => self.stage.command_on_node(&what, duration, &[]),
            _ => self.stage.command_of(&what, duration, &[]),
        };
        if kind[0] == "disk" {
            command.arg("--dir").arg(self.disk.path());
        }
        command
    }

    /// Begins a load by HTTP.
    pub(crate) fn load(&self, url: &str) -> Child {
        let mut command = Command::new(PROGRAM);
        command.args(["load", url, "--rate", "200", "--duration", DURATION]).current_dir(self.disk.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn restore(&self) {
        let restored = self.stage.restore();
        assert!(restored["failed"].as_array().unwrap().is_empty(), "{restored}");
    }

    /// All that an injection could leave or take away, one line each.
    pub(crate) fn everything(&self) -> BTreeSet<String> {
        let target = self.stage.cgroup.path();
        let folders = [self.stage.folder.path(), self.disk.path()];
        let mut all: BTreeSet<_> = traces::processes().collect();
        all.extend(self.residents());
        all.extend(traces::cgroups(Path::new(target.as_str()), self.supervisor));
        all.extend(folders.into_iter().flat_map(traces::files));
        all.extend(traces::mounts());
        all.extend(traces::network(&self.container));
        all
    }

    /// Who is in the target, by what it is called in all rounds.
    fn residents(&self) -> impl Iterator<Item = String> {
        let name = |pid| {
            if pid == self.inhabitant.id() {
                "the inhabitant".to_owned()
            } else {
                format!("a stranger, {pid},")
            }
        };
        self.stage
            .cgroup
            .pids()
            .unwrap()
            .into_iter()
            .map(move |pid| format!("{} is in the target", name(pid)))
    }

    /// What is there now and was not before, and what was there and is not.
    pub(crate) fn differences(&self, before: &BTreeSet<String>) -> Vec<String> {
        let now = self.everything();
        let left = now.difference(before).map(|line| format!("left: {line}"));
        // Processes are told by program alone, which somebody else may use too.
        let missing = before.difference(&now).filter(|line| !line.starts_with(traces::PROCESS));
        left.chain(missing.map(|line| format!("missing: {line}"))).collect()
    }

    /// Whether all is as before within the time that an injection may take to clean up.
    pub(crate) fn is_soon(&self, before: &BTreeSet<String>) -> bool {
        let end = clocks::monotonic() + SOON;
        while !self.differences(before).is_empty() {
            if clocks::monotonic() > end {
                return false;
            }
            pause(LOOK_AGAIN);
        }
        true
    }

    /// Limits of Ballast, as an env-server would set them, in Mbit/s; 0 for none.
    pub(crate) fn limit_network(&self, egress: f64, ingress: f64) {
        self.container.control().set_limit(mbits(egress, ingress)).unwrap();
    }

    /// Removes what a limit of what the target sends leaves when the target goes: who set the limit does so, no injection.
    pub(crate) fn sweep(&self) {
        network::sweep().unwrap();
    }

    /// Datagrams reach the container, and its answers the host.
    pub(crate) fn assert_connected(&self, what: &str) {
        let bind = |address: &str| {
            let socket = UdpSocket::bind((address, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            socket
        };
        let (host, container) = (bind(HOST_ADDRESS), self.container.inside(|| bind(CONTAINER_ADDRESS)));
        let end = clocks::monotonic() + SOON;
        let arrives = |from: &UdpSocket, to: &UdpSocket| {
            from.send_to(b"?", to.local_addr().unwrap()).unwrap();
            match to.recv(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                received => received.unwrap() == 1,
            }
        };
        while !(arrives(&host, &container) && arrives(&container, &host)) {
            assert!(clocks::monotonic() < end, "{what}: the target has no network any more");
        }
    }

    pub(crate) fn restart_target(&mut self) {
        self.inhabitant.kill().unwrap();
        self.inhabitant.wait().unwrap();
        self.inhabitant = inhabit(&self.stage, &self.container);
    }

    pub(crate) fn remake_target(&mut self) {
        let name = self.stage.cgroup.path().to_string();
        // A supervisor may move its worker in just now.
        let removed =
            (0..10).any(|_| self.stage.cgroup.kill_all().and_then(|()| self.stage.cgroup.remove()).is_ok());
        assert!(removed, "the target cannot be removed");
        self.inhabitant.wait().unwrap();
        self.stage.cgroup = self.stage.tree.create(&name).unwrap();
        self.container.make_anew();
        self.inhabitant = inhabit(&self.stage, &self.container);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = (self.inhabitant.kill(), self.inhabitant.wait());
    }
}

/// What others mount and unmount meanwhile is not seen here.
fn keep_mounts_apart() {
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
}

fn inhabit(stage: &Stage, container: &Container) -> Child {
    container.inside(|| occupy(&stage.cgroup, "sleep", &["6000"]))
}

/// One that was begun, and is certainly ended.
pub(crate) struct Injection {
    supervisor: Child,
}

impl Injection {
    pub(crate) fn supervisor(&self) -> u32 {
        self.supervisor.id()
    }

    /// Waits for the supervisor, which a blow at others may not have ended: then it is asked to end. Answers whether it had
    /// told that the dose began.
    pub(crate) fn end(mut self, what: &str) -> bool {
        let begun = clocks::monotonic();
        let mut asked = false;
        while self.supervisor.try_wait().unwrap().is_none() {
            let waited = clocks::monotonic() - begun;
            if !asked && waited > PATIENCE {
                signal(self.supervisor(), Signal::SIGTERM);
                asked = true;
            }
            assert!(waited < 2 * SOON, "{what}: the supervisor does not end");
            pause(LOOK_AGAIN / 2);
        }
        let mut told = String::new();
        self.supervisor.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        told.contains("\"started\"")
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let _ = (self.supervisor.kill(), self.supervisor.wait());
    }
}
