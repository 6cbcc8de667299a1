//! What the API shows of what is stored, and the keys each shape has at least.

use serde_json::{Value, json};

use super::{
    clock::iso,
    pipeline::{Downstream, Job, Pipeline, Status},
    schedules::Schedule,
    state::{Project, User, World},
};

pub(crate) const PIPELINE_BASIC: &[&str] =
    &["id", "iid", "project_id", "sha", "ref", "status", "source", "created_at", "updated_at", "web_url"];
pub(crate) const PIPELINE_ITEM: &[&str] = &[
    "id",
    "iid",
    "project_id",
    "sha",
    "ref",
    "status",
    "source",
    "created_at",
    "updated_at",
    "web_url",
    "name",
];
pub(crate) const PIPELINE: &[&str] = &[
    "id",
    "iid",
    "project_id",
    "sha",
    "ref",
    "status",
    "source",
    "created_at",
    "updated_at",
    "web_url",
    "before_sha",
    "tag",
    "yaml_errors",
    "user",
    "started_at",
    "finished_at",
    "committed_at",
    "duration",
    "queued_duration",
    "coverage",
    "detailed_status",
];
pub(crate) const PIPELINE_SINGLE: &[&str] = &["id", "iid", "status", "detailed_status", "user", "name"];
pub(crate) const VARIABLE: &[&str] = &["variable_type", "key", "value", "raw"];
pub(crate) const JOB: &[&str] = &[
    "id",
    "status",
    "stage",
    "name",
    "ref",
    "tag",
    "allow_failure",
    "created_at",
    "started_at",
    "finished_at",
    "duration",
    "queued_duration",
    "user",
    "commit",
    "pipeline",
    "web_url",
    "failure_reason",
];
pub(crate) const BRIDGE: &[&str] =
    &["id", "status", "stage", "name", "ref", "web_url", "pipeline", "downstream_pipeline"];
pub(crate) const TEST_SUMMARY: &[&str] = &["total", "test_suites"];
pub(crate) const TEST_REPORT: &[&str] = &[
    "total_time",
    "total_count",
    "success_count",
    "failed_count",
    "skipped_count",
    "error_count",
    "test_suites",
];
pub(crate) const SCHEDULE: &[&str] = &[
    "id",
    "description",
    "ref",
    "cron",
    "cron_timezone",
    "next_run_at",
    "active",
    "created_at",
    "updated_at",
    "owner",
];
pub(crate) const SCHEDULE_DETAILS: &[&str] =
    &["id", "description", "ref", "cron", "next_run_at", "active", "owner", "last_pipeline"];
pub(crate) const PROJECT: &[&str] =
    &["id", "name", "path", "path_with_namespace", "default_branch", "visibility", "web_url"];
pub(crate) const BRANCH: &[&str] =
    &["name", "commit", "merged", "protected", "can_push", "default", "web_url"];
pub(crate) const FILE: &[&str] = &[
    "file_name",
    "file_path",
    "size",
    "encoding",
    "content_sha256",
    "ref",
    "blob_id",
    "commit_id",
    "last_commit_id",
    "execute_filemode",
    "content",
];
pub(crate) const COMMIT: &[&str] = &[
    "id",
    "short_id",
    "created_at",
    "parent_ids",
    "title",
    "message",
    "author_name",
    "author_email",
    "authored_date",
    "committer_name",
    "committer_email",
    "committed_date",
    "trailers",
    "web_url",
];
pub(crate) const COMMIT_DETAIL: &[&str] =
    &["id", "short_id", "parent_ids", "message", "stats", "status", "project_id", "last_pipeline"];
pub(crate) const COMPARISON: &[&str] = &["commit", "commits", "diffs", "compare_timeout", "compare_same_ref"];
pub(crate) const MERGE_REQUEST: &[&str] = &[
    "id",
    "iid",
    "project_id",
    "title",
    "description",
    "state",
    "source_branch",
    "target_branch",
    "author",
    "assignees",
    "reviewers",
    "labels",
    "draft",
    "merge_when_pipeline_succeeds",
    "detailed_merge_status",
    "sha",
    "merge_commit_sha",
    "web_url",
];
pub(crate) const VERSION: &[&str] = &["version", "revision"];
pub(crate) const METADATA: &[&str] = &["version", "revision", "enterprise", "kas"];
pub(crate) const USER: &[&str] = &["id", "username", "name", "state", "avatar_url", "web_url"];

impl World {
    pub(crate) fn user_entity(&self, id: u64) -> Value {
        let Some(User { id, username, name, blocked }) = self.users.get(&id) else { return Value::Null };
        json!({
            "id": id, "username": username, "name": name, "public_email": null,
            "state": if *blocked { "blocked" } else { "active" }, "locked": false, "avatar_url": null,
            "web_url": format!("{}/{username}", self.base_url),
        })
    }

