//! Which GitLab the simulator plays, and what depends on it.

use std::{fmt, str::FromStr};

use serde::Deserialize;

/// A GitLab release, 15 to 19, as `major.minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Version {
    major: u8,
    minor: u8,
}

impl Version {
    /// The release played when a seed names none.
    pub const DEFAULT: Self = Self::new(18, 5);

    pub(crate) const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// A stored but failed pipeline answers 422; before, 201 with `status: failed`.
    /// The facts place the change no closer than "an older copy"; the boundary is our choice.
    pub(crate) fn failed_trigger_is_422(self) -> bool {
        self.major >= 17
    }

    /// Pipeline inputs are known; before, the parameter was dropped without a word.
    /// GitLab's documentation: behind a flag in 17.10, on everywhere in 17.11, for good in 18.1.
    pub(crate) fn has_inputs(self) -> bool {
        self >= Self::new(17, 11)
    }

    /// What a schedule could not run is kept as a failed pipeline. Two copies of GitLab's worker disagree, and the
    /// one that keeps them passes inputs; the boundary is our choice.
    pub(crate) fn keeps_failed_schedules(self) -> bool {
        self.major >= 18
    }

    /// Lists and the single pipeline tell `name`. GitLab's documentation: 16.3.
    pub(crate) fn tells_names(self) -> bool {
        self >= Self::new(16, 3)
    }

    /// The list is filtered by `name`; before, the parameter was dropped. GitLab's documentation: 16.9.
    pub(crate) fn filters_by_name(self) -> bool {
        self >= Self::new(16, 9)
    }

    /// `created_after` and `created_before` filter the list; before, they were not declared.
    pub(crate) fn filters_by_creation(self) -> bool {
        self.major >= 18
    }

    /// `auto_merge` arms a merge request, whatever it still waits for; before, only `merge_when_pipeline_succeeds`, and only
    /// while a pipeline runs. GitLab's documentation: the parameter is of 17.11.
    pub(crate) fn has_auto_merge(self) -> bool {
        self >= Self::new(17, 11)
    }

    /// `RateLimit-*` headers come with every answer; before, only with 429.
    pub(crate) fn announces_limits(self) -> bool {
        self.major >= 18
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.0-ee", self.major, self.minor)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a GitLab version from 15.0 to 19.x")]
pub struct UnknownVersion(String);

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownVersion(text.to_owned());
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let version = Self {
            major: major.parse().map_err(|_| unknown())?,
            minor: minor.parse().map_err(|_| unknown())?,
        };
        if (15..=19).contains(&version.major) { Ok(version) } else { Err(unknown()) }
    }
}

impl TryFrom<String> for Version {
    type Error = UnknownVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}
