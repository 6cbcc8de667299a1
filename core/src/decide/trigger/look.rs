//! A POST whose outcome is not known is resolved by looking, never by sending it again on a guess.
//!
//! ```text
//!            ┌ found ──────────────────────────────→ Running (or where the pipeline stands)
//! Unknown ───┼ absent, twice, a resolution delay apart → Pending: sent once more, same fire id
//!            └ cannot tell ── onUnknown ── Hold → Held (Undecided)
//!                                       └─ Refire → Pending: at least once
//! ```
//!
//! Assumption: a request takes effect within the resolution delay or never.

use std::time::Duration;

use super::absorb::{accept, back_off, back_off_lost};
use super::{CLOCKS_DIFFER, Draft, Effect, INTENT_MAX_AGE, LookUp, Observed, access_of, end, later};
use crate::domain::{Answer, LastAttempt, Lookup, OnUnknown, Phase, Pipeline, Reason, Report, Run};

/// Looks that settled nothing are this far apart: what takes effect late is found soon after.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// For so long at least the pipeline of a run that failed at birth is looked for: the next process finds it too.
const LINKED_WITHIN: Duration = Duration::from_secs(120);
/// The machines behind one GitLab address tell slightly different times.
const GITLAB_CLOCK_MARGIN: Duration = Duration::from_secs(60);

