//! What an env-server is told: flags over a TOML file over defaults, checked as a whole.
//!
//! Must not act on any of it.

mod names;
mod restore;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ballast_api::{BytesPerSecond, NodeName};
use ballast_gate::{AccessFlags, AccessSettings};
use ballast_kernel::CgroupPath;
use toml::{Table, Value};

use crate::cli::{DEFAULT_STATE_DIR, ServeFlags};

pub use names::NameSources;
pub use restore::state_dir;

const DEFAULT_LISTEN: &str = "127.0.0.1:7400";
const DEFAULT_SAMPLE_INTERVAL: &str = "1s";
const KEYS: &str = "node, listen, cgroup_parents, state_dir, sample_interval, docker_socket, kubelet_url, \
                    kubelet_token_file, kubelet_ca_file, memory_bandwidth_peak";

/// Faster costs CPU for nothing: CFS counts in periods of 100 ms. Slower, and a controller decides on old news.
const SAMPLE_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(60);

/// Checked settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name of this node.
    pub node: NodeName,
    /// Address to serve on: of loopback, unless access asks who is there.
    pub listen: SocketAddr,
    /// Who is let in.
    pub access: AccessSettings,
    /// Containers are their children. At least one, unless somebody names containers.
    pub cgroup_parents: Vec<CgroupPath>,
    /// Folder of the journal.
    pub state_dir: PathBuf,
    /// Time between samples.
    pub sample_interval: Duration,
    /// Who names containers.
    pub names: NameSources,
    /// What the node's memory delivers at most, where that is known.
    pub memory_bandwidth_peak: Option<BytesPerSecond>,
}

impl Settings {
    /// Settings from flags and, under them, the text of a configuration file. `hostname` names the node where nothing
    /// else does.
    ///
    /// # Errors
    /// Every problem, a sentence each.
    pub fn new(flags: &ServeFlags, file: Option<(&Path, &str)>, hostname: &str) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut asked = flags.clone();
        if let Some((path, text)) = file {
            fill_in(&mut asked, text, &mut |problem| problems.push(format!("{}: {problem}", path.display())));
        }
        let settings = checked(&asked, hostname.trim(), &mut problems);
        if problems.is_empty() { settings.ok_or(problems) } else { Err(problems) }
    }
}

/// Takes from the file what no flag says.
fn fill_in(asked: &mut ServeFlags, text: &str, problem: &mut dyn FnMut(String)) {
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return problem(error.to_string()),
    };
    let cgroup_parents = asked.cgroup_parents.is_empty();
    for (key, value) in table {
        match key.as_str() {
            "node" => asked.node = asked.node.take().or(text_of(&key, value, problem)),
            "listen" => asked.listen = asked.listen.take().or(text_of(&key, value, problem)),
            "sample_interval" => {
                asked.sample_interval = asked.sample_interval.take().or(text_of(&key, value, problem));
            }
            "state_dir" => {
                let state_dir = text_of(&key, value, problem).map(PathBuf::from);
                asked.state_dir = asked.state_dir.take().or(state_dir);
            }
            "memory_bandwidth_peak" => {
                let number = number_of(&key, &value, problem);
                asked.memory_bandwidth_peak = asked.memory_bandwidth_peak.take().or(number);
            }
            "docker_socket" | "kubelet_url" | "kubelet_token_file" | "kubelet_ca_file" => {
                let text = text_of(&key, value, problem);
                names::fill_in(asked, &key, text);
            }
            "cgroup_parents" => {
                let Value::Array(values) = value else {
                    problem("cgroup_parents must be a list of texts".to_owned());
                    continue;
                };
                let parents = values.into_iter().filter_map(|value| text_of(&key, value, problem));
                let parents: Vec<_> = parents.collect();
                if cgroup_parents {
                    asked.cgroup_parents = parents;
                }
            }
            key if AccessFlags::KEYS.contains(&key) => asked.access.fill_in(key, value, problem),
            unknown => {
                let access = AccessFlags::KEYS.join(", ");
                problem(format!("unknown key {unknown:?}; there are: {KEYS}, {access}"));
            }
        }
    }
}

fn text_of(key: &str, value: Value, problem: &mut dyn FnMut(String)) -> Option<String> {
    if let Value::String(text) = value {
        return Some(text);
    }
    problem(format!("{key} must be text in quotes, not {value}"));
    None
}

