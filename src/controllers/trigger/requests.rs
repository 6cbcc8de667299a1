//! Looks at merge requests that image updates wait for, and tells GitLab to merge those that are to merge by themselves.

use std::time::Duration;

use pipekick_core::decide::trigger::{RequestLook, RequestSight};
use pipekick_core::domain::MergeRequest;
use secrecy::SecretString;

use super::lookup::Looker;
use crate::gitlab::{Endpoint, ReadError, ReadKind};

impl Looker {
    /// What each look brought, by entry and number of the merge request; and how long to leave GitLab alone.
    pub(super) async fn look_at_requests(
        &self,
        namespace: &str,
        looks: &[RequestLook],
    ) -> (Vec<(usize, u64, RequestSight)>, Duration) {
        let (mut sights, mut wait) = (Vec::new(), Duration::ZERO);
        for look in looks {
            let sight = match self.look_at_request(namespace, look).await {
                Ok(sight) => sight,
                Err((message, asked)) => {
                    wait = wait.max(asked);
                    RequestSight::Trouble { message }
                }
            };
            sights.push((look.entry, look.iid, sight));
        }
        (sights, wait)
    }

    async fn look_at_request(
        &self,
        namespace: &str,
        look: &RequestLook,
    ) -> Result<RequestSight, (String, Duration)> {
        let RequestLook { entry: _, iid, url, project, access, arm } = look;
        let reached = self.reach_project(namespace, url, project, access).await;
        let (mut at, token) = reached.map_err(|(_, message)| (message, Duration::ZERO))?;
        let seen = match self.gitlab.merge_request(&at, *iid, &token).await {
            // Renamed or moved since: GitLab says where to, on the same host.
            Err(ReadError { moved_to: Some(project), .. }) => {
                at.project = project;
                self.gitlab.merge_request(&at, *iid, &token).await
            }
            seen => seen,
        };
        let request = seen.map_err(trouble)?;
        let armed = match arm.as_deref().filter(|commit| request.is_to_be_armed(commit)) {
            Some(commit) => self.arm(&at, &request, commit, &token).await,
            None => Ok(None),
        };
        Ok(match armed {
            Ok(armed) => RequestSight::Seen { request: Box::new(armed.unwrap_or(request)), unarmed: None },
            Err(why) => RequestSight::Seen { request: Box::new(request), unarmed: Some(why) },
        })
    }

    /// As it is afterwards; or why GitLab does not do it.
    async fn arm(
        &self,
        at: &Endpoint,
        request: &MergeRequest,
        commit: &str,
        token: &SecretString,
    ) -> Result<Option<MergeRequest>, String> {
        let iid = request.iid;
        match self.gitlab.auto_merge(at, iid, (commit, &request.squash_message()), token).await {
            Ok(armed) => {
                tracing::info!(project = %at.project, iid, "merge request is to merge by itself");
                Ok(Some(armed))
            }
            Err(error) => match error.kind {
                ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused => {
                    Err(error.message)
                }
                // The next look tells.
                ReadKind::Throttled { .. } | ReadKind::Unreachable | ReadKind::Trouble => Ok(None),
            },
        }
    }
}

fn trouble(ReadError { kind, reason: _, message, moved_to: _ }: ReadError) -> (String, Duration) {
    let wait = if let ReadKind::Throttled { wait } = kind { wait } else { Duration::ZERO };
    (message, wait)
}