    /// `PipelineBasic`.
    pub(crate) fn pipeline_basic(&self, project: &Project, p: &Pipeline) -> Value {
        json!({
            "id": p.id, "iid": p.iid, "project_id": project.id, "sha": p.sha, "ref": p.git_ref,
            "status": p.status, "source": p.source,
            "created_at": iso(p.created_at), "updated_at": iso(p.updated_at),
            "web_url": format!("{}/{}/-/pipelines/{}", self.base_url, project.path, p.id),
        })
    }

    /// An item of the list: basic and, where the version tells it, `name`.
    pub(crate) fn pipeline_item(&self, project: &Project, p: &Pipeline) -> Value {
        self.named_after(self.pipeline_basic(project, p), p)
    }

    /// `Ci::Pipeline`: without `name`, variables and inputs.
    pub(crate) fn pipeline_entity(&self, project: &Project, p: &Pipeline) -> Value {
        let mut entity = self.pipeline_basic(project, p);
        let queued = p.started_at.map(|start| start.duration_since(p.created_at).as_secs());
        let coverage = p.play.coverage.filter(|_| p.finished_at.is_some());
        let more = json!({
            "before_sha": "0".repeat(40), "tag": p.tag, "yaml_errors": p.yaml_errors,
            "user": self.user_entity(p.user),
            "started_at": p.started_at.map(iso), "finished_at": p.finished_at.map(iso), "committed_at": null,
            "duration": p.duration(), "queued_duration": queued,
            "coverage": coverage.map(|percent| format!("{percent:.2}")),
            "detailed_status": self.detailed_status(project, p),
        });
        if let (Value::Object(entity), Value::Object(more)) = (&mut entity, more) {
            entity.extend(more);
        }
        entity
    }

    /// The single GET: the entity and, where the version tells it, `name`.
    pub(crate) fn pipeline_single(&self, project: &Project, p: &Pipeline) -> Value {
        self.named_after(self.pipeline_entity(project, p), p)
    }

    fn named_after(&self, mut entity: Value, p: &Pipeline) -> Value {
        if self.version.tells_names() {
            entity["name"] = p.name.clone().into();
        }
        entity
    }

    fn detailed_status(&self, project: &Project, p: &Pipeline) -> Value {
        let warned = p.jobs.iter().any(|job| !job.retried && job.status == Status::Failed);
        let (text, label, group) = match p.status {
            Status::Success if warned => ("Warning", "passed with warnings", "success-with-warnings"),
            Status::Success => ("Passed", "passed", "success"),
            Status::Created => ("Created", "created", "created"),
            Status::WaitingForResource => ("Waiting", "waiting for resource", "waiting-for-resource"),
            Status::Preparing => ("Preparing", "preparing", "preparing"),
            Status::WaitingForCallback => ("Waiting", "waiting for callback", "waiting-for-callback"),
            Status::Pending => ("Pending", "pending", "pending"),
            Status::Running => ("Running", "running", "running"),
            Status::Failed => ("Failed", "failed", "failed"),
            Status::Canceling => ("Canceling", "canceling", "canceling"),
            Status::Canceled => ("Canceled", "canceled", "canceled"),
            Status::Skipped => ("Skipped", "skipped", "skipped"),
            Status::Manual => ("Blocked", "waiting for manual action", "manual"),
            Status::Scheduled => ("Scheduled", "waiting for delayed job", "scheduled"),
        };
        let status = p.status.as_str();
        json!({
            "icon": format!("status_{status}"), "text": text, "label": label, "group": group, "tooltip": label,
            "has_details": true, "details_path": format!("/{}/-/pipelines/{}", project.path, p.id),
            "illustration": null, "favicon": format!("/assets/ci_favicons/favicon_status_{status}.png"),
        })
    }

