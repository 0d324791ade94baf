//! A node whose kernel files are plain files in a folder of its own, among files that it must not touch.
//!
//! Must not know how its inputs are found.

pub(crate) mod kernel;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ballast_api::{
    BytesPerSecond, Clock, Cores, Limit, LimitChange, Limits, NodeError, Plan, PlanOutcome, ReadWrite,
    UnixNanos,
};
use ballast_env_server::{
    controls::Devices,
    discovery::Discovery,
    journal::{Entry, Journal, JournalError},
    lender::{Lender, Means},
    machine::{Machine, Roots},
    metrics::Metrics,
};
use ballast_kernel::{CgroupPath, Hierarchy};
use tempfile::TempDir;

use crate::files::{self, Files};
use kernel::Kernel;

/// Of them, `b` has limits of its own.
const CONTAINERS: [&str; 3] = ["a", "b", "c"];

/// Where files of limits are that are not lent, in the folder: above, beside and inside of the containers, and outside of the
/// cgroups.
const DECOYS: [&str; 6] = ["cgroup", "cgroup/p", "cgroup/p/a/inner", "cgroup/q/a", ".", "beside/p/a"];

/// Those of them that the containers are in.
const ANCESTORS: [&str; 2] = ["cgroup", "cgroup/p"];

/// Files of others where a node has its own.
const OTHERS: [(&str, &str); 5] = [
    ("proc/1/comm", "init\n"),
    ("proc/sys/kernel/hostname", "n1\n"),
    ("sys/kernel/uevent_seqnum", "7\n"),
    ("state/others.json", "{}"),
    ("cgroup/cgroup.controllers", "cpu io\n"),
];

/// Longer than any lease, and than any pause between two attempts to give back.
const LONG: Duration = Duration::from_secs(3601);

pub(crate) struct FakeNode {
    kernel: &'static Kernel,
    folder: TempDir,
    machine: Machine,
    lender: Lender,
    now: Duration,
    /// What the files hold between two inputs.
    own: Files,
}

/// Goes on by a second whenever it is looked at, so that there are rates between any two samples.
#[derive(Default)]
struct HastyClock(AtomicU64);

impl Clock for HastyClock {
    fn now(&self) -> UnixNanos {
        UnixNanos(self.0.fetch_add(1_000_000_000, Ordering::Relaxed))
    }
}

