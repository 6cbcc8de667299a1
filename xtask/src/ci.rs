//! `cargo xtask ci`: everything a change must pass, here as on a CI machine. `.ci/run` installs the tools first.

use crate::ci_steps::{End, Steps, cargo, line_of, run};
use crate::controlplane::root;
use crate::static_binary;

/// Takes every step, whatever became of the one before: a person wants to see all that is wrong at once. The cheap
/// ones come first, and the tests last: what they say about a failure is then the end of the log.
pub fn ci() -> anyhow::Result<()> {
    let mut steps = Steps::default();
    steps.take("format", || run(cargo(["fmt", "--all", "--check"])));
    steps.take("clippy", || {
        run(cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "pipekick/crash-points",
            "--",
            "-D",
            "warnings",
        ]))
    });
    steps.take("generated equals committed", || run(cargo(["xtask", "generated", "--check"])));
    steps.take("licences, bans, sources", || {
        run(cargo(["deny", "--workspace", "check", "licenses", "bans", "sources"]))
    });
    steps.take("advisories", advisories);
    steps.take("demo", || run(cargo(["demo", "--once"])));
    static_binary::take(&mut steps);
    steps.take("tests", || run(cargo(["xtask", "test"])));
    steps.table();
    steps.summary("cargo xtask ci")
}

/// The advisories lie in a git repository of their own; a machine that cannot reach it has not failed.
fn advisories() -> anyhow::Result<End> {
    let mut fetch = cargo(["deny", "fetch", "db"]);
    eprintln!("$ {}", line_of(&fetch));
    let fetched = fetch.output()?;
    if !fetched.status.success() {
        let text = String::from_utf8_lossy(&fetched.stderr);
        eprint!("{text}");
        return Ok(End::Skipped("the advisory database cannot be fetched from here".into()));
    }
    run(cargo(["deny", "--workspace", "check", "--disable-fetch", "advisories"]))
}

/// Where cargo builds: this program stands in `debug` or `release` below it.
pub fn target_dir() -> std::path::PathBuf {
    let here = std::env::current_exe().ok();
    let dir = here.as_deref().and_then(|exe| exe.parent()?.parent());
    dir.map_or_else(|| root().join("target"), std::path::Path::to_owned)
}
