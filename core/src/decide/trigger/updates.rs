//! Image updates of a run whose pipeline has ended: it stays under way until each has an end of its own.
//!
//! ```text
//! due ── outputs read, templates filled in (fill.rs) ──▶ Committing, on record ──▶ its branch's queue ──▶ an end
//!  ▲                              └─ cannot be ──▶ Refused                               │
//!  └─────────────────────── stopped, and nothing of it was sent ─────────────────────────┘
//! ```
//!
//! Until an entry has begun it follows spec; what has begun is written as it was then. An entry is made once in a
//! run, after the first end of the pipeline that it is due for. While updates are under way the pipeline is not looked
//! at: whatever it does meanwhile is taken in when they are done.
//!
//! The record of an intent is written before the queue gets the change, as that of a POST is. Who finds one that another
//! process wrote takes it over by a record of its own, and has the branch looked at first. Commits themselves are
//! decided on in `decide/image_update.rs`.

mod fill;
mod requests;

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Draft, Effect, INTENT_MAX_AGE, OutputsOrder, OutputsRead, UpdateEntry, UpdateKey, UpdateOrder, UpdateSeen,
};
use crate::decide::image_update::Verdict;
use crate::decide::summary::Standing;
use crate::domain::UpdateRecord;
use crate::domain::size::shorten;
use crate::domain::status::Answered;
use crate::domain::{MergeRequestRecord, Phase, Reason, Run, Spec, UpdateState};

/// Should no queue call, the run is looked at again this soon.
const CALL: Duration = Duration::from_secs(60);

