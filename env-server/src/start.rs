//! From settings to a node that is ours: cgroups, state directory, journal.
//!
//! The only place that names files outside the cgroup hierarchies and the state directory.

use std::{
    fs, net,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ballast_api::{Capability, Resource, SystemClock};
use ballast_gate::Access;
use ballast_kernel::{CgroupPath, Hierarchy};
use nix::unistd::{AccessFlags, access};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::{
    cli::{RestoreFlags, ServeFlags},
    discovery::{Discovery, sources::Source},
    failure::Failure,
    journal::Journal,
    lender::{Lender, Means},
    machine::{Machine, Roots},
    metrics::Metrics,
    node::LinuxNode,
    settings::{self, Settings},
    state_dir::StateDir,
};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// Where `restore` finds the journal: as its flags say, or the configuration file that they name.
///
/// # Errors
/// [`Failure::Usage`] when that file cannot be used.
pub fn state_dir(flags: &RestoreFlags) -> Result<PathBuf, Failure> {
    let file = flags.config.as_deref().map(read).transpose()?;
    settings::state_dir(flags, file.as_ref().map(|(path, text)| (*path, text.as_str())))
        .map_err(|problem| Failure::Usage(vec![problem]))
}

/// Reads flags and the configuration file that they name.
///
/// # Errors
/// [`Failure::Usage`] with every problem.
pub fn settings(flags: &ServeFlags) -> Result<Settings, Failure> {
    let file = flags.config.as_deref().map(read).transpose()?;
    let file = file.as_ref().map(|(path, text)| (*path, text.as_str()));
    // Without a host name the node's name is empty, and the complaint about that says what to do.
    let hostname = fs::read_to_string(HOSTNAME).unwrap_or_default();
    Settings::new(flags, file, &hostname).map_err(Failure::Usage)
}

fn read(path: &Path) -> Result<(&Path, String), Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Usage(vec![format!("the configuration {} cannot be read: {error}", path.display())])
    })?;
    Ok((path, text))
}

/// A node that is taken over, the state directory that goes with it, and where it is served.
pub struct Started {
    /// The node; baselines left lent by an earlier env-server are restored.
    pub node: LinuxNode,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Who is let in.
    pub access: Arc<Access>,
    /// Where clients connect.
    pub listener: TcpListener,
    /// To be held as long as the node.
    pub state_dir: StateDir,
    /// Those who learn the names of containers, as long as this is held.
    pub naming: Vec<AbortOnDropHandle<()>>,
}

/// What only a start with all its rights can get: opened files, the listener, the state directory. Nothing that the journal
/// names is given back yet; what an earlier env-server left in resctrl is gone.
pub struct Prepared {
    access: Arc<Access>,
    machine: Machine,
    listener: net::TcpListener,
    state_dir: StateDir,
    journal: Journal,
}

impl Prepared {
    /// Whether networks can be limited here, which needs rights of its own.
    #[must_use]
    pub fn limits_networks(&self) -> bool {
        let capabilities = self.machine.capabilities();
        matches!(capabilities.get(Resource::Network), Some(Capability::Available { .. }))
    }
}

/// Gets what needs rights that are given up afterwards. Whatever cannot be had, a readable journal among it, is noticed
/// before any limit is changed.
///
/// # Errors
/// See [`Failure`].
pub fn prepare(settings: &Settings) -> Result<Prepared, Failure> {
    let access = Arc::new(Access::open(&settings.access).map_err(Failure::Usage)?);
    let machine = Machine::look_at(Roots::default()).map_err(Failure::NoCgroups)?;
    check_writable(machine.hierarchy(), &settings.cgroup_parents)?;
    let listener = net::TcpListener::bind(settings.listen)
        .map_err(|source| Failure::Listen { address: settings.listen, source })?;
    let state_dir = StateDir::create(&settings.state_dir).map_err(Failure::StateDir)?;
    let journal = journal_in(&state_dir)?;
    // What holds the state directory may remove what another env-server left.
    let machine = machine.with_caches(settings.memory_bandwidth_peak);
    Ok(Prepared { access, machine, listener, state_dir, journal })
}

