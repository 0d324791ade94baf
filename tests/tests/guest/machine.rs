//! The virtual machine: booted, listened to, and gone when it goes out of scope.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::{
    disk::{DISK, FIRST, which},
    suites::workspace,
    verdict::OVER,
};

const CONSOLE: &str = "console.log";
const RESULTS: &str = "results.log";

/// A kernel that was unpacked for this.
pub(crate) struct Kernel {
    pub(crate) folder: PathBuf,
    image: PathBuf,
    /// The modules of its version.
    pub(crate) modules: PathBuf,
}

/// The kernel to boot, or why none can be booted.
pub(crate) fn kernel() -> Result<Kernel, String> {
    if !cfg!(target_arch = "x86_64") {
        return Err("the guest is for x86_64 only".to_owned());
    }
    let setup = "scripts/setup --with-guest installs it";
    for program in ["qemu-system-x86_64", "mke2fs", "setpriv", "ldd", "ip", "tc"] {
        which(program).ok_or_else(|| format!("it needs {program} ({setup})"))?;
    }
    if !Path::new("/usr/share/doc/busybox-static").exists() {
        return Err(format!("it needs busybox-static ({setup})"));
    }
    let told = Command::new(workspace().join("scripts/setup")).arg("--print-guest-kernel").output();
    let told = told.map_err(|error| error.to_string())?;
    if !told.status.success() {
        return Err(format!("there is no kernel for it ({setup})"));
    }
    let folder = PathBuf::from(String::from_utf8_lossy(&told.stdout).trim());
    let (image, modules) =
        (first(&folder.join("boot"), "vmlinuz-")?, first(&folder.join("lib/modules"), "")?);
    Ok(Kernel { folder, image, modules })
}

/// What is in `folder` under a name that starts so.
fn first(folder: &Path, start: &str) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let mut found = entries.flatten().map(|entry| entry.path()).filter(names);
    found.next().ok_or_else(|| format!("{} has no {start}*", folder.display()))
}

/// A guest at work in a folder of its own.
pub(crate) struct Machine {
    child: Child,
    folder: PathBuf,
}

impl Machine {
    /// Without hardware support: not every kernel boots with it, and it is not everywhere.
    pub(crate) fn boot(folder: &Path, kernel: &Kernel) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let disk = format!("file={},format=raw,if=virtio,cache=unsafe", at(DISK));
        let child = Command::new("setpriv")
            // Whatever ends this test ends the guest.
            .args([
                "--pdeathsig",
                "KILL",
                "qemu-system-x86_64",
                "-nodefaults",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args(["-accel", "tcg,thread=multi", "-smp", "2", "-cpu", "max", "-m", "1024", "-drive", &disk])
            .args(["-serial", &format!("file:{}", at(CONSOLE)), "-serial", &format!("file:{}", at(RESULTS))])
            .arg("-kernel")
            .arg(&kernel.image)
            .args(["-initrd", &at(FIRST), "-append", "console=ttyS0 panic=-1 quiet"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder: folder.to_owned() }
    }

    /// What it says until it ends. It is switched off when it says nothing for as long as `silence`, or after `limit`.
    pub(crate) async fn says(mut self, limit: Duration, silence: Duration) -> String {
        let deadline = Instant::now() + limit;
        let (mut heard, mut heard_at) = (self.bytes_said(), Instant::now());
        while self.child.try_wait().unwrap().is_none()
            && Instant::now() < deadline
            && heard_at.elapsed() < silence
        {
            sleep(Duration::from_millis(200)).await;
            let now = self.bytes_said();
            if now != heard {
                (heard, heard_at) = (now, Instant::now());
            }
        }
        let read = |name| {
            let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).replace('\r', "")
        };
        let (told, ended) = (read(RESULTS), self.child.try_wait().unwrap());
        // What the kernel and the programs say is told only where it explains something.
        let is_over = told.lines().any(|line| line == OVER);
        if is_over { told } else { format!("{told}\nnot over, ended {ended:?}\n{}", read(CONSOLE)) }
    }

    /// By the guest's kernel and programs, and of results.
    fn bytes_said(&self) -> u64 {
        let length = |name| fs::metadata(self.folder.join(name)).map_or(0, |file| file.len());
        length(CONSOLE) + length(RESULTS)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
