//! Who is called how: what the last answers of Docker or the kubelet said, for a look that cannot wait for them.
//!
//! Asks nobody; must not know where containers are.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ballast_api::ContainerName;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::id::RuntimeId;

/// Bounds of what is kept and shown of the labels that its author gave a container. The longest key of Kubernetes is 317 bytes.
const MOST_LABELS: usize = 64;
const LONGEST_KEY: usize = 317;
const LONGEST_VALUE: usize = 512;

/// Answers that a container may stay unknown in before it is no longer asked for each second: the kubelet learns of a
/// container a while after it began.
const PATIENCE: u32 = 10;

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Unique among those that run, and the same after a restart.
    pub name: ContainerName,
    /// Within bounds.
    pub labels: Arc<BTreeMap<String, String>>,
    /// By which uids the cgroup of its pod may go; none where it is in no pod.
    pub pod_uids: Vec<String>,
}

/// All containers of one source.
pub type KnownContainers = HashMap<RuntimeId, Known>;

/// The labels that are within bounds: one that is too long is left out, for half a value is a wrong one.
#[must_use]
pub fn bounded(labels: BTreeMap<String, String>) -> Arc<BTreeMap<String, String>> {
    vouched_for(labels, [])
}

/// The same, and over them those that are not the author's to choose: none of his takes the place of one, or crowds it out.
#[must_use]
pub fn vouched_for<const N: usize>(
    mut labels: BTreeMap<String, String>,
    vouched: [(String, String); N],
) -> Arc<BTreeMap<String, String>> {
    labels.retain(|key, value| key.len() <= LONGEST_KEY && value.len() <= LONGEST_VALUE);
    Arc::new(labels.into_iter().take(MOST_LABELS).chain(vouched).collect())
}

/// The names of one source's containers: filled in the background, read at every look.
#[derive(Debug)]
pub struct NameBook {
    /// Who is asked, for people.
    source: String,
    pages: Mutex<Pages>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Pages {
    known: KnownContainers,
    answer: Answer,
    /// Those that a look met and nobody named, with the answers since.
    unknown: BTreeMap<RuntimeId, u32>,
}

#[derive(Debug, Default, PartialEq)]
enum Answer {
    #[default]
    NotYet,
    Given,
    Failed(String),
}

impl NameBook {
    /// An empty book. `source` is who will fill it, such as "the Docker engine at /run/docker.sock".
    #[must_use]
    pub fn new(source: String) -> Self {
        Self { source, pages: Mutex::default(), wanted: Notify::new() }
    }

    /// Opens the book for one look at the cgroups.
    #[must_use]
    pub fn open(&self) -> OpenBook<'_> {
        OpenBook { book: self, pages: self.pages(), met: BTreeMap::new(), is_news: false }
    }

    /// Takes an answer: containers that are not in it are no longer known.
    pub fn learn(&self, known: KnownContainers) {
        let mut pages = self.pages();
        pages.known = known;
        pages.unknown.values_mut().for_each(|answers| *answers = answers.saturating_add(1));
        let before = std::mem::replace(&mut pages.answer, Answer::Given);
        if before != Answer::Given {
            info!(source = self.source, containers = pages.known.len(), "names are known");
        }
    }

    /// Takes note that there was no answer: what was known still is. The same reason is told once.
    pub fn fail(&self, reason: String) {
        let failed = Answer::Failed(reason);
        let before = std::mem::replace(&mut self.pages().answer, failed);
        if let Answer::Failed(reason) = &self.pages().answer
            && before != Answer::Failed(reason.clone())
        {
            warn!(source = self.source, reason, "names of containers cannot be learnt; it is tried again");
        }
    }

    /// Whether a container of late is not known yet.
    #[must_use]
    pub fn is_eager(&self) -> bool {
        self.pages().unknown.values().any(|answers| *answers < PATIENCE)
    }

    /// Returns when a look has met a container that it had not met before and that is not known.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Every write is whole: after a panic the pages are still in order.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A book during one look.
#[derive(Debug)]
pub struct OpenBook<'a> {
    book: &'a NameBook,
    pages: MutexGuard<'a, Pages>,
    met: BTreeMap<RuntimeId, u32>,
    is_news: bool,
}

