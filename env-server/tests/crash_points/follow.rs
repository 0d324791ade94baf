//! Kills a program before the n-th step that it would make: any system call that changes a file or the host's network. By
//! ptrace, so that it is exactly that one.
//!
//! Must not know what the program does.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use tokio::time::{sleep, timeout};

/// Longer than anything takes that ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a program that was followed.
#[derive(Debug)]
pub(crate) enum End {
    /// It was killed before this step.
    Killed(#[expect(dead_code, reason = "told when a check fails")] String),
    /// It made only so many.
    Earlier(usize),
}

/// A program that is followed. It is killed when this goes out of scope.
pub(crate) struct Followed {
    pid: Pid,
    counts: Arc<AtomicBool>,
    tracer: Option<JoinHandle<End>>,
}

/// Follows all threads of a process.
///
/// # Errors
/// Why this machine does not allow it.
pub(crate) fn follow(pid: u32, nth: usize) -> Result<Followed, String> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("system calls are read from the registers of x86-64".to_owned());
    }
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let counts = Arc::new(AtomicBool::new(false));
    let (says, hears) = mpsc::channel();
    let tracer = thread::spawn({
        let counts = counts.clone();
        move || {
            let seized = seize(pid);
            let is_seized = seized.is_ok();
            says.send(seized).unwrap();
            if is_seized { Tracer { pid, nth, counts, steps: 0 }.run() } else { End::Earlier(0) }
        }
    });
    hears.recv().unwrap().map_err(|errno| format!("ptrace is not permitted: {errno}"))?;
    Ok(Followed { pid, counts, tracer: Some(tracer) })
}

impl Followed {
    /// From now on steps count.
    pub(crate) fn count(&self) {
        self.counts.store(true, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tracer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until it ended, killed or not.
    pub(crate) async fn ended(&self) {
        let ended = async {
            while !self.is_over() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap();
    }

    /// Kills it unless it is dead, and tells.
    pub(crate) fn end(mut self) -> End {
        self.kill().unwrap()
    }

    /// It is a child of this process that nobody has waited for: its number is still its own.
    fn kill(&mut self) -> Option<End> {
        let tracer = self.tracer.take()?;
        let _ = kill(self.pid, Signal::SIGKILL);
        tracer.join().ok()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes every thread tell of its system calls, those to come too.
fn seize(pid: Pid) -> nix::Result<()> {
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    let mut seized = BTreeSet::new();
    while let Some(thread) = threads(pid).into_iter().find(|thread| !seized.contains(thread)) {
        match ptrace::seize(thread, options) {
            // A thread of one that was seized already is seized, and one that ended needs not be.
            Ok(()) | Err(Errno::EPERM | Errno::ESRCH) if !seized.is_empty() => {}
            seized => seized?,
        }
        seized.insert(thread);
    }
    for thread in seized {
        let _ = ptrace::interrupt(thread);
    }
    Ok(())
}

fn threads(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let number = |task: fs::DirEntry| task.file_name().to_str().unwrap().parse().unwrap();
    tasks.map(|task| Pid::from_raw(number(task.unwrap()))).collect()
}

struct Tracer {
    pid: Pid,
    nth: usize,
    counts: Arc<AtomicBool>,
    steps: usize,
}

impl Tracer {
    fn run(mut self) -> End {
        // Of this very thread only: other tests have children too.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let looking = flags | WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
        loop {
            let thread = match waitid(Id::All, looking) {
                // Its end is for its parent to take.
                Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) if pid == self.pid => {
                    return End::Earlier(self.steps);
                }
                Ok(status) => status.pid().unwrap(),
                Err(Errno::ECHILD) => return End::Earlier(self.steps),
                Err(errno) => panic!("{errno}"),
            };
            // Killed since it was looked at, the first thread has nothing to say until all others have been waited for.
            let passed_on = match waitpid(thread, Some(flags | WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::PtraceSyscall(_)) => {
                    if let Some(step) = self.counted(thread) {
                        kill(self.pid, Signal::SIGKILL).unwrap();
                        return End::Killed(step);
                    }
                    None
                }
                Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
                _ => None,
            };
            // One that is dead by now says so in the next round.
            let _ = ptrace::syscall(thread, passed_on);
        }
    }

    /// The step that a thread is about to make, if it is the last.
    fn counted(&mut self, thread: Pid) -> Option<String> {
        let step = step(self.pid, thread).filter(|_| self.counts.load(Ordering::Acquire))?;
        self.steps += 1;
        (self.steps == self.nth).then_some(step)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn step(_: Pid, _: Pid) -> Option<String> {
    None
}

/// The step that a thread is about to make, if the system call that it is at is one.
#[cfg(target_arch = "x86_64")]
fn step(pid: Pid, thread: Pid) -> Option<String> {
    use nix::libc;
    let registers = ptrace::getregs(thread).ok()?;
    // What the kernel has there on the way in.
    if registers.rax.cast_signed() != -i64::from(Errno::ENOSYS as i32) {
        return None;
    }
    let file = || {
        let link = fs::read_link(format!("/proc/{pid}/fd/{}", registers.rdi)).ok()?;
        // Not a pipe, nor what is said to people.
        (link.is_absolute() && registers.rdi > 2).then(|| link.display().to_string())
    };
    match registers.orig_rax.cast_signed() {
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => Some(format!("write to {}", file()?)),
        libc::SYS_fsync | libc::SYS_fdatasync => Some(format!("fsync of {}", file()?)),
        libc::SYS_ftruncate => Some(format!("ftruncate of {}", file()?)),
        libc::SYS_openat => {
            let makes = registers.rdx & u64::from((libc::O_CREAT | libc::O_TRUNC).cast_unsigned()) != 0;
            makes.then(|| "making of a file".to_owned())
        }
        libc::SYS_rename | libc::SYS_renameat | libc::SYS_renameat2 => Some("rename".to_owned()),
        libc::SYS_unlink | libc::SYS_unlinkat => Some("unlink".to_owned()),
        libc::SYS_mkdir | libc::SYS_mkdirat | libc::SYS_rmdir => {
            Some("making or removal of a folder".to_owned())
        }
        libc::SYS_sendto => order(pid, thread, registers.rsi),
        libc::SYS_sendmsg => Some("sendmsg".to_owned()),
        _ => None,
    }
}

/// What is sent, if it is an order to the host's network: no question, nor the answer to a request, nor what is tried in a
/// namespace that ends with the attempt.
#[cfg(target_arch = "x86_64")]
fn order(pid: Pid, thread: Pid, buffer: u64) -> Option<String> {
    let namespace = |path: &str| fs::read_link(format!("{path}/ns/net")).ok();
    let start = ptrace::read(thread, std::ptr::with_exposed_provenance_mut(usize::try_from(buffer).ok()?));
    let start = start.ok()?.to_ne_bytes();
    if start.starts_with(b"HTTP") {
        return None;
    }
    let [_, _, _, _, kind @ .., _, _] = start;
    // Of four kinds that begin at a multiple of four, the third is a question.
    let kind = u16::from_ne_bytes(kind);
    let is_host = namespace(&format!("/proc/{pid}/task/{thread}")) == namespace(&format!("/proc/{pid}"));
    (kind % 4 != 2 && is_host).then(|| format!("netlink message {kind}"))
}
