//! A Docker engine of one test, in a folder of its own, and the cgroups that its containers are in. All is gone when it
//! goes out of scope: containers, processes, mounts, cgroups.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_kernel::{CgroupPath, CgroupTree, Hierarchy};
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::time::sleep;

/// What the containers run, and all there is in their image.
const COMMANDS: [&str; 3] = ["sh", "sleep", "dd"];

pub(crate) struct Engine {
    folder: TempDir,
    process: Child,
    /// Cgroups that were not there before.
    parents: Vec<CgroupPath>,
}

impl Engine {
    /// Absent, with the reason on stderr, where this machine cannot run the test. The image `bb:1` is there.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let reason = match missing() {
            Some(reason) => reason,
            None => match Self::try_start().await {
                Ok(engine) => return Some(engine),
                Err(reason) => reason,
            },
        };
        eprintln!("SKIPPED {test}: {reason}");
        None
    }

    async fn try_start() -> Result<Self, String> {
        let folder = tempfile::Builder::new().prefix("ballast-docker-").tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // Whatever ends this test ends the engine, which ends its containers.
        let process = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "TERM",
                "dockerd",
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
            ])
            .args([Path::new("--data-root"), &at("data"), Path::new("--exec-root"), &at("exec")])
            .args([Path::new("--pidfile"), &at("pid"), Path::new("-H")])
            .arg(format!("unix://{}", at("docker.sock").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .map_err(|error| format!("dockerd cannot be started: {error}"))?;
        let new = ["docker".to_owned(), parent()].into_iter().map(|path| CgroupPath::new(&path).unwrap());
        let parents = new.filter(|path| hierarchy().identity(path).is_none()).collect();
        let mut engine = Self { folder, process, parents };
        for _ in 0..300 {
            if let Some(status) = engine.process.try_wait().unwrap() {
                return Err(format!("dockerd ended with {status}: {}", engine.log()));
            }
            if engine.try_docker(&["version"]).is_ok() {
                engine.import();
                return Ok(engine);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("dockerd is not ready after 30 s: {}", engine.log()))
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `docker` and answers what it says.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["60", "docker", "-H", &format!("unix://{}", self.socket().display())])
            .args(arguments)
            .env("DOCKER_CONFIG", self.folder.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn import(&self) {
        let bin = self.folder.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for command in COMMANDS {
            symlink("busybox", bin.join(command)).unwrap();
        }
        let (rootfs, tar) = (self.folder.path().join("rootfs"), self.folder.path().join("rootfs.tar"));
        let status =
            Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(status.success(), "{status}");
        self.docker(&["import", tar.to_str().unwrap(), "bb:1"]);
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().last().unwrap_or_default().to_owned()
    }

    fn stop(&mut self) -> Result<(), String> {
        let ids = self.try_docker(&["ps", "-aq"])?;
        if !ids.is_empty() {
            let all: Vec<_> = ["rm", "-f"].into_iter().chain(ids.lines()).collect();
            self.try_docker(&all)?;
        }
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        kill(pid, Signal::SIGTERM).map_err(|error| error.to_string())?;
        for _ in 0..200 {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return Ok(());
            }
            pause();
        }
        Err("dockerd does not end".to_owned())
    }

    fn unmount(&self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(self.folder.path())) {
            eprintln!("{point} was left mounted: {:?}", umount2(Path::new(point), MntFlags::MNT_DETACH));
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the engine was killed: {error}: {}", self.log());
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        self.unmount();
        for parent in &self.parents {
            remove_everywhere(parent);
        }
    }
}

/// A parent of containers that no other test uses.
pub(crate) fn parent() -> String {
    format!("ballast-test-docker-{}", std::process::id())
}

pub(crate) fn hierarchy() -> Hierarchy {
    Hierarchy::find(Path::new("/proc/self/mountinfo")).unwrap()
}

/// The hierarchies of cgroup v1, the unified one among them, or the only one.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroups = fields.filter(|fields| matches!(fields.get(2), Some(&"cgroup" | &"cgroup2")));
    cgroups.map(|fields| PathBuf::from(fields[1])).collect()
}

/// Docker makes a container's cgroup in every hierarchy, and leaves the parents behind.
fn remove_everywhere(parent: &CgroupPath) {
    for folder in hierarchies().into_iter().map(|root| root.join(parent)).filter(|folder| folder.is_dir()) {
        // A cgroup of a container that has just ended may be busy for a moment; one that is in use is not ours.
        let mut result = fs::remove_dir(&folder);
        for _ in 0..20 {
            if result.is_ok() {
                break;
            }
            pause();
            result = fs::remove_dir(&folder);
        }
        if let Err(error) = result {
            eprintln!("{} was left behind: {error}", folder.display());
        }
    }
}

/// In a destructor nothing can be awaited.
fn pause() {
    let _ = Command::new("sleep").arg("0.1").status();
}

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root".to_owned());
    }
    let found = |program: &&str| {
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin"]
            .iter()
            .any(|f| Path::new(f).join(program).exists())
    };
    let missing = ["dockerd", "docker", "containerd", "runc", "setpriv", "timeout", "tar"];
    if let Some(program) = missing.iter().find(|program| !found(program)) {
        return Some(format!("it needs {program} (scripts/setup --with-docker installs it)"));
    }
    if !Path::new("/usr/share/doc/busybox-static").exists() {
        return Some("it needs busybox-static (scripts/setup --with-docker installs it)".to_owned());
    }
    let tree = CgroupTree::new(Hierarchy::find(Path::new("/proc/self/mountinfo")).ok()?);
    let probe = tree.create(&format!("ballast-test-docker-probe-{}", std::process::id()));
    probe.and_then(|probe| probe.remove()).err().map(|error| format!("cgroups cannot be written: {error}"))
}
