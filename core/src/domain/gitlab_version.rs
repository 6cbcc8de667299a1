//! Which GitLab it is, as far as what it can do depends on it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A release of GitLab: the first two numbers of `18.5.1-ee`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitLabVersion {
    /// `18`
    pub major: u16,
    /// `5`
    pub minor: u16,
}

/// The text does not begin like a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no version of GitLab")]
pub struct NoVersion;

impl GitLabVersion {
    /// From here on pipelines take `inputs`; before, the parameter is dropped without a word. (GitLab 17.10 knows it
    /// behind a switch that is off.)
    pub const INPUTS: Self = Self { major: 17, minor: 11 };

    /// Whether pipelines take `inputs`.
    #[must_use]
    pub fn takes_inputs(self) -> bool {
        self >= Self::INPUTS
    }
}

impl FromStr for GitLabVersion {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.splitn(3, ['.', '-']).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self { major, minor }),
            _ => Err(NoVersion),
        }
    }
}

impl fmt::Display for GitLabVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_whatever_follows_its_two_numbers() {
        for (text, read) in [
            ("18.5.1-ee", Some("18.5")),
            ("17.11.0", Some("17.11")),
            ("19.0.0-pre", Some("19.0")),
            ("18.2-ee", Some("18.2")),
            ("17.11-pre", Some("17.11")),
            ("18", None),
            ("master", None),
            ("", None),
            ("v18.1.0", None),
            ("99999.1", None),
        ] {
            assert_eq!(text.parse::<GitLabVersion>().ok().map(|v| v.to_string()).as_deref(), read, "{text}");
        }
    }

    #[test]
    fn inputs_begin_with_the_release_that_switched_them_on() {
        for (text, takes) in
            [("15.11", false), ("17.9", false), ("17.10", false), ("17.11", true), ("18.0", true)]
        {
            assert_eq!(text.parse::<GitLabVersion>().unwrap().takes_inputs(), takes, "{text}");
        }
    }
}
