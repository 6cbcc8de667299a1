//! A file in a repository.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A path from the root of a repository: `apps/checkout/values.yaml`; at most 512 characters, no `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPath(String);

/// A text that names no file of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no file of a repository: write its path from the root, like apps/checkout/values.yaml")]
pub struct RepoPathError(String);

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML, and every file whose name says nothing else.
    Yaml,
    /// JSON: `*.json`.
    Json,
    /// Lines of `KEY=value`: `*.env`, `.env`, `.env.*`.
    Env,
}

impl RepoPath {
    /// The path, without a leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the file is read, by its name.
    #[must_use]
    pub fn format(&self) -> Format {
        let name = self.0.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        if name.ends_with(".json") {
            Format::Json
        } else if name.ends_with(".env") || name.starts_with(".env.") {
            Format::Env
        } else {
            Format::Yaml
        }
    }
}

impl FromStr for RepoPath {
    type Err = RepoPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let odd = |c: char| c.is_control() || c == '\\' || c == '\u{2028}' || c == '\u{2029}';
        let ok = text.chars().count() <= 512
            && !text.chars().any(odd)
            && text.split('/').all(|part| !matches!(part, "" | "." | ".." | ".git"));
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(RepoPathError(text.chars().take(80).map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()))
        }
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_its_name_says() {
        for (text, format) in [
            ("values.yaml", Format::Yaml),
            ("apps/Kustomization", Format::Yaml),
            ("a b/ü.YML", Format::Yaml),
            ("app/package.JSON", Format::Json),
            (".env", Format::Env),
            ("x/.env.production", Format::Env),
            ("deploy.env", Format::Env),
            ("environment.yaml", Format::Yaml),
        ] {
            assert_eq!(text.parse::<RepoPath>().unwrap().format(), format, "{text}");
        }
    }

    #[test]
    fn nothing_leads_out_of_the_repository_or_into_its_insides() {
        let long = "a/".repeat(256) + "b";
        for bad in ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\nb", "a\\b", ".git/config", &long] {
            assert!(bad.parse::<RepoPath>().is_err(), "{bad}");
        }
    }
}
