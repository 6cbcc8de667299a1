//! A schedule that is not wanted where it is: its object is being deleted, or names another project now.
//!
//! Neither gets stuck on GitLab: each waits `--cancel-patience` at most, and half a minute for a Secret that is gone,
//! which in a namespace that is being deleted will not come back. What is left then is told.

use std::time::Duration;

use jiff::Timestamp;

use super::{DeleteOrder, Deleted, Draft, Effect, SOON, Trouble, later};
use crate::decide::schedule::Standing;
use crate::decide::summary::names_something_missing;
use crate::domain::Reason;
use crate::domain::run::Place;
use crate::domain::schedule::ScheduleDeletion;
use crate::domain::schedule::in_gitlab::{Kept, Marker, Wanted};

/// The finalizer of `deletionPolicy: Delete`.
pub const FINALIZER: &str = "pipekick.dev/gitlab-schedule";
/// How long a deletion waits for a Secret that is missing.
const SECRET_PATIENCE: Duration = Duration::from_secs(30);

impl Draft<'_> {
    /// Whether the finalizer is to be put on or taken off; a spec that cannot be read leaves it as it is.
    pub(super) fn settle_finalizer(&mut self) -> bool {
        let Some(deletion) = self.seen.schedule.deletion else { return false };
        let wanted = deletion == ScheduleDeletion::Delete;
        if wanted == self.is_kept() {
            return false;
        }
        let mut finalizers = self.seen.schedule.finalizers.clone();
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        } else {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        self.effect = Some(Effect::SetFinalizers(finalizers));
        true
    }

    fn is_kept(&self) -> bool {
        self.seen.schedule.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }

    /// The object is being deleted: its schedule first, then the finalizer.
    pub(super) fn leave(&mut self, deleted_at: Timestamp) {
        if !self.is_kept() {
            return;
        }
        let Kept { deletion, spec, .. } = self.seen.schedule;
        if *deletion == Some(ScheduleDeletion::Orphan) {
            return self.let_go();
        }
        if self.seen.policy.paused {
            return self.rest_paused("the schedule stays there, and its object waits to be deleted");
        }
        let place = match (&self.status.gitlab, spec) {
            (Some(known), Ok(wanted)) if is_at(&known.place, wanted) => wanted.place(),
            (Some(known), Ok(_) | Err(_)) => known.place.clone(),
            // Whether one was found or made and never written about, only GitLab knows.
            (None, Ok(wanted)) => wanted.place(),
            (None, Err(_)) => return self.let_go(),
        };
        let schedule_id = self.status.gitlab.as_ref().and_then(|known| known.schedule_id);
        let marker = match &self.seen.facts.marker {
            Ok(marker) => Some(marker.clone()),
            Err(_) if schedule_id.is_some() => None,
            Err(message) => return self.orphan(&place, message),
        };
        match &self.seen.facts.deleted {
            None if self.waits() => {}
            None => self.effect = Some(Effect::Delete(DeleteOrder { place, schedule_id, marker })),
            // What comes of a create after the object is gone would run for ever.
            Some(Deleted::Done) => {
                if !self.may_come("the object goes when none can come any more") {
                    self.let_go();
                }
            }
            Some(Deleted::Not(trouble)) => {
                if self.gives_up(trouble, deleted_at) {
                    self.orphan(&place, &trouble.message);
                }
            }
        }
    }

    /// Whether GitLab is to be left alone for now.
    fn waits(&mut self) -> bool {
        let waits = self.seen.facts.next_look.is_some_and(|at| at > self.seen.now);
        if waits {
            self.wake = self.seen.facts.next_look;
        }
        waits
    }

    /// Whether a delete is given up; if not, it is said what it waits for. Patience counts from the first try, for the
    /// operator may have been away before; where that cannot be recorded, from `wished_at`.
    fn gives_up(&mut self, trouble: &Trouble, wished_at: Timestamp) -> bool {
        let Trouble { reason, message, stuck, wait } = trouble;
        let now = self.seen.now;
        let since = self.status.gitlab.as_ref().map_or(wished_at, |known| known.leaving_since.unwrap_or(now));
        let patience = self.seen.policy.patience;
        let patience =
            if names_something_missing(*reason) { patience.min(SECRET_PATIENCE) } else { patience };
        let over = later(since, patience);
        if *stuck || over <= now {
            return true;
        }
        if let Some(known) = &mut self.status.gitlab {
            known.leaving_since = Some(since);
        }
        let message = format!("the schedule is to be deleted in GitLab, and is not yet: {message}");
        self.standing = Some(Standing::waiting(*reason, message));
        self.look_in((*wait).max(SOON));
        let soonest = self.wake.map_or(over, |wake| wake.min(over));
        (self.wake, self.next_look) = (Some(soonest), Some(soonest));
        false
    }

    /// The schedule, if there is one, is left to itself.
    fn orphan(&mut self, place: &Place, why: &str) {
        self.tell_left(place, why);
        self.let_go();
    }

    fn tell_left(&mut self, place: &Place, why: &str) {
        let which = match self.status.gitlab.as_ref().and_then(|known| known.schedule_id) {
            Some(id) => format!("pipeline schedule {id}"),
            None => "a pipeline schedule".into(),
        };
        let message = format!("{which} may go on in project {} of {}: {why}", place.project, place.url);
        self.tell(true, Reason::LeftInGitLab, message);
    }

    fn let_go(&mut self) {
        let mut finalizers = self.seen.schedule.finalizers.clone();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        self.standing = None;
        self.effect = Some(Effect::SetFinalizers(finalizers));
    }

    /// Whether something may be left where spec does not look any more.
    pub(super) fn is_elsewhere(&self, wanted: &Wanted) -> bool {
        self.status.gitlab.as_ref().is_some_and(|known| {
            !is_at(&known.place, wanted) && (known.schedule_id.is_some() || known.creating.is_some())
        })
    }

    /// Whether the old place is done with; if not, it is being done or waited for.
    pub(super) fn left(&mut self, marker: &Marker) -> bool {
        let Some(known) = self.status.gitlab.clone() else { return true };
        if self.seen.policy.paused {
            self.rest_paused("the schedule stays where it is");
            return false;
        }
        match &self.seen.facts.deleted {
            None if self.waits() => return false,
            None => {
                self.effect = Some(Effect::Delete(DeleteOrder {
                    place: known.place,
                    schedule_id: known.schedule_id,
                    marker: known.creating.map(|_| marker.clone()),
                }));
                return false;
            }
            Some(Deleted::Done) => {
                if self.may_come("it is deleted there before the schedule is created elsewhere") {
                    return false;
                }
            }
            Some(Deleted::Not(trouble)) => {
                if !self.gives_up(trouble, self.seen.now) {
                    return false;
                }
                self.tell_left(&known.place, &trouble.message);
            }
        }
        self.status.gitlab = None;
        true
    }
}

fn is_at(place: &Place, wanted: &Wanted) -> bool {
    place.url == wanted.url.to_string() && place.project == wanted.project.to_string()
}
