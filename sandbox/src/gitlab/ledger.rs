//! What really happened, for tests to believe: every pipeline ever created and every call ever made.
//! Deleting a pipeline removes it from GitLab, never from here. No token is ever written here.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::pipeline::{Source, Status, Variable};

/// The whole record, in order of time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    pub pipelines: Vec<PipelineRecord>,
    pub calls: Vec<CallRecord>,
    pub schedule_runs: Vec<ScheduleRun>,
    /// Those made here: what was pushed by path is in the repository alone.
    pub commits: Vec<CommitRecord>,
    pub merge_requests: Vec<MergeRequestRecord>,
}

/// One run of a pipeline schedule, by GitLab's worker or by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleRun {
    pub schedule: u64,
    pub at: Timestamp,
    pub pipeline: Option<u64>,
    /// Why there is no pipeline: a row's name, or a sentence. No API tells.
    pub refused: Option<&'static str>,
}

/// One pipeline, as it was created.
#[derive(Debug, Clone, Serialize)]
pub struct PipelineRecord {
    pub id: u64,
    pub iid: u64,
    pub project_id: u64,
    pub project: String,
    #[serde(rename = "ref")]
    pub git_ref: String,
    pub sha: String,
    pub source: Source,
    pub at: Timestamp,
    /// The user it runs as.
    pub user: String,
    pub credential: Credential,
    /// The number of the call that created it; 0 if none did.
    pub call: u64,
    /// Everything the request carried, except credentials.
    pub params: Map<String, Value>,
    pub variables: Vec<Variable>,
    /// The operator's mark: `pipekick.fire_id`, or the variable `PIPEKICK_FIRE_ID`.
    pub fire_id: Option<String>,
    /// Its status at birth: `failed` if the creation chain failed and kept it.
    pub born: Status,
    /// The pipeline whose bridge made it.
    pub upstream: Option<u64>,
    /// The schedule that made it.
    pub schedule: Option<u64>,
}

/// One commit, as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitRecord {
    pub id: String,
    pub project_id: u64,
    pub project: String,
    pub branch: String,
    pub at: Timestamp,
    /// Who pushed it, by username; its author may be somebody else.
    pub user: String,
    /// None: by hand, or of a seed.
    pub credential: Option<Credential>,
    /// The number of the call that made it; 0 if none did.
    pub call: u64,
    pub parents: Vec<String>,
    pub message: String,
    /// What differs from its first parent; empty for the first commit of all.
    pub files: Vec<String>,
}

/// One merge request, as it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MergeRequestRecord {
    /// Its number in the project.
    pub iid: u64,
    pub project_id: u64,
    pub project: String,
    pub source_branch: String,
    pub target_branch: String,
    pub title: String,
    pub at: Timestamp,
    pub user: String,
    pub credential: Option<Credential>,
    /// The number of the call that opened it.
    pub call: u64,
}

/// One HTTP call to the API.
#[derive(Debug, Clone, Serialize)]
pub struct CallRecord {
    /// Counted from 1, in order of arrival.
    pub number: u64,
    pub at: Timestamp,
    pub method: String,
    /// Path and query as sent, without credentials.
    pub path: String,
    /// The route's name; none if no route matched.
    pub route: Option<&'static str>,
    pub credential: Option<Credential>,
    /// What was sent back; none after a reset.
    pub status: Option<u16>,
    /// The row that was sent back.
    pub row: Option<&'static str>,
    /// The fault that struck, by name.
    pub fault: Option<&'static str>,
    /// The row GitLab answered with, whether or not the caller ever saw it; none if the call had no effect (yet).
    pub effect: Option<&'static str>,
    /// The pipeline this call created.
    pub pipeline: Option<u64>,
    /// The commit this call made.
    pub commit: Option<String>,
    /// The number, in its project, of the merge request this call opened.
    pub merge_request: Option<u64>,
}

/// A credential by name, never by value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credential {
    pub kind: CredentialKind,
    pub id: u64,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    TriggerToken,
    AccessToken,
    /// Of a CI job; only the trigger route takes it.
    JobToken,
    /// No credential: a bridge job of this name and id made the pipeline.
    Bridge,
    /// No credential: a push to the branch of this name made it.
    Push,
    /// No credential: a pipeline schedule of this description and id made it.
    Schedule,
}

impl Ledger {
    /// The pipelines that carry this fire id; more than one is the bug the operator exists to prevent.
    pub fn pipelines_with_fire_id(&self, fire_id: &str) -> Vec<&PipelineRecord> {
        self.pipelines.iter().filter(|p| p.fire_id.as_deref() == Some(fire_id)).collect()
    }

    /// The pipelines of a project, by its path at their creation.
    pub fn pipelines_of(&self, project: &str) -> Vec<&PipelineRecord> {
        self.pipelines.iter().filter(|p| p.project == project).collect()
    }

    /// Fire ids that more than one pipeline carries.
    pub fn duplicate_fire_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.pipelines.iter().filter_map(|p| p.fire_id.as_deref()).collect();
        ids.sort_unstable();
        let mut twice: Vec<&str> =
            ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        twice.dedup();
        twice
    }

    /// The calls to a route, by its name.
    pub fn calls_to(&self, route: &str) -> Vec<&CallRecord> {
        self.calls.iter().filter(|call| call.route == Some(route)).collect()
    }

    pub(crate) fn created(&mut self, record: PipelineRecord) {
        if let Some(call) = self.call_mut(record.call) {
            call.pipeline = Some(record.id);
        }
        self.pipelines.push(record);
    }

    pub(crate) fn opened(&mut self, record: MergeRequestRecord) {
        if let Some(call) = self.call_mut(record.call) {
            call.merge_request = Some(record.iid);
        }
        self.merge_requests.push(record);
    }

    pub(crate) fn committed(&mut self, record: CommitRecord) {
        if let Some(call) = self.call_mut(record.call) {
            call.commit = Some(record.id.clone());
        }
        self.commits.push(record);
    }

    /// The commits to a project, by its path when they were made.
    pub fn commits_to(&self, project: &str) -> Vec<&CommitRecord> {
        self.commits.iter().filter(|commit| commit.project == project).collect()
    }

    pub(crate) fn call_mut(&mut self, number: u64) -> Option<&mut CallRecord> {
        self.calls.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }
}

/// The operator's mark in a request or its variables.
pub(crate) fn fire_id(params: &Map<String, Value>, variables: &[Variable]) -> Option<String> {
    let in_body = params.get("pipekick").and_then(|ours| ours.get("fire_id")).and_then(Value::as_str);
    let in_variable = variables.iter().find(|v| v.key == "PIPEKICK_FIRE_ID").map(|v| v.value.as_str());
    in_body.or(in_variable).map(str::to_owned)
}
