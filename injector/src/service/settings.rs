//! What the service is told: flags over a TOML file with the same names, checked as a whole.
//!
//! The file's keys become flags in front of those typed, so that one parser judges both. Must not act on any of it.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ballast_gate::{AccessFlags, AccessSettings};
use ballast_kernel::CgroupPath;
use clap::{Args, Parser};
use toml::{Table, Value};

use super::rules::Rules;
use crate::{
    campaign::cli::CampaignArgs,
    cli::{Cli, Command, DEFAULT_STATE_DIR},
    guards::Guards,
};

/// Options of `serve`.
#[derive(Debug, Clone, Args)]
#[command(args_override_self = true)]
pub struct ServeArgs {
    /// Really serve: without it (or `enable = true` in the file) nothing is
    #[arg(long)]
    enable: bool,
    /// Address and port; port 0 takes a free one, and one that is not loopback needs tokens or a client CA
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    listen: SocketAddr,
    /// A cgroup that may be injected into, with all below it; may be repeated
    ///
    /// Beside it cpu may be injected: on the processors that it may use, where a neighbour who uses these too feels it.
    #[arg(long, value_name = "CGROUP", value_delimiter = ',')]
    targets: Vec<CgroupPath>,
    /// The node as a whole may be injected on, too
    ///
    /// And memory, disk, membw and llc beside the targets: their loads are in nobody's limits there, and meet everybody.
    #[arg(long)]
    whole_node: bool,
    /// Append the ground truth to this file, one JSON line for each injection
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Of every injection, whoever asks.
    #[command(flatten)]
    guards: Guards,
    /// Where running injections are noted down
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    state_dir: PathBuf,
    /// Who is let in.
    #[command(flatten)]
    access: AccessFlags,
    /// TOML file with the same settings, `_` for `-` (enable, listen, targets, ...); flags win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End when standard input does: whoever started this is gone
    #[arg(long)]
    pub(super) until_stdin_closes: bool,
}

/// Checked settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) access: AccessSettings,
    pub(super) rules: Rules,
    /// Where running injections are noted down.
    pub(super) state_dir: PathBuf,
    /// Options of each campaign's process.
    pub(super) campaign: Vec<String>,
    /// The same, parsed, to judge injections by.
    pub(super) judge: CampaignArgs,
}

/// For a parse of the file's keys and the flags together.
#[derive(Parser)]
#[command(name = "serve", args_override_self = true)]
struct Merged {
    #[command(flatten)]
    serve: ServeArgs,
}

impl ServeArgs {
    /// Settings from these flags, which were typed as `typed`, over those of the file that they name.
    ///
    /// # Errors
    /// Every problem, a sentence each.
    pub(super) fn settings(
        &self,
        typed: impl IntoIterator<Item = OsString>,
    ) -> Result<Settings, Vec<String>> {
        match &self.config {
            None => self.checked(),
            Some(path) => self.merged(path, typed).map_err(|problem| vec![problem])?.checked(),
        }
    }

    fn merged(&self, path: &Path, typed: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let told = |problem: String| format!("the configuration {}: {problem}", path.display());
        let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| told(error.to_string()))?;
        if !self.targets.is_empty() {
            table.remove("targets");
        }
        let mut words = vec![OsString::from("serve")];
        for (key, value) in &table {
            words.extend(flags(key, value).map_err(told)?.into_iter().map(OsString::from));
        }
        words.extend(typed);
        Merged::try_parse_from(words).map(|merged| merged.serve).map_err(|error| {
            let error = error.to_string();
            told(error.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
        })
    }

