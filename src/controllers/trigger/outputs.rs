//! Reads what image updates write from the artifacts of a pipeline's jobs.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pipekick_core::decide::trigger::{LookAt, OutputsOrder, OutputsRead};
use pipekick_core::domain::{Output, Reason, RepoPath};
use secrecy::SecretString;

use super::lookup::Looker;
use crate::gitlab::{Endpoint, ReadError, ReadKind};

/// Files of jobs, each fetched once: its bytes, or why there are none.
type Files<'a> = HashMap<(&'a str, &'a RepoPath), Result<Vec<u8>, String>>;

impl Looker {
    /// Each output, and how long to leave GitLab alone if it could not be asked.
    pub(super) async fn read_outputs(
        &self,
        namespace: &str,
        order: &OutputsOrder,
    ) -> (OutputsRead, Duration) {
        let OutputsOrder { at: LookAt { pipeline_id, target, access }, outputs } = order;
        let (at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((reason, message)) => return (OutputsRead::Trouble { reason, message }, Duration::ZERO),
        };
        let mut files = Files::new();
        let mut values = BTreeMap::new();
        for Output { name, job, artifact, pick } in outputs {
            if !files.contains_key(&(job.as_str(), artifact)) {
                match self.file_of(&at, *pipeline_id, job, artifact, &token).await {
                    Ok(file) => drop(files.insert((job, artifact), file)),
                    Err((reason, message, wait)) => return (OutputsRead::Trouble { reason, message }, wait),
                }
            }
            let value = match files.get(&(job.as_str(), artifact)) {
                Some(Ok(bytes)) => match pick.read(bytes) {
                    Ok(text) => Ok(text.to_string()),
                    Err(error) => Err(format!("{artifact} of job {job}: {error}")),
                },
                Some(Err(why)) => Err(why.clone()),
                None => Err(format!("{artifact} of job {job} was not read")),
            };
            values.insert(name.as_str().to_owned(), value);
        }
        (OutputsRead::Read(values), Duration::ZERO)
    }

    /// A file of a job's artifacts. What GitLab says no to is said; what passes is an error.
    async fn file_of(
        &self,
        at: &Endpoint,
        pipeline: u64,
        job: &str,
        artifact: &RepoPath,
        token: &SecretString,
    ) -> Result<Result<Vec<u8>, String>, (Reason, String, Duration)> {
        let mut at = at.clone();
        let found = match self.gitlab.job_named(&at, pipeline, job, token).await {
            // Renamed or moved since: GitLab says where to, on the same host.
            Err(ReadError { moved_to: Some(project), .. }) => {
                at.project = project;
                self.gitlab.job_named(&at, pipeline, job, token).await
            }
            found => found,
        };
        let id = match found {
            Ok(Some(found)) => found.id,
            Ok(None) => return Ok(Err(format!("pipeline {pipeline} has no job {job}"))),
            Err(error) => return no(error),
        };
        match self.gitlab.artifact(&at, id, artifact, token).await {
            Ok(Some(bytes)) => Ok(Ok(bytes)),
            Ok(None) => Ok(Err(format!(
                "job {job} has no artifact {artifact}: list it under artifacts:paths, and mind artifacts:expire_in"
            ))),
            Err(error) => no(error),
        }
    }
}

fn no<T>(error: ReadError) -> Result<Result<T, String>, (Reason, String, Duration)> {
    let ReadError { kind, reason, message, moved_to: _ } = error;
    match kind {
        ReadKind::NotFound | ReadKind::Unauthorized | ReadKind::Forbidden | ReadKind::Refused => {
            Ok(Err(message))
        }
        ReadKind::Throttled { wait } => Err((reason, message, wait)),
        ReadKind::Unreachable | ReadKind::Trouble => Err((reason, message, Duration::ZERO)),
    }
}
