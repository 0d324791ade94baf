//! Mounts to try things on, and processes to move: all gone when the test ends, also when it fails.
#![allow(dead_code, reason = "each test uses its part")]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use ballast_api::{Bytes, BytesPerSecond, Limit};
use ballast_kernel::{
    CgroupPath,
    resctrl::{
        Group, GroupName, Groups, ResctrlControl, ResctrlLimits, ResctrlMount, ResctrlNode, control::Pids,
    },
};
use ballast_resctrl_emulator::hardware::FLAVOURS;
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, killpg},
    unistd::{Pid, geteuid},
};
use tempfile::TempDir;

/// Names a real resctrl mount to run the suite on as well, whoever else uses it.
const REAL: &str = "BALLAST_TEST_RESCTRL";
/// A real mount is used by one test at a time: they would sweep each other's groups.
static REAL_IS_BUSY: Mutex<()> = Mutex::new(());
/// What the memory of these machines is said to deliver.
pub(crate) const PEAK: f64 = 100e9;

/// One mount, emulated or real.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) mount: ResctrlMount,
    pub(crate) emulated: Option<Emulator>,
    _busy: Option<MutexGuard<'static, ()>>,
}

/// Every flavour of the emulator, and the real mount where there is one. What this machine lacks is said and left out.
pub(crate) fn for_each_stage(test: &str, run: impl Fn(&Stage)) {
    let mut names: Vec<_> = FLAVOURS.iter().map(|flavour| (*flavour).to_owned()).collect();
    names.push("real".to_owned());
    for name in names {
        if let Some(stage) = stage(test, &name) {
            run(&stage);
            assert_eq!(stage.ours(), Vec::<String>::new(), "{name}: nothing of Ballast's is left");
        }
    }
}

/// One flavour, or `real`.
pub(crate) fn stage(test: &str, name: &str) -> Option<Stage> {
    let made = if name == "real" { real() } else { emulated(name) };
    made.inspect_err(|reason| eprintln!("SKIPPED {test} ({name}): {reason}")).ok()
}

fn emulated(flavour: &str) -> Result<Stage, String> {
    if !geteuid().is_root() {
        return Err("mounting needs root".to_owned());
    }
    if !Path::new("/dev/fuse").exists() {
        return Err("this kernel has no FUSE (/dev/fuse)".to_owned());
    }
    let (emulator, mount) = Emulator::start(flavour)?;
    Ok(Stage { name: flavour.to_owned(), mount, emulated: Some(emulator), _busy: None })
}

/// The emulator as a process of its own, so that a test that is killed takes nothing with it. Dropping it unmounts.
pub(crate) struct Emulator {
    process: Child,
    input: Option<ChildStdin>,
    answers: Mutex<Lines<BufReader<ChildStdout>>>,
    folder: TempDir,
}

impl Emulator {
    fn start(flavour: &str) -> Result<(Self, ResctrlMount), String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut process = Command::new(env!("CARGO_BIN_EXE_ballast-resctrl-emulator"))
            .args(["--flavour", flavour])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let mut answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = answers.next();
        let emulator = Self { process, input, answers: Mutex::new(answers), folder };
        let Some(line) = line else { return Err("the emulator cannot mount here".to_owned()) };
        let mount = ResctrlMount::parse(&line.unwrap()).unwrap();
        assert_eq!(mount.point, emulator.folder.path());
        Ok((emulator, mount))
    }

    /// Sets a counter: `GROUP DOMAIN EVENT VALUE`.
    pub(crate) fn set(&self, counter: &str) {
        assert_eq!(self.ask(counter), "ok", "{counter}");
    }

    /// Lets so many more changes pass, and refuses all later ones.
    pub(crate) fn freeze_after(&self, changes: u32) {
        assert_eq!(self.ask(&format!("freeze {changes}")), "ok");
    }

    /// Ends that, and answers whether any was refused.
    pub(crate) fn thaw(&self) -> bool {
        self.ask("thaw") != "0"
    }

    fn ask(&self, line: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).next();
        answer.unwrap().unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The end of its input ends it; when it cannot, its death ends the mount.
        drop(self.input.take());
        if !eventually(Duration::from_secs(10), || self.process.try_wait().ok().flatten().is_some()) {
            let _ = self.process.kill();
            let _ = self.process.wait();
            let _ = umount2(self.folder.path(), MntFlags::MNT_DETACH);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no command line: the variable says where the hardware is"
)]
fn real() -> Result<Stage, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let mount = ResctrlMount::parse(&mounts);
    let mount = mount.ok_or("no real resctrl is mounted (mount -t resctrl resctrl /sys/fs/resctrl)")?;
    let busy = REAL_IS_BUSY.lock().unwrap_or_else(PoisonError::into_inner);
    let named = std::env::var(REAL).is_ok_and(|point| mount.point == Path::new(&point));
    // Where there is no group but the root's, there is nobody whose classes of service the tests could take away.
    let groups = Groups::new(&mount.point).names().map_err(|error| error.to_string())?;
    if named || groups.is_empty() && geteuid().is_root() {
        return Ok(Stage { name: "real".to_owned(), mount, emulated: None, _busy: Some(busy) });
    }
    let point = mount.point.display();
    Err(format!("somebody has groups in {point}: {REAL}={point} runs the tests there all the same, as root"))
}

