//! A real memcached, filled. Must not know who reads it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use ballast_api::ContainerName;
use ballast_kernel::Cgroup;
use ballast_sim::Topology;
use tokio::time::Instant;

use super::{
    cells::Cells,
    child::{Child, Launch},
    programs,
};
use crate::{dataset, service::stores::Store};

/// Ports tried: another program may take one between the look and the use.
const ATTEMPTS: u32 = 5;
const START_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Keys read back at once.
const CHUNK: u32 = 100;

/// Starts the memcached of that name in its cgroup, on a free port, and fills it with all keys that are read.
///
/// # Errors
/// When it does not start, or does not hold them all.
pub async fn start(
    name: &ContainerName,
    topology: &Topology,
    cells: &Cells,
) -> anyhow::Result<(Child, SocketAddr)> {
    let cgroup = cells.of(name)?;
    let mut last_words = String::new();
    for _ in 0..ATTEMPTS {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, programs::free_port()?));
        let mut child = launch(name, address, cgroup, cells)?;
        match until_it_answers(&mut child, address).await? {
            None => {
                fill(name, topology, &Store::new(address)).await?;
                return Ok((child, address));
            }
            Some(obituary) => last_words = obituary,
        }
    }
    anyhow::bail!("{last_words} (tried {ATTEMPTS} ports)")
}

fn launch(
    name: &ContainerName,
    address: SocketAddr,
    cgroup: &Cgroup,
    cells: &Cells,
) -> anyhow::Result<Child> {
    let options = format!("-l {} -p {} -u root -m 16 -t 1", address.ip(), address.port());
    Launch {
        name: name.as_str(),
        program: "memcached".as_ref(),
        args: options.split(' ').map(str::to_owned).collect(),
        talks: false,
        cgroup: Some(cgroup),
        work_dir: cells.work_dir(),
    }
    .start()
}

/// None once it answers; its last words when it has died.
async fn until_it_answers(child: &mut Child, address: SocketAddr) -> anyhow::Result<Option<String>> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let answer = Store::new(address).connect().await;
        // Looked at after the answer: if it lives, it has the port, and the answer is its own.
        if let Some(status) = child.process.try_wait()? {
            return Ok(Some(child.obituary(Some(status))));
        }
        match answer {
            Ok(()) => return Ok(None),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("{} does not answer", child.name));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

async fn fill(name: &ContainerName, topology: &Topology, store: &Store) -> anyhow::Result<()> {
    for (value_bytes, count) in dataset::keys_by_size(topology, name) {
        store.fill(value_bytes, count).await.with_context(|| format!("filling {name}"))?;
        // A store that is too small forgets the first keys while it takes the last.
        for first in (0..count).step_by(CHUNK as usize) {
            let numbers = first..count.min(first + CHUNK);
            store
                .fetch(value_bytes, numbers)
                .await
                .with_context(|| format!("{name} does not hold its keys"))?;
        }
    }
    Ok(())
}
