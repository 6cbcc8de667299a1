//! Which project of a GitLab: by number, or by full path.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A project as a user names it. A number survives renames and moves, a path reads better.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProjectRef {
    /// The numeric id that GitLab shows on the project's page.
    Id(u64),
    /// The full path with its group: `shop/checkout`.
    Path(String),
}

/// A text that names no project.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` names no project: write its full path (group/project) or its numeric id")]
pub struct ProjectRefError(String);

impl ProjectRef {
    /// As one segment of a request path: slashes and dots of a full path are percent-encoded as GitLab asks.
    #[must_use]
    pub fn path_segment(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::Path(path) => url::form_urlencoded::byte_serialize(path.as_bytes()).collect(),
        }
    }
}

impl FromStr for ProjectRef {
    type Err = ProjectRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ProjectRefError(text.chars().take(64).collect());
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Id).map_err(|_| refused());
        }
        // A path without a slash finds nothing at GitLab: every project lives in a group or user namespace.
        let segments_ok = text.split('/').all(|segment| {
            !segment.bytes().all(|b| b == b'.')
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        });
        if text.contains('/') && segments_ok && text.len() <= 512 {
            Ok(Self::Path(text.to_owned()))
        } else {
            Err(refused())
        }
    }
}

impl fmt::Display for ProjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_full_paths_are_projects() {
        assert_eq!("42".parse(), Ok(ProjectRef::Id(42)));
        let path: ProjectRef = "shop/sub.group/check_out".parse().unwrap();
        assert_eq!(path.path_segment(), "shop%2Fsub.group%2Fcheck_out");
    }

    #[test]
    fn what_gitlab_could_never_find_is_refused() {
        for bad in [
            "",
            "checkout",
            "/shop/checkout",
            "shop//checkout",
            "shop/check out",
            "shop/..",
            "shop/../x",
            "99999999999999999999",
        ] {
            assert!(bad.parse::<ProjectRef>().is_err(), "{bad}");
        }
    }
}