impl FakeNode {
    pub(crate) fn new(kernel: &'static Kernel) -> Self {
        let folder = files::folder();
        let make = |below: &str, names: &mut dyn Iterator<Item = &'static str>, limited| {
            let folder = folder.path().join(below);
            names.for_each(|name| files::put(&folder.join(name), kernel.text(name, limited).as_bytes()));
        };
        for decoy in DECOYS {
            // What the containers are in holds them to no less than the machine.
            make(decoy, &mut kernel.limits(), !ANCESTORS.contains(&decoy));
        }
        for name in CONTAINERS {
            make(&format!("cgroup/p/{name}"), &mut kernel.files.iter().map(|(name, _)| *name), name == "b");
        }
        let disk = [("sys/block/vda/size", "1024\n"), ("sys/block/vda/dev", "254:0\n")];
        for (name, text) in OTHERS.iter().chain(&disk) {
            files::put(&folder.path().join(name), text.as_bytes());
        }
        let roots = Roots { proc: folder.path().join("proc"), sys: folder.path().join("sys") };
        let machine = Machine::new(hierarchy(folder.path(), kernel), roots, Cores::new(2.0).unwrap());
        journal(folder.path()).write([]).unwrap();
        let lender = open(folder.path(), &machine).unwrap();
        let own = files::below(folder.path());
        Self { kernel, folder, machine, lender, now: Duration::ZERO, own }
    }

    /// Applies a plan, lets it end, and compares every file with what it was, also meanwhile. The files that the lender
    /// writes lose the form of the kernel's own text, so that what they say is compared.
    pub(crate) fn live_through(&mut self, plan: &Plan) -> Result<PlanOutcome, NodeError> {
        let outcome = self.lender.apply(plan, self.now);
        let refused_by_kernel =
            matches!(outcome, Err(NodeError::Internal { .. } | NodeError::WriteFailed { .. }));
        assert!(!refused_by_kernel, "these files refuse nothing, and {outcome:?} of {plan:?}");
        let lent = if plan.dry_run || outcome.is_err() { Vec::new() } else { self.limit_files(plan) };
        let meanwhile = files::below(self.folder.path());
        files::assert_untouched(&self.own, &meanwhile, |path| self.may_be_lent(&lent, path), plan);
        if lent.is_empty() {
            return outcome;
        }
        self.now += LONG;
        self.lender.expire(self.now);
        assert_eq!(self.lender.loans(), 0, "something stayed lent of {plan:?}");
        let after = files::below(self.folder.path());
        files::assert_untouched(&self.own, &after, |path| lent.iter().any(|file| file == path), plan);
        let said = |files: &Files, path| files[path].as_ref().map(|bytes| self.kernel.said(bytes));
        for file in &lent {
            assert_eq!(said(&after, file), said(&self.own, file), "{file:?} after {plan:?}");
        }
        files::put_back(&self.own, &after);
        // A plan may carry the greatest generation there is, after which no other would be accepted.
        self.reopen();
        outcome
    }

    /// The first byte chooses a file of `a`, `a` the first one. Holds `content` in it while everything is read, while something
    /// is lent, and when that ends; then puts it right, and nothing may stay lent.
    pub(crate) fn read_with(&mut self, chosen: usize, content: &[u8]) {
        let file = self.container("a").join(self.kernel.files[chosen].0);
        let held = self.own.insert(file.clone(), Some(content.to_vec())).unwrap().unwrap();
        // One sample of the files as they are, so that rates are those between it and what comes.
        self.lender.sample();
        fs::write(&file, content).unwrap();
        self.lender.sample();
        let _ = self.lender.containers(self.now);
        // And one that begins with it.
        self.reopen();
        let _ = self.lender.containers(self.now);
        self.lender.sample();
        files::assert_untouched(&self.own, &files::below(self.folder.path()), |_| false, &"reading");
        let plan = plan_for_a();
        let _ = self.lender.apply(&plan, self.now);
        self.now += LONG;
        self.lender.expire(self.now);
        fs::write(&file, &held).unwrap();
        self.own.insert(file, Some(held));
        self.now += LONG;
        self.lender.expire(self.now);
        let held = String::from_utf8_lossy(content);
        assert_eq!(self.lender.loans(), 0, "something stayed lent after {held:?} in {chosen}");
        let (after, lent) = (files::below(self.folder.path()), self.limit_files(&plan));
        files::assert_untouched(&self.own, &after, |path| lent.iter().any(|file| file == path), &"lending");
        files::put_back(&self.own, &after);
        self.reopen();
    }

    /// Looks for control groups where the list of mounts holds this.
    pub(crate) fn find_with(&mut self, content: &[u8]) {
        let mountinfo = self.folder.path().join("proc/self/mountinfo");
        fs::write(&mountinfo, content).unwrap();
        let _ = Hierarchy::find(&mountinfo);
        fs::write(&mountinfo, self.own[&mountinfo].as_ref().unwrap()).unwrap();
        files::assert_untouched(&self.own, &files::below(self.folder.path()), |_| false, &"looking");
    }

    /// Begins with this text for a journal: it is refused and nothing is touched, or no more than the limits of the cgroups
    /// that it names.
    pub(crate) fn begin_with(&mut self, text: &[u8]) {
        let journal = journal(self.folder.path());
        fs::write(journal.path(), text).unwrap();
        let damaged = match journal.load() {
            Ok(entries) => {
                self.give_back(&journal, entries);
                false
            }
            Err(JournalError::Damaged { .. }) => open(self.folder.path(), &self.machine).is_err(),
            Err(error) => panic!("{error:?}"),
        };
        let after = files::below(self.folder.path());
        if damaged {
            files::assert_untouched(&self.own, &after, |path| path == journal.path(), &"a damaged journal");
            assert_eq!(after[&journal.path()].as_deref(), Some(text), "it is kept as it was");
        }
        files::put_back(&self.own, &after);
        self.reopen();
    }

    fn give_back(&mut self, journal: &Journal, mut entries: Vec<Entry>) {
        for entry in &mut entries {
            // Inodes cannot be guessed. Interfaces would be looked for on this machine.
            entry.identity = self.machine.hierarchy().identity(&entry.cgroup).unwrap_or(entry.identity);
            entry.devices = Devices { network: None, ..entry.devices };
        }
        journal.write(entries.clone()).unwrap();
        assert_eq!(journal.load().unwrap(), entries, "what is written is read");
        self.reopen();
        self.now += LONG;
        self.lender.expire(self.now);
        let named = |path: &Path| {
            let of = |entry: &Entry| self.machine.hierarchy().cpu_folder(&entry.cgroup);
            entries.iter().any(|entry| self.kernel.limits().any(|file| of(entry).join(file) == *path))
        };
        let after = files::below(self.folder.path());
        files::assert_untouched(
            &self.own,
            &after,
            |path| named(path) || path == journal.path(),
            &"a journal",
        );
    }

    /// Files that the limits of a plan are written to.
    fn limit_files(&self, plan: &Plan) -> Vec<PathBuf> {
        let of = |LimitChange { container, limits }: &LimitChange| {
            let cpu = limits.cpu.map(|_| self.kernel.cpu).unwrap_or_default();
            let is_disk = limits.disk.is_some() || limits.disk_operations.is_some();
            let disk = if is_disk { self.kernel.disk } else { &[] };
            let folder = self.container(container.as_str());
            cpu.iter().chain(disk).map(|name| folder.join(name)).collect::<Vec<_>>()
        };
        plan.changes.iter().flat_map(of).collect()
    }

    fn may_be_lent(&self, lent: &[PathBuf], path: &Path) -> bool {
        let is_journal = || path == journal(self.folder.path()).path();
        !lent.is_empty() && (lent.iter().any(|file| file == path) || is_journal())
    }

    fn container(&self, name: &str) -> PathBuf {
        self.folder.path().join("cgroup/p").join(name)
    }

    fn reopen(&mut self) {
        self.lender = open(self.folder.path(), &self.machine).unwrap();
    }
}

