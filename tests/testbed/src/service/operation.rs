//! Doing an operation: its steps, one after the other. Must not know how it was asked for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use ballast_api::ContainerName;
use ballast_sim::{
    Topology,
    topology::{Fetch, Operation, OperationName, Step},
};
use futures::future;
use opentelemetry::{
    Context,
    trace::{SpanKind, Status, TraceContextExt},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use reqwest::Url;
use tokio::sync::Semaphore;

use super::{http::BACKGROUND, peers::Peers, stores::Store, work};
use crate::{dataset, telemetry::Telemetry, topology::operation_path};

/// How long a call or a fetch may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A service at work.
#[derive(Debug)]
pub struct Service {
    name: ContainerName,
    /// Requests worked on at once; the semaphore is fair, so the others wait in order.
    workers: Semaphore,
    peers: BTreeMap<ContainerName, Url>,
    http: reqwest::Client,
    stores: BTreeMap<ContainerName, (Store, BTreeMap<u32, u32>)>,
    telemetry: Telemetry,
    dice: Mutex<Pcg64>,
}

impl Service {
    /// The service of that name. Nothing is sent yet.
    ///
    /// # Errors
    /// When the topology has no such service, or the HTTP client cannot be made.
    pub fn new(
        topology: &Topology,
        name: &ContainerName,
        peers: Peers,
        telemetry: Telemetry,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let service = topology.services.iter().find(|service| service.name == *name);
        let stores = peers.stores.into_iter().map(|(store, address)| {
            let keys = dataset::keys_by_size(topology, &store);
            (store, (Store::new(address), keys))
        });
        Ok(Self {
            name: name.clone(),
            workers: Semaphore::new(service.context("no such service")?.workers),
            peers: peers.services,
            http: reqwest::Client::builder().timeout(CALL_TIMEOUT).no_proxy().build()?,
            stores: stores.collect(),
            telemetry,
            dice: Mutex::new(Pcg64::seed_from_u64(seed ^ hash_of(name))),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Its spans.
    #[must_use]
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Reaches every store once.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn connect(&self) -> anyhow::Result<()> {
        for (name, (store, _)) in &self.stores {
            store.connect().await.with_context(|| format!("{} needs the store {name}", self.name))?;
        }
        Ok(())
    }

    /// Waits for a worker, then does all steps. The span in `context` becomes the parent of those of the calls.
    ///
    /// # Errors
    /// When a step fails; the steps after it are not done.
    pub async fn perform(self: &Arc<Self>, operation: &Operation, context: &Context) -> anyhow::Result<()> {
        let _worker = self.workers.acquire().await?;
        for step in &operation.steps {
            match step {
                Step::CpuUs(mean_us) => self.compute(*mean_us).await?,
                Step::Call(callees) => {
                    let calls = callees.iter().map(|callee| self.call(callee, SpanKind::Client, context));
                    // All are waited for, also when one has failed: as the topology says.
                    future::join_all(calls).await.into_iter().collect::<anyhow::Result<()>>()?;
                }
                Step::Notify(callees) => callees.iter().for_each(|callee| self.notify(callee, context)),
                Step::Fetch(fetch) => self.fetch(fetch, context).await?,
            }
        }
        Ok(())
    }

    async fn compute(&self, mean_us: f64) -> anyhow::Result<()> {
        let amount = work::draw(mean_us, &mut *self.dice.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(move || work::spin(amount))
            .await?
            .context("reading the thread's CPU time")
    }

    fn notify(self: &Arc<Self>, callee: &OperationName, context: &Context) {
        let (service, callee, context) = (Arc::clone(self), callee.clone(), context.clone());
        tokio::spawn(async move {
            if let Err(error) = service.call(&callee, SpanKind::Producer, &context).await {
                tracing::warn!(%callee, error = format!("{error:#}"), "background call failed");
            }
        });
    }

    /// Calls an operation of another service. A producer's callee accepts at once and works afterwards.
    async fn call(&self, callee: &OperationName, kind: SpanKind, parent: &Context) -> anyhow::Result<()> {
        let background = kind == SpanKind::Producer;
        let span = Telemetry::span(callee.to_string(), kind, Some(callee.service.as_str()));
        let context = self.telemetry.start(span, parent);
        let outcome = self.send(callee, background, &context).await;
        end(&context, &outcome);
        outcome.with_context(|| format!("calling {callee}"))
    }

    async fn send(&self, callee: &OperationName, background: bool, context: &Context) -> anyhow::Result<()> {
        let mut url = self.peers.get(&callee.service).context("its address is not known")?.clone();
        url.set_path(&operation_path(callee));
        let mut request = self.http.post(url).headers(self.telemetry.inject(context));
        if background {
            request = request.header(BACKGROUND, "1");
        }
        // The whole answer is read, or the connection could not be used again.
        request.send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }

    async fn fetch(&self, fetch: &Fetch, parent: &Context) -> anyhow::Result<()> {
        let peer = fetch.store.as_str();
        let span = Telemetry::span(format!("{peer}.get"), SpanKind::Client, Some(peer));
        let context = self.telemetry.start(span, parent);
        let outcome = match tokio::time::timeout(CALL_TIMEOUT, self.read(fetch)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("no answer within {CALL_TIMEOUT:?}")),
        };
        end(&context, &outcome);
        outcome.with_context(|| format!("fetching from {peer}"))
    }

    async fn read(&self, fetch: &Fetch) -> anyhow::Result<()> {
        let (store, keys) = self.stores.get(&fetch.store).context("its address is not known")?;
        let held = *keys.get(&fetch.value_bytes).context("it holds no values of that size")?;
        let first = self.dice.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..held);
        let numbers = (0..fetch.keys).map(|number| (first + number) % held);
        Ok(store.fetch(fetch.value_bytes, numbers).await?)
    }
}

/// Ends the span in `context` as what came of it says.
pub fn end(context: &Context, outcome: &anyhow::Result<()>) {
    let span = context.span();
    if let Err(error) = outcome {
        span.set_status(Status::error(format!("{error:#}")));
    }
    span.end();
}

/// Services with the same seed draw different amounts (FNV-1a of the name).
fn hash_of(name: &ContainerName) -> u64 {
    name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
