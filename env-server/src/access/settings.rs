//! What is configured about access: flags over keys of the file, checked.
//!
//! Must not read the files that it names.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use toml::Value;

use super::{TlsFiles, TokenFiles};
use crate::cli::AccessFlags;

/// A controller asks a few times a second; people and scrapers less.
const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// Checked settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// Where tokens are kept; without any, none is asked for.
    pub tokens: TokenFiles,
    /// Where keys and certificates are; without them connections are in the clear.
    pub tls: Option<TlsFiles>,
    /// How many requests one peer may make.
    pub requests_per_second: NonZeroU32,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self { tokens: TokenFiles::default(), tls: None, requests_per_second: REQUESTS_PER_SECOND }
    }
}

impl AccessFlags {
    /// The keys of the configuration file.
    pub const KEYS: &[&str] = &[
        "observe_token_file",
        "act_token_file",
        "tls_cert_file",
        "tls_key_file",
        "tls_client_ca_file",
        "requests_per_second",
    ];

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
            "tls_cert_file" => Some(&mut self.tls_cert_file),
            "tls_key_file" => Some(&mut self.tls_key_file),
            "tls_client_ca_file" => Some(&mut self.tls_client_ca_file),
            _ => None,
        }
    }

    fn tls(&self, problems: &mut Vec<String>) -> Option<TlsFiles> {
        match (&self.tls_cert_file, &self.tls_key_file, &self.tls_client_ca_file) {
            (None, None, None) => None,
            (Some(certificate), Some(key), client_ca) => {
                let (certificate, key, client_ca) = (certificate.clone(), key.clone(), client_ca.clone());
                Some(TlsFiles { certificate, key, client_ca })
            }
            _ => {
                problems.push("TLS needs both tls_cert_file and tls_key_file".to_owned());
                None
            }
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
        let tls = self.tls(problems);
        let asks = !tokens.is_empty() || self.tls_client_ca_file.is_some();
        if let Some(listen) = listen.filter(|listen| !listen.ip().to_canonical().is_loopback() && !asks) {
            problems.push(format!(
                "{listen} can be reached from other machines, and nobody is asked who they are: give --act-token-file or \
                 --tls-client-ca-file, or listen on a loopback address such as 127.0.0.1:{}",
                listen.port()
            ));
        }
        AccessSettings { tokens, tls, requests_per_second: rate.unwrap_or(REQUESTS_PER_SECOND) }
    }
}