#[expect(clippy::cast_precision_loss, reason = "no memory delivers 2^53 bytes in a second")]
fn number_of(key: &str, value: &Value, problem: &mut dyn FnMut(String)) -> Option<f64> {
    let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
    if number.is_none() {
        problem(format!("{key} must be a number, not {value}"));
    }
    number
}

/// Absent only when there are problems.
fn checked(asked: &ServeFlags, hostname: &str, problems: &mut Vec<String>) -> Option<Settings> {
    let node = NodeName::new(asked.node.as_deref().unwrap_or(hostname))
        .map_err(|error| problems.push(format!("{error}; give one with --node")))
        .ok();
    let listen = address(asked.listen.as_deref().unwrap_or(DEFAULT_LISTEN), problems);
    let access = asked.access.checked(listen, problems);
    let names = names::checked(asked, problems);
    if asked.cgroup_parents.is_empty() && asked.docker_socket.is_none() && asked.kubelet_url.is_none() {
        let flags = "--docker-socket, --kubelet-url or --cgroup-parent";
        problems.push(format!("it is not said where containers are: give at least one of {flags}"));
    }
    let cgroup_parents = asked
        .cgroup_parents
        .iter()
        .filter_map(|text| CgroupPath::new(text).map_err(|error| problems.push(error.to_string())).ok())
        .collect();
    let sample_interval =
        sample_interval(asked.sample_interval.as_deref().unwrap_or(DEFAULT_SAMPLE_INTERVAL), problems);
    let memory_bandwidth_peak = peak(asked.memory_bandwidth_peak, problems);
    Some(Settings {
        node: node?,
        listen: listen?,
        access,
        cgroup_parents,
        state_dir: asked.state_dir.clone().unwrap_or_else(|| DEFAULT_STATE_DIR.into()),
        sample_interval: sample_interval?,
        names,
        memory_bandwidth_peak,
    })
}

fn address(text: &str, problems: &mut Vec<String>) -> Option<SocketAddr> {
    let address = text.parse::<SocketAddr>().ok();
    if address.is_none() {
        problems.push(format!("{text:?} is not an address to listen on: write it as 127.0.0.1:7400"));
    }
    address
}

fn peak(asked: Option<f64>, problems: &mut Vec<String>) -> Option<BytesPerSecond> {
    let peak = BytesPerSecond::new(asked?).ok().filter(|peak| *peak > BytesPerSecond::ZERO);
    if peak.is_none() {
        problems.push("memory_bandwidth_peak must be a number of bytes per second above zero".to_owned());
    }
    peak
}

