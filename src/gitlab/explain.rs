//! What an error of GitLab's means, and what to do about it: one table, printed into `docs/troubleshooting.md`.
//!
//! Status and route are looked at first; the text only where nothing else tells two causes apart, and then by its
//! distinctive words in any case, for GitLab rewords its messages every few releases. What the table does not
//! know is quoted.
//!
//! ```text
//! what came ── table.rs: the first row that fits ──▶ Meaning ──▶ fire.rs, read.rs
//!                          └── page.rs ──▶ docs/troubleshooting.md
//! ```

mod page;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use pipekick_core::domain::{GitLabUrl, GitLabVersion, Reason};

use super::ResponseMeta;
use super::budget::UNNAMED_WAIT;
use super::http::SendError;
use super::says::GitLabSays;
pub use page::troubleshooting;
use table::{Came, On, Then, find};

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    FireTrigger,
    FireAccess,
    Pipelines,
    Pipeline,
    Variables,
    Jobs,
    Bridges,
    TestSummary,
    Cancel,
    RetryPipeline,
    DeletePipeline,
    NamePipeline,
    Project,
    Branches,
    Branch,
    DeleteBranch,
    File,
    Commits,
    Compare,
    Commit,
    Artifact,
    MergeRequests,
    MergeRequest,
    OpenMergeRequest,
    ChangeMergeRequest,
    Merge,
    Users,
    Schedules,
    Schedule,
    CreateSchedule,
    UpdateSchedule,
    TakeSchedule,
    DeleteSchedule,
    AddScheduleVariable,
    SetScheduleVariable,
    RemoveScheduleVariable,
    Version,
    User,
}

impl Call {
    /// The route as it stands in logs and metrics.
    pub(super) const fn route(self) -> &'static str {
        match self {
            Self::FireTrigger => "/projects/:id/trigger/pipeline",
            Self::FireAccess => "/projects/:id/pipeline",
            Self::Pipelines => "/projects/:id/pipelines",
            Self::Pipeline | Self::DeletePipeline => "/projects/:id/pipelines/:pipeline_id",
            Self::Variables => "/projects/:id/pipelines/:pipeline_id/variables",
            Self::Jobs => "/projects/:id/pipelines/:pipeline_id/jobs",
            Self::Bridges => "/projects/:id/pipelines/:pipeline_id/bridges",
            Self::TestSummary => "/projects/:id/pipelines/:pipeline_id/test_report_summary",
            Self::Cancel => "/projects/:id/pipelines/:pipeline_id/cancel",
            Self::RetryPipeline => "/projects/:id/pipelines/:pipeline_id/retry",
            Self::NamePipeline => "/projects/:id/pipelines/:pipeline_id/metadata",
            Self::Project => "/projects/:id",
            Self::Branches => "/projects/:id/repository/branches",
            Self::Branch | Self::DeleteBranch => "/projects/:id/repository/branches/:branch",
            Self::File => "/projects/:id/repository/files/:file_path/raw",
            Self::Commits | Self::Commit => "/projects/:id/repository/commits",
            Self::Compare => "/projects/:id/repository/compare",
            Self::MergeRequests | Self::OpenMergeRequest => "/projects/:id/merge_requests",
            Self::MergeRequest | Self::ChangeMergeRequest => {
                "/projects/:id/merge_requests/:merge_request_iid"
            }
            Self::Merge => "/projects/:id/merge_requests/:merge_request_iid/merge",
            Self::Users => "/users",
            Self::Artifact => "/projects/:id/jobs/:job_id/artifacts/*path",
            Self::Schedules | Self::CreateSchedule => "/projects/:id/pipeline_schedules",
            Self::Schedule | Self::UpdateSchedule | Self::DeleteSchedule => {
                "/projects/:id/pipeline_schedules/:schedule_id"
            }
            Self::TakeSchedule => "/projects/:id/pipeline_schedules/:schedule_id/take_ownership",
            Self::AddScheduleVariable => "/projects/:id/pipeline_schedules/:schedule_id/variables",
            Self::SetScheduleVariable | Self::RemoveScheduleVariable => {
                "/projects/:id/pipeline_schedules/:schedule_id/variables/:key"
            }
            Self::Version => "/version",
            Self::User => "/user",
        }
    }
}

