//! Who names containers, Docker's engine or the kubelet, and how often they are asked.
//!
//! In the background: must not hold up a look.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

pub use super::fetch::Endpoint;
use super::{
    docker, fetch, kubernetes,
    names::{KnownContainers, NameBook},
};

/// Between two answers when nothing is new: renamed containers, changed labels.
const CALM: Duration = Duration::from_secs(10);
/// While a container of late is not known yet.
const EAGER: Duration = Duration::from_secs(1);
/// However many containers come and go.
const LEAST: Duration = Duration::from_millis(200);

/// One who names containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Docker's engine, or Podman's.
    Docker(Endpoint),
    /// The kubelet, and the file of the token that it wants.
    Kubelet(Endpoint, Option<PathBuf>),
}

impl Source {
    /// A book of names, kept up to date until the handle is dropped. Needs a runtime.
    pub fn keep(self) -> (Arc<NameBook>, AbortOnDropHandle<()>) {
        let book = Arc::new(NameBook::new(self.describe()));
        let keeping = tokio::spawn(keep(self, book.clone()));
        (book, AbortOnDropHandle::new(keeping))
    }

    fn describe(&self) -> String {
        match self {
            Self::Docker(endpoint) => format!("the Docker engine at {endpoint}"),
            Self::Kubelet(endpoint, _) => format!("the kubelet at {endpoint}"),
        }
    }

    async fn ask(&self) -> Result<KnownContainers, String> {
        match self {
            Self::Docker(endpoint) => docker::read(&fetch::get(endpoint, docker::LIST, None).await?),
            Self::Kubelet(endpoint, token_file) => {
                let token = match token_file {
                    // Read anew each time: tokens are renewed while a node lives.
                    Some(file) => Some(
                        tokio::fs::read_to_string(file)
                            .await
                            .map_err(|error| format!("the token in {}: {error}", file.display()))?,
                    ),
                    None => None,
                };
                let token = token.as_deref().map(str::trim);
                kubernetes::read(&fetch::get(endpoint, kubernetes::LIST, token).await?)
            }
        }
    }
}

async fn keep(source: Source, book: Arc<NameBook>) {
    loop {
        let asked = source.clone();
        let answered = match unbroken(async move { asked.ask().await }).await {
            Ok(known) => {
                book.learn(known);
                true
            }
            Err(reason) => {
                book.fail(reason);
                false
            }
        };
        sleep(LEAST).await;
        let pause = if answered && !book.is_eager() { CALM } else { EAGER };
        tokio::select! {
            () = sleep(pause) => {}
            () = book.wanted() => {}
        }
    }
}

/// A panic over one answer is told as any other failure, and the next one is asked for.
async fn unbroken<T: Send + 'static>(
    asking: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let asked = AbortOnDropHandle::new(tokio::spawn(asking)).await;
    asked.unwrap_or_else(|_| Err("its answer broke this program, which stderr tells more of".to_owned()))
}

#[cfg(test)]
mod tests;
