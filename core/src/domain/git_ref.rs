//! The branch or tag that a pipeline runs on.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A branch or tag name, short (`main`) or full (`refs/heads/main`, `refs/tags/v1`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitRef(String);

/// Why GitLab would not find such a ref.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GitRefError {
    /// Nothing, or only blanks.
    #[error("ref is empty: name a branch or tag")]
    Empty,
    /// GitLab's create routes answer `Reference not found` to a commit id.
    #[error("GitLab starts no pipeline for a commit id: name a branch or tag")]
    CommitId,
    /// Not a name that git allows.
    #[error("`{0}` is not a name git allows for a branch or tag")]
    Malformed(String),
}

impl GitRef {
    /// As the user wrote it; this is what is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As GitLab stores and lists it: without `refs/heads/` or `refs/tags/`.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.strip_prefix("refs/heads/").or_else(|| self.0.strip_prefix("refs/tags/")).unwrap_or(&self.0)
    }
}

impl FromStr for GitRef {
    type Err = GitRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(GitRefError::Empty);
        }
        if matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(GitRefError::CommitId);
        }
        // git-check-ref-format(1), as far as it can be told from the name alone.
        let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
        let malformed = text.len() > 255
            || text == "@"
            || text.chars().any(forbidden)
            || text.contains("..")
            || text.contains("@{")
            || text.contains("//")
            || text.starts_with(['/', '-'])
            || text.ends_with(['/', '.'])
            || text.split('/').any(|part| part.starts_with('.') || part.ends_with(".lock"));
        if malformed {
            return Err(GitRefError::Malformed(text.chars().take(64).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_is_listed_by_its_short_one() {
        for (written, short) in [("main", "main"), ("refs/heads/rel/1", "rel/1"), ("refs/tags/v1", "v1")] {
            assert_eq!(written.parse::<GitRef>().unwrap().short(), short);
        }
    }

    #[test]
    fn what_gitlab_refuses_is_refused_here() {
        assert_eq!(" ".parse::<GitRef>(), Err(GitRefError::Empty));
        assert_eq!("0123456789abcdef0123456789abcdef01234567".parse::<GitRef>(), Err(GitRefError::CommitId));
        for bad in ["a b", "a..b", "/a", "a.lock", "a@{1}", "a\n", "@", "a/.b"] {
            assert!(matches!(bad.parse::<GitRef>(), Err(GitRefError::Malformed(_))), "{bad}");
        }
    }
}