fn sample_interval(text: &str, problems: &mut Vec<String>) -> Option<Duration> {
    match humantime::parse_duration(text) {
        Ok(time) if SAMPLE_INTERVALS.contains(&time) => Some(time),
        Ok(_) => {
            problems.push(format!("sample_interval must be from 100ms to 60s, not {text}"));
            None
        }
        Err(error) => {
            problems.push(format!("sample_interval {text:?} is not a time such as 1s: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(parents: &[&str]) -> ServeFlags {
        let cgroup_parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        ServeFlags { cgroup_parents, ..ServeFlags::default() }
    }

    fn settings(flags: &ServeFlags, file: &str) -> Result<Settings, Vec<String>> {
        Settings::new(flags, Some((Path::new("c.toml"), file)), "host1\n")
    }

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        let settings = Settings::new(&flags(&["docker"]), None, "host1\n").unwrap();
        assert_eq!((settings.node.as_str(), settings.listen.to_string().as_str()), ("host1", DEFAULT_LISTEN));
        assert_eq!(settings.state_dir, Path::new(DEFAULT_STATE_DIR));
        assert_eq!(settings.sample_interval, Duration::from_secs(1));
    }

    #[test]
    fn the_shipped_example_is_valid() {
        let shipped = include_str!("../../deploy/env-server.toml");
        let settings = settings(&flags(&[]), shipped).unwrap();
        assert!(!settings.access.tokens.is_empty() && !settings.cgroup_parents.is_empty());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = "node = 'f'\ncgroup_parents = ['a', 'b']\nstate_dir = '/s'\nsample_interval = '200ms'";
        let mut flags = flags(&[]);
        flags.node = Some("flag".to_owned());
        let settings = settings(&flags, file).unwrap();
        assert_eq!((settings.node.as_str(), settings.cgroup_parents.len()), ("flag", 2));
        assert_eq!(settings.sample_interval, Duration::from_millis(200));
        assert_eq!(Settings::new(&flags, None, "h").unwrap_err().len(), 1, "no parent");
        let file = "docker_socket = '/run/docker.sock'\nkubelet_url = 'http://127.0.0.1:10255'";
        let names = self::settings(&flags, file).unwrap().names;
        assert!(names.docker.is_some() && names.kubelet.is_some(), "{names:?}");
    }

    #[test]
    fn the_memorys_peak_is_a_number_above_zero() {
        let settings = |file: &str| settings(&flags(&["p"]), file);
        let peak = settings("memory_bandwidth_peak = 40_000_000_000").unwrap().memory_bandwidth_peak;
        assert_eq!(peak, Some(BytesPerSecond::new(40e9).unwrap()));
        for bad in ["0", "-1e9", "nan", "'40GB'"] {
            let problems = settings(&format!("memory_bandwidth_peak = {bad}")).unwrap_err();
            assert!(problems[0].contains("memory_bandwidth_peak"), "{bad}: {problems:?}");
        }
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let file = "nod = 'x'\nlisten = 7400\nsample_interval = '1ms'\ncgroup_parents = ['/docker', 3]";
        let mut flags = flags(&[]);
        flags.node = Some("bad name".to_owned());
        let problems = settings(&flags, file).unwrap_err().join("\n");
        for part in ["\"nod\"", "listen must be text", "100ms to 60s", "\"/docker\"", "not 3", "bad name"] {
            assert!(problems.contains(part), "{part} is missing in {problems}");
        }
    }

    #[test]
    fn without_a_token_only_loopback_is_served() {
        for (address, allowed) in [
            ("127.0.0.1:0", true),
            ("127.8.8.8:1", true),
            ("[::1]:7400", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("0.0.0.0:7400", false),
            ("[::]:7400", false),
            ("10.0.0.1:7400", false),
            ("localhost:7400", false),
            ("127.0.0.1", false),
            ("127.0.0.1:70000", false),
        ] {
            let mut flags = flags(&["p"]);
            flags.listen = Some(address.to_owned());
            assert_eq!(Settings::new(&flags, None, "h").is_ok(), allowed, "{address}");
            flags.access.observe_token_file = Some("/t".into());
            let is_address = address.parse::<SocketAddr>().is_ok();
            assert_eq!(Settings::new(&flags, None, "h").is_ok(), is_address, "{address} with a token");
        }
    }

    #[test]
    fn access_is_configured_by_flags_and_file() {
        let mut flags = flags(&["p"]);
        flags.access.act_token_file = Some("/flag".into());
        let file = "act_token_file = '/file'\nobserve_token_file = '/seen'\nrequests_per_second = 7";
        let access = settings(&flags, file).unwrap().access;
        assert_eq!(access.tokens.files(), [Path::new("/seen"), Path::new("/flag")]);
        assert_eq!(access.requests_per_second.get(), 7);
        let tls =
            "tls_cert_file = '/c'\ntls_key_file = '/k'\ntls_client_ca_file = '/ca'\nlisten = '0.0.0.0:1'";
        let access = settings(&self::flags(&["p"]), tls).unwrap().access;
        assert_eq!(access.tls.unwrap().files().len(), 3);
        let one_sided = settings(&self::flags(&["p"]), "tls_cert_file = '/c'").unwrap_err().join("\n");
        assert!(one_sided.contains("both tls_cert_file and tls_key_file"), "{one_sided}");
        let no_ca = tls.replace("tls_client_ca_file = '/ca'", "");
        assert!(settings(&self::flags(&["p"]), &no_ca).is_err(), "TLS alone asks nobody who they are");
        let bad = "act_token_file = 7\nrequests_per_second = 0\nlisten = '0.0.0.0:1'";
        let problems = settings(&self::flags(&["p"]), bad).unwrap_err().join("\n");
        for part in ["act_token_file must be text", "from 1 on", "other machines"] {
            assert!(problems.contains(part), "{part} is missing in {problems}");
        }
    }
}
