//! Programs beside the containers: Redis and cAdvisor. Must not know who uses them.

use std::{ffi::OsStr, fs, net::Ipv4Addr, path::Path, time::Duration};

use anyhow::Context;
use ballast_api::ContainerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::{
    child::{Child, Launch},
    programs,
};

/// Ports tried: another program may take one between the look and the use.
const ATTEMPTS: u32 = 5;
const START_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// Everything that cAdvisor can leave out but CPU and memory. (Leaving out the root cgroup too makes 0.38 leave out all.)
const DISABLED_METRICS: &str = "accelerator,advtcp,cpu_topology,disk,diskIO,hugetlb,memory_numa,network,percpu,process,\
                                referenced_memory,resctrl,sched,tcp,udp";

/// Starts a Redis that writes nothing to disk, and waits until it answers.
///
/// # Errors
/// When it does not start.
pub async fn redis(work_dir: &Path) -> anyhow::Result<(Child, String)> {
    let data = work_dir.join("redis");
    fs::create_dir(&data).with_context(|| format!("making the folder {}", data.display()))?;
    let options = |port: u16| {
        let options = format!("--bind 127.0.0.1 --port {port} --appendonly no --daemonize no --dir");
        let options = options.split(' ').map(str::to_owned);
        // An empty list of save points turns snapshots off.
        options.chain([data.display().to_string(), "--save".to_owned(), String::new()]).collect()
    };
    let (child, port) = start("redis", "redis-server".as_ref(), options, work_dir, redis_answers).await?;
    Ok((child, format!("redis://127.0.0.1:{port}")))
}

async fn redis_answers(port: u16) -> anyhow::Result<()> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    connection.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    connection.read_exact(&mut answer).await?;
    anyhow::ensure!(answer == *b"+PONG\r\n", "no Redis answers on port {port}");
    Ok(())
}

/// Starts a cAdvisor that looks at the cgroups below `parent` only, and waits until it tells of all `containers`.
///
/// # Errors
/// When it does not start, or does not see them.
pub async fn cadvisor(
    program: &Path,
    parent: &ContainerName,
    containers: &[ContainerName],
    work_dir: &Path,
) -> anyhow::Result<(Child, String)> {
    // Without these two it would look for the Docker of this machine.
    let no_docker = work_dir.join("no-docker").display().to_string();
    let options = |port: u16| {
        vec![
            "--listen_ip=127.0.0.1".to_owned(),
            format!("--port={port}"),
            "--logtostderr".to_owned(),
            format!("--docker=unix://{no_docker}.sock"),
            format!("--docker_root={no_docker}"),
            format!("--containerd={no_docker}.containerd"),
            "--docker_only".to_owned(),
            format!("--raw_cgroup_prefix_whitelist=/{parent}"),
            "--housekeeping_interval=1s".to_owned(),
            // Or it would look less often at whatever changes little.
            "--allow_dynamic_housekeeping=false".to_owned(),
            "--storage_duration=10s".to_owned(),
            "--store_container_labels=false".to_owned(),
            format!("--disable_metrics={DISABLED_METRICS}"),
        ]
    };
    let http = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy().build()?;
    let sees_all = async |port| {
        let url = format!("http://127.0.0.1:{port}/metrics");
        let metrics = http.get(url).send().await?.error_for_status()?.text().await?;
        let unseen = |name: &&ContainerName| {
            !metrics.contains(&format!(
                "container_cpu_usage_seconds_total{{cpu=\"total\",id=\"/{parent}/{name}\""
            ))
        };
        match containers.iter().find(unseen) {
            Some(name) => anyhow::bail!("cAdvisor does not tell of {name}"),
            None => Ok(()),
        }
    };
    let (child, port) = start("cadvisor", program.as_os_str(), options, work_dir, sees_all).await?;
    Ok((child, format!("http://127.0.0.1:{port}")))
}

async fn start(
    name: &str,
    program: &OsStr,
    options: impl Fn(u16) -> Vec<String>,
    work_dir: &Path,
    answers: impl AsyncFn(u16) -> anyhow::Result<()>,
) -> anyhow::Result<(Child, u16)> {
    let mut last_words = String::new();
    for _ in 0..ATTEMPTS {
        let port = programs::free_port()?;
        let args = options(port);
        let mut child = Launch { name, program, args, talks: false, cgroup: None, work_dir }.start()?;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let answer = answers(port).await;
            // Looked at after the answer: if it lives, it has the port, and the answer is its own.
            if let Some(status) = child.process.try_wait()? {
                last_words = child.obituary(Some(status));
                break;
            }
            match answer {
                Ok(()) => return Ok((child, port)),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("{name} is not ready"));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }
    anyhow::bail!("{last_words} (tried {ATTEMPTS} ports)")
}
