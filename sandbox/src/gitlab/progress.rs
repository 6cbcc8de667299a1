//! What time does to a pipeline. Nothing runs in the background: a pipeline is brought up to date
//! when somebody looks, event by event, so that what is seen does not depend on who looked before.
//!
//! ```text
//! opening … → running ⇄ manual → success | failed | skipped
//!      └─────────┴── cancel → canceling → canceled      retry: any end → running, new job ids
//! ```

use jiff::{SignedDuration, Timestamp};

use super::{
    pipeline::{Downstream, Job, Phase, Pipeline, Status},
    script::Outcome,
};

impl Pipeline {
    /// Starts the play at `created_at`.
    pub(crate) fn begin(&mut self, mut new_id: impl FnMut() -> u64) {
        let at = self.created_at;
        self.jobs = (0..self.play.jobs.len()).map(|part| Job::new(new_id(), part, 0, at)).collect();
        self.open(0, at);
    }

    /// Applies every event up to and including `now`.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        while let Some(at) = self.next_event().filter(|at| *at <= now) {
            match self.phase {
                Phase::Opening { step, .. } => self.open(step + 1, at),
                Phase::Jobs => self.end_jobs(at),
                Phase::Still => return,
            }
        }
    }

    /// Whether time alone, or an action, can still move it.
    pub(crate) fn is_active(&self) -> bool {
        self.next_event().is_some()
    }

    /// Cancels what can be cancelled; a pipeline that cannot be is left as it is.
    pub(crate) fn cancel(&mut self, now: Timestamp) {
        if !self.status.is_cancelable() || self.phase == Phase::Still {
            return;
        }
        let lingers = self.play.canceling;
        for job in self.jobs.iter_mut().filter(|job| !job.retried) {
            job.cancel(lingers, now);
        }
        self.phase = Phase::Jobs;
        self.advance(now);
    }

    /// Runs failed and canceled jobs again under new ids, and what they had kept from running.
    pub(crate) fn retry(&mut self, now: Timestamp, new_id: impl FnMut() -> u64) {
        self.again(now, new_id, |job| matches!(job.status, Status::Failed | Status::Canceled));
    }

    /// Runs one ended job again, a successful one too. None if it cannot be; else the new job's id.
    pub(crate) fn retry_job(
        &mut self,
        job_id: u64,
        now: Timestamp,
        new_id: impl FnMut() -> u64,
    ) -> Option<u64> {
        let ended = |job: &Job| matches!(job.status, Status::Success | Status::Failed | Status::Canceled);
        self.again(now, new_id, |job| job.id == job_id && ended(job)).first().copied()
    }

    fn again(
        &mut self,
        now: Timestamp,
        mut new_id: impl FnMut() -> u64,
        meant: impl Fn(&Job) -> bool,
    ) -> Vec<u64> {
        let mut made = Vec::new();
        for index in 0..self.jobs.len() {
            let job = &mut self.jobs[index];
            if !job.retried && meant(job) {
                job.retried = true;
                let next = Job::new(new_id(), job.part, job.attempt + 1, now);
                made.push(next.id);
                self.jobs.push(next);
            }
        }
        if made.is_empty() {
            return made;
        }
        for job in self.jobs.iter_mut().filter(|job| job.status == Status::Skipped) {
            job.status = Status::Created;
            job.finished_at = None;
        }
        self.finished_at = None;
        self.phase = Phase::Jobs;
        self.advance(now);
        made
    }

    /// Cancels one job; `force` also ends one that is `canceling`. A job that has ended stays as it is.
    pub(crate) fn cancel_job(&mut self, job_id: u64, force: bool, now: Timestamp) {
        let lingers = self.play.canceling;
        let Some(job) = self.jobs.iter_mut().find(|job| job.id == job_id) else { return };
        if force && job.status == Status::Canceling {
            job.end(Status::Canceled, now);
        } else if !job.cancel(lingers, now) {
            return;
        }
        self.phase = Phase::Jobs;
        self.advance(now);
    }

    /// Ends a bridge whose pipeline could not be made.
    pub(crate) fn fail_bridge(&mut self, job_id: u64, now: Timestamp) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.id == job_id) {
            job.downstream = Downstream::Refused;
            job.end(Status::Failed, now);
            self.finished_at = None;
            self.advance(now);
        }
    }

    /// Plays a manual job. `false` if the job is not waiting to be played.
    pub(crate) fn play(&mut self, job_id: u64, now: Timestamp) -> bool {
        let Some(index) = self.jobs.iter().position(|job| job.id == job_id && job.status == Status::Manual)
        else {
            return false;
        };
        self.start(index, now);
        self.finished_at = None;
        self.phase = Phase::Jobs;
        self.advance(now);
        true
    }

    fn next_event(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Opening { until, .. } => Some(until),
            Phase::Jobs => self.jobs.iter().filter_map(|job| job.ends).min(),
            Phase::Still => None,
        }
    }

    fn open(&mut self, step: usize, at: Timestamp) {
        let Some(opening) = self.play.opening.get(step).copied() else {
            self.phase = Phase::Jobs;
            return self.advance(at);
        };
        self.phase = Phase::Opening { step, until: at + opening.lasts };
        self.enter(opening.status, at);
        if opening.status == Status::Pending {
            let first = self.play.jobs[0].stage.clone();
            let play = self.play.clone();
            for job in self.jobs.iter_mut().filter(|job| play.jobs[job.part].stage == first) {
                job.status = Status::Pending;
            }
        }
    }

    fn enter(&mut self, status: Status, at: Timestamp) {
        if self.status == status && self.updated_at != self.created_at {
            return;
        }
        self.status = status;
        self.updated_at = at;
        if status == Status::Running && self.started_at.is_none() {
            self.started_at = Some(at);
        }
        if status.is_terminal() {
            self.finished_at = Some(at);
        }
    }

    fn end_jobs(&mut self, at: Timestamp) {
        let play = self.play.clone();
        for job in self.jobs.iter_mut().filter(|job| job.ends == Some(at)) {
            let status = match (job.status, play.jobs[job.part].outcome(job.attempt)) {
                (Status::Canceling, _) => Status::Canceled,
                (_, Outcome::Success) => Status::Success,
                (_, Outcome::Failed | Outcome::Stuck) => Status::Failed,
            };
            job.end(status, at);
        }
        self.advance(at);
    }

    /// Starts what may start, stage by stage, and derives the pipeline's status from its jobs.
    fn advance(&mut self, at: Timestamp) {
        let (mut failed, mut canceled) = (false, false);
        for stage in self.stages() {
            let jobs: Vec<usize> = (0..self.jobs.len())
                .filter(|&i| !self.jobs[i].retried && self.part(&self.jobs[i]).stage == stage)
                .collect();
            for &i in &jobs {
                if matches!(self.jobs[i].status, Status::Created | Status::Pending) {
                    if failed || canceled {
                        self.jobs[i].end(Status::Skipped, at);
                    } else if self.part(&self.jobs[i]).manual && self.jobs[i].attempt == 0 {
                        self.jobs[i].status = Status::Manual;
                    } else {
                        self.start(i, at);
                    }
                }
            }
            let any = |status| jobs.iter().any(|&i| self.jobs[i].status == status);
            if any(Status::Canceling) {
                return self.enter(Status::Canceling, at);
            }
            if any(Status::Running) {
                return self.enter(Status::Running, at);
            }
            let counts = |i: usize| !self.part(&self.jobs[i]).allow_failure;
            if jobs.iter().any(|&i| self.jobs[i].status == Status::Manual && counts(i))
                && !failed
                && !canceled
            {
                return self.enter(Status::Manual, at);
            }
            failed |= jobs.iter().any(|&i| self.jobs[i].status == Status::Failed && counts(i));
            canceled |= any(Status::Canceled);
        }
        let ran = |job: &Job| !job.retried && !matches!(job.status, Status::Manual | Status::Skipped);
        let end = match (failed, canceled) {
            (true, _) => Status::Failed,
            (false, true) => Status::Canceled,
            (false, false) if self.jobs.iter().any(ran) => Status::Success,
            (false, false) => Status::Skipped,
        };
        self.enter(end, at);
    }

    fn start(&mut self, index: usize, at: Timestamp) {
        let part = self.part(&self.jobs[index]);
        let ends = match part.outcome(self.jobs[index].attempt) {
            Outcome::Success | Outcome::Failed => Some(at + part.lasts),
            Outcome::Stuck => None,
        };
        let job = &mut self.jobs[index];
        job.status = Status::Running;
        job.started_at = Some(at);
        job.ends = ends;
    }

    fn stages(&self) -> Vec<String> {
        let mut stages: Vec<String> = Vec::new();
        for part in &self.play.jobs {
            if !stages.contains(&part.stage) {
                stages.push(part.stage.clone());
            }
        }
        stages
    }
}

