//! What to do next about one `PipelineSchedule` that GitLab runs: its counterpart in GitLab is kept equal to spec.
//!
//! ```text
//! deleted?   → delete it there, bounded; then let the object go                                   leaving.rs
//! elsewhere? → delete it where it was                                                             leaving.rs
//! look       → by its id, else by its mark                                                        (the hands)
//!   nothing there → intent into status, create, inactive                                          making.rs
//!   there         → what differs is changed: owner, variables, fields; activated last             compare.rs
//! equal      → status tells next run and last pipeline; what drifted; what GitLab switched off    telling.rs
//! ```
//!
//! # Once, and not twice
//!
//! GitLab knows no key by which a create could be told from its repetition, so it takes the form of a trigger's POST:
//! an intent is written under the resourceVersion that was looked at, only who wrote it sends, and only once. What
//! became of it is looked up by the mark in the description ([`Marker`]), never guessed; it is sent again only when
//! nothing with the mark has shown for the resolution delay. A schedule is created inactive and without variables,
//! so one too many would run nothing; whatever is found beside ours with our mark is deleted.
//!
//! Everything else may be done twice: it sets what is wanted.
//!
//! All that is known of GitLab is learned in one turn and decided on in that turn. A plan that changes GitLab writes
//! nothing but an intent; the decision that sees both sides equal writes once.

mod compare;
mod leaving;
mod making;
mod telling;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub use compare::{Change, ChangeOrder};
pub use leaving::FINALIZER;
pub use making::INTENT_MAX_AGE;

use super::schedule::Standing;
use crate::decide::action::unanswered;
use crate::decide::trigger::Note;
use crate::domain::run::Place;
use crate::domain::schedule::ScheduleStatus;
use crate::domain::schedule::in_gitlab::{Fields, Held, HeldVariable, Kept, Marker, Owner, Wanted};
use crate::domain::schedule::status::InGitLab;
use crate::domain::status::{Answered, Handled};
use crate::domain::{ProjectRef, Reason};

/// What is refused, or in the way, is tried again after this.
const AGAIN: Duration = Duration::from_secs(600);
/// What passes by itself is tried again after this, or when GitLab asks.
const SOON: Duration = Duration::from_secs(10);

/// What decisions need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `--pause`: nothing is changed in GitLab.
    pub paused: bool,
    /// This process, as it signs its intents.
    pub by: String,
    /// A request takes effect within this, or never.
    pub resolution_delay: Duration,
    /// How long a deletion may wait for GitLab.
    pub patience: Duration,
    /// Between two looks at a schedule that is as it should be.
    pub interval: Duration,
}

/// Everything one decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// The time.
    pub now: Timestamp,
    /// The operator's settings.
    pub policy: &'a Policy,
    /// The object.
    pub schedule: &'a Kept,
    /// What this turn has learned and done.
    pub facts: &'a Facts,
}

/// What this process knows beside the object; all but the first two are of this turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The object's mark, or why there is none.
    pub marker: Result<Marker, String>,
    /// Not before this GitLab is asked about the object as it is.
    pub next_look: Option<Timestamp>,
    /// What GitLab showed last.
    pub look: Look,
    /// What became of a create.
    pub created: Option<Created>,
    /// What was changed, in this order.
    pub applied: Vec<Applied>,
    /// What became of a delete.
    pub deleted: Option<Deleted>,
}

/// A look at GitLab.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// Not taken since something was changed.
    NotYet,
    /// Both sides, as they are.
    Seen(Box<Seen>),
    /// One side could not be seen.
    Trouble(Trouble),
}

/// What a look brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Whom the access token acts for.
    pub user: Owner,
    /// The schedule with the id that was known, or else the oldest with our mark.
    pub held: Option<Held>,
    /// Further schedules with our mark.
    pub others: Vec<u64>,
    /// The variables that spec wants, with their values as they stand now.
    pub variables: Vec<HeldVariable>,
    /// GitLab's clock: what is due there is due by it.
    pub date: Timestamp,
}

/// Why something could not be seen or done. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// For the condition.
    pub reason: Reason,
    /// In a sentence, without times.
    pub message: String,
    /// Asked the same again, GitLab says the same: a person must do something.
    pub stuck: bool,
    /// Not before this has passed.
    pub wait: Duration,
}

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It exists.
    Made {
        /// GitLab's id of it.
        id: u64,
    },
    /// Nothing exists.
    Not(Trouble),
    /// Nobody knows.
    Unknown {
        /// What came instead of an answer.
        message: String,
    },
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// What was asked.
    pub order: ChangeOrder,
    /// When.
    pub at: Timestamp,
    /// Why not all of it was done.
    pub failure: Option<Trouble>,
}

