//! What a person says of a run that nobody can decide: the annotation `pipekick.dev/resolve`.

use std::str::FromStr;

use super::absorb::accept;
use super::{Draft, Effect, LookAt, access_of, end};
use crate::decide::action::{said, seq_of, unanswered};
use crate::decide::summary::Standing;
use crate::domain::status::{Answered, Handled};
use crate::domain::{FireId, LastAttempt, Named, Phase, Pipeline, PipelineStatus, Reason, Report, Run};

/// `12:refire`, `12:abandon`, `12:adopt=345`; `#anything` at the end makes a value new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    seq: u64,
    verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Refire,
    Abandon,
    Adopt(u64),
}

impl FromStr for Order {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seq, verb) = said(text).split_once(':').ok_or(())?;
        let verb = match verb.trim() {
            "refire" => Verb::Refire,
            "abandon" => Verb::Abandon,
            other => Verb::Adopt(other.strip_prefix("adopt=").ok_or(())?.trim().parse().map_err(|_| ())?),
        };
        Ok(Self { seq: seq_of(seq).ok_or(())?, verb })
    }
}

impl Draft<'_> {
    /// Answers the annotation, once per value.
    pub(super) fn resolve(&mut self) {
        let handled = self.status.last_handled.resolve.as_ref();
        let Some(value) = unanswered(self.seen.trigger.resolve.as_ref(), handled) else { return };
        let answer = match (value.parse::<Order>(), &self.status.run) {
            (Err(()), _) => Some(Answered::Invalid),
            (Ok(order), Some(run)) if order.seq == run.seq && can_be_resolved(run) => {
                self.carry_out(order.verb)
            }
            (Ok(_), _) => Some(Answered::Ignored),
        };
        if let Some(answer) = answer {
            self.status.last_handled.resolve = Some(Handled { value, answer });
        }
    }

    /// `None` while the answer waits for a look at GitLab.
    fn carry_out(&mut self, verb: Verb) -> Option<Answered> {
        let now = self.seen.now;
        match verb {
            Verb::Refire => {
                self.wait_again(Reason::Waiting, "sent again, as pipekick.dev/resolve asked");
                if let Some(run) = &mut self.status.run {
                    // Who sends it again does not want it cancelled any more.
                    (run.cancel_requested_at, run.cancel_requested_by) = (None, None);
                    if let Some(attempt) = &mut run.attempt {
                        attempt.unproven = true;
                    }
                }
                Some(Answered::Refired)
            }
            Verb::Abandon => {
                let run = self.status.run.as_deref_mut()?;
                let message = format!("run {} was given up, as pipekick.dev/resolve asked", run.seq);
                end(run, Phase::Superseded, Reason::Abandoned, message, now);
                Some(Answered::Abandoned)
            }
            Verb::Adopt(id) => self.adopt(id),
        }
    }

    fn adopt(&mut self, id: u64) -> Option<Answered> {
        let (seen, run) = (self.seen, self.status.run.as_deref()?);
        let Some(access) = access_of(run, seen.trigger) else {
            // Nobody can check it; nobody can follow it either.
            self.take_as_own(bare(id), false);
            return Some(Answered::Adopted);
        };
        match seen.facts.named.as_ref().filter(|(of, _)| *of == id).map(|(_, named)| named) {
            None => {
                let target = run.target.clone();
                self.effect = Effect::LookAt(Box::new(LookAt { pipeline_id: id, target, access }));
                None
            }
            Some(Named::Seen { pipeline, carries }) => {
                if let Err(why) = is_its_own(run, pipeline, carries.as_ref()) {
                    self.tell(true, Reason::NotAdopted, &format!("pipeline {id} was not adopted: {why}"));
                    return Some(Answered::NotItsOwn);
                }
                self.take_as_own(pipeline.clone(), true);
                Some(Answered::Adopted)
            }
            Some(Named::Missing) => {
                let message =
                    format!("pipeline {id} was not adopted: {} has no such pipeline", run.target.project);
                self.tell(true, Reason::NotAdopted, &message);
                Some(Answered::NotFound)
            }
            Some(Named::Trouble { reason, message }) => {
                // Told beside what the run says of itself, and gone when the look succeeds.
                let message =
                    format!("pipeline {id} could not be looked at yet, to adopt it ({reason}): {message}");
                self.standing = Some(Standing { phase: run.phase, reason: Reason::NotAdopted, message });
                self.wake_after(super::look::LOOK_INTERVAL);
                None
            }
        }
    }

    fn take_as_own(&mut self, pipeline: Pipeline, followed: bool) {
        let now = self.seen.now;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        run.target.look_with(access_of(run, self.seen.trigger));
        run.finished_at = None;
        run.fired_at = Some(pipeline.created_at.unwrap_or(now).clamp(run.intended_at.min(now), now));
        if let Some(attempt) = &mut run.attempt {
            attempt.last = LastAttempt::Accepted;
            (attempt.absent_at, attempt.absent_at_gitlab) = (None, None);
        }
        let message = format!("pipeline {} was adopted, as pipekick.dev/resolve asked", pipeline.id);
        accept(run, pipeline, Report::default(), followed, now);
        self.tell(false, Reason::PipelineFound, &message);
        if followed {
            self.check_later();
        }
    }
}

/// What speaks against `pipeline` being the run's, if anything does. What a token may not read does not.
fn is_its_own(run: &Run, pipeline: &Pipeline, carries: Option<&FireId>) -> Result<(), String> {
    let short = |name: &str| {
        let short = name.strip_prefix("refs/heads/").or_else(|| name.strip_prefix("refs/tags/"));
        short.unwrap_or(name).to_owned()
    };
    let (wanted, git_ref) = (short(&run.target.git_ref), pipeline.git_ref.as_deref().map(short));
    if git_ref.as_ref() != Some(&wanted) {
        return Err(format!("it is of {}, and the run of {wanted}", git_ref.as_deref().unwrap_or("no ref")));
    }
    let wanted = if run.target.trigger.is_some() { "trigger" } else { "api" };
    if let Some(source) = pipeline.source.as_deref().filter(|source| *source != wanted) {
        return Err(format!("its source is {source}, and that of the run is {wanted}"));
    }
    match carries {
        Some(other) if *other != run.fire_id => Err(format!("it carries the name of another run, {other}")),
        Some(_) | None => Ok(()),
    }
}

/// Only a run of which nobody knows whether it has a pipeline.
fn can_be_resolved(run: &Run) -> bool {
    run.phase == Phase::Unknown || (run.phase == Phase::Held && run.reason == Some(Reason::Undecided))
}

fn bare(id: u64) -> Pipeline {
    Pipeline {
        id,
        iid: None,
        project_id: None,
        git_ref: None,
        sha: None,
        status: PipelineStatus::Created,
        source: None,
        web_url: None,
        created_at: None,
        started_at: None,
        finished_at: None,
        duration_seconds: None,
        name: None,
        coverage: None,
        updated_at: None,
        yaml_errors: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_its_run_and_nonsense_is_none() {
        let order = |text: &str| text.parse::<Order>();
        assert_eq!(order("12:refire"), Ok(Order { seq: 12, verb: Verb::Refire }));
        assert_eq!(order(" 3 : abandon #again"), Ok(Order { seq: 3, verb: Verb::Abandon }));
        assert_eq!(order("1:adopt=77#2"), Ok(Order { seq: 1, verb: Verb::Adopt(77) }));
        for nonsense in ["", "refire", "12", "x:refire", "12:fire", "12:adopt", "12:adopt=x", "-1:refire"] {
            assert_eq!(order(nonsense), Err(()), "{nonsense}");
        }
    }
}
