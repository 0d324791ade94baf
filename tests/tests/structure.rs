//! The arrows of the layout, and the habits that every package keeps, as tests.
//!
//! Reads manifests and files; runs none of the programs.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cargo_metadata::MetadataCommand;

/// Who may depend on whom of our own packages, development dependencies included. A new package needs a row here and
/// a place on the map in ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 12] = [
    // The vocabulary: everybody may use it, it uses none of ours.
    ("ballast-api", &[]),
    // The only one that knows kernel files.
    ("ballast-kernel", &["ballast-api"]),
    // Never touches a kernel.
    ("ballast-sim", &["ballast-api"]),
    // Knows numbers, not clusters.
    ("ballast-models", &[]),
    // Who is let in, whatever is asked then.
    ("ballast-gate", &["ballast-api"]),
    ("ballast-env-server", &["ballast-api", "ballast-gate", "ballast-kernel"]),
    ("ballast-injector", &["ballast-api", "ballast-gate", "ballast-kernel"]),
    // Reaches a node through `NodeAgent` alone: no kernel here.
    ("ballast-controller", &["ballast-api", "ballast-models", "ballast-sim"]),
    ("ballast-testbed", &["ballast-api", "ballast-kernel", "ballast-sim"]),
    // Feeds every parser of outside input.
    (
        "ballast-fuzz",
        &["ballast-api", "ballast-controller", "ballast-env-server", "ballast-injector", "ballast-kernel"],
    ),
    // Plays the kernel and knows nothing of ours; its tests drive our kernel code and a node over it.
    ("ballast-resctrl-emulator", &["ballast-api", "ballast-env-server", "ballast-kernel"]),
    (
        "ballast-tests",
        &["ballast-api", "ballast-controller", "ballast-env-server", "ballast-kernel", "ballast-sim"],
    ),
];

/// The folder of the workspace's `Cargo.toml`: this package is the folder `tests` there.
fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Our packages, each with those of ours that it depends on.
type Dependencies = BTreeMap<String, Vec<String>>;

/// What cargo knows of the workspace.
fn dependencies() -> Dependencies {
    let manifest = workspace_root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().unwrap();
    let ours = |dependency: &cargo_metadata::Dependency| dependency.path.is_some();
    metadata
        .packages
        .iter()
        .map(|package| {
            let names = package.dependencies.iter().filter(|d| ours(d)).map(|d| d.name.clone()).collect();
            (package.name.to_string(), names)
        })
        .collect()
}

/// One sentence for each arrow that is not allowed and each package without a row.
fn forbidden_arrows(dependencies: &Dependencies) -> Vec<String> {
    let mut problems = Vec::new();
    for (package, needed) in dependencies {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == package) else {
            problems.push(format!("{package} has no row in ARROWS"));
            continue;
        };
        let forbidden = needed.iter().filter(|name| !allowed.contains(&name.as_str()));
        problems.extend(forbidden.map(|name| format!("{package} must not depend on {name}")));
    }
    problems
}

/// Every file under `folder` for which `wanted` answers yes; build outputs and hidden folders are not entered.
fn files(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.');
        if entry.file_type().unwrap().is_dir() {
            if !hidden && name != "target" {
                found.extend(files(&path, wanted));
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found
}

/// The manifests of all packages, parsed.
fn manifests() -> Vec<(PathBuf, toml::Table)> {
    let root = workspace_root();
    let is_package = |path: &Path| path.ends_with("Cargo.toml") && path != root.join("Cargo.toml");
    files(&root, &is_package)
        .into_iter()
        .map(|path| {
            let manifest = fs::read_to_string(&path).unwrap().parse().unwrap();
            (path, manifest)
        })
        .collect()
}

/// Fails with every path in the list.
fn assert_none(paths: &[impl std::fmt::Debug], rule: &str) {
    assert!(paths.is_empty(), "{rule}, but not: {paths:#?}");
}

#[test]
fn packages_depend_on_each_other_only_along_the_arrows() {
    assert_none(&forbidden_arrows(&dependencies()), "every arrow is on the map");
}

#[test]
fn every_row_of_arrows_is_a_package() {
    let dependencies = dependencies();
    let stale: Vec<_> = ARROWS.iter().filter(|(name, _)| !dependencies.contains_key(*name)).collect();
    assert_none(&stale, "every row of ARROWS names a package");
}

#[test]
fn a_forbidden_arrow_and_an_unknown_package_are_named() {
    let wrong = Dependencies::from([
        ("ballast-controller".to_owned(), vec!["ballast-api".to_owned(), "ballast-kernel".to_owned()]),
        ("ballast-injector".to_owned(), vec!["ballast-testbed".to_owned()]),
        ("ballast-new".to_owned(), vec![]),
    ]);
    assert_eq!(
        forbidden_arrows(&wrong),
        [
            "ballast-controller must not depend on ballast-kernel",
            "ballast-injector must not depend on ballast-testbed",
            "ballast-new has no row in ARROWS",
        ]
    );
}

#[test]
fn every_package_takes_its_lints_from_the_workspace() {
    let inherits = |manifest: &toml::Table| {
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        lints.and_then(toml::Value::as_bool) == Some(true)
    };
    let manifests = manifests();
    assert_eq!(manifests.len(), ARROWS.len(), "a manifest for each package");
    let strangers: Vec<_> = manifests.iter().filter(|(_, m)| !inherits(m)).map(|(path, _)| path).collect();
    assert_none(&strangers, "every package says `[lints] workspace = true`");
}

#[test]
fn every_dependency_takes_its_version_from_the_workspace() {
    let mut strangers = Vec::new();
    for (path, manifest) in manifests() {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = manifest.get(kind).and_then(toml::Value::as_table);
            for (name, value) in table.into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    strangers.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert_none(&strangers, "every dependency says `workspace = true`");
}

#[test]
fn every_source_file_opens_with_its_job() {
    let sources = files(&workspace_root(), &|path| path.extension().is_some_and(|ext| ext == "rs"));
    assert!(sources.len() > ARROWS.len(), "found the source files: {sources:?}");
    let opens_with_job = |path: &PathBuf| fs::read_to_string(path).unwrap().starts_with("//! ");
    let mute: Vec<_> = sources.into_iter().filter(|path| !opens_with_job(path)).collect();
    assert_none(&mute, "every source file opens with `//! ` and its job");
}

#[test]
fn every_script_can_be_run_and_says_what_it_does() {
    let root = workspace_root();
    let mut scripts: Vec<PathBuf> =
        fs::read_dir(root.join("scripts")).unwrap().map(|e| e.unwrap().path()).collect();
    scripts.retain(|path| path.is_file());
    scripts.push(root.join(".ci/run"));
    assert!(scripts.len() > 1, "found the scripts: {scripts:?}");
    let is_program = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let executable = fs::metadata(path).unwrap().permissions().mode() & 0o111 == 0o111;
        executable
            && text.starts_with("#!/usr/bin/env ")
            && text.lines().nth(1).unwrap_or_default().starts_with("# ")
    };
    let others: Vec<_> = scripts.into_iter().filter(|path| !is_program(path)).collect();
    assert_none(&others, "every script is executable and opens with what it does");
}