    pub(crate) fn job_entity(&self, project: &Project, p: &Pipeline, job: &Job) -> Value {
        let part = p.part(job);
        let seconds = |span: jiff::SignedDuration| span.as_secs_f64();
        let duration =
            job.started_at.zip(job.finished_at).map(|(start, end)| seconds(end.duration_since(start)));
        let queued = job.started_at.map(|start| seconds(start.duration_since(job.created_at)));
        let failure = match job.downstream {
            Downstream::Refused => Some("downstream_pipeline_creation_failed"),
            Downstream::NotYet | Downstream::Made { .. } => {
                (job.status == Status::Failed).then_some(part.failure_reason.as_str())
            }
        };
        let size = p.artifacts(job).map(|left| left.values().map(String::len).sum::<usize>());
        let archive = size.map(|size| {
            json!({ "file_type": "archive", "size": size, "filename": "artifacts.zip", "file_format": "zip" })
        });
        json!({
            "id": job.id, "status": job.status, "stage": part.stage, "name": part.name, "ref": p.git_ref,
            "tag": p.tag, "coverage": null, "allow_failure": part.allow_failure, "failure_reason": failure,
            "created_at": iso(job.created_at), "started_at": job.started_at.map(iso),
            "finished_at": job.finished_at.map(iso), "erased_at": null,
            "duration": duration, "queued_duration": queued, "user": self.user_entity(p.user),
            "commit": commit(&p.sha), "pipeline": self.pipeline_basic(project, p),
            "web_url": format!("{}/{}/-/jobs/{}", self.base_url, project.path, job.id),
            "artifacts": archive.into_iter().collect::<Vec<_>>(),
            "artifacts_file": size.map(|size| json!({ "filename": "artifacts.zip", "size": size })),
            "runner": null, "tag_list": [], "archived": false,
        })
    }

    /// A job that makes a pipeline, and the pipeline it made.
    pub(crate) fn bridge_entity(&self, project: &Project, p: &Pipeline, job: &Job) -> Value {
        let mut entity = self.job_entity(project, p, job);
        if let Value::Object(entity) = &mut entity {
            for only_jobs in ["artifacts", "artifacts_file", "runner"] {
                entity.remove(only_jobs);
            }
        }
        let downstream = match job.downstream {
            Downstream::Made { project, pipeline } => {
                let project = self.projects.get(&project);
                project.and_then(|project| Some((project, project.pipelines.get(&pipeline)?)))
            }
            Downstream::NotYet | Downstream::Refused => None,
        };
        let downstream = downstream.map(|(project, pipeline)| self.pipeline_basic(project, pipeline));
        entity["downstream_pipeline"] = downstream.into();
        entity
    }

    pub(crate) fn schedule_entity(&self, s: &Schedule) -> Value {
        let mut entity = json!({
            "id": s.id, "description": s.description, "ref": s.git_ref, "cron": s.cron,
            "cron_timezone": s.cron_timezone, "next_run_at": s.next_run_at.map(iso), "active": s.active,
            "created_at": iso(s.created_at), "updated_at": iso(s.updated_at),
            "owner": self.user_entity(s.owner),
        });
        if self.version.has_inputs() {
            let input = |(name, value)| json!({ "name": name, "value": value });
            entity["inputs"] = s.inputs.iter().map(input).collect();
        }
        entity
    }

    /// With the last pipeline and, for who may see them, the variables.
    pub(crate) fn schedule_details(&self, s: &Schedule, shows_variables: bool) -> Value {
        let mut entity = self.schedule_entity(s);
        let project = self.projects.get(&s.project);
        let last = self.last_pipeline(s).zip(project);
        entity["last_pipeline"] =
            last.map(|(id, project)| self.pipeline_basic(project, &project.pipelines[&id])).into();
        if shows_variables {
            entity["variables"] = json!(s.variables);
        }
        entity
    }

    pub(crate) fn project_entity(&self, project: &Project) -> Value {
        let Project { id, path, settings, .. } = project;
        let namespace = path.rsplit_once('/').map_or("", |(namespace, _)| namespace);
        json!({
            "id": id, "name": project.name(), "path": project.name(), "path_with_namespace": path,
            "name_with_namespace": path.replace('/', " / "), "description": null,
            "default_branch": settings.default_branch, "visibility": settings.visibility.as_str(),
            "web_url": format!("{}/{path}", self.base_url), "archived": false,
            "empty_repo": project.repository.is_some() && settings.branches.is_empty(),
            "http_url_to_repo": format!("{}/{path}.git", self.base_url),
            "namespace": { "path": namespace, "full_path": namespace, "kind": "group" },
            "public_jobs": settings.public_pipelines,
            "ci_pipeline_variables_minimum_override_role": settings.variables_role.as_str(),
            "_links": { "self": format!("{}/api/v4/projects/{id}", self.base_url) },
        })
    }

    pub(crate) fn branch_entity(&self, project: &Project, name: &str, sha: &str, can_push: bool) -> Value {
        json!({
            "name": name, "commit": commit(sha), "merged": false,
            "protected": project.settings.protected.iter().any(|p| p.covers(name)),
            "developers_can_push": false, "developers_can_merge": false, "can_push": can_push,
            "default": name == project.settings.default_branch,
            "web_url": format!("{}/{}/-/tree/{name}", self.base_url, project.path),
        })
    }
}

fn commit(sha: &str) -> Value {
    let short: String = sha.chars().take(8).collect();
    json!({ "id": sha, "short_id": short, "title": "A commit", "message": "A commit\n", "parent_ids": [] })
}
