//! What is asked of access: flags over keys of a configuration file, checked.
//!
//! Must not read the files that they name.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use clap::Args;
use toml::Value;

use crate::access::{AccessSettings, REQUESTS_PER_SECOND, TlsFiles, TokenFiles};

/// Flags about who is let in, as typed.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessFlags {
    /// File of a token that may see, but change nothing; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub observe_token_file: Option<PathBuf>,
    /// File of a token that may see and change; with any token file, every call but /healthz needs a token
    #[arg(long, value_name = "FILE")]
    pub act_token_file: Option<PathBuf>,
    /// PEM file of this node's certificate and chain: serve HTTPS; read again when it changes, as all of these
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE")]
    pub tls_key_file: Option<PathBuf>,
    /// PEM file of the CA that vouches for clients: each must have a certificate with the subject alternative name
    /// URI:ballast:observe or URI:ballast:act, its role
    #[arg(long, value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Requests that one peer may make, twice as many at once after a rest [default: 100]
    #[arg(long, value_name = "NUMBER")]
    pub requests_per_second: Option<u32>,
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
    pub fn fill_in(&mut self, key: &str, value: Value, problem: &mut dyn FnMut(String)) {
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

    /// What is asked for, for a program that listens on `listen` (absent when that is not known).
    pub fn checked(&self, listen: Option<SocketAddr>, problems: &mut Vec<String>) -> AccessSettings {
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
