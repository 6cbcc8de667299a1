//! Looks for the pipeline of a request whose reply was lost: lists what was made on the run's ref since the
//! intent, and compares the run's name with the mark each candidate carries.
//!
//! It trusts no time filter of the server and no clock but the one that the server's own answers show. A
//! candidate's mark never changes, so it is read once per process.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipekick_core::decide::trigger::{CLOCKS_DIFFER, LookAt, LookUp};
use pipekick_core::domain::{
    Access, CredentialUse, FireId, GitLabUrl, GitRef, Lookup, Named, Pipeline, ProjectRef, Reason, Report,
    Sighting, Target,
};
use secrecy::SecretString;

use super::report;
use crate::clock;
use crate::cluster::secrets::{Secrets, Unavailable};
use crate::gitlab::{self, Endpoint, Page, PipelineFilter, ReadError, ReadKind, Source};

/// Pages of 100 in one look. More candidates than that are no longer a list but a flood.
const PAGES: u32 = 20;
/// Marks remembered at most; then all are forgotten and read again.
const MARKS: usize = 20_000;

/// What a candidate carries.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mark {
    Run(FireId),
    /// It was read, and none of ours made it.
    Foreign,
    /// It was read, and what would hold a mark is not there.
    Unreadable,
}

/// What a look brought.
pub(super) struct Looked {
    pub(super) lookup: Lookup,
    /// GitLab's clock when it answered with the list.
    pub(super) date: Option<Timestamp>,
    /// How long to leave GitLab alone now.
    pub(super) wait: Duration,
}

/// Takes looks.
pub(super) struct Looker {
    pub(super) gitlab: Arc<gitlab::Client>,
    secrets: Arc<Secrets>,
    default_url: GitLabUrl,
    marks: Mutex<HashMap<(GitLabUrl, u64), Mark>>,
}

impl Looker {
    pub(super) fn new(gitlab: Arc<gitlab::Client>, secrets: Arc<Secrets>, default_url: GitLabUrl) -> Self {
        Self { gitlab, secrets, default_url, marks: Mutex::default() }
    }

    /// What became of a POST.
    pub(super) async fn look_up(&self, namespace: &str, look: &LookUp) -> Looked {
        let LookUp { key, target, access, intended_at, intended_at_gitlab, marked } = look;
        let (at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((reason, message)) => {
                let lookup = Lookup::Trouble { reason, message };
                return Looked { lookup, date: None, wait: Duration::ZERO };
            }
        };
        let mut date = None;
        let intended = (*intended_at, *intended_at_gitlab);
        let found = match self.candidates(&at, target, intended, &token).await {
            Ok(candidates) => {
                date = candidates.date;
                self.compare(&at, &candidates.pipelines, target, &key.fire_id, *marked, &token).await
            }
            Err(error) => Err(error),
        };
        match found {
            Ok(lookup) => Looked { lookup, date, wait: Duration::ZERO },
            Err(error) => {
                let wait = if let ReadKind::Throttled { wait } = error.kind { wait } else { Duration::ZERO };
                Looked { lookup: not_read(error), date, wait }
            }
        }
    }

    /// The one pipeline that a person named.
    pub(super) async fn look_at(&self, namespace: &str, look: &LookAt) -> Named {
        let LookAt { pipeline_id, target, access } = look;
        let (at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((reason, message)) => return Named::Trouble { reason, message },
        };
        let (at, seen) = match self.gitlab.pipeline(&at, *pipeline_id, &token).await {
            Err(ReadError { moved_to: Some(project), .. }) => {
                let at = Endpoint { project, ..at };
                let seen = self.gitlab.pipeline(&at, *pipeline_id, &token).await;
                (at, seen)
            }
            seen => (at, seen),
        };
        let trouble = |error: ReadError| Named::Trouble { reason: error.reason, message: error.message };
        let pipeline = match seen {
            Ok(pipeline) => pipeline,
            Err(error) if error.kind == ReadKind::NotFound => return Named::Missing,
            Err(error) => return trouble(error),
        };
        let carries = match self.mark(&at, &pipeline, target, &token).await {
            Ok(Mark::Run(id)) => Some(id),
            Ok(Mark::Foreign | Mark::Unreadable) => None,
            // Who may not read it cannot be told by it; the person who names it can.
            Err(ReadError {
                kind: ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden,
                ..
            }) => None,
            Err(error) => return trouble(error),
        };
        Named::Seen { pipeline, carries }
    }

