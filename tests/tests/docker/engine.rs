//! A Docker engine of one test, in a folder and a process namespace of its own: whatever ends the engine's first process
//! ends its containers. The host's thread that started it must outlive it.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use ballast_kernel::CgroupPath;
use tokio::time::sleep;

use crate::support::{self, host, janitor::Janitor};

/// What the containers run, and all there is in their image.
const COMMANDS: [&str; 4] = ["sh", "sleep", "dd", "nc"];
/// What the engine and its containers are started with.
const PROGRAMS: [&str; 11] = [
    "dockerd",
    "docker",
    "containerd",
    "runc",
    "iptables",
    "ip",
    "tc",
    "setpriv",
    "setsid",
    "unshare",
    "tar",
];
const SETUP: &str = "scripts/setup --with-docker";
/// The host, as its containers see it.
pub(crate) const HOST: &str = "192.0.2.1";

/// Why this machine cannot play, in a sentence. An engine that is here and fails is a failure.
pub(crate) fn missing() -> Option<String> {
    support::missing(&PROGRAMS, SETUP).or_else(|| {
        if !Path::new("/usr/share/doc/busybox-static").exists() {
            return Some(format!("it needs busybox-static ({SETUP} installs it)"));
        }
        let of_its_network = [("ip", "link add name probe type bridge"), ("iptables", "-t nat -S")];
        let failed =
            of_its_network.into_iter().find_map(|(program, what)| host::try_in_one(program, what).err());
        failed.map(|reason| format!("this kernel has no network for Docker: {reason}"))
    })
}

pub(crate) struct Engine<'a> {
    janitor: &'a Janitor,
    process: Child,
}

impl<'a> Engine<'a> {
    /// The image `bb:1` is there.
    ///
    /// # Panics
    /// When the engine does not start, with what it says.
    pub(crate) async fn start(janitor: &'a Janitor) -> Self {
        let at = |name: &str| janitor.folder().join(name);
        janitor.own(&parent());
        janitor.shared(&CgroupPath::new("docker").unwrap());
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
            // systemd's driver, the default where systemd is, knows no parent but slices.
            .args(["dockerd", "--exec-opt", "native.cgroupdriver=cgroupfs", "--bip"])
            .arg(format!("{HOST}/24"))
            .args([Path::new("--data-root"), &at("data"), Path::new("--exec-root"), &at("exec")])
            .args([Path::new("--pidfile"), &at("pid"), Path::new("-H")])
            .arg(format!("unix://{}", at("docker.sock").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let mut engine = Self { janitor, process };
        for _ in 0..300 {
            if let Some(status) = engine.process.try_wait().unwrap() {
                panic!("dockerd ended with {status}: {}", engine.log());
            }
            if engine.try_docker(&["version"]).is_ok() {
                engine.import();
                return engine;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("dockerd is not ready after 30 s: {}", engine.log());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.janitor.folder().join("docker.sock")
    }

    /// A container of this script, with the cgroup that it got.
    pub(crate) fn run(&self, name: &str, more: &[&str], script: &str) -> CgroupPath {
        let run = ["run", "-d", "--name", name, "--init=false"];
        let id = self.docker(&[&run, more, &["bb:1", "sh", "-c", script]].concat());
        let paths = [parent().child(&id), CgroupPath::new(&format!("docker/{id}"))].map(Result::unwrap);
        paths.iter().for_each(|path| self.janitor.own(path));
        let hierarchy = support::hierarchy();
        let found = paths.into_iter().find(|path| hierarchy.identity(path).is_some());
        found.expect("its cgroup is there")
    }

    /// Runs `docker` and answers what it says.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    fn try_docker(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["60", "docker", "-H", &format!("unix://{}", self.socket().display())])
            .args(arguments)
            .env("DOCKER_CONFIG", self.janitor.folder())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn import(&self) {
        let folder = self.janitor.folder();
        let (rootfs, tar) = (folder.join("rootfs"), folder.join("rootfs.tar"));
        let bin = rootfs.join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for command in COMMANDS {
            symlink("busybox", bin.join(command)).unwrap();
        }
        let status =
            Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg(".").status().unwrap();
        assert!(status.success(), "{status}");
        self.docker(&["import", tar.to_str().unwrap(), "bb:1"]);
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.janitor.folder().join("log")).unwrap_or_default();
        let last: Vec<_> = log.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A parent of containers that no other test uses.
pub(crate) fn parent() -> CgroupPath {
    CgroupPath::new(&format!("ballast-test-docker-{}", std::process::id())).unwrap()
}
