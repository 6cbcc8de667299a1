//! What a decision looks at: the object as the watch brought it, and what this process knows beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use pipekick_core::decide::trigger::{Facts, Observed};
use pipekick_core::domain::{GitLabUrl, ObjectKey, Phase, RetryState, Run, Spec, Trigger, UpdateState};
use tokio::time::Instant;

use super::memory::{Changes, Intent};
use super::{Object, TriggerController, Turn};
use crate::api::trigger::{UnreadableStatus, to_domain};
use crate::clock;
use crate::controllers::images::Images;
use crate::controllers::schedule::{ScheduleRef, scheduled_time};
use crate::gitlab::Account;

/// What is kept of an object: parsed once, when it arrives.
#[derive(Debug)]
pub struct Record {
    pub(super) resource_version: String,
    pub(super) trigger: Result<Trigger, UnreadableStatus>,
    pub(super) seen_at: Instant,
    /// The schedule that controls it, if one does.
    pub(super) schedule: Option<ScheduleRef>,
    /// The tick it was made for.
    pub(super) scheduled_time: Option<String>,
}

impl Record {
    /// Parses an object as it arrives.
    #[must_use]
    pub fn new(object: &Object, default_url: &GitLabUrl) -> Self {
        Self {
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            trigger: to_domain(object, default_url),
            seen_at: clock::instant(),
            schedule: ScheduleRef::of(&object.metadata),
            scheduled_time: scheduled_time(&object.metadata).map(str::to_owned),
        }
    }

    /// Tells what it means to write into repositories.
    pub fn tell(&self, images: &Images) {
        if let Ok(trigger) = &self.trigger {
            images.seen_object(trigger, self.schedule.as_ref());
        }
    }
}

/// The intent in a run of which status does not say what came of it.
fn undecided(run: &Run) -> Option<Intent> {
    match run.phase {
        Phase::Firing | Phase::Unknown => run.attempt_key().map(Intent::Post),
        Phase::Retrying if run.retry.as_ref()?.state == RetryState::Unknown => {
            run.retry_key().map(Intent::Retry)
        }
        Phase::Succeeded | Phase::Failed | Phase::Canceled | Phase::Skipped if run.is_updating() => {
            let begun = run.image_updates.iter().find(|record| record.state == UpdateState::Committing)?;
            Some(Intent::Updates { at: begun.at, by: begun.by.clone() })
        }
        Phase::Pending
        | Phase::Running
        | Phase::Retrying
        | Phase::Succeeded
        | Phase::Fired
        | Phase::Failed
        | Phase::Canceled
        | Phase::Skipped
        | Phase::Rejected
        | Phase::Held
        | Phase::TimedOut
        | Phase::Superseded
        | Phase::Suspended
        | Phase::Idle => None,
    }
}

impl TriggerController {
    pub(super) fn observed<'a>(&'a self, turn: &'a Turn, facts: &'a Facts) -> Observed<'a> {
        let policy = if turn.newborn { &self.policy_of_newborn } else { &self.config.policy };
        Observed { now: clock::now(), policy, trigger: &turn.trigger, facts }
    }

    pub(super) fn facts(&self, key: &ObjectKey, turn: &Turn) -> Facts {
        let intent = turn.trigger.status.active_run().and_then(undecided);
        let now = clock::instant();
        let run = turn.trigger.status.run.as_deref();
        let updates = run.is_some_and(|run| !run.image_updates.is_empty());
        let Changes { retried, naming, deleted } = self.memories.changes(key);
        Facts {
            answers: self.memories.answers(key),
            intent_age: intent.map(|intent| self.memories.age_of(key, intent)),
            credentials: turn.credentials.clone(),
            budget_until: turn.held_back,
            sighting: self.follower.sighting(key),
            lookup: turn.lookup.clone(),
            look_took: turn.look_began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began)),
            look_date: turn.look_date,
            gitlab_now: turn.trigger.spec.as_ref().ok().and_then(|spec| self.gitlab.now_at(&spec.url)),
            look_again: self.memories.look_again(key).map(clock::at),
            cancel: self.memories.cancel_sent(key),
            finding: turn.finding.clone(),
            named: turn.named.clone(),
            looked_at: turn.looked_at.clone(),
            retried,
            naming,
            deleted,
            outputs: turn.outputs.clone(),
            updates: if updates { self.images.seen(key) } else { Vec::new() },
            requests: turn.requests.clone(),
            requests_look_age: self.memories.requests_look_age(key),
            contended: if updates { self.images.contended(key) } else { BTreeMap::new() },
        }
    }

    /// On whose account GitLab will count a POST of this spec. Unknown where the access token was never read.
    pub(super) fn account(&self, key: &ObjectKey, spec: &Spec) -> Option<Account> {
        match (&spec.trigger_token, &spec.access_token) {
            (Some(_), _) => Some(Account::address(&spec.url)),
            (None, Some(access)) => {
                let fingerprint = self.follower.fingerprint(&key.namespace, access)?;
                Some(Account::access(&spec.url, fingerprint))
            }
            (None, None) => None,
        }
    }
}
