//! `cargo xtask test`: every test of the workspace, and what the tests stand on before them.
//!
//! ```text
//! control plane, garbage collector (fetched or built once, started once)
//!   → pipekick-core → all other packages → doc tests, if any → chart
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pipekick_sandbox::controlplane::{ControlPlane, Error, Options, Printer};

use crate::ci_steps::{End, Steps, cargo, run};
use crate::controlplane::root;

/// Quick to build and to run, so a wrong decision is told before anything slow begins.
const CORE: &str = "pipekick-core";
/// With it the stories' operator can be made to die at any effect; the campaigns need it.
const CRASH_POINTS: &str = "pipekick/crash-points";
/// Tests at the same time, unless `RUST_TEST_THREADS` says otherwise.
const STORIES_AT_ONCE: &str = "6";
/// The story that needs a garbage collector.
const COLLECTED: &str = "children_are_deleted_with_their_schedule";
/// Packages with a library, whose comments may hold doc tests, and where their sources are.
const LIBRARIES: [(&str, &str); 3] =
    [(CORE, "core/src"), ("pipekick", "src"), ("pipekick-sandbox", "sandbox/src")];
/// Arguments with which somebody chooses packages or targets; then the choice is left to cargo.
const CHOOSING: [&str; 14] = [
    "-p",
    "--package",
    "--workspace",
    "--all",
    "--exclude",
    "--lib",
    "--bin",
    "--bins",
    "--test",
    "--tests",
    "--example",
    "--examples",
    "--doc",
    "--all-targets",
];

/// Runs the tests; `args` go to `cargo test`.
pub fn test(mut args: Vec<OsString>) -> anyhow::Result<()> {
    // clap takes a `--` that comes first for its own.
    if std::env::args_os().nth(2).is_some_and(|first| first == "--") {
        args.insert(0, "--".into());
    }
    let mut steps = Steps::default();
    take_all(&mut steps, &args)?;
    steps.table();
    steps.summary("cargo xtask test")
}

/// One after the other, up to the first that does not pass.
fn take_all(steps: &mut Steps, args: &[OsString]) -> anyhow::Result<bool> {
    if !steps.take("control plane", control_plane) {
        return Ok(false);
    }
    if chooses(args) {
        let whole = if packages(args) { &[][..] } else { &["--workspace"] };
        return Ok(steps.take("tests", || run(cargo_test(whole, args))));
    }
    // Who names a test wants no other, and what that one needs it fetches itself.
    let all = args.is_empty();
    let mut args = args.to_vec();
    if all {
        let mut collected = true;
        if !steps.take("garbage collector", || garbage_collector(&mut collected)) {
            return Ok(false);
        }
        if !collected {
            args.extend(["--", "--skip", COLLECTED].map(OsString::from));
        }
    }
    let args = args.as_slice();
    let core = ["--package", CORE, "--lib", "--tests"];
    let others = ["--workspace", "--exclude", CORE, "--features", CRASH_POINTS, "--lib", "--bins", "--tests"];
    let passed = steps.take(CORE, || run(cargo_test(&core, args)))
        && steps.take("the other packages", || run(cargo_test(&others, args)));
    let documented = if passed { doc_tests()? } else { Vec::new() };
    let passed = passed
        && documented.into_iter().all(|package| {
            let ours = ["--package", package, "--doc"];
            steps.take(&format!("doc tests of {package}"), || run(cargo_test(&ours, args)))
        });
    Ok(passed && (!all || steps.take("chart", chart)))
}

/// Needs Helm, which is built with Go where nobody names one.
fn chart() -> anyhow::Result<End> {
    if let Some(why) = crate::helm::missing()? {
        return Ok(End::Skipped(why.into()));
    }
    crate::chart::chart(false)?;
    Ok(End::Passed(String::new()))
}

/// Starts a control plane and ends it: its binaries are then installed, and known to work here.
fn control_plane() -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let plane = ControlPlane::start(Options::from_env(Printer::verbose())?).await?;
        plane.stop().await;
        Ok(End::Passed(String::new()))
    })
}

/// As [`control_plane`], for kube-controller-manager: envtest has none, so it is built with Go. Without Go `collected`
/// becomes false.
fn garbage_collector(collected: &mut bool) -> anyhow::Result<End> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut plane = ControlPlane::start(Options::from_env(Printer::installs_only())?).await?;
        let started = plane.start_controller_manager().await;
        plane.stop().await;
        match started {
            Ok(()) => Ok(End::Passed(String::new())),
            Err(Error::NoBinaries { .. }) => {
                *collected = false;
                let why = "there is no Go to build kube-controller-manager with; one story is left out";
                Ok(End::Skipped(why.into()))
            }
            Err(error) => Err(error.into()),
        }
    })
}

fn cargo_test(ours: &[&str], args: &[OsString]) -> std::process::Command {
    // Whoever waits for all of them wants to know of every failure.
    let mut command = cargo(["test", "--no-fail-fast"]);
    command.args(ours).args(args);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        // Stories wait more than they work: a thread for each core would leave the cores idle.
        command.env("RUST_TEST_THREADS", STORIES_AT_ONCE);
    }
    command
}

/// Those before `--` are cargo's, those after it the tests' own.
fn for_cargo(args: &[OsString]) -> impl Iterator<Item = &str> {
    args.iter().map(|arg| arg.to_str().unwrap_or_default()).take_while(|arg| *arg != "--")
}

fn chooses(args: &[OsString]) -> bool {
    for_cargo(args).any(|arg| CHOOSING.contains(&arg.split('=').next().unwrap_or_default()))
}

fn packages(args: &[OsString]) -> bool {
    for_cargo(args).any(|arg| ["-p", "--package", "--workspace", "--all"].contains(&arg))
}

/// The packages whose doc comments hold code: rustdoc takes seconds for each, even to find nothing.
fn doc_tests() -> anyhow::Result<Vec<&'static str>> {
    let mut with = Vec::new();
    for (package, sources) in LIBRARIES {
        if holds_doc_test(&root().join(sources))? {
            with.push(package);
        }
    }
    Ok(with)
}

fn holds_doc_test(dir: &Path) -> anyhow::Result<bool> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if holds_doc_test(&path)? {
                return Ok(true);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            if opens_doc_test(&text) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a doc comment opens a fence of Rust: one that says nothing, or `rust`, or a rustdoc attribute.
fn opens_doc_test(source: &str) -> bool {
    let mut open = false;
    source.lines().any(|line| {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            open = false;
            return false;
        };
        let Some(info) = text.trim_start().strip_prefix("```") else { return false };
        open = !open;
        let word = info.split([',', ' ']).next().unwrap_or_default();
        open && ["", "rust", "no_run", "should_panic", "compile_fail"].contains(&word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fences_of_rust_are_doc_tests() {
        assert!(!opens_doc_test("//! ```text\n//! a → b\n//! ```\nfn f() {}"));
        assert!(!opens_doc_test("// ```\n// not a doc comment\n// ```"));
        assert!(opens_doc_test("    /// ```\n    /// assert!(true);\n    /// ```"));
        assert!(opens_doc_test("/// ```text\n/// ```\n/// and\n/// ```no_run\n/// ```"));
    }

    #[test]
    fn who_names_a_target_chooses_and_who_names_a_test_does_not() {
        let args = |typed: &str| typed.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(chooses(&args("--test stories")));
        assert!(chooses(&args("-p pipekick")) && packages(&args("-p pipekick")));
        assert!(!chooses(&args("a_name -- --nocapture")));
        assert!(!chooses(&args("a_name -- --test")));
    }
}
