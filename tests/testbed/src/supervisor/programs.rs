//! Programs that are not ours: whether they are there, and which ports are free for them.
//!
//! Must not know how they are used.

use std::{
    ffi::OsStr,
    io::{self, ErrorKind},
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
};

use anyhow::Context;
use ballast_sim::Topology;
use tokio::process::Command;

use super::UpArgs;
use crate::refusal::Refusal;

/// Runs each program that will be needed, once, for its version.
///
/// # Errors
/// [`Refusal::MissingProgram`] for the first that is not there.
pub async fn check(args: &UpArgs, topology: &Topology) -> anyhow::Result<()> {
    present("setpriv".as_ref(), "util-linux").await?;
    if !topology.stores.is_empty() {
        present("memcached".as_ref(), "memcached").await?;
    }
    if args.with_redis {
        present("redis-server".as_ref(), "redis-server").await?;
    }
    if let Some(cadvisor) = &args.cadvisor {
        present(cadvisor.as_os_str(), "cadvisor").await?;
    }
    Ok(())
}

async fn present(program: &OsStr, package: &'static str) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Refusal::MissingProgram { program: program.to_string_lossy().into_owned(), package }.into())
        }
        Ok(status) => anyhow::bail!("{} --version ended with {status}", program.display()),
        Err(error) => Err(error).with_context(|| format!("running {}", program.display())),
    }
}

/// A loopback port that was free a moment ago: whoever uses it must be ready to see it taken.
///
/// # Errors
/// When no port is free.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