/// Takes the node over. Needs the runtime that will serve.
///
/// # Errors
/// See [`Failure`].
pub fn start(settings: &Settings, prepared: Prepared) -> Result<Started, Failure> {
    let Prepared { access, machine, listener, state_dir, journal } = prepared;
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(|source| Failure::Listen { address: settings.listen, source })?;
    let metrics = Arc::new(Metrics::default());
    let (discovery, naming) = discovery(settings);
    let means = means(machine, discovery, settings.sample_interval, journal, metrics.clone());
    let node = LinuxNode::open(settings.node.clone(), means).map_err(Failure::Journal)?;
    Ok(Started { node, metrics, access, listener, state_dir, naming })
}

/// What finds the containers, and those who learn their names.
fn discovery(settings: &Settings) -> (Discovery, Vec<AbortOnDropHandle<()>>) {
    let (docker, asks_docker) = settings.names.docker.clone().map(Source::keep).unzip();
    let (kubernetes, asks_kubelet) = settings.names.kubelet.clone().map(Source::keep).unzip();
    let discovery = Discovery::new(&settings.cgroup_parents, docker, kubernetes);
    (discovery, asks_docker.into_iter().chain(asks_kubelet).collect())
}

/// Restores what the journal in `state_dir` names, once. Answers how many limits were restored, and what was not.
///
/// # Errors
/// See [`Failure`]; a state directory that does not exist is one.
pub fn restore(state_dir: &Path) -> Result<(usize, Vec<String>), Failure> {
    let machine = Machine::look_at(Roots::default()).map_err(Failure::NoCgroups)?;
    let state_dir = StateDir::open(state_dir).map_err(Failure::StateDir)?;
    let journal = journal_in(&state_dir)?;
    let machine = machine.with_caches(None);
    let metrics = Arc::new(Metrics::default());
    let means = means(machine, Discovery::of_parents(&[]), Duration::from_secs(1), journal, metrics);
    let lent = means.journal.load().map_err(Failure::Journal)?.len();
    let mut lender = Lender::open(means, Duration::ZERO).map_err(Failure::Journal)?;
    let failed = if lender.next_due().is_none() { Vec::new() } else { lender.close(Duration::ZERO) };
    Ok((lent.saturating_sub(lender.loans()), failed))
}

fn means(
    machine: Machine,
    discovery: Discovery,
    sample_interval: Duration,
    journal: Journal,
    metrics: Arc<Metrics>,
) -> Means {
    Means { machine, discovery, sample_interval, clock: Arc::new(SystemClock), metrics, journal }
}

/// The journal, which can be read: who could not go on with it is to have changed no limit.
fn journal_in(state_dir: &StateDir) -> Result<Journal, Failure> {
    // Without it a journal from before a reboot is taken for a fresh one: its cgroups are checked by inode still.
    let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_default();
    let journal = Journal::new(state_dir.path(), boot_id.trim());
    journal.check().map_err(Failure::Journal)?;
    Ok(journal)
}

/// Limits are written to files that belong to whoever may write to the parent.
fn check_writable(hierarchy: &Hierarchy, parents: &[CgroupPath]) -> Result<(), Failure> {
    let root = hierarchy.cpu_root().to_owned();
    // Docker's and Kubernetes' containers may be anywhere.
    let mut folders = if parents.is_empty() { vec![root.clone()] } else { Vec::new() };
    for parent in parents {
        let folder = hierarchy.cpu_folder(parent);
        if folder.is_dir() {
            folders.push(folder);
        } else {
            warn!(cgroup = %parent, "cgroup parent does not exist yet: it has no containers until it does");
            folders.push(root.clone());
        }
    }
    for folder in folders {
        access(&folder, AccessFlags::W_OK).map_err(|errno| Failure::NotPermitted {
            folder: folder.display().to_string(),
            source: errno.into(),
        })?;
    }
    Ok(())
}
