//! One microservice: which one, the topology says.
//!
//! Must not know of cgroups: whoever starts it puts it where it belongs.

pub mod http;
pub mod operation;
pub mod peers;
pub mod stores;
pub mod work;

use std::{io::Write, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use axum::serve::ListenerExt;
use ballast_api::{ContainerName, NodeName};
use ballast_sim::Topology;
use clap::Args;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{refusal::Refusal, stop, telemetry::Telemetry, topology};
use operation::Service;
use peers::Peers;

/// How long the last spans may take to leave at the end.
const FLUSH: Duration = Duration::from_millis(500);

/// What `ballast-testbed service` is told.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// A shipped topology's name, or a topology file
    #[arg(long, default_value = "hotel-reservation")]
    pub topology: String,
    /// Which of its services to be
    #[arg(long)]
    pub service: ContainerName,
    /// Loopback address to answer on; port 0 is any free one, told on standard output
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Where the services and stores that it calls are, as JSON: '{"geo":"http://127.0.0.1:81"}';
    /// "-" reads that line from standard input once the own address was told
    #[arg(long, default_value = "{}")]
    pub peers: String,
    /// Collector of spans, OTLP over HTTP; without it none are sent
    #[arg(long)]
    pub otlp: Option<Url>,
    /// Name of the machine, for the spans
    #[arg(long, default_value = "localhost")]
    pub node: NodeName,
    /// Seed of the amounts of work drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Exit when standard input ends
    #[arg(long)]
    pub until_stdin_closes: bool,
}

/// The line on standard output once the service accepts connections.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listening {
    /// Where.
    pub listening: SocketAddr,
}

/// Answers requests until it is told to stop.
///
/// # Errors
/// When the arguments make no sense, the port is taken, or a store cannot be reached at the start.
pub async fn run(args: ServiceArgs) -> anyhow::Result<()> {
    let stop = stop::on_signals()?;
    let topology = topology::load(&args.topology)?;
    check(&args, &topology)?;
    let listener = listen(args.listen).await?;
    let first_line = (args.until_stdin_closes || args.peers == "-").then(|| {
        // Without --until-stdin-closes only the line is wanted, and the token is nobody's.
        stop::on_end_of_stdin(if args.until_stdin_closes { stop.clone() } else { Default::default() })
    });
    let resource = [
        ("service.name", args.service.as_str()),
        ("container.name", args.service.as_str()),
        ("host.name", args.node.as_str()),
    ];
    let telemetry = Telemetry::new(args.otlp.as_ref(), &resource)?;
    let serve = async {
        let peers = peers(&args.peers, first_line, &topology, &args.service).await?;
        let service = Service::new(&topology, &args.service, peers, telemetry.clone(), args.seed)?;
        service.connect().await?;
        let router = http::router(Arc::new(service), &topology);
        let listener = listener.tap_io(|connection| {
            // Answers are small: waiting for more to send would only add delay.
            let _ = connection.set_nodelay(true);
        });
        axum::serve(listener, router).await.context("serving")
    };
    let served = tokio::select! {
        served = serve => served,
        () = stop.cancelled() => Ok(()),
    };
    telemetry.flush(FLUSH).await;
    served
}

fn check(args: &ServiceArgs, topology: &Topology) -> Result<(), Refusal> {
    if !topology.services.iter().any(|service| service.name == args.service) {
        let names: Vec<_> = topology.services.iter().map(|service| service.name.as_str()).collect();
        let detail =
            format!("{} has no service {}; it has {}", topology.name, args.service, names.join(", "));
        return Err(Refusal::BadInput(detail));
    }
    if !args.listen.ip().is_loopback() {
        let detail = format!("--listen {}: only loopback addresses are allowed", args.listen);
        return Err(Refusal::BadInput(detail));
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = match TcpListener::bind(address).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            return Err(Refusal::PortInUse { address }.into());
        }
        bound => bound.with_context(|| format!("listening on {address}"))?,
    };
    let listening = listener.local_addr()?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(&Listening { listening })?)
        .context("telling the address")?;
    Ok(listener)
}

async fn peers(
    text: &str,
    first_line: Option<oneshot::Receiver<String>>,
    topology: &Topology,
    service: &ContainerName,
) -> anyhow::Result<Peers> {
    let line = match first_line {
        Some(line) if text == "-" => line.await.context("standard input ended before it named the peers")?,
        _ => text.to_owned(),
    };
    Ok(Peers::parse(&line, topology, service).map_err(Refusal::BadInput)?)
}
