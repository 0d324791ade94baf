//! What is configured about access: flags over keys of the file, checked.
//!
//! Must not read the files that it names.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use toml::Value;

use super::tokens::TokenFiles;
use crate::cli::AccessFlags;

/// A controller asks a few times a second; people and scrapers less.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// Where tokens are kept; without any, none is asked for.
    pub tokens: TokenFiles,
    /// How many requests one peer may make.
    pub requests_per_second: NonZeroU32,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self { tokens: TokenFiles::default(), requests_per_second: REQUESTS_PER_SECOND }
    }
}

impl AccessFlags {
    /// The keys of the configuration file.
    pub const KEYS: &[&str] = &["observe_token_file", "act_token_file", "requests_per_second"];

    /// Takes the value of one of [`Self::KEYS`] from the file, unless a flag says it.
    pub(crate) fn fill_in(&mut self, key: &str, value: Value, problem: &mut dyn FnMut(String)) {
        let slot = match (key, value) {
            ("requests_per_second", Value::Integer(rate)) => {
                match u32::try_from(rate) {
                    Ok(rate) => _ = self.requests_per_second.get_or_insert(rate),
                    Err(_) => problem(format!("{key} must be a whole number from 1 on, not {rate}")),
                }
                return;
            }
            ("requests_per_second", value) => {
                return problem(format!("{key} must be a whole number, not {value}"));
            }
            (_, Value::String(text)) => (self.file(key), PathBuf::from(text)),
            (_, value) => return problem(format!("{key} must be text in quotes, not {value}")),
        };
        if let (Some(file), path) = slot {
            file.get_or_insert(path);
        }
    }

    fn file(&mut self, key: &str) -> Option<&mut Option<PathBuf>> {
        match key {
            "observe_token_file" => Some(&mut self.observe_token_file),
            "act_token_file" => Some(&mut self.act_token_file),
            _ => None,
        }
    }

    /// What is asked for, for an env-server that listens on `listen` (absent when that is not known).
    pub(crate) fn checked(&self, listen: Option<SocketAddr>, problems: &mut Vec<String>) -> AccessSettings {
        let rate = NonZeroU32::new(self.requests_per_second.unwrap_or(REQUESTS_PER_SECOND.get()));
        if rate.is_none() {
            problems.push("requests_per_second must be a whole number from 1 on".to_owned());
        }
        let tokens =
            TokenFiles { observe: self.observe_token_file.clone(), act: self.act_token_file.clone() };
        let open = listen.filter(|listen| !listen.ip().to_canonical().is_loopback() && tokens.is_empty());
        if let Some(listen) = open {
            problems.push(format!(
                "{listen} can be reached from other machines, and nobody is asked who they are: give --act-token-file, \
                 or listen on a loopback address such as 127.0.0.1:{}",
                listen.port()
            ));
        }
        AccessSettings { tokens, requests_per_second: rate.unwrap_or(REQUESTS_PER_SECOND) }
    }
}