    /// The run's own pipeline, and how long to leave GitLab alone now.
    pub(super) async fn look_at_own(&self, namespace: &str, look: &LookAt) -> (Sighting, Duration) {
        let LookAt { pipeline_id, target, access } = look;
        let (mut at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((reason, message)) => return (Sighting::Trouble { reason, message }, Duration::ZERO),
        };
        let seen = match self.gitlab.pipeline(&at, *pipeline_id, &token).await {
            Err(ReadError { moved_to: Some(project), .. }) => {
                at.project = project;
                self.gitlab.pipeline(&at, *pipeline_id, &token).await
            }
            seen => seen,
        };
        let seen = match seen {
            Ok(pipeline) => report::sighting(&self.gitlab, &at, pipeline, &token).await,
            Err(error) => Err(error),
        };
        match seen {
            Ok(sighting) => (sighting, Duration::ZERO),
            Err(error) if error.kind == ReadKind::NotFound => (Sighting::Gone, Duration::ZERO),
            Err(error) => {
                let wait = if let ReadKind::Throttled { wait } = error.kind { wait } else { Duration::ZERO };
                (error.into(), wait)
            }
        }
    }

    pub(super) async fn reach(
        &self,
        namespace: &str,
        target: &Target,
        access: &Access,
    ) -> Result<(Endpoint, SecretString), (Reason, String)> {
        self.reach_project(namespace, &target.url, &target.project, access).await
    }

    /// The same for a project of this GitLab.
    pub(super) async fn reach_project(
        &self,
        namespace: &str,
        url: &str,
        project: &str,
        access: &Access,
    ) -> Result<(Endpoint, SecretString), (Reason, String)> {
        let nonsense = |e: &dyn Display| (Reason::CannotFollow, format!("status.run: {e}"));
        let url: GitLabUrl = url.parse().map_err(|e| nonsense(&e))?;
        let project: ProjectRef = project.parse().map_err(|e| nonsense(&e))?;
        let to = CredentialUse { url: &url, default_url: &self.default_url, project: &project };
        let Access { token, ca_bundle } = access;
        let unavailable = |e: Unavailable| (e.reason, e.message);
        let token = self.secrets.token(namespace, token, to).await.map_err(unavailable)?;
        let trust = self.secrets.trust(namespace, ca_bundle.as_ref()).await.map_err(unavailable)?;
        Ok((Endpoint { url, project, trust }, token))
    }

