//! Confines the process, while bytes are looked for: it writes below its folder for temporary files and nowhere else, and a
//! try to write elsewhere breaks the target.
//!
//! Must not know what the targets do.

use std::{
    env::temp_dir,
    fmt::{Debug, Write},
    fs::OpenOptions,
    path::Path,
};

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::set_global_default,
};

use crate::files;

/// What is said where the process is not confined.
const UNCONFINED: &str = "NOT CONFINED: a write outside of the folders that are compared would not be seen";

/// Confines the process for good. Says so on stderr where the kernel has no Landlock.
pub fn confine() {
    let restricted = restrict(&temp_dir());
    // Tried, not believed: whoever may write here is not confined. Nothing is written.
    if restricted.is_err() || OpenOptions::new().write(true).open("/dev/null").is_ok() {
        eprintln!("{UNCONFINED} ({restricted:?})");
    }
    set_global_default(Alarm).unwrap();
}

fn restrict(folder: &Path) -> Result<(), RulesetError> {
    let writes = AccessFs::from_write(ABI::V6);
    let rules =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(writes)?.create()?;
    let rules = match PathFd::new(folder) {
        Ok(folder) => rules.add_rule(PathBeneath::new(folder, writes))?,
        // Then nothing at all can be written.
        Err(_) => rules,
    };
    rules.restrict_self().map(drop)
}

/// Listens to what is logged: refusals that are dealt with are told there only.
struct Alarm;

impl Subscriber for Alarm {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ballast") && metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut told = Told::default();
        event.record(&mut told);
        files::assert_allowed(&told.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// All that an event says.
#[derive(Default)]
struct Told(String);

impl Visit for Told {
    // Without quotes of its own, so that those in it are what it quotes.
    fn record_str(&mut self, _: &Field, value: &str) {
        let _ = write!(self.0, "{value} ");
    }

    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{value:?} ");
    }
}
