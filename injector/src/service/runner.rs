//! One campaign: a process of this program, told what to do on its standard input, and heard until it ends.
//!
//! It ends when its standard input does: with its lease, with this service, whatever becomes of either. Must not know who asked.

use std::{future::ready, process::Stdio, sync::Arc};

use ballast_api::injector::CampaignEnd;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    book::{Book, Lease},
    metrics::Metrics,
    order::Order,
};
use crate::{error::InjectorError, program};

/// What every runner needs.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) book: Arc<Book>,
    pub(super) metrics: Arc<Metrics>,
    /// Options of `campaign`: where it notes down, what guards it.
    pub(super) arguments: Arc<Vec<String>>,
    /// The service ends.
    pub(super) stop: CancellationToken,
}

/// A campaign's process that knows what to do.
pub(super) struct Started {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Runner {
    /// Starts the process.
    ///
    /// # Errors
    /// When it cannot be started or told.
    pub(super) async fn start(&self, order: &Order) -> Result<Started, InjectorError> {
        let failed = |source| InjectorError::Process { operation: "start a campaign", source };
        let mut command = Command::from(program::again());
        command.args(["campaign", "--order", "--json"]).args(self.arguments.iter()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        stdin.write_all(&order.line().map_err(failed)?).await.map_err(failed)?;
        Ok(Started { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Listens to it until it has ended, and notes down why.
    pub(super) async fn run(self, number: u64, started: Started, mut lease: watch::Receiver<Lease>) {
        let Started { mut child, stdin, mut lines } = started;
        // Open as long as the campaign may go on.
        let mut stdin = Some(stdin);
        let (mut why, mut is_whole) = (None, false);
        loop {
            let held = *lease.borrow_and_update();
            let ends_now = tokio::select! {
                biased;
                // First, and by its value: what was changed while a line was heard counts as seen.
                () = ready(()), if held.called_off && stdin.is_some() => CampaignEnd::Requested,
                () = self.stop.cancelled(), if stdin.is_some() => CampaignEnd::Shutdown,
                () = sleep_until(held.ends), if stdin.is_some() => CampaignEnd::LeaseExpired,
                Ok(()) = lease.changed() => continue,
                line = lines.next_line() => match line {
                    Ok(Some(line)) => {
                        is_whole |= self.hear(number, &line);
                        continue;
                    }
                    Ok(None) | Err(_) => break,
                },
            };
            if let Some(stdin) = stdin.take() {
                info!(number, ?ends_now, "a campaign is ended");
                why = Some(ends_now);
                drop(stdin);
            }
        }
        let status = child.wait().await;
        let ended = why.unwrap_or(if is_whole { CampaignEnd::Completed } else { CampaignEnd::Died });
        if ended == CampaignEnd::Died {
            warn!(number, ?status, "a campaign's process died; its injections ended with it");
        }
        self.book.end(number, ended);
    }

    /// Whether the line says that the campaign is over.
    fn hear(&self, number: u64, line: &str) -> bool {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { return false };
        let is_end = line["event"] == "campaign_ended";
        if let Some(done) = self.book.hear(number, line) {
            self.metrics.injection(done);
        }
        is_end
    }
}