/// What became of a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// Nothing is left of it.
    Done,
    /// Something may be left.
    Not(Trouble),
}

/// What to do: the status first, if there is one, then the effect.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Written first, guarded by the resourceVersion that was looked at; if that fails nothing else is done.
    pub status: Option<Box<ScheduleStatus>>,
    /// Done after the write has won; then decide again.
    pub effect: Option<Effect>,
    /// Told after the write has won; without one, after the effect.
    pub events: Vec<Note>,
    /// Decide again then, whatever happens meanwhile.
    pub wake: Option<Timestamp>,
    /// To be brought back as [`Facts::next_look`] while the object's generation is the same.
    pub next_look: Option<Timestamp>,
}

/// Something to do beside writing. Each but the create bears being done twice.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make these the object's finalizers.
    SetFinalizers(Vec<String>),
    /// See both sides.
    Look(LookOrder),
    /// Create the schedule. Sent only by who wrote the intent, and only while that is young.
    Create(Box<Fields>),
    /// Change the schedule that was seen, one request after the other; the first that fails ends it.
    Change(ChangeOrder),
    /// Delete a schedule.
    Delete(DeleteOrder),
}

/// A look to take, with the access token of `place` and the spec of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookOrder {
    /// Where.
    pub place: Place,
    /// The id that is known. Without one, and if there is no such schedule any more, the mark is looked for.
    pub schedule_id: Option<u64>,
    /// The mark.
    pub marker: Marker,
}

/// A schedule to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteOrder {
    /// Where.
    pub place: Place,
    /// Its id, if it is known.
    pub schedule_id: Option<u64>,
    /// Whatever carries this mark is deleted too: there may be one whose id was never learned.
    pub marker: Option<Marker>,
}

impl Plan {
    /// Whether to decide again at once, when all of it was done.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.status.is_some() || self.effect.is_some()
    }
}

/// What to do about `observed.schedule` next.
#[must_use]
pub fn decide(observed: &Observed<'_>) -> Plan {
    let mut draft = Draft::new(*observed);
    draft.run();
    draft.finish()
}

