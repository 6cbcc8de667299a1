//! Nothing in GitLab carries our mark: an intent, then a create.

use std::collections::BTreeMap;

use super::{Created, Draft, Effect, SOON, later};
use crate::decide::schedule::Standing;
use crate::domain::Reason;
use crate::domain::schedule::in_gitlab::{Fields, Marker, Wanted};
use crate::domain::schedule::status::Creating;

/// An intent is never sent when it is older than this, so nothing may still be about to be sent when it has passed.
pub const INTENT_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(10);

impl Draft<'_> {
    /// What became of a create in this turn.
    pub(super) fn take_create(&mut self, wanted: &Wanted) {
        match self.seen.facts.created.as_ref() {
            None => {}
            Some(Created::Made { id }) => {
                let id = *id;
                let known = self.known(wanted);
                known.schedule_id = Some(id);
                known.creating = None;
                let message = format!("pipeline schedule {id} was created in project {}", wanted.project);
                self.tell(false, Reason::CreatedInGitLab, message);
            }
            Some(Created::Not(trouble)) => {
                self.known(wanted).creating = None;
                self.trouble(trouble);
            }
            Some(Created::Unknown { message }) => {
                let message = format!("whether the schedule was created in GitLab is not known: {message}");
                self.standing = Some(Standing::waiting(Reason::OutcomeUnknown, message));
                self.look_in(SOON);
            }
        }
    }

    /// Creates it, unless somebody may be about to.
    pub(super) fn make(&mut self, wanted: &Wanted, marker: &Marker) {
        let (now, policy) = (self.seen.now, self.seen.policy);
        if policy.paused {
            return self.rest_paused("nothing is created in GitLab");
        }
        if self.may_come("the schedule is looked for in GitLab by its mark") {
            return;
        }
        let known = self.known(wanted);
        known.creating = Some(Creating { at: now, by: policy.by.clone() });
        if let Some(gone) = known.schedule_id.take() {
            let message = format!(
                "pipeline schedule {gone} is not in project {} any more, and nobody here deleted it: it is created anew",
                wanted.project
            );
            (known.web_url, known.equal_at, known.deactivated_at) = (None, None, None);
            self.tell(true, Reason::DriftRepaired, message);
        }
        let message = "the schedule is being created in GitLab".to_owned();
        self.standing = Some(Standing::waiting(Reason::Sending, message));
        self.effect = Some(Effect::Create(Box::new(Fields {
            description: marker.description(),
            git_ref: wanted.git_ref.as_str().to_owned(),
            cron: wanted.cron.clone(),
            zone: wanted.zone.clone(),
            // Activated when it has its variables, so that it never runs half made.
            active: false,
            inputs: BTreeMap::clone(&wanted.inputs),
        })));
    }

    /// Whether a create may still take effect in GitLab; if so, it is said what happens meanwhile.
    pub(super) fn may_come(&mut self, meanwhile: &str) -> bool {
        let creating = self.status.gitlab.as_ref().and_then(|known| known.creating.as_ref());
        let Some(creating) = creating else { return false };
        let proven = later(later(creating.at, INTENT_MAX_AGE), self.seen.policy.resolution_delay);
        if self.seen.now >= proven {
            return false;
        }
        let message = format!("a create was sent, or may have been, and its reply is not known; {meanwhile}");
        self.standing = Some(Standing::waiting(Reason::OutcomeUnknown, message));
        self.look_in(SOON);
        let soonest = self.wake.map_or(proven, |wake| wake.min(proven));
        (self.wake, self.next_look) = (Some(soonest), Some(soonest));
        true
    }

    pub(super) fn rest_paused(&mut self, what: &str) {
        let message = format!(
            "the operator is paused (--pause): {what}; what is active there runs on, by GitLab's clock"
        );
        self.standing = Some(Standing::resting(Reason::Paused, &message));
        self.look_in(self.seen.policy.interval);
    }
}
