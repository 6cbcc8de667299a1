//! `cargo xtask version`: the release of one version, wherever its number stands.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::controlplane::{read, root};

const IMAGE: &str = "ghcr.io/pipekick/pipekick:";
/// Where users are shown the image.
const PAGES: [&str; 2] = ["docs/argocd.md", "deploy/install.yaml"];

/// Prints the changelog of this version, which has to be the one that everything names.
pub fn version(wanted: &str) -> anyhow::Result<()> {
    let named = named()?;
    ensure!(named == wanted, "the crates, the chart and the pages name {named}, not {wanted}");
    print!("{}", changes(&read(&root().join("CHANGELOG.md"))?, wanted)?);
    Ok(())
}

/// The version that crates, chart and pages name.
fn named() -> anyhow::Result<String> {
    let line = |file: &str, key: &str| {
        let text = read(&root().join(file))?;
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        let value = value.with_context(|| format!("{file} has no line {key}"))?;
        anyhow::Ok(value.trim().trim_matches('"').to_owned())
    };
    let crates = line("Cargo.toml", "version = ")?;
    for key in ["version:", "appVersion:"] {
        let chart = line("charts/pipekick/Chart.yaml", key)?;
        ensure!(chart == crates, "Chart.yaml says {key} {chart}, and Cargo.toml {crates}");
    }
    for page in PAGES.iter().map(Path::new).chain([Path::new("charts/pipekick/Chart.yaml")]) {
        let text = read(&root().join(page))?;
        for rest in text.split(IMAGE).skip(1) {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && !".-".contains(c)).unwrap_or(rest.len());
            ensure!(rest[..end] == crates, "{} shows {IMAGE}{}, not {crates}", page.display(), &rest[..end]);
        }
    }
    Ok(crates)
}

/// The part of the changelog that tells of a version.
fn changes(changelog: &str, version: &str) -> anyhow::Result<String> {
    let heading = format!("## [{version}]");
    let rest = changelog.split("\n## ").find(|part| format!("## {part}").starts_with(&heading));
    let part = rest.with_context(|| format!("CHANGELOG.md has no heading {heading}"))?;
    let (_, told) = part.split_once('\n').unwrap_or_default();
    ensure!(!told.trim().is_empty(), "CHANGELOG.md tells nothing of {version}");
    Ok(format!("{}\n", told.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_chart_and_pages_name_one_version() {
        assert_eq!(named().unwrap(), env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_changes_of_a_version_are_those_below_its_heading() {
        let log =
            "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [1.2.0] - 2026-11-26\n\n- a\n- b\n\n## [1.1.0]\n";
        assert_eq!(changes(log, "1.2.0").unwrap(), "- a\n- b\n");
        assert!(changes(log, "1.2").is_err() && changes(log, "1.1.0").is_err());
    }
}
