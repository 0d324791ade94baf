//! Every input of the corpus, also those that once broke something, through its target.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

/// So often one target's inputs are changed, all together, each way: the corpora are of very different sizes.
const CHANGES: usize = 3000;

fn each(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty(), "{target} has no input");
    let of_one = (CHANGES / inputs.len()).clamp(4, 64);
    for input in inputs {
        let bytes = fs::read(&input).unwrap();
        println!("{}", input.display());
        run(&bytes);
        // Cut off anywhere, and with a bit turned, it is an input too.
        for at in (0..bytes.len()).step_by(1 + bytes.len() / of_one) {
            run(&bytes[..at]);
            let mut turned = bytes.clone();
            turned[at] ^= 1 << (at % 8);
            run(&turned);
        }
    }
}

#[test]
fn plans() {
    each("plan", ballast_fuzz::plan);
}

#[test]
fn cgroup_files() {
    each("cgroup_files", ballast_fuzz::cgroup_files);
}

#[test]
fn journals() {
    each("journal", ballast_fuzz::journal);
}

#[test]
fn engines_answers() {
    each("docker", ballast_fuzz::docker);
}

#[test]
fn kubelets_answers() {
    each("kubelet", ballast_fuzz::kubelet);
}

#[test]
fn resctrl_files() {
    each("schemata", ballast_fuzz::schemata);
}

#[test]
fn names() {
    each("names", ballast_fuzz::names);
}

#[test]
fn spans() {
    each("otlp", ballast_fuzz::otlp);
}

#[test]
fn campaigns() {
    each("campaign", ballast_fuzz::campaign);
}

#[test]
fn traces_of_rates() {
    each("trace", ballast_fuzz::trace);
}

#[test]
fn services_answers() {
    each("response", ballast_fuzz::response);
}

#[test]
fn cadvisor_pages() {
    each("cadvisor", ballast_fuzz::cadvisor);
}