impl Stage {
    pub(crate) fn node(&self) -> ResctrlNode {
        let peak = BytesPerSecond::new(PEAK).unwrap();
        ResctrlNode::open(&self.mount, PathBuf::from("/proc"), Some(peak)).unwrap()
    }

    pub(crate) fn groups(&self) -> Groups {
        Groups::new(&self.mount.point)
    }

    /// Names of the groups that are Ballast's.
    pub(crate) fn ours(&self) -> Vec<String> {
        self.groups().names().unwrap().into_iter().filter(|name| GroupName::is_ours(name)).collect()
    }

    /// The control group that a task is in; absent for the root group.
    pub(crate) fn group_of(&self, task: u32) -> Option<Group> {
        let groups = self.groups();
        let groups = groups
            .names()
            .unwrap()
            .iter()
            .map(|name| groups.find(&GroupName::new(name).unwrap()).unwrap())
            .collect::<Vec<_>>();
        groups.into_iter().find(|group| group.tasks().unwrap().contains(&task))
    }

    /// A group of somebody else, removed with the guard.
    pub(crate) fn foreign(&self, name: &str) -> Foreign {
        let name = GroupName::new(&format!("theirs-{}-{name}", std::process::id())).unwrap();
        Foreign(self.groups().create(&name).unwrap())
    }

    pub(crate) fn status(&self) -> String {
        fs::read_to_string(self.mount.point.join("info/last_cmd_status")).unwrap()
    }
}

/// A group that is not Ballast's.
pub(crate) struct Foreign(pub(crate) Group);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

/// A process with all that it starts, killed when it goes out of scope.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn idle() -> Self {
        Self::start("sleep", &["100"])
    }

    pub(crate) fn start(program: &str, arguments: &[&str]) -> Self {
        use std::os::unix::process::CommandExt;
        let quiet = || Stdio::null();
        let mut command = Command::new(program);
        Self(
            command
                .args(arguments)
                .stdin(quiet())
                .stdout(quiet())
                .stderr(quiet())
                .process_group(0)
                .spawn()
                .unwrap(),
        )
    }

    /// A process of at least four threads.
    pub(crate) fn with_threads() -> Self {
        let process = Self::start(env!("CARGO_BIN_EXE_ballast-test-threads"), &[]);
        wait_until("its threads", || process.threads().len() >= 4);
        process
    }

    pub(crate) fn threads(&self) -> Vec<u32> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap().flatten();
        threads.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// It and all that it started, by their process group.
    pub(crate) fn family(&self) -> Pids {
        let leader = self.id();
        Arc::new(move || Ok(members(leader)))
    }

    /// As the container of this name.
    pub(crate) fn container(&self, node: &ResctrlNode, name: &str) -> ResctrlControl {
        node.container(CgroupPath::new(name).unwrap(), Some(self.id().into()), self.family())
    }

    pub(crate) fn end(&mut self) {
        if let Ok(id) = i32::try_from(self.0.id()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The processes of a process group.
pub(crate) fn members(leader: u32) -> Vec<u32> {
    let processes =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let group = |pid: &u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(2)?.parse().ok()
    };
    processes.filter(|pid| group(pid) == Some(leader)).collect()
}

pub(crate) fn llc(bytes: f64) -> ResctrlLimits {
    ResctrlLimits { llc: Some(Limit::At(Bytes::new(bytes).unwrap())), memory_bandwidth: None }
}

pub(crate) fn bandwidth(bytes: f64) -> ResctrlLimits {
    ResctrlLimits { llc: None, memory_bandwidth: Some(Limit::At(BytesPerSecond::new(bytes).unwrap())) }
}

/// Whether `limit` allows at least `amount`.
pub(crate) fn allows<U: Copy + Into<f64>>(limit: Option<Limit<U>>, amount: f64) -> bool {
    match limit.unwrap() {
        Limit::Max => true,
        Limit::At(limit) => limit.into() >= amount * (1.0 - 1e-9),
    }
}

/// How many bytes the last-level cache of all domains holds, if it can be divided.
pub(crate) fn cache_bytes(stage: &Stage, node: &ResctrlNode) -> Option<f64> {
    let info = node.info().cache.ok()?;
    let root = stage.groups().root();
    let (mut sizes, masks) = (root.sizes().unwrap(), root.schemata().unwrap());
    let (sizes, masks) =
        (sizes.remove(&info.lines[0]).unwrap(), masks.masks(&info.lines[0]).unwrap().clone());
    #[expect(clippy::cast_precision_loss, reason = "a cache has far less than 2^53 bytes")]
    let of = |(size, mask): (&u64, &u64)| {
        *size as f64 / f64::from(mask.count_ones()) * f64::from(info.mask.count_ones())
    };
    Some(sizes.values().zip(masks.values()).map(of).sum())
}

/// Waits for something that another process does.
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    assert!(eventually(Duration::from_secs(20), holds), "{what} did not happen in 20 s");
}

#[expect(clippy::disallowed_methods, reason = "a process tells nobody that it has forked or ended")]
fn eventually(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > within {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