impl Draft<'_> {
    /// Entries that have not begun are what spec says now. A spec that cannot be read says nothing.
    pub(super) fn line_up_updates(&mut self) {
        let Ok(spec) = &self.seen.trigger.spec else { return };
        let Some(run) = self.status.run.as_deref_mut() else { return };
        let may_go_on = run.phase.is_active() || matches!(run.phase, Phase::Rejected | Phase::Held);
        if !may_go_on && !run.is_updating() {
            return;
        }
        let records = &mut run.image_updates;
        for (number, update) in spec.image_updates.iter().enumerate() {
            let fresh = UpdateRecord::of(update);
            match records.get_mut(number) {
                None => records.push(fresh),
                Some(record) if record.state == UpdateState::Pending => {
                    // Of one that spec says as it did, it stays known why it waits.
                    if (UpdateRecord { reason: None, message: None, ..record.clone() }) != fresh {
                        *record = fresh;
                    }
                }
                Some(_) => {}
            }
        }
        // The places of those that have begun stay what they are.
        while records.len() > spec.image_updates.len()
            && records.last().is_some_and(|last| last.state == UpdateState::Pending)
        {
            records.pop();
        }
        for record in records.iter_mut().skip(spec.image_updates.len()) {
            if record.state == UpdateState::Pending {
                record.settle(UpdateState::Canceled, Some("the entry was taken out of spec".into()));
            }
        }
    }

    /// What has become of those that a queue has, or had.
    pub(super) fn absorb_updates(&mut self) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        let mut settled = Vec::new();
        for number in committing(run) {
            match seen_of(seen.facts.updates.as_slice(), run, number) {
                Some(UpdateSeen::Settled(verdict)) => settled.push((number, verdict.clone())),
                Some(UpdateSeen::Held { given_up: _, trouble: Some((reason, message)) }) => {
                    if let Some(record) = run.image_updates.get_mut(number) {
                        wait(record, *reason, message);
                    }
                }
                Some(UpdateSeen::Held { given_up: _, trouble: None }) | None => {}
            }
        }
        self.settle_updates(settled);
    }

    /// Takes in how updates ended, by their numbers, and tells it.
    fn settle_updates(&mut self, verdicts: Vec<(usize, Verdict)>) {
        let now = self.seen.now;
        for (number, verdict) in verdicts {
            let Some(run) = self.status.run.as_deref_mut() else { return };
            let place = place_of(run, number);
            let Some(record) = run.image_updates.get_mut(number) else { continue };
            if let Some((warning, reason, message)) = take_verdict(record, &place, verdict, now) {
                self.tell(warning, reason, &message);
            }
        }
    }

    /// The run is to be cancelled: nothing of it is sent any more. `None` while a queue still has some of it, which may
    /// have been sent.
    pub(super) fn cancel_updates(&mut self) -> Option<Answered> {
        self.gives_up = true;
        let run = self.status.run.as_deref_mut()?;
        cancel(run, "the run was cancelled", |_| true);
        committing(run).is_empty().then_some(Answered::Canceled)
    }

    /// A cause that replaces the run waits for no update that waits itself, for something that is missing or in trouble.
    pub(super) fn replace_updates(&mut self) {
        if self.wants_to_replace()
            && let Some(run) = self.status.run.as_deref_mut().filter(|run| run.is_updating())
        {
            cancel(run, "a newer cause replaces the run (concurrencyPolicy: Replace)", |record| {
                record.reason.is_some()
            });
        }
    }

    /// Of a run that succeeded: what was refused, or given up, is to be tried again. `false` if there is none.
    pub(super) fn retry_updates(&mut self) -> bool {
        let Some(run) = self.status.run.as_deref_mut().filter(|run| run.phase == Phase::Succeeded) else {
            return false;
        };
        let again =
            |record: &&mut UpdateRecord| matches!(record.state, UpdateState::Refused | UpdateState::Canceled);
        let mut any = false;
        for record in run.image_updates.iter_mut().filter(again) {
            record.settle(UpdateState::Pending, None);
            any = true;
        }
        any
    }

    /// A run whose updates are under way: hands in what is due, takes over what another process left, gives up.
    pub(super) fn go_on_updating(&mut self) {
        let Some(run) = self.status.run.as_deref().filter(|run| run.is_updating()) else { return };
        let stopped = self.stopped();
        let gives_up = self.gives_up || stopped.is_some();
        let (mut to_give_up, mut lost) = (Vec::new(), Vec::new());
        for number in committing(run) {
            match seen_of(&self.seen.facts.updates, run, number) {
                Some(UpdateSeen::Held { given_up, trouble }) => {
                    let replaced = trouble.is_some() && self.wants_to_replace();
                    if !given_up && (gives_up || replaced) {
                        to_give_up.extend(key_of(run, number));
                    }
                }
                // Taken in before, or of another intent.
                Some(UpdateSeen::Settled(_)) => {}
                None => lost.push(number),
            }
        }
        let due: Vec<usize> = (0..run.image_updates.len())
            .filter(|number| is_pending(run, *number) && stopped.is_none() && !gives_up)
            .collect();
        if !committing(run).is_empty() {
            self.wake_after(CALL);
        }
        if !to_give_up.is_empty() {
            self.effect = Effect::GiveUp(to_give_up);
            return;
        }
        if !lost.is_empty() && !self.may_take_over() {
            lost.clear();
        }
        if let Some(stopped) = stopped {
            let message = format!("{}; image updates wait: {}", told(&self.status.run), stopped.message);
            self.standing = Some(Standing { phase: Phase::Running, message, ..stopped });
        }
        if !(lost.is_empty() && due.is_empty()) {
            self.hand_in(&due, &lost, gives_up);
        }
    }

    /// The last of them is done: once that is on record, what the pipeline did meanwhile is taken in.
    pub(super) fn leave_updates(&mut self) {
        let updating = |run: Option<&Run>| run.is_some_and(Run::is_updating);
        if updating(self.seen.trigger.status.run.as_deref()) && !updating(self.status.run.as_deref()) {
            self.wake_at(self.seen.now);
        }
    }

    /// An intent that no queue of this process knows: this process's own, when its write was not confirmed; else one
    /// whose process gets some time to end it.
    fn may_take_over(&mut self) -> bool {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref() else { return false };
        let own = run.image_updates.iter().any(|record| record.by.as_ref() == Some(&seen.policy.writer));
        let left = INTENT_MAX_AGE.checked_sub(seen.facts.intent_age.unwrap_or_default());
        match left.filter(|left| !left.is_zero() && !own) {
            Some(left) => {
                self.wake_after(left);
                false
            }
            None => true,
        }
    }

    /// Fills in the templates, records the intent, and orders what follows.
    fn hand_in(&mut self, due: &[usize], lost: &[usize], gives_up: bool) {
        let seen = self.seen;
        let spec = match &seen.trigger.spec {
            Ok(spec) => spec,
            Err(problem) => {
                let message = format!("{}; image updates wait: {}", told(&self.status.run), problem.0);
                self.standing =
                    Some(Standing { phase: Phase::Running, reason: Reason::InvalidSpec, message });
                return;
            }
        };
        let Some(outputs) = self.outputs(spec, due) else { return };
        let Some(run) = self.status.run.as_deref() else { return };
        let filler = fill::Filler::new(run, seen.trigger, spec, &outputs);
        let mut entries = Vec::new();
        let mut refused = Vec::new();
        for number in due.iter().chain(lost).copied() {
            let is_lost = lost.contains(&number);
            let contended = seen.facts.contended.get(&number).filter(|_| !is_lost);
            let filled = match contended {
                Some(message) => Err(message.clone()),
                None => filler.fill(number, seen.now),
            };
            match filled {
                Ok(entry) if entries.iter().any(|other| share_a_source(other, &entry)) => {
                    let message = "mergeRequest.branch: an entry before it goes from the same branch: name another, or put the edits into one entry";
                    refused.push((number, Verdict::Refused { message: message.into() }));
                }
                Ok(entry) => entries.push(UpdateEntry {
                    since: run.image_updates.get(number).filter(|_| is_lost).and_then(|r| r.since.or(r.at)),
                    give_up: gives_up,
                    ..entry
                }),
                Err(message) if is_lost => {
                    let message = format!("{message}; whether a commit of it was made before is not known");
                    refused.push((number, Verdict::Refused { message }));
                }
                Err(message) => refused.push((number, Verdict::Refused { message })),
            }
        }
        let pipeline = run.pipeline.as_ref();
        let order = UpdateOrder {
            url: run.target.url.clone(),
            pipeline: pipeline.map(|pipeline| pipeline.id).unwrap_or_default(),
            begun: pipeline.and_then(|pipeline| pipeline.created_at).or(run.fired_at),
            entries,
        };
        self.record(order, refused);
    }

    fn record(&mut self, order: UpdateOrder, refused: Vec<(usize, Verdict)>) {
        let seen = self.seen;
        let Some(run) = self.status.run.as_deref_mut() else { return };
        for entry in &order.entries {
            let Some(record) = run.image_updates.get_mut(entry.key.entry) else { continue };
            record.state = UpdateState::Committing;
            (record.at, record.by) = (Some(seen.now), Some(seen.policy.writer.clone()));
            record.since = entry.since;
        }
        self.settle_updates(refused);
        if !order.entries.is_empty() {
            self.effect = Effect::Update(Box::new(order));
            self.wake_after(CALL);
        }
    }

    /// What the templates may name of the jobs' artifacts; `None` while it must be read first.
    fn outputs(&mut self, spec: &Spec, due: &[usize]) -> Option<fill::Outputs> {
        let seen = self.seen;
        if spec.outputs.is_empty() {
            return Some(fill::Outputs::new());
        }
        // Without a token or a pipeline there is nothing to read; each template says what it misses.
        let Some(at) = self.own_pipeline() else { return Some(fill::Outputs::new()) };
        let order = OutputsOrder { at, outputs: spec.outputs.clone() };
        match seen.facts.outputs.as_ref().filter(|(of, _)| *of == order).map(|(_, read)| read) {
            Some(OutputsRead::Read(values)) => return Some(values.clone()),
            Some(OutputsRead::Trouble { reason, message }) => {
                let run = self.status.run.as_deref_mut()?;
                for number in due {
                    if let Some(record) = run.image_updates.get_mut(*number) {
                        wait(record, *reason, &format!("outputs cannot be read yet: {message}"));
                    }
                }
                // What waits now makes room at once for a cause that replaces it.
                self.replace_updates();
                self.wake_for_look();
            }
            None => match seen.facts.look_again.filter(|wait| *wait > seen.now) {
                Some(wait) => self.wake_at(wait),
                None => self.effect = Effect::ReadOutputs(Box::new(order)),
            },
        }
        None
    }
}