    /// Every pipeline of the run's ref and source that may have been made since the intent, newest first.
    async fn candidates(
        &self,
        at: &Endpoint,
        target: &Target,
        intended: (Timestamp, Option<Timestamp>),
        token: &SecretString,
    ) -> Result<Candidates, ReadError> {
        let short =
            target.git_ref.parse::<GitRef>().map_or_else(|_| target.git_ref.clone(), |r| r.short().into());
        let mut at = at.clone();
        let mut filter = PipelineFilter {
            git_ref: Some(short),
            source: Some(source(target)),
            ..PipelineFilter::default()
        };
        let mut candidates = Candidates { pipelines: Vec::new(), date: None };
        let mut moved = false;
        while filter.page <= PAGES {
            let page = match self.gitlab.pipelines(&at, &filter, token).await {
                Ok(page) => page,
                // Renamed or moved since: GitLab says where to, on the same host.
                Err(ReadError { moved_to: Some(project), .. }) if !moved => {
                    moved = true;
                    at.project = project;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Page { pipelines, next, meta } = page;
            let since = since(intended, meta.date, clock::now());
            candidates.date = candidates.date.or(meta.date);
            let before = candidates.pipelines.len();
            let of_page = pipelines.len();
            let young = pipelines.into_iter().filter(|p| p.created_at.is_none_or(|made| made >= since));
            candidates.pipelines.extend(young);
            let all_young = candidates.pipelines.len() - before == of_page;
            match next {
                Some(next) if all_young => filter.page = next,
                _ => return Ok(candidates),
            }
        }
        Err(ReadError {
            kind: ReadKind::Trouble,
            reason: Reason::OutcomeUnknown,
            message: format!("more than {} pipelines were created on {} since", PAGES * 100, target.git_ref),
            moved_to: None,
        })
    }

    async fn compare(
        &self,
        at: &Endpoint,
        candidates: &[Pipeline],
        target: &Target,
        wanted: &FireId,
        marked: bool,
        token: &SecretString,
    ) -> Result<Lookup, ReadError> {
        if candidates.is_empty() {
            return Ok(Lookup::NoCandidate);
        }
        if !marked {
            return Ok(Lookup::NoneOurs);
        }
        let (mut ours, mut unreadable, mut failed) = (Vec::new(), None, None);
        for candidate in candidates {
            match self.mark(at, candidate, target, token).await {
                Ok(Mark::Run(id)) if id == *wanted => ours.push(candidate),
                Ok(Mark::Run(_) | Mark::Foreign) => {}
                Ok(Mark::Unreadable) => {
                    let message =
                        format!("the variables of pipeline {} do not tell what made it", candidate.id);
                    unreadable = Some((Reason::OutcomeUnknown, message));
                }
                Err(error) if matches!(error.kind, ReadKind::Forbidden | ReadKind::Unauthorized) => {
                    unreadable = Some((
                        error.reason,
                        format!("the access token may not read the variables of pipeline {}", candidate.id),
                    ));
                    // It may read none of the others either.
                    break;
                }
                // Deleted since, or not there yet for the replica that was asked: the next list tells. Until then this
                // look proves nothing, unless another candidate is ours.
                Err(error) => failed = Some(ReadError { kind: ReadKind::Trouble, ..error }),
            }
        }
        if ours.is_empty()
            && let Some(error) = failed
        {
            return Err(error);
        }
        let Some((first, others)) = ours.split_first() else {
            return Ok(match unreadable {
                Some((reason, message)) => Lookup::CannotTell { reason, message },
                None => Lookup::NoneOurs,
            });
        };
        let id = Endpoint {
            project: first.project_id.map_or_else(|| at.project.clone(), ProjectRef::Id),
            ..at.clone()
        };
        // A list leaves out most of what the run tells of its pipeline.
        let whole = self.gitlab.pipeline(&id, first.id, token).await;
        let pipeline = whole.unwrap_or_else(|_| (*first).clone());
        let report = match report::sighting(&self.gitlab, &id, pipeline.clone(), token).await {
            Ok(Sighting::Seen { pipeline: _, report }) => report,
            Ok(Sighting::Gone | Sighting::Trouble { .. }) | Err(_) => Report::default(),
        };
        Ok(Lookup::Found { pipeline, report, duplicates: others.iter().map(|other| other.id).collect() })
    }

    async fn mark(
        &self,
        at: &Endpoint,
        candidate: &Pipeline,
        target: &Target,
        token: &SecretString,
    ) -> Result<Mark, ReadError> {
        let key = (at.url.clone(), candidate.id);
        if let Some(known) = self.marks.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let project = candidate.project_id.map_or_else(|| at.project.clone(), ProjectRef::Id);
        let at = Endpoint { project, ..at.clone() };
        let variables = self.gitlab.pipeline_variables(&at, candidate.id, token).await?;
        let mark = match variables.fire_id() {
            Some(id) => Mark::Run(id),
            None if variables.can_tell(source(target)) => Mark::Foreign,
            None => Mark::Unreadable,
        };
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= MARKS {
            marks.clear();
        }
        marks.insert(key, mark.clone());
        Ok(mark)
    }
}

/// The pipelines that may be the run's, newest first.
struct Candidates {
    pipelines: Vec<Pipeline>,
    /// GitLab's clock on the first page.
    date: Option<Timestamp>,
}

/// The time, by GitLab's clock, before which no pipeline of a run was made that was intended at `intended`: by
/// its writer's clock, and by GitLab's where that was known. `date` is GitLab's clock now, as the list's own answer
/// tells it, and `now` is ours.
fn since(intended: (Timestamp, Option<Timestamp>), date: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let (by_writer, by_gitlab) = intended;
    let ahead = date.map_or(SignedDuration::ZERO, |date| date.duration_since(now));
    // The writer's clock may differ from ours, and either may have been stepped since.
    let by_writer = by_writer.saturating_add(ahead).unwrap_or(by_writer);
    let since = by_gitlab.map_or(by_writer, |by_gitlab| by_gitlab.min(by_writer));
    since.checked_sub(CLOCKS_DIFFER).unwrap_or(Timestamp::MIN)
}

/// What GitLab says made the pipelines of this run.
fn source(target: &Target) -> Source {
    if target.trigger.is_some() { Source::Trigger } else { Source::Api }
}

/// A list that may not be read tells nothing; anything else passes.
fn not_read(ReadError { kind, reason, message, moved_to: _ }: ReadError) -> Lookup {
    match kind {
        ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden => {
            Lookup::CannotTell { reason, message }
        }
        ReadKind::Refused | ReadKind::Throttled { .. } | ReadKind::Unreachable | ReadKind::Trouble => {
            Lookup::Trouble { reason, message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_reach_back_to_ten_minutes_before_the_intent_by_the_clock_that_can_be_trusted() {
        let at = |minutes: i64| Timestamp::from_second(1_800_000_000 + 60 * minutes).unwrap();
        let told = |minutes| Some(at(minutes));
        for (sentence, by_writer, by_gitlab, date, now, since_minute) in [
            ("all clocks agree", 0, told(0), told(5), 5, -10),
            ("GitLab's clock was not told before", 0, None, told(5), 5, -10),
            ("GitLab is an hour ahead of us", 0, None, told(65), 5, 50),
            ("GitLab is an hour behind", 0, None, told(-55), 5, -70),
            ("GitLab does not tell its clock now", 0, None, None, 5, -10),
            ("the writer was an hour ahead of everybody", 60, told(0), told(5), 5, -10),
            ("our clock was set back by an hour since", 60, told(0), told(5), 5, -10),
            ("the writer was an hour behind: more is read, nothing is hidden", -60, told(0), told(5), 5, -70),
        ] {
            assert_eq!(since((at(by_writer), by_gitlab), date, at(now)), at(since_minute), "{sentence}");
        }
    }
}
