//! What is done to a pipeline that exists, whoever does it: a call to the API, or a person in GitLab's pages.

use jiff::Timestamp;

use super::{pipeline::Pipeline, state::World};

/// What a person may do to a pipeline.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed<'a> {
    Retry,
    Cancel,
    /// The job of this name.
    RetryJob(&'a str),
    /// The manual job of this name.
    Play(&'a str),
}

impl World {
    /// Does it now, as somebody with every right; `false` if there was nothing to do it to.
    pub(crate) fn by_hand(&mut self, pipeline: u64, deed: Deed<'_>) -> bool {
        let now = self.clock.now();
        match deed {
            Deed::Retry => self.retry_pipeline(pipeline, now),
            Deed::Cancel => self.cancel_pipeline(pipeline, now),
            Deed::RetryJob(name) => {
                let job = self.job_named(pipeline, name, now);
                job.is_some_and(|job| self.retry_job(pipeline, job, now).is_some())
            }
            Deed::Play(name) => {
                let job = self.job_named(pipeline, name, now);
                job.is_some_and(|job| self.play_job(pipeline, job, now))
            }
        }
    }

    /// Runs failed and canceled jobs again; `false` if there is no such pipeline.
    pub(crate) fn retry_pipeline(&mut self, pipeline: u64, now: Timestamp) -> bool {
        self.act_on(pipeline, now, |found, new_job_id| found.retry(now, new_job_id)).is_some()
    }

    /// Cancels what can be cancelled; `false` if there is no such pipeline.
    pub(crate) fn cancel_pipeline(&mut self, pipeline: u64, now: Timestamp) -> bool {
        self.act_on(pipeline, now, |found, _| found.cancel(now)).is_some()
    }

    /// Starts a manual job that waits, or runs one that has ended again. `false`: it does neither.
    pub(crate) fn play_job(&mut self, pipeline: u64, job: u64, now: Timestamp) -> bool {
        let play = |found: &mut Pipeline, new_job_id: &mut dyn FnMut() -> u64| {
            let manual = found.jobs.iter().any(|known| known.id == job && found.part(known).manual);
            found.play(job, now) || (manual && found.retry_job(job, now, new_job_id).is_some())
        };
        self.act_on(pipeline, now, play).unwrap_or(false)
    }

    /// Runs an ended job again; the new job's id, or none if it cannot be.
    pub(crate) fn retry_job(&mut self, pipeline: u64, job: u64, now: Timestamp) -> Option<u64> {
        self.act_on(pipeline, now, |found, new_job_id| found.retry_job(job, now, new_job_id))?
    }

    /// Cancels a job if it can be; `force` ends one that is `canceling`.
    pub(crate) fn cancel_job(&mut self, pipeline: u64, job: u64, force: bool, now: Timestamp) {
        self.act_on(pipeline, now, |found, _| found.cancel_job(job, force, now));
    }

    /// The current job of this name.
    fn job_named(&mut self, pipeline: u64, name: &str, now: Timestamp) -> Option<u64> {
        let current = |found: &mut Pipeline, _: &mut dyn FnMut() -> u64| {
            let job = found.jobs.iter().find(|job| !job.retried && found.part(job).name == name);
            job.map(|job| job.id)
        };
        self.act_on(pipeline, now, current)?
    }

    /// Acts on a pipeline that is up to date; none if there is no such pipeline.
    fn act_on<T>(
        &mut self,
        pipeline: u64,
        now: Timestamp,
        act: impl FnOnce(&mut Pipeline, &mut dyn FnMut() -> u64) -> T,
    ) -> Option<T> {
        let project = self.projects.values().find(|project| project.pipelines.contains_key(&pipeline))?.id;
        let (project, mut new_job_id) = self.with_job_ids(project)?;
        project.settle(now);
        let done = act(project.pipelines.get_mut(&pipeline)?, &mut new_job_id);
        project.watch(pipeline);
        Some(done)
    }
}
