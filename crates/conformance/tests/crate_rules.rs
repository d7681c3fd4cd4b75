//! Who may use whom, held over `cargo metadata` and the sources.
//!
//! `core` is below everything, `nn` above it, the families above that; `data`, `metrics` and `report` know only `core`;
//! the runner knows all; nothing knows this crate. A crate that is none of those named here is a family: a new one is held
//! to a family's rules the moment it exists.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TORCH_EXT: &str = "torch-ext";
const CORE: &str = "paragone-core";
const NN: &str = "paragone-nn";
const RUNNER: &str = "paragone";
const CONFORMANCE: &str = "paragone-conformance";
/// Crates that know `core` and no more.
const BESIDE: [&str; 3] = ["paragone-data", "paragone-metrics", "paragone-report"];

/// A member of the workspace.
struct Member {
    name: String,
    dir: PathBuf,
    /// Names of its dependencies; those of tests and build scripts apart.
    uses: BTreeSet<String>,
    uses_in_tests: BTreeSet<String>,
}

fn members() -> Vec<Member> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let member = |package: &Value| {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let of_kind = |tests: bool| {
            let all = package["dependencies"].as_array().expect("a list").iter();
            // Kind: null for what the crate itself uses.
            all.filter(|dep| (dep["kind"] == "dev") == tests)
                .map(|dep| text(&dep["name"]))
                .collect()
        };
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        Member {
            name: text(&package["name"]),
            dir: manifest.parent().expect("a manifest has a folder").to_owned(),
            uses: of_kind(false),
            uses_in_tests: of_kind(true),
        }
    };
    let members: Vec<Member> =
        metadata["packages"].as_array().expect("packages").iter().map(member).collect();
    assert!(members.len() >= 12, "{} members", members.len());
    members
}

fn is_family(name: &str) -> bool {
    ![TORCH_EXT, CORE, NN, RUNNER, CONFORMANCE].contains(&name) && !BESIDE.contains(&name)
}

/// The members that a crate may use; `None`: all.
fn allowed(name: &str) -> Option<Vec<&str>> {
    match name {
        TORCH_EXT => Some(vec![]),
        CORE => Some(vec![TORCH_EXT]),
        RUNNER | CONFORMANCE => None,
        NN => Some(vec![TORCH_EXT, CORE]),
        beside if BESIDE.contains(&beside) => Some(vec![TORCH_EXT, CORE]),
        _ => Some(vec![TORCH_EXT, CORE, NN]),
    }
}

#[test]
fn crates_use_only_what_is_below_them() {
    let members = members();
    let names: BTreeSet<&str> = members.iter().map(|member| &*member.name).collect();
    for name in [TORCH_EXT, CORE, NN, RUNNER, CONFORMANCE].iter().chain(&BESIDE) {
        assert!(names.contains(name), "there is no crate {name}: this test is out of date");
    }
    assert!(names.iter().filter(|name| is_family(name)).count() >= 4, "{names:?}");
    for Member { name, uses, uses_in_tests, .. } in &members {
        let inside = |used: &BTreeSet<String>| -> Vec<String> {
            used.iter().filter(|used| names.contains(used.as_str())).cloned().collect()
        };
        for used in inside(uses) {
            assert_ne!(used, CONFORMANCE, "{name} depends on {CONFORMANCE}");
            assert!(used != NN || is_family(name), "{name} depends on {NN} and is no family");
            if let Some(allowed) = allowed(name) {
                assert!(
                    allowed.contains(&&*used),
                    "{name} depends on {used}, not only on {allowed:?}"
                );
            }
        }
        // Tests of what stands beside one another may borrow; a family's may not even that.
        for used in inside(uses_in_tests) {
            let borrowed = BESIDE.contains(&&**name) && BESIDE.contains(&&*used);
            let fits = allowed(name).is_none_or(|allowed| allowed.contains(&&*used));
            assert!(fits && used != CONFORMANCE || borrowed, "tests of {name} depend on {used}");
        }
    }
}