    fn checked(&self) -> Result<Settings, Vec<String>> {
        let mut problems = Vec::new();
        if !self.enable {
            problems.push(
                "service mode is not enabled: whoever may act there slows this node down. Give --enable, or `enable = \
                 true` in the configuration"
                    .to_owned(),
            );
        }
        if self.targets.is_empty() && !self.whole_node {
            problems.push("nothing may be injected on: give --targets or --whole-node".to_owned());
        }
        let access = self.access.checked(Some(self.listen), &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let campaign = self.campaign();
        let judge = parsed(&campaign).map_err(|problem| vec![problem])?;
        Ok(Settings {
            listen: self.listen,
            access,
            rules: Rules { targets: self.targets.clone(), whole_node: self.whole_node },
            state_dir: self.state_dir.clone(),
            campaign,
            judge,
        })
    }

    fn campaign(&self) -> Vec<String> {
        let mut arguments = self.guards.arguments();
        arguments.push(format!("--state-dir={}", self.state_dir.display()));
        arguments.extend(self.log.as_ref().map(|log| format!("--log={}", log.display())));
        arguments
    }
}

fn parsed(campaign: &[String]) -> Result<CampaignArgs, String> {
    let words =
        ["ballast-injector", "campaign", "--order"].into_iter().chain(campaign.iter().map(String::as_str));
    match Cli::try_parse_from(words) {
        Ok(Cli { command: Command::Campaign(arguments) }) => Ok(arguments),
        Ok(_) => Err("the options of a campaign are those of something else".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A key as it would be typed.
fn flags(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let flag = format!("--{}", key.replace('_', "-"));
    if matches!(key, "config" | "until_stdin_closes") {
        return Err(format!("{key} is no key of the file"));
    }
    match value {
        Value::Boolean(true) => Ok(vec![flag]),
        Value::Boolean(false) => Ok(Vec::new()),
        Value::String(text) => Ok(vec![format!("{flag}={text}")]),
        Value::Integer(_) | Value::Float(_) => Ok(vec![format!("{flag}={value}")]),
        Value::Array(values) => {
            Ok(values.iter().map(|value| flags(key, value)).collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Datetime(_) | Value::Table(_) => {
            Err(format!("{key} must be text, a number, true or false, or a list"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../deploy/injector.toml");

    fn settings(typed: &str, file: &str) -> Result<Settings, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i.toml");
        fs::write(&path, file).unwrap();
        let words =
            || typed.split_whitespace().map(OsString::from).chain(["--config".into(), path.clone().into()]);
        let parsed = Merged::try_parse_from([OsString::from("serve")].into_iter().chain(words()));
        parsed.map_err(|error| vec![error.to_string()])?.serve.settings(words())
    }

    #[test]
    fn the_shipped_example_is_refused_until_it_is_enabled() {
        let problems = settings("", SHIPPED).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains("not enabled"), "{problems:?}");
        let settings = settings("--enable", SHIPPED).unwrap();
        assert!(!settings.access.tokens.is_empty() && !settings.rules.targets.is_empty());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "enable = true\ntargets = ['a', 'b/c']\nlisten = '127.0.0.1:1'\nmax_load = 3\nmin_memory = '1GiB'";
        let from_file = settings("", file).unwrap();
        assert_eq!((from_file.rules.targets.len(), from_file.listen.port()), (2, 1));
        let told = from_file.campaign.join(" ");
        assert!(told.contains("--max-load=3") && told.contains("--min-memory=1073741824B"), "{told}");
        let typed = settings("--listen 127.0.0.1:2 --targets z --max-load 5", file).unwrap();
        assert_eq!((typed.listen.port(), typed.rules.targets[0].as_str()), (2, "z"));
        assert!(typed.campaign.contains(&"--max-load=5".to_owned()) && typed.rules.targets.len() == 1);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (file, told) in [
            ("enable = true", "nothing may be injected on"),
            ("enable = true\ntargets = ['../x']", "../x"),
            ("enable = true\ntargets = ['a']\nlisten = '0.0.0.0:1'", "other machines"),
            ("enable = true\ntargets = ['a']\nlisten = 'here'", "here"),
            ("enabled = true", "--enabled"),
            ("config = 'x'", "no key of the file"),
            ("listen = {}", "must be text"),
            ("listen", "i.toml"),
            ("targets = ['a']\ntls_cert_file = '/c'\nenable = true", "tls_key_file"),
        ] {
            let problems = settings("", file).unwrap_err().join("\n");
            assert!(problems.contains(told), "{told}: {problems}");
        }
    }
}