impl Draft<'_> {
    /// The outcome of the last POST is unknown: look, or take in what a look brought.
    pub(super) fn absorb_lookup(&mut self) {
        let seen = self.seen;
        let Some(run) = &self.status.run else { return };
        let (Some(key), Some(attempt)) = (run.attempt_key(), &run.attempt) else { return };
        if access_of(run, seen.trigger).is_none() {
            self.absorb_blindness();
            return;
        }
        let lookup =
            seen.facts.lookup.as_ref().filter(|(of, _)| *of == key).map(|(_, lookup)| lookup.clone());
        let marked = attempt.marked;
        match lookup {
            None => self.look(),
            Some(Lookup::Found { pipeline, report, duplicates }) => {
                self.found(pipeline, report, &duplicates);
            }
            Some(Lookup::NoCandidate) => self.absent(),
            Some(Lookup::NoneOurs) if marked => self.absent(),
            Some(Lookup::NoneOurs) => self.cannot_tell(
                "other pipelines were created on the ref meanwhile, and the lost request carried no mark to tell its own by",
            ),
            Some(Lookup::CannotTell { reason, message }) => {
                self.cannot_tell(&format!("{message} ({reason})"));
            }
            Some(Lookup::Trouble { reason, message }) => {
                let mut message = format!("a pipeline may or may not have been created, and GitLab cannot be asked yet ({reason}): {message}");
                // It is the GitLab that the request went to which is asked, whatever spec says by now.
                if seen.facts.intent_age.unwrap_or_default() >= seen.policy.resolution_delay {
                    let way_out = format!(
                        ". Should it never be possible, look in GitLab, then annotate pipekick.dev/resolve=\"{0}:refire\" or \"{0}:abandon\"",
                        run.seq
                    );
                    message.push_str(&way_out);
                }
                self.say(Reason::OutcomeUnknown, message);
                self.wake_for_look();
            }
        }
    }

    /// Without an access token an unknown outcome stays one: no look will ever tell.
    pub(super) fn absorb_blindness(&mut self) {
        let Some(run) = self.status.run.as_deref().filter(|run| run.phase == Phase::Unknown) else { return };
        if access_of(run, self.seen.trigger).is_none() {
            self.undecided("without accessTokenRef nobody can look whether the lost request made a pipeline");
        }
    }

    /// Orders a look, unless the last one was a moment ago or its trouble asks to wait.
    pub(super) fn look(&mut self) {
        let seen = self.seen;
        // What is not on record yet is written before anything is asked.
        let on_record = seen.trigger.status.run.as_deref() == self.status.run.as_deref();
        if !on_record {
            self.wake_at(seen.now);
            return;
        }
        if let Some(wait) = seen.facts.look_again.filter(|wait| *wait > seen.now) {
            self.wake_at(wait);
            return;
        }
        let Some(run) = &self.status.run else { return };
        let (Some(key), Some(attempt)) = (run.attempt_key(), &run.attempt) else { return };
        let Some(access) = access_of(run, seen.trigger) else { return };
        self.effect = Effect::LookUp(Box::new(LookUp {
            key,
            target: run.target.clone(),
            access,
            intended_at: run.intended_at,
            intended_at_gitlab: run.intended_at_gitlab,
            marked: attempt.marked,
        }));
    }

    fn found(&mut self, pipeline: Pipeline, report: Report, duplicates: &[u64]) {
        let now = self.seen.now;
        let Some(run) = &mut self.status.run else { return };
        // What it was found with, it is followed with, whatever becomes of spec.
        run.target.look_with(access_of(run, self.seen.trigger));
        let Some(attempt) = &mut run.attempt else { return };
        attempt.last = LastAttempt::Accepted;
        (attempt.absent_at, attempt.absent_at_gitlab) = (None, None);
        attempt.trouble = None;
        // By GitLab's clock, within what ours knows.
        run.fired_at = Some(pipeline.created_at.unwrap_or(now).clamp(run.intended_at.min(now), now));
        let message = format!("pipeline {} was found: the reply to the request had been lost", pipeline.id);
        accept(run, pipeline, report, true, now);
        self.tell(false, Reason::PipelineFound, &message);
        self.note_duplicates(duplicates);
        self.check_later();
    }

    /// A look found nothing. It proves something only when the request can no longer be on its way to this
    /// process's knowledge, and a second look, a resolution delay later, finds nothing either.
    fn absent(&mut self) {
        let Observed { now, policy, trigger: _, facts } = self.seen;
        let delay = policy.resolution_delay;
        // A look counts from when it began: its list may have been read long before its reply was decided on.
        let took = facts.look_took;
        let age = facts.intent_age.unwrap_or_default().saturating_sub(took);
        let Some(attempt) = self.status.run.as_deref_mut().and_then(|run| run.attempt.as_mut()) else {
            return;
        };
        let is_old = now >= later(attempt.at, CLOCKS_DIFFER + INTENT_MAX_AGE + delay);
        if is_old {
            attempt.absent_at_gitlab = attempt.absent_at_gitlab.or(facts.look_date);
        }
        let first = if age < INTENT_MAX_AGE {
            attempt.absent_at
        } else {
            Some(*attempt.absent_at.get_or_insert(now))
        };
        // Wall time is what status can keep; the age by the monotonic clock guards against a stepped one.
        let by_ours =
            age >= INTENT_MAX_AGE + delay && first.is_some_and(|first| now >= later(first, delay + took));
        // No process may live long enough to see that age. Then the two looks must be as far apart by GitLab's
        // clock, which nobody restarts, and the intent be as old by ours, however wrong the writer's was.
        let by_gitlabs = is_old
            && attempt.absent_at_gitlab.zip(facts.look_date).is_some_and(|(first, last)| {
                last >= later(first, INTENT_MAX_AGE + delay + took + GITLAB_CLOCK_MARGIN)
            });
        if by_ours || by_gitlabs {
            self.send_lost_again(Reason::Waiting, "the lost request made no pipeline (looked twice)", |_| {
                Duration::ZERO
            });
            return;
        }
        let until_it_counts = INTENT_MAX_AGE.saturating_sub(age);
        let until_apart = first.map_or(Duration::ZERO, |first| {
            later(first, delay).duration_since(now).try_into().unwrap_or(Duration::ZERO)
        });
        let left = if until_it_counts.is_zero() {
            until_apart.max((INTENT_MAX_AGE + delay).saturating_sub(age))
        } else {
            until_it_counts
        };
        self.wake_after(left.min(LOOK_INTERVAL));
    }

    /// Candidates cannot be told apart, or not be read. A token may be mended within the resolution delay.
    fn cannot_tell(&mut self, message: &str) {
        let delay = self.seen.policy.resolution_delay;
        let age = self.seen.facts.intent_age.unwrap_or_default();
        let at = self.status.run.as_deref().and_then(|run| run.attempt.as_ref()).map(|attempt| attempt.at);
        let is_old = at.is_some_and(|at| self.seen.now >= later(at, CLOCKS_DIFFER + INTENT_MAX_AGE + delay));
        if age < delay && !is_old {
            self.wake_after((delay - age).min(LOOK_INTERVAL));
            return;
        }
        self.undecided(message);
    }

    fn undecided(&mut self, message: &str) {
        let now = self.seen.now;
        let on_unknown = self.seen.trigger.spec.as_ref().map_or(OnUnknown::Hold, |spec| spec.on_unknown);
        match on_unknown {
            OnUnknown::Hold => {
                let Some(run) = &mut self.status.run else { return };
                let message = format!(
                    "nobody can tell whether a pipeline was created: {message}. Look in GitLab, then annotate \
                     pipekick.dev/resolve=\"{0}:refire\", \"{0}:abandon\" or \"{0}:adopt=<pipeline id>\"",
                    run.seq
                );
                end(run, Phase::Held, Reason::Undecided, message.clone(), now);
                self.tell(true, Reason::Undecided, &message);
            }
            OnUnknown::Refire => {
                let message = format!("{message}; onUnknown is Refire");
                self.send_lost_again(Reason::OutcomeUnknown, &message, back_off);
                if let Some(attempt) = self.status.run.as_deref_mut().and_then(|run| run.attempt.as_mut()) {
                    attempt.unproven = true;
                }
            }
        }
    }

    /// Has the run sent once more: after `first` of its count, and ever more seldom where the request before was lost too.
    fn send_lost_again(&mut self, reason: Reason, message: &str, first: fn(u32) -> Duration) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref() else { return };
        let (Some(key), Some(attempt)) = (run.attempt_key(), &run.attempt) else { return };
        let lost_again = attempt.is_lost_again();
        let wait = if lost_again { back_off_lost(attempt.count) } else { first(attempt.count) };
        let message = match seen.facts.answers.iter().find(|(of, _)| *of == key) {
            // Who keeps answering in GitLab's place must be told of while it is waited for.
            Some((_, Answer::Unknown { message: why })) if lost_again => {
                format!("{message}, as the one before: {why}. It is sent again later, or when spec is edited")
            }
            Some(_) | None => format!("{message}: it is sent again"),
        };
        self.wait_again(reason, &message);
        if let Some(attempt) = self.status.run.as_deref_mut().and_then(|run| run.attempt.as_mut()) {
            attempt.next_at = Some(later(seen.now, wait));
            attempt.trouble = Some(Reason::OutcomeUnknown);
        }
    }

    pub(super) fn wake_for_look(&mut self) {
        let next = later(self.seen.now, LOOK_INTERVAL);
        self.wake_at(self.seen.facts.look_again.filter(|wait| *wait > self.seen.now).unwrap_or(next));
    }

    /// A pipeline that failed at birth exists, and GitLab did not tell its id: find it, for a while.
    pub(super) fn link_stillborn(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        if !is_unlinked_stillborn(run) || access_of(run, seen.trigger).is_none() {
            return;
        }
        let lasts = seen.policy.resolution_delay.max(LINKED_WITHIN);
        let until = later(run.finished_at.unwrap_or(run.intended_at), lasts);
        match (&seen.facts.lookup, run.attempt_key()) {
            (Some((of, Lookup::Found { pipeline, report: _, duplicates })), Some(key)) if *of == key => {
                run.pipeline = Some(pipeline.clone());
                self.note_duplicates(duplicates);
            }
            _ if seen.now >= until => {}
            (Some(_), _) => self.wake_after(LOOK_INTERVAL),
            (None, _) => self.look(),
        }
    }
}

fn is_unlinked_stillborn(run: &Run) -> bool {
    run.phase == Phase::Failed && run.reason == Some(Reason::PipelineFailedAtBirth) && run.pipeline.is_none()
}