impl Job {
    fn new(id: u64, part: usize, attempt: usize, at: Timestamp) -> Self {
        Self {
            id,
            part,
            attempt,
            retried: false,
            status: Status::Created,
            created_at: at,
            started_at: None,
            finished_at: None,
            ends: None,
            downstream: Downstream::NotYet,
        }
    }

    /// `false` if there is nothing to cancel.
    fn cancel(&mut self, lingers: SignedDuration, now: Timestamp) -> bool {
        match self.status {
            Status::Running if lingers > SignedDuration::ZERO => {
                self.status = Status::Canceling;
                self.ends = now.checked_add(lingers).ok();
            }
            Status::Running | Status::Created | Status::Pending => self.end(Status::Canceled, now),
            Status::WaitingForResource
            | Status::Preparing
            | Status::WaitingForCallback
            | Status::Success
            | Status::Failed
            | Status::Canceling
            | Status::Canceled
            | Status::Skipped
            | Status::Manual
            | Status::Scheduled => return false,
        }
        true
    }

    fn end(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.finished_at = Some(at);
        self.ends = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{
        pipeline::Source,
        script::{JobPlay, Opening, Outcome, Play},
    };
    use super::*;

    fn started(play: Play) -> Pipeline {
        let mut pipeline = Pipeline {
            id: 1,
            iid: 1,
            sha: String::new(),
            git_ref: "main".into(),
            tag: false,
            source: Source::Trigger,
            user: 1,
            name: None,
            yaml_errors: None,
            variables: Vec::new(),
            schedule: None,
            depth: 0,
            status: Status::Created,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            started_at: None,
            finished_at: None,
            play: Arc::new(play),
            phase: Phase::Still,
            jobs: Vec::new(),
        };
        pipeline.begin(ids(1));
        pipeline
    }

    fn ids(mut next: u64) -> impl FnMut() -> u64 {
        move || {
            next += 1;
            next
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(secs).unwrap()
    }

    fn status_after(pipeline: &mut Pipeline, secs: i64) -> Status {
        pipeline.settle(at(secs));
        pipeline.status
    }

    #[test]
    fn opening_statuses_come_before_the_first_job() {
        let open = |status| Opening { status, lasts: SignedDuration::from_secs(10) };
        let mut pipeline = started(Play {
            opening: vec![open(Status::Created), open(Status::WaitingForResource), open(Status::Pending)],
            ..Play::jobs([JobPlay::new("build", 10)])
        });
        let seen: Vec<Status> = [0, 10, 20, 30, 40].map(|t| status_after(&mut pipeline, t)).into();
        assert_eq!(
            seen,
            [Status::Created, Status::WaitingForResource, Status::Pending, Status::Running, Status::Success]
        );
        assert_eq!((pipeline.started_at, pipeline.finished_at), (Some(at(30)), Some(at(40))));
    }

    #[test]
    fn a_late_look_dates_each_event_at_its_own_time() {
        let mut pipeline = started(Play::jobs([JobPlay::new("build", 10), JobPlay::new("test", 5)]));
        assert_eq!(status_after(&mut pipeline, 1000), Status::Success);
        assert_eq!(pipeline.finished_at, Some(at(15)));
    }

    #[test]
    fn a_failed_stage_skips_the_next_and_a_retry_runs_both_under_a_new_id() {
        let flaky = JobPlay::ending("test", 10, [Outcome::Failed, Outcome::Success]);
        let mut pipeline = started(Play::jobs([flaky, JobPlay::new("deploy", 10)]));
        assert_eq!(status_after(&mut pipeline, 10), Status::Failed);
        assert_eq!(pipeline.jobs[1].status, Status::Skipped);
        let first = pipeline.jobs[0].id;
        pipeline.retry(at(20), ids(100));
        assert_eq!(pipeline.status, Status::Running);
        assert_ne!(pipeline.jobs.last().unwrap().id, first);
        assert_eq!(status_after(&mut pipeline, 40), Status::Success);
    }

    #[test]
    fn an_allowed_failure_leaves_success() {
        let lint = JobPlay { allow_failure: true, ..JobPlay::ending("lint", 1, [Outcome::Failed]) };
        assert_eq!(
            status_after(&mut started(Play::jobs([lint, JobPlay::new("test", 1)])), 5),
            Status::Success
        );
    }

    #[test]
    fn a_blocking_manual_job_holds_the_pipeline_until_it_is_played() {
        let gate = JobPlay { manual: true, ..JobPlay::new("deploy", 10) };
        let mut pipeline = started(Play::jobs([JobPlay::new("build", 1), gate]));
        assert_eq!(status_after(&mut pipeline, 100), Status::Manual);
        let gate = pipeline.jobs[1].id;
        assert!(pipeline.play(gate, at(100)));
        assert_eq!(status_after(&mut pipeline, 105), Status::Running);
        assert_eq!(status_after(&mut pipeline, 110), Status::Success);
    }

    #[test]
    fn only_optional_manual_jobs_end_skipped() {
        let gate = JobPlay { manual: true, allow_failure: true, ..JobPlay::default() };
        assert_eq!(status_after(&mut started(Play::jobs([gate])), 0), Status::Skipped);
    }

    #[test]
    fn canceling_comes_before_canceled() {
        let mut pipeline = started(Play {
            canceling: SignedDuration::from_secs(3),
            ..Play::jobs([JobPlay::ending("build", 1, [Outcome::Stuck])])
        });
        assert_eq!(status_after(&mut pipeline, 100), Status::Running);
        pipeline.cancel(at(100));
        assert_eq!(pipeline.status, Status::Canceling);
        assert_eq!(status_after(&mut pipeline, 103), Status::Canceled);
    }

    #[test]
    fn a_cancel_that_never_ends_is_ended_by_force() {
        let mut pipeline =
            started(Play { canceling: Play::NEVER, ..Play::jobs([JobPlay::new("build", 10)]) });
        assert_eq!(status_after(&mut pipeline, 1), Status::Running);
        let job = pipeline.jobs[0].id;
        pipeline.cancel(at(1));
        pipeline.cancel_job(job, false, at(2));
        assert_eq!(status_after(&mut pipeline, 1_000_000_000), Status::Canceling);
        pipeline.cancel_job(job, true, at(1_000_000_000));
        assert_eq!(pipeline.status, Status::Canceled);
    }

    #[test]
    fn the_duration_counts_overlapping_jobs_once_and_no_waiting() {
        let beside = |name: &str, secs| JobPlay { stage: "test".into(), ..JobPlay::new(name, secs) };
        let gate = JobPlay { manual: true, ..JobPlay::new("deploy", 7) };
        let mut pipeline = started(Play::jobs([beside("a", 10), beside("b", 4), gate]));
        assert_eq!(status_after(&mut pipeline, 100), Status::Manual);
        assert_eq!(pipeline.duration(), None);
        let gate = pipeline.jobs[2].id;
        assert!(pipeline.play(gate, at(100)));
        assert_eq!(status_after(&mut pipeline, 107), Status::Success);
        assert_eq!(pipeline.duration(), Some(17));
    }
}