/// Whether both would go by merge requests from one branch, which are one.
fn share_a_source(one: &UpdateEntry, other: &UpdateEntry) -> bool {
    let source = |entry: &UpdateEntry| entry.proposal.as_ref()?.source.clone();
    one.project == other.project && source(one).is_some() && source(one) == source(other)
}

fn committing(run: &Run) -> Vec<usize> {
    let committing = |(_, record): &(usize, &UpdateRecord)| record.state == UpdateState::Committing;
    run.image_updates.iter().enumerate().filter(committing).map(|(number, _)| number).collect()
}

fn is_pending(run: &Run, number: usize) -> bool {
    let record = run.image_updates.get(number);
    record.is_some_and(|record| record.state == UpdateState::Pending && record.is_due(run.phase))
}

fn key_of(run: &Run, number: usize) -> Option<UpdateKey> {
    let at = run.image_updates.get(number)?.at?;
    Some(UpdateKey { fire_id: run.fire_id.clone(), entry: number, at })
}

/// What is known of the very intent that stands on record.
fn seen_of<'a>(known: &'a [(UpdateKey, UpdateSeen)], run: &Run, number: usize) -> Option<&'a UpdateSeen> {
    let key = key_of(run, number)?;
    known.iter().find(|(of, _)| *of == key).map(|(_, seen)| seen)
}

