//! Changes asked of a pipeline that exists: start failed jobs again, name it, delete it. Each is sent once; what
//! became of it is said in the words of the core.

use std::time::Duration;

use pipekick_core::decide::trigger::{LOOK_INTERVAL, LookAt, NameOrder};
use pipekick_core::domain::run::Place;
use pipekick_core::domain::{Access, Changed, Deletion, PipelineStatus, ProjectRef, Reason, Target};

use super::lookup::Looker;
use crate::clock;
use crate::gitlab::{ReadError, ReadKind};

impl Looker {
    /// Starts the failed jobs of a pipeline again. `None` if it is too late for that when the token is at hand: reading
    /// it may have taken long.
    pub(super) async fn retry(
        &self,
        namespace: &str,
        look: &LookAt,
        in_time: impl Fn() -> bool,
    ) -> Option<Changed> {
        let LookAt { pipeline_id, target, access } = look;
        let (at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((reason, message)) => return Some(not_now(reason, message, Duration::ZERO)),
        };
        if !in_time() {
            return None;
        }
        Some(match self.gitlab.retry_pipeline(&at, *pipeline_id, &token).await {
            Ok(pipeline) => Changed::Done(Some(pipeline)),
            Err(error) => changed(error, None),
        })
    }

    /// Gives a pipeline its name. Asked again it does no harm, so what is unknown is not done.
    pub(super) async fn name(&self, namespace: &str, order: &NameOrder) -> Changed {
        let NameOrder { at: LookAt { pipeline_id, target, access }, name } = order;
        let (at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((reason, message)) => return not_now(reason, message, LOOK_INTERVAL),
        };
        match self.gitlab.name_pipeline(&at, *pipeline_id, name, &token).await {
            Ok(()) => Changed::Done(None),
            Err(error) => changed(error, Some(LOOK_INTERVAL)),
        }
    }

    /// Deletes a pipeline, unless it runs: GitLab would stop its jobs. Asked again it does no harm.
    pub(super) async fn delete(&self, namespace: &str, deletion: &Deletion) -> Changed {
        let Deletion { pipeline_id, place, tries: _, next_at: _ } = deletion;
        let Place { url, project, project_id, access, ca_bundle } = place;
        let Some(token) = access else {
            let message = "no access token is known for it".into();
            return Changed::Refused { reason: Reason::NotFollowed, message };
        };
        let access = Access { token: token.clone(), ca_bundle: ca_bundle.clone() };
        // The Secret's binding lists the project as it was named; the number survives a rename.
        let target = Target {
            url: url.clone(),
            project: project.clone(),
            git_ref: String::new(),
            trigger: None,
            access: None,
            ca_bundle: None,
        };
        let (mut at, token) = match self.reach(namespace, &target, &access).await {
            Ok(reached) => reached,
            Err((reason, message)) => return not_now(reason, message, LOOK_INTERVAL),
        };
        if let Some(id) = project_id {
            at.project = ProjectRef::Id(*id);
        }
        let done = match self.gitlab.pipeline(&at, *pipeline_id, &token).await {
            Ok(pipeline) if runs(&pipeline.status) => {
                // One that timed out, or that a person started again.
                let message = "it runs, and what runs is not deleted".into();
                return not_now(Reason::PipelineRunning, message, LOOK_INTERVAL);
            }
            Ok(_) => self.gitlab.delete_pipeline(&at, *pipeline_id, &token).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => Changed::Done(None),
            // An expired token may be replaced; a role is not granted in passing.
            Err(error) if error.kind == ReadKind::Unauthorized => {
                not_now(error.reason, error.message, LOOK_INTERVAL)
            }
            Err(error) => changed(error, Some(LOOK_INTERVAL)),
        }
    }
}

/// Whether a job of it runs or will by itself. One that waits for a person does not.
fn runs(status: &PipelineStatus) -> bool {
    !status.is_complete() && *status != PipelineStatus::Manual
}

/// What an error tells of a change. `again`: how soon it may be asked again though it may have been done.
fn changed(error: ReadError, again: Option<Duration>) -> Changed {
    let ReadError { kind, reason, message, moved_to: _ } = error;
    match (kind, again) {
        (ReadKind::NotFound, _) if reason == Reason::PipelineGone => Changed::Gone,
        (ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused, _) => {
            Changed::Refused { reason, message }
        }
        (ReadKind::Throttled { wait }, _) => not_now(reason, message, wait),
        (ReadKind::Unreachable, _) => not_now(reason, message, Duration::ZERO),
        (ReadKind::Trouble, Some(wait)) => not_now(reason, message, wait),
        (ReadKind::Trouble, None) => Changed::Unknown { message },
    }
}

fn not_now(reason: Reason, message: String, wait: Duration) -> Changed {
    Changed::NotNow { reason, message, until: clock::after(wait) }
}
