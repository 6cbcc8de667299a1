//! Image updates that are in a merge request: looked at until it is merged or closed.
//!
//! The run waits no longer; whoever merges may take days. A merge request is looked at after a tenth of its age, between
//! 5 s and 10 minutes. One that is to be merged when its pipeline succeeds is told so by such a look: GitLab refuses that
//! until the pipeline is there, and it may be said any number of times.
//!
//! What waits in it is over when a later pipeline's change of the same trigger is told of there.

use std::time::Duration;

use jiff::Timestamp;

use crate::decide::trigger::{Draft, Effect, RequestLook, RequestSight, access_of};
use crate::domain::UpdateRecord;
use crate::domain::size::shorten;
use crate::domain::{Access, MergeRequest, MergeRequestRecord, MergeRequestState, Reason, Run, UpdateState};

use super::place_of;

/// Shortest and longest time between two looks at a merge request.
const LOOKS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

impl Draft<'_> {
    /// What a look at merge requests brought.
    pub(in crate::decide::trigger) fn absorb_requests(&mut self) {
        let seen = self.seen;
        for (number, iid, sight) in &seen.facts.requests {
            let Some(run) = self.status.run.as_deref_mut() else { return };
            let place = place_of(run, *number);
            let pipeline = run.pipeline.as_ref().map(|pipeline| pipeline.id).unwrap_or_default();
            let of = |record: &&mut UpdateRecord| record.open_request().is_some_and(|open| open.iid == *iid);
            let Some(record) = run.image_updates.get_mut(*number).filter(of) else { continue };
            let RequestSight::Seen { request, unarmed } = sight else {
                let RequestSight::Trouble { message } = sight else { continue };
                say(record, format!("it cannot be looked at: {message}"));
                continue;
            };
            if let Some(by) = overtaken(request, pipeline) {
                let message = format!("pipeline {by}, which is later, is in its merge request now");
                record.settle(UpdateState::Superseded, Some(message.clone()));
                self.tell(false, Reason::ImagesUpdated, &format!("{place} was left alone: {message}"));
                continue;
            }
            record.see(request);
            if let Some(why) = unarmed.as_ref().filter(|_| request.is_open()) {
                say(record, format!("GitLab does not merge it by itself: {why}"));
            }
            if !request.is_open() {
                let files = record.files.join(", ");
                let (warning, reason, message) = told(*iid, request.state, &place, &files);
                self.tell(warning, reason, &message);
            }
        }
    }

    /// Looks at the merge requests that are open, when it is time to.
    pub(in crate::decide::trigger) fn follow_requests(&mut self) {
        let seen = self.seen;
        if self.effect != Effect::Nothing {
            return;
        }
        let Some(run) = self.status.run.as_deref().filter(|run| !run.is_updating()) else { return };
        let open: Vec<(usize, &UpdateRecord, &MergeRequestRecord)> = run
            .image_updates
            .iter()
            .enumerate()
            .filter_map(|(number, record)| Some((number, record, record.open_request()?)))
            .collect();
        let Some(youngest) = open.iter().map(|(_, _, request)| request.since).max() else { return };
        let left =
            seen.facts.requests_look_age.map(|ago| interval(youngest, ago, seen.now).saturating_sub(ago));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => self.wake_after(left),
            None => {
                let stopped = self.stopped().is_some();
                let looks = open.iter().filter_map(|(number, record, request)| {
                    Some(RequestLook {
                        entry: *number,
                        iid: request.iid,
                        url: run.target.url.clone(),
                        project: record.project.clone().unwrap_or_else(|| run.target.project.clone()),
                        access: self.access_for(run, *number)?,
                        arm: record.commit.clone().filter(|_| request.auto_merge && !stopped),
                    })
                });
                let looks: Vec<RequestLook> = looks.collect();
                if !looks.is_empty() {
                    self.effect = Effect::LookAtRequests(looks);
                }
            }
        }
    }

    /// What to look at the merge request of this entry with: what spec says, as long as the entry is there.
    fn access_for(&self, run: &Run, number: usize) -> Option<Access> {
        let own = access_of(run, self.seen.trigger);
        let spec = self.seen.trigger.spec.as_ref().ok();
        let named = spec.and_then(|spec| spec.image_updates.get(number)?.access_token.clone());
        let ca_bundle = own.as_ref().and_then(|access| access.ca_bundle.clone());
        let token = named.or_else(|| own.map(|access| access.token))?;
        Some(Access { token, ca_bundle })
    }
}

/// How long after a look that was so long ago the next one is.
fn interval(since: Timestamp, ago: Duration, now: Timestamp) -> Duration {
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    (age.saturating_sub(ago) / 10).clamp(LOOKS.0, LOOKS.1)
}

/// A later pipeline that the description tells of, if it does not tell of this one.
fn overtaken(request: &MergeRequest, pipeline: u64) -> Option<u64> {
    let latest = request.written.iter().map(|written| written.pipeline).max()?;
    (latest > pipeline).then_some(latest)
}

fn say(record: &mut UpdateRecord, mut message: String) {
    shorten(&mut message);
    record.message = Some(message);
}

/// What is told of a merge request: whether it is a warning, why, and what.
pub(super) fn told(iid: u64, state: MergeRequestState, place: &str, files: &str) -> (bool, Reason, String) {
    match state {
        MergeRequestState::Opened => {
            (false, Reason::MergeRequestOpen, format!("merge request !{iid} to {place}: {files}"))
        }
        MergeRequestState::Merged => {
            (false, Reason::ImagesUpdated, format!("merge request !{iid} to {place} was merged: {files}"))
        }
        MergeRequestState::Closed => (
            true,
            Reason::MergeRequestClosed,
            format!("merge request !{iid} to {place} was closed and not merged"),
        ),
    }
}