impl OpenBook<'_> {
    /// What is known of a container. An unknown one is asked for.
    ///
    /// # Errors
    /// When nothing is known, with the reason, the end of a sentence.
    pub fn find(&mut self, id: &RuntimeId) -> Result<Known, String> {
        if let Some(known) = self.pages.known.get(id) {
            return Ok(known.clone());
        }
        let answers = self.pages.unknown.get(id).copied();
        self.is_news |= answers.is_none();
        self.met.insert(id.clone(), answers.unwrap_or(0));
        let source = &self.book.source;
        Err(match &self.pages.answer {
            Answer::NotYet => format!("{source} has not answered yet"),
            Answer::Failed(reason) => format!("{source} cannot be asked for its name: {reason}"),
            Answer::Given => format!("{source} does not name it"),
        })
    }
}

impl Drop for OpenBook<'_> {
    /// What was not met any more is forgotten: there are never more unknown ones than cgroups.
    fn drop(&mut self) {
        self.pages.unknown = std::mem::take(&mut self.met);
        if self.is_news {
            self.book.wanted.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> RuntimeId {
        RuntimeId::parse(&String::from(digit).repeat(64)).unwrap()
    }

    fn known(name: &str) -> Known {
        Known { name: name.parse().unwrap(), labels: bounded(BTreeMap::new()), pod_uids: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_container_is_asked_for_once_and_eagerly_for_a_while() {
        let book = NameBook::new("the engine".to_owned());
        assert!(book.open().find(&id('a')).unwrap_err().contains("has not answered yet"));
        let soon = std::time::Duration::from_secs(1);
        tokio::time::timeout(soon, book.wanted()).await.expect("it is asked for");
        assert!(book.open().find(&id('a')).is_err());
        tokio::time::timeout(soon, book.wanted()).await.expect_err("not twice");
        for _ in 0..PATIENCE {
            assert!(book.is_eager());
            book.learn(HashMap::from([(id('b'), known("b"))]));
        }
        assert!(!book.is_eager(), "nobody will name it");
        assert!(book.open().find(&id('a')).unwrap_err().contains("does not name it"));
        assert_eq!(book.open().find(&id('b')).unwrap().name.as_str(), "b");
        assert!(book.pages().unknown.is_empty(), "the last look did not meet it");
    }

    #[test]
    fn a_source_that_falls_silent_leaves_what_was_known() {
        let book = NameBook::new("the engine".to_owned());
        book.learn(HashMap::from([(id('a'), known("a"))]));
        book.fail("no such file".to_owned());
        assert_eq!(book.open().find(&id('a')).unwrap().name.as_str(), "a");
        assert!(book.open().find(&id('b')).unwrap_err().contains("no such file"));
        book.learn(HashMap::new());
        assert!(book.open().find(&id('a')).unwrap_err().contains("does not name it"));
    }

    #[test]
    fn labels_are_bounded_and_never_cut() {
        let long = BTreeMap::from([
            ("k".repeat(LONGEST_KEY + 1), String::new()),
            ("v".to_owned(), "x".repeat(LONGEST_VALUE + 1)),
            ("app".to_owned(), "x".repeat(LONGEST_VALUE)),
        ]);
        assert_eq!(bounded(long).keys().collect::<Vec<_>>(), ["app"]);
        let many = (0..1000).map(|i| (format!("k{i:04}"), String::new())).collect();
        assert_eq!(bounded(many).len(), MOST_LABELS);
    }

    #[test]
    fn what_is_vouched_for_is_neither_chosen_nor_crowded_out() {
        let own = |value: &str| ("own".to_owned(), value.to_owned());
        let mut chosen: BTreeMap<_, _> = (0..1000).map(|i| (format!("a{i:04}"), String::new())).collect();
        assert_eq!(vouched_for(chosen.clone(), [own("true")])["own"], "true", "of many");
        chosen = BTreeMap::from([own("forged")]);
        assert_eq!(*vouched_for(chosen, [own("true")]), BTreeMap::from([own("true")]));
    }
}