/// The registry is where families meet; whoever else knows one by name has to be changed for the next.
#[test]
fn only_the_registry_names_families() {
    let members = members();
    let families: Vec<&Member> = members.iter().filter(|member| is_family(&member.name)).collect();
    let mut registered = 0;
    for Member { name, dir, .. } in &members {
        for (path, text) in sources(dir) {
            for family in families.iter().filter(|family| family.name != *name) {
                let identifier = family.name.replace('-', "_");
                let found = text.contains(&format!("{identifier}::"));
                let registry = name == RUNNER && path.ends_with("src/families.rs");
                registered += usize::from(found && registry);
                assert!(!found || registry, "{} names {}", path.display(), family.name);
            }
        }
    }
    assert_eq!(registered, families.len(), "families that the registry names");
}

/// It computes: files, processes, the environment and the command line are the runner's.
#[test]
fn families_touch_nothing_but_tensors() {
    for Member { name, dir, uses, .. } in members().iter().filter(|member| is_family(&member.name))
    {
        for (path, text) in sources(&dir.join("src")) {
            for forbidden in ["std::fs", "std::io", "std::env", "std::net", "std::process"] {
                assert!(!text.contains(forbidden), "{} uses {forbidden}", path.display());
            }
        }
        for forbidden in ["anyhow", "clap", "ctrlc", "image", "indicatif", "safetensors"] {
            assert!(!uses.contains(forbidden), "{name} depends on {forbidden}");
        }
    }
}

/// `torch-ext` alone has unsafe code; the others have the workspace's lints, which deny it, and lift none of that.
#[test]
fn only_torch_ext_has_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a workspace");
    let manifest = read(&root.join("Cargo.toml"));
    assert!(has_line(&manifest, "[workspace.lints.rust]", "unsafe_code = \"deny\""), "{manifest}");
    for Member { name, dir, .. } in members().iter().filter(|member| member.name != TORCH_EXT) {
        let manifest = read(&dir.join("Cargo.toml"));
        assert!(has_line(&manifest, "[lints]", "workspace = true"), "{name} has lints of its own");
        for (path, text) in sources(dir) {
            let lifted = format!("allow({}", "unsafe_code");
            assert!(!text.contains(&lifted), "{} allows unsafe code", path.display());
        }
    }
}

/// Whoever links libtorch finds it at run time through `torch-ext`, and with a path in what is linked.
#[test]
fn whoever_links_torch_finds_it() {
    for Member { name, dir, uses, .. } in &members() {
        if uses.contains("tch") && name != TORCH_EXT {
            assert!(uses.contains(TORCH_EXT), "{name} uses tch without {TORCH_EXT}");
            let script = read(&dir.join("build.rs"));
            assert!(script.contains("rpath"), "the build script of {name} sets no rpath");
        }
    }
}

/// One place decides a dependency's version.
#[test]
fn versions_are_the_workspace_s() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a workspace");
    let inherited =
        |line: &&str| line.contains(".workspace = true") || line.contains("workspace = true");
    for Member { name, dir, .. } in members().iter().filter(|member| member.name != TORCH_EXT) {
        let manifest = read(&dir.join("Cargo.toml"));
        let mut sections = BTreeMap::<&str, Vec<&str>>::new();
        let mut section = "";
        for line in manifest.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if line.starts_with('[') {
                section = line;
            } else if !line.starts_with('#') {
                sections.entry(section).or_default().push(line);
            }
        }
        let dependencies = sections.iter().filter(|(title, _)| title.contains("dependencies"));
        for line in dependencies.flat_map(|(_, lines)| lines) {
            assert!(inherited(line), "{name} has `{line}`, not from {}", root.display());
        }
    }
}

/// Rust files below a folder, with what is in them.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            found.push((path, text));
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a manifest has a line within a section.
fn has_line(manifest: &str, section: &str, line: &str) -> bool {
    let lines = manifest.lines().map(str::trim).skip_while(|found| *found != section).skip(1);
    lines.take_while(|found| !found.starts_with('[')).any(|found| found == line)
}