/// What was asked for, as far as a message names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) call: Call,
    pub(super) project: &'a str,
    pub(super) git_ref: &'a str,
}

/// What an answer that is no success means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// GitLab did nothing, and will not until something is changed.
    Refused { reason: Reason, message: String },
    /// GitLab did nothing, and asks to come back.
    Throttled { reason: Reason, message: String, wait: Duration },
    /// GitLab stored a pipeline that failed before any job ran.
    FailedAtBirth { message: String },
    /// GitLab did nothing, for somebody else wrote first: asked again from what is there now, it may say yes.
    Overtaken { message: String },
    /// It says nothing of what was done.
    Unclear { message: String },
}

/// Reads an answer that is no success. `body` is GitLab's words, or what the body is instead of them.
pub(super) fn explain(
    about: About<'_>,
    status: u16,
    meta: &ResponseMeta,
    body: Result<&GitLabSays, &str>,
) -> Meaning {
    let (came, answer) = match body {
        Ok(GitLabSays { shape, text }) => {
            let answer = if text.is_empty() {
                format!("GitLab answered {status} without a reason")
            } else {
                format!("GitLab answered {status} \"{text}\"")
            };
            (Came::Said { status, shape: *shape, text }, answer)
        }
        Err(instead) => (Came::Foreign { status }, format!("{status} with {instead}")),
    };
    let row = find(about.call, came);
    // What came with it may be a proxy's, and is not quoted.
    let answer = if row.on == On::Status(status) { format!("GitLab answered {status}") } else { answer };
    let fill = |text: &str| text.replace("{project}", about.project).replace("{ref}", about.git_ref);
    let message = || format!("{answer}: {}. {}", fill(row.means), fill(row.help));
    let throttled = |wait| Meaning::Throttled { reason: row.reason, message: message(), wait };
    match row.then {
        Then::Refuse => Meaning::Refused { reason: row.reason, message: message() },
        Then::Minute => throttled(Duration::from_secs(60)),
        Then::NextMinute => throttled(to_next_minute(meta)),
        Then::Asked => throttled(meta.asked_wait().unwrap_or(UNNAMED_WAIT).max(Duration::from_secs(1))),
        Then::FailedAtBirth => {
            let said = body.ok().map(|said| said.text.as_str()).filter(|text| !text.is_empty());
            let said = said.map_or(answer.clone(), |text| format!("\"{text}\""));
            Meaning::FailedAtBirth { message: format!("{said}: {}. {}", fill(row.means), fill(row.help)) }
        }
        Then::ReadAgain => Meaning::Overtaken { message: message() },
        // What to do comes from what is seen when it is looked up.
        Then::Unclear | Then::NotSent => {
            Meaning::Unclear { message: format!("{answer}: {}", fill(row.means)) }
        }
    }
}

/// Why nothing was sent to `host`, and what to do about it. Only the network's own words need the table: other
/// messages are ours and say it themselves.
pub(super) fn unsent(call: Call, host: &str, error: SendError) -> SendError {
    match error {
        SendError::NotSent { reason: Reason::Unreachable, message } => {
            let row = find(call, Came::NotSent { why: &message });
            let [means, help] = [row.means, row.help].map(|text| text.replace("{host}", host));
            let message = format!("{message}: {means}. {help}");
            SendError::NotSent { reason: Reason::Unreachable, message }
        }
        error @ (SendError::NotSent { .. } | SendError::Lost { .. }) => error,
    }
}

/// Why inputs are not sent to a GitLab of this version, and what to do about it.
#[must_use]
pub fn too_old_for_inputs(url: &GitLabUrl, version: GitLabVersion) -> (Reason, String) {
    let why = format!("{url} is GitLab {version}, which drops inputs without a word");
    let row = find(Call::FireTrigger, Came::NotSent { why: &why });
    (row.reason, format!("{why}: {}. {}", row.means, row.help))
}

/// Two seconds into the next minute of GitLab's clock, which its `Date` tells to the second.
fn to_next_minute(meta: &ResponseMeta) -> Duration {
    let left = meta.date.map_or(60, |date| 60 - date.as_second().rem_euclid(60));
    Duration::from_secs(left.unsigned_abs() + 2)
}
