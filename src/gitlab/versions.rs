//! Which version a GitLab is, asked once and remembered for a while: what an old one does not know it drops without a
//! word.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pipekick_core::domain::{GitLabUrl, GitLabVersion};
use secrecy::SecretString;
use tokio::time::Instant;

use super::{Client, Endpoint, ReadError, ReadKind};
use crate::clock;

/// An upgrade is noticed within this time, so that a run that was refused goes through when it is next tried.
const FRESH: Duration = Duration::from_secs(300);
/// GitLabs remembered at most; then all are forgotten and asked again.
const MAX_GITLABS: usize = 1024;

/// What is known, and since when. `None`: it does not tell.
#[derive(Default)]
pub(super) struct Versions(Mutex<HashMap<GitLabUrl, (Option<GitLabVersion>, Instant)>>);

impl Client {
    /// The version of this GitLab, no older than 5 minutes; `None` if it does not tell it to this token.
    ///
    /// # Errors
    /// When it could not be asked; this passes.
    pub async fn known_version(
        &self,
        at: &Endpoint,
        token: &SecretString,
    ) -> Result<Option<GitLabVersion>, ReadError> {
        let known = self.versions.0.lock().unwrap_or_else(PoisonError::into_inner).get(&at.url).copied();
        if let Some((version, since)) = known
            && clock::instant().saturating_duration_since(since) < FRESH
        {
            return Ok(version);
        }
        let version = match self.version(at, token).await {
            Ok(told) => told.version.parse().ok(),
            Err(error) => match error.kind {
                // Another token may be told: this is not remembered.
                ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused => {
                    return Ok(None);
                }
                ReadKind::Throttled { .. } | ReadKind::Unreachable | ReadKind::Trouble => return Err(error),
            },
        };
        let mut versions = self.versions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= MAX_GITLABS {
            versions.clear();
        }
        versions.insert(at.url.clone(), (version, clock::instant()));
        Ok(version)
    }
}