/// A decision in the making.
struct Draft<'a> {
    seen: Observed<'a>,
    status: ScheduleStatus,
    standing: Option<Standing>,
    effect: Option<Effect>,
    events: Vec<Note>,
    wake: Option<Timestamp>,
    next_look: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    fn new(seen: Observed<'a>) -> Self {
        let mut status = seen.schedule.status.clone();
        // What another object was, a backup may have brought here.
        if status.gitlab.as_ref().is_some_and(|known| known.uid != seen.schedule.uid) {
            status.gitlab = None;
        }
        Self {
            seen,
            status,
            standing: None,
            effect: None,
            events: Vec::new(),
            wake: None,
            next_look: seen.facts.next_look,
        }
    }

    fn run(&mut self) {
        let Kept { deleted_at, spec, .. } = self.seen.schedule;
        if let Some(deleted_at) = deleted_at {
            return self.leave(*deleted_at);
        }
        if self.settle_finalizer() {
            return;
        }
        self.answer_request();
        let wanted = match spec {
            Ok(wanted) => wanted,
            Err(problem) => {
                let runs = self.status.gitlab.as_ref().is_some_and(|known| known.active == Some(true));
                let runs = if runs { "; GitLab runs the schedule on as it was before" } else { "" };
                self.standing = Some(Standing::invalid(&format!("{}{runs}", problem.0)));
                return;
            }
        };
        self.status.resolved_schedules = vec![wanted.cron.clone()];
        let marker = match &self.seen.facts.marker {
            Ok(marker) => marker,
            Err(message) => {
                self.standing = Some(Standing::waiting(Reason::ClusterIdUnknown, message.clone()));
                return self.wake_in(Duration::from_secs(60));
            }
        };
        if self.is_elsewhere(wanted) && !self.left(marker) {
            return;
        }
        self.take_create(wanted);
        if self.standing.is_some() {
            return;
        }
        match &self.seen.facts.look {
            Look::NotYet => self.look(wanted, marker),
            Look::Trouble(trouble) => self.trouble(trouble),
            Look::Seen(seen) => match &seen.held {
                None => self.make(wanted, marker),
                Some(held) => self.keep(wanted, marker, seen, held),
            },
        }
    }

    /// Looks if it is time; what was asked of GitLab in this turn is looked at at once.
    fn look(&mut self, wanted: &Wanted, marker: &Marker) {
        let facts = self.seen.facts;
        let in_turn = facts.created.is_some() || facts.deleted.is_some() || !facts.applied.is_empty();
        match facts.next_look {
            Some(at) if at > self.seen.now && !in_turn => self.wake = Some(at),
            Some(_) | None => {
                self.effect = Some(Effect::Look(LookOrder {
                    place: wanted.place(),
                    schedule_id: self.status.gitlab.as_ref().and_then(|known| known.schedule_id),
                    marker: marker.clone(),
                }));
            }
        }
    }

    fn trouble(&mut self, trouble: &Trouble) {
        let Trouble { reason, message, stuck, wait } = trouble;
        self.standing = Some(if *stuck {
            Standing::stalled(*reason, message.clone())
        } else {
            Standing::waiting(*reason, message.clone())
        });
        self.look_in((*wait).max(if *stuck { AGAIN } else { SOON }));
    }

    /// What is known of the schedule in GitLab; begun if nothing is.
    fn known(&mut self, wanted: &Wanted) -> &mut InGitLab {
        let uid = &self.seen.schedule.uid;
        let known = self.status.gitlab.get_or_insert_with(|| InGitLab {
            place: wanted.place(),
            uid: uid.clone(),
            schedule_id: None,
            web_url: None,
            owner: None,
            active: None,
            creating: None,
            equal_at: None,
            last_pipeline: None,
            last_drift: None,
            deactivated_at: None,
            leaving_since: None,
        });
        // Credentials may be named anew while url and project stay.
        known.place = wanted.place();
        known
    }

    /// A run by request is a child's, and there are none.
    fn answer_request(&mut self) {
        let handled = self.status.last_handled.fire.as_ref();
        let Some(value) = unanswered(self.seen.schedule.fire.as_ref(), handled) else { return };
        self.status.last_handled.fire = Some(Handled { value, answer: Answered::RunByGitLab });
    }

    fn tell(&mut self, warning: bool, reason: Reason, message: String) {
        self.events.push(Note { warning, reason, message });
    }

    fn wake_in(&mut self, wait: Duration) {
        self.wake = Some(later(self.seen.now, wait));
    }

    /// Leaves GitLab alone until then.
    fn look_in(&mut self, wait: Duration) {
        self.wake_in(wait);
        self.next_look = self.wake;
    }

    fn finish(mut self) -> Plan {
        let Kept { generation, .. } = self.seen.schedule;
        if let Some(standing) = self.standing.take() {
            standing.write(&mut self.status, *generation, self.seen.now);
        }
        let (wake, next_look) = (self.wake, self.next_look);
        match self.effect {
            // Written and told by the decision that learns what came of it.
            Some(effect @ (Effect::Look(_) | Effect::Change(_) | Effect::Delete(_))) => {
                Plan { effect: Some(effect), ..Plan::default() }
            }
            // The object may be gone after it; what is to be said of it is said in Events.
            Some(effect @ Effect::SetFinalizers(_)) => {
                Plan { effect: Some(effect), events: self.events, ..Plan::default() }
            }
            effect @ (Some(Effect::Create(_)) | None) => {
                let changed = self.status != self.seen.schedule.status;
                let (status, events) =
                    if changed { (Some(Box::new(self.status)), self.events) } else { (None, Vec::new()) };
                Plan { status, effect, events, wake, next_look }
            }
        }
    }
}

/// The schedule's page in GitLab, if it can be told without asking.
fn web_url(wanted: &Wanted, id: u64) -> Option<String> {
    match &wanted.project {
        ProjectRef::Path(path) => {
            let url = wanted.url.as_str().trim_end_matches('/');
            Some(format!("{url}/{path}/-/pipeline_schedules/{id}/edit"))
        }
        ProjectRef::Id(_) => None,
    }
}

/// `at` and `wait` later, or the end of time.
fn later(at: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| at.checked_add(wait).ok()).unwrap_or(Timestamp::MAX)
}