/// Where an update writes, as messages say it: `main of platform/gitops`.
pub(in crate::decide) fn place_of(run: &Run, number: usize) -> String {
    run.image_updates.get(number).map_or_else(String::new, |record| {
        let project = record.project.as_deref().unwrap_or(&run.target.project);
        format!("{} of {project}", record.branch)
    })
}

/// What a run says of itself.
fn told(run: &Option<Box<Run>>) -> String {
    run.as_deref().and_then(|run| run.message.clone()).unwrap_or_default()
}

fn cancel(run: &mut Run, why: &str, which: impl Fn(&UpdateRecord) -> bool) {
    for number in 0..run.image_updates.len() {
        if is_pending(run, number)
            && let Some(record) = run.image_updates.get_mut(number).filter(|record| which(record))
        {
            record.settle(UpdateState::Canceled, Some(why.to_owned()));
        }
    }
}

fn wait(record: &mut UpdateRecord, reason: Reason, message: &str) {
    let mut message = message.to_owned();
    shorten(&mut message);
    (record.reason, record.message) = (Some(reason), Some(message));
}

/// Takes in how an update ended, and says what is to be told of it: whether it is a warning, why, and what.
fn take_verdict(
    record: &mut UpdateRecord,
    place: &str,
    verdict: Verdict,
    now: Timestamp,
) -> Option<(bool, Reason, String)> {
    let files = record.files.join(", ");
    match verdict {
        Verdict::Committed { commit } => {
            record.settle(UpdateState::Committed, None);
            let told = format!("commit {} on {place}: {files}", commit.get(..8).unwrap_or(&commit));
            record.commit = Some(commit);
            Some((false, Reason::ImagesUpdated, told))
        }
        Verdict::Proposed { request, source, commit, auto_merge } => {
            record.commit = commit;
            record.merge_request = Some(MergeRequestRecord {
                iid: request.iid,
                web_url: request.web_url.clone(),
                branch: source.short().to_owned(),
                since: now,
                auto_merge,
                merge_commit: None,
            });
            record.see(&request);
            Some(requests::told(request.iid, request.state, place, &files))
        }
        Verdict::UpToDate => {
            record.settle(UpdateState::UpToDate, None);
            Some((false, Reason::ImagesUpdated, format!("{place} said so already: {files}")))
        }
        Verdict::Superseded { by } => {
            let message = format!("pipeline {by}, which is later, wrote it");
            record.settle(UpdateState::Superseded, Some(message.clone()));
            Some((false, Reason::ImagesUpdated, format!("{place} was left alone: {message}")))
        }
        Verdict::Refused { mut message } => {
            shorten(&mut message);
            record.settle(UpdateState::Refused, Some(message.clone()));
            Some((true, Reason::UpdateRefused, format!("{place} was not written: {message}")))
        }
        Verdict::DryRun { diff } => {
            record.settle(UpdateState::DryRun, None);
            let told = format!("dry run: on {place} would be written: {}", diff.trim_end());
            record.diff = Some(diff);
            Some((false, Reason::ImagesUpdated, told))
        }
        Verdict::Absent => {
            // Why it waited is kept: who replaces the run gives up what waits.
            let (reason, message) = (record.reason, record.message.take());
            record.settle(UpdateState::Pending, message);
            record.reason = reason;
            None
        }
        // The queue keeps it.
        Verdict::PutBack { .. } => None,
    }
}