/// A little of everything that these machines have.
fn plan_for_a() -> Plan {
    let limits = Limits {
        cpu: Some(Limit::At(Cores::saturating(0.5))),
        disk: Some(ReadWrite { read: Limit::At(BytesPerSecond::saturating(1e6)), write: Limit::Max }),
        ..Limits::default()
    };
    let change = LimitChange { container: "a".parse().unwrap(), limits };
    Plan { generation: 1, lease_seconds: 10.0, dry_run: false, changes: vec![change] }
}

fn hierarchy(folder: &Path, kernel: &Kernel) -> Hierarchy {
    let mountinfo = folder.join("proc/self/mountinfo");
    let line = format!("1 0 0:1 / {} rw - {}\n", folder.join("cgroup").display(), kernel.mount);
    files::put(&mountinfo, line.as_bytes());
    Hierarchy::find(&mountinfo).unwrap()
}

fn journal(folder: &Path) -> Journal {
    Journal::new(&folder.join("state"), "boot")
}

fn open(folder: &Path, machine: &Machine) -> Result<Lender, JournalError> {
    let means = Means {
        machine: machine.clone(),
        discovery: Discovery::of_parents(&[CgroupPath::new("p").unwrap()]),
        sample_interval: Duration::from_secs(1),
        clock: Arc::new(HastyClock::default()),
        metrics: Arc::new(Metrics::default()),
        journal: journal(folder),
    };
    Lender::open(means, Duration::ZERO)
}
