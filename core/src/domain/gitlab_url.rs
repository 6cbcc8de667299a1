//! Where a GitLab is: scheme, host, port and, where GitLab lives under a relative URL, a path.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use url::{ParseError, Url};

/// The base URL of a GitLab instance, normalised: lower-case host, no default port, no trailing slash, no
/// credentials, query or fragment. Two spellings of one instance compare equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitLabUrl(String);

/// Why a text is no GitLab URL; each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GitLabUrlError {
    /// Not a URL at all, or one without a host.
    #[error("`{0}` is not a URL: write it like https://gitlab.example.com")]
    NotAUrl(String),
    /// Neither https nor http.
    #[error("a GitLab URL starts with https://, not `{0}:`")]
    Scheme(String),
    /// User info, query or fragment.
    #[error(
        "a GitLab URL has no credentials, query or fragment: write https://host or https://host/path, and keep tokens in a Secret"
    )]
    Extras,
    /// The address of its API.
    #[error(
        "a GitLab URL is the address that people open, without /api/v4: write https://host or https://host/path"
    )]
    Api,
    /// A port that there is not.
    #[error("a GitLab URL's port is a number from 1 to 65535: write it like https://gitlab.example.com:8443")]
    Port,
}

impl GitLabUrl {
    /// Whether requests to it are encrypted. Plain http needs the operator's `--allow-http`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// The normalised text, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port, for messages and for the budgets that GitLab counts by address.
    #[must_use]
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        rest.split_once('/').map_or(rest, |(authority, _)| authority)
    }
}

impl FromStr for GitLabUrl {
    type Err = GitLabUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The text is not quoted where it may carry a password.
        let url = Url::parse(text.trim()).map_err(|error| match error {
            ParseError::InvalidPort => GitLabUrlError::Port,
            _ if text.contains('@') => GitLabUrlError::NotAUrl("…".into()),
            _ => GitLabUrlError::NotAUrl(text.chars().take(64).collect()),
        })?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(GitLabUrlError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(GitLabUrlError::Extras);
        }
        if url.port() == Some(0) {
            return Err(GitLabUrlError::Port);
        }
        let base = url.as_str().trim_end_matches('/');
        if base.ends_with("/api/v4") {
            return Err(GitLabUrlError::Api);
        }
        Ok(Self(base.to_owned()))
    }
}

impl fmt::Display for GitLabUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_instance_are_equal() {
        for same in
            ["https://gitlab.example.com", "https://GitLab.example.com/", "https://gitlab.example.com:443"]
        {
            assert_eq!(same.parse::<GitLabUrl>().unwrap().as_str(), "https://gitlab.example.com", "{same}");
        }
        let nested: GitLabUrl = "https://example.com:8443/gitlab/".parse().unwrap();
        assert_eq!(nested.as_str(), "https://example.com:8443/gitlab");
        assert_eq!(nested.authority(), "example.com:8443");
    }

    #[test]
    fn what_does_not_belong_into_a_url_is_refused_without_being_quoted() {
        for bad in
            ["https://me:secret@gitlab.com", "https://gitlab.com?x=secret", "https://gitlab.com#secret"]
        {
            let error = bad.parse::<GitLabUrl>().unwrap_err();
            assert_eq!(error, GitLabUrlError::Extras);
            assert!(!error.to_string().contains("secret"));
        }
        assert!(!"ht!tp://me:secret@host".parse::<GitLabUrl>().unwrap_err().to_string().contains("secret"));
        for (bad, error) in [
            ("https://gitlab.com/api/v4", GitLabUrlError::Api),
            ("https://example.com/gitlab/api/v4/", GitLabUrlError::Api),
            ("https://gitlab.com:99999", GitLabUrlError::Port),
            ("https://gitlab.com:0", GitLabUrlError::Port),
        ] {
            assert_eq!(bad.parse::<GitLabUrl>(), Err(error), "{bad}");
        }
        assert!(matches!("gitlab.com".parse::<GitLabUrl>(), Err(GitLabUrlError::NotAUrl(_))));
        assert!(matches!("ssh://gitlab.com".parse::<GitLabUrl>(), Err(GitLabUrlError::Scheme(_))));
    }
}
