//! Asks GitLab to cancel a run's pipeline, and remembers what that brought.
//!
//! Any number of requests does no harm, so nothing guards them but the wish on record. What a request brought is
//! this process's own knowledge: the next process asks again.

use std::fmt::Display;
use std::time::Duration;

use pipekick_core::decide::trigger::CancelOrder;
use pipekick_core::domain::{Access, Cancelled, CredentialUse, GitLabUrl, ObjectKey, ProjectRef, Reason};
use secrecy::SecretString;

use super::TriggerController;
use crate::cluster::secrets::Unavailable;
use crate::gitlab::{Endpoint, ReadError, ReadKind};

impl TriggerController {
    pub(super) async fn cancel(&self, key: &ObjectKey, order: &CancelOrder) {
        let (brought, at_least) = self.ask_to_cancel(key, order).await;
        let pipeline_id = order.pipeline_id;
        match &brought {
            Cancelled::Taken(pipeline) => {
                tracing::info!(object = %key, pipeline_id, status = %pipeline.status, "gitlab took the request to cancel");
                self.follower.look_soon(key);
            }
            Cancelled::Refused { reason, message } => {
                tracing::info!(object = %key, pipeline_id, %reason, detail = message, "gitlab refused to cancel");
            }
            Cancelled::Trouble { reason, message } => {
                tracing::info!(object = %key, pipeline_id, %reason, detail = message, "gitlab could not be asked to cancel");
            }
        }
        self.memories.cancelled(key, order, brought, at_least);
    }

    /// What GitLab says, and how long to leave it alone at least.
    async fn ask_to_cancel(&self, key: &ObjectKey, order: &CancelOrder) -> (Cancelled, Duration) {
        let (at, token) = match self.reach_for_cancel(key, order).await {
            Ok(reached) => reached,
            Err(trouble) => return trouble,
        };
        let asked = match self.gitlab.cancel(&at, order.pipeline_id, &token).await {
            // Renamed or moved since: GitLab says where to, on the same host.
            Err(ReadError { moved_to: Some(project), .. }) => {
                self.gitlab.cancel(&Endpoint { project, ..at }, order.pipeline_id, &token).await
            }
            asked => asked,
        };
        match asked {
            Ok(pipeline) => (Cancelled::Taken(pipeline), Duration::ZERO),
            Err(ReadError { kind, reason, message, moved_to: _ }) => match kind {
                ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden => {
                    (Cancelled::Refused { reason, message }, Duration::ZERO)
                }
                ReadKind::Throttled { wait } => (Cancelled::Trouble { reason, message }, wait),
                ReadKind::Refused | ReadKind::Unreachable | ReadKind::Trouble => {
                    (Cancelled::Trouble { reason, message }, Duration::ZERO)
                }
            },
        }
    }

    async fn reach_for_cancel(
        &self,
        key: &ObjectKey,
        order: &CancelOrder,
    ) -> Result<(Endpoint, SecretString), (Cancelled, Duration)> {
        let CancelOrder { pipeline_id: _, requested_at: _, url, project, named_project, access } = order;
        let nonsense = |e: &dyn Display| {
            let (reason, message) = (Reason::CannotFollow, format!("status.run.target: {e}"));
            (Cancelled::Refused { reason, message }, Duration::ZERO)
        };
        let url: GitLabUrl = url.parse().map_err(|e| nonsense(&e))?;
        let project: ProjectRef = project.parse().map_err(|e| nonsense(&e))?;
        let named: ProjectRef = named_project.parse().map_err(|e| nonsense(&e))?;
        let to = CredentialUse { url: &url, default_url: &self.config.gitlab_url, project: &named };
        let unavailable = |missing: Unavailable| {
            let trouble = Cancelled::Trouble { reason: missing.reason, message: missing.message };
            (trouble, missing.look_again)
        };
        let Access { token: access, ca_bundle } = access;
        let token = self.secrets.token(&key.namespace, access, to).await.map_err(unavailable)?;
        self.follower.remember_fingerprint(&key.namespace, access, self.gitlab.fingerprint(&token));
        let trust = self.secrets.trust(&key.namespace, ca_bundle.as_ref()).await.map_err(unavailable)?;
        Ok((Endpoint { url, project, trust }, token))
    }
}
