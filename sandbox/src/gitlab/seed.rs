//! What a simulator starts with, in the words a person writes: names instead of ids, YAML or JSON.
//! [`super::state::World::plant`] turns it into what is valid, once.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{
    clock::ClockSeed,
    faults::FaultRule,
    inputs::InputSpec,
    limits::Limits,
    pipeline::{Source, Status},
    schedules::ScheduleSettings,
    script::Play,
    version::Version,
};

/// Everything, or an addition to it: a project or user that is already there by name takes the new settings.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    pub version: Option<Version>,
    /// Only at the start.
    pub clock: Option<ClockSeed>,
    pub users: Vec<UserSeed>,
    pub projects: Vec<ProjectSeed>,
    pub access_tokens: Vec<AccessTokenSeed>,
    pub job_tokens: Vec<JobTokenSeed>,
    pub limits: Option<Limits>,
    /// Artifacts lie in an object storage, under another host name, and GitLab redirects to it.
    pub object_storage: Option<bool>,
    /// What the instance decides about pipeline schedules.
    pub scheduling: Option<ScheduleSettings>,
    pub faults: Vec<FaultRule>,
    /// By route pattern, real time.
    pub latency: BTreeMap<String, SignedDuration>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UserSeed {
    pub username: String,
    pub id: Option<u64>,
    pub name: Option<String>,
    pub blocked: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProjectSeed {
    /// Full path with namespace.
    pub path: String,
    /// Made up if absent, from 101. The id of a project that is there renames it.
    pub id: Option<u64>,
    /// Paths it had before.
    pub moved_from: Vec<String>,
    pub visibility: Visibility,
    /// Whoever can read the project can read its pipelines.
    pub public_pipelines: bool,
    pub pipelines_enabled: bool,
    pub default_branch: String,
    /// Name → head commit; an empty commit is made up from the name.
    pub branches: BTreeMap<String, Option<String>>,
    pub tags: BTreeMap<String, Option<String>>,
    pub protected: Vec<Protection>,
    /// User name → role.
    pub members: BTreeMap<String, Role>,
    /// `ci_pipeline_variables_minimum_override_role`.
    pub variables_role: VariablesRole,
    /// Restricted variables let a trigger call pass whose only variable is `TRIGGER_PAYLOAD`.
    pub payload_exempt: bool,
    pub ci: Ci,
    /// `spec:inputs` of the CI file; none: the file declares no inputs.
    pub inputs: BTreeMap<String, InputSpec>,
    /// `workflow:name`; `$NAME` is replaced by a pipeline variable.
    pub workflow_name: Option<String>,
    pub script: Vec<Play>,
    pub triggers: Vec<TriggerSeed>,
    /// Pipelines that exist already.
    pub pipelines: Vec<PipelineSeed>,
    /// Pipeline schedules that exist already; in an addition, one is known by its description.
    pub schedules: Vec<ScheduleSeed>,
    /// A real git repository. Its branches and tags are then what git says; those listed above all begin at its first
    /// commit. Without one, they are names and made-up heads.
    pub repository: Option<RepositorySeed>,
    /// A commit that is made here starts a pipeline.
    pub push_pipelines: bool,
    /// Merge requests can be merged only when their pipeline succeeded.
    pub merges_need_pipeline: bool,
}

/// What lies in a repository, in one commit on the default branch by the project's first member. For a repository that
/// is there already, one more commit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepositorySeed {
    /// Path → text.
    pub files: BTreeMap<String, String>,
}

impl Default for ProjectSeed {
    fn default() -> Self {
        Self {
            path: String::new(),
            id: None,
            moved_from: Vec::new(),
            visibility: Visibility::Private,
            public_pipelines: true,
            pipelines_enabled: true,
            default_branch: "main".into(),
            branches: BTreeMap::from([("main".into(), None)]),
            tags: BTreeMap::new(),
            protected: Vec::new(),
            members: BTreeMap::new(),
            variables_role: VariablesRole::Developer,
            payload_exempt: false,
            ci: Ci::Valid,
            inputs: BTreeMap::new(),
            workflow_name: None,
            script: Vec::new(),
            triggers: Vec::new(),
            pipelines: Vec::new(),
            schedules: Vec::new(),
            repository: None,
            push_pipelines: false,
            merges_need_pipeline: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    Private,
    Internal,
    Public,
}

impl Visibility {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }
}

/// A member's role; the order is the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Guest,
    Reporter,
    Developer,
    Maintainer,
    Owner,
}

/// The least role that may set pipeline variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariablesRole {
    NoOneAllowed,
    Owner,
    Maintainer,
    Developer,
}

impl VariablesRole {
    pub(crate) fn allows(self, role: Role) -> bool {
        match self {
            Self::NoOneAllowed => false,
            Self::Owner => role >= Role::Owner,
            Self::Maintainer => role >= Role::Maintainer,
            Self::Developer => role >= Role::Developer,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoOneAllowed => "no_one_allowed",
            Self::Owner => "owner",
            Self::Maintainer => "maintainer",
            Self::Developer => "developer",
        }
    }
}

/// A protected branch or tag: who may push to it, create it, or run pipelines on it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protection {
    /// Exact, or with a `*` at its end.
    #[serde(rename = "ref")]
    pub pattern: String,
    pub role: Role,
}

impl Protection {
    pub(crate) fn covers(&self, git_ref: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => git_ref.starts_with(prefix),
            None => self.pattern == git_ref,
        }
    }
}

/// What GitLab finds when it looks for the project's CI configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ci {
    Valid,
    Missing,
    /// Does not parse, or includes what is not there; the text is GitLab's.
    Invalid(String),
    /// `workflow:rules` say no.
    Filtered,
    /// No job's rules match.
    Empty,
    /// More jobs than the instance allows.
    TooLarge,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TriggerSeed {
    pub token: String,
    /// Also its name in the ledger.
    pub description: String,
    pub owner: String,
    pub expires_at: Option<Timestamp>,
}

/// A personal, project or group access token.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AccessTokenSeed {
    pub token: String,
    pub name: String,
    pub user: String,
    pub scopes: Vec<Scope>,
    pub expires_at: Option<Timestamp>,
    pub revoked: bool,
}

/// A CI job's token, which the trigger route takes in place of a trigger token.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobTokenSeed {
    pub token: String,
    pub name: String,
    pub user: String,
    pub state: JobState,
}

/// What has become of the job a token belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    #[default]
    Running,
    Finished,
    Erased,
    ProjectDeleted,
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Api,
    ReadApi,
    ReadUser,
    ReadRepository,
    WriteRepository,
}

/// A pipeline that exists already and moves no more.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineSeed {
    #[serde(rename = "ref")]
    pub git_ref: String,
    pub source: Source,
    pub status: Status,
    /// User name; empty: the project's first member.
    pub user: String,
    /// Before now.
    pub age: SignedDuration,
    pub name: Option<String>,
    pub variables: BTreeMap<String, String>,
}

/// A pipeline schedule that exists already.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleSeed {
    pub description: String,
    #[serde(rename = "ref")]
    pub git_ref: String,
    pub cron: String,
    pub cron_timezone: String,
    pub active: bool,
    /// User name; empty: the project's first member.
    pub owner: String,
    pub variables: BTreeMap<String, String>,
}

impl Default for ScheduleSeed {
    fn default() -> Self {
        Self {
            description: String::new(),
            git_ref: "main".into(),
            cron: "0 * * * *".into(),
            cron_timezone: "UTC".into(),
            active: true,
            owner: String::new(),
            variables: BTreeMap::new(),
        }
    }
}

impl Default for PipelineSeed {
    fn default() -> Self {
        Self {
            git_ref: "main".into(),
            source: Source::Push,
            status: Status::Success,
            user: String::new(),
            age: SignedDuration::ZERO,
            name: None,
            variables: BTreeMap::new(),
        }
    }
}

impl Seed {
    /// The trigger token of [`Seed::one_project`].
    pub const TRIGGER_TOKEN: &'static str = "glptt-simulated-trigger-token";
    /// The access token of [`Seed::one_project`].
    pub const ACCESS_TOKEN: &'static str = "glpat-simulated-access-token";

    /// One private project with branch `main`, and `alice`, its maintainer, who owns a trigger token
    /// named `ops` and an access token named `bot` with scope `api`.
    pub fn one_project(path: &str) -> Self {
        Self {
            users: vec![UserSeed { username: "alice".into(), ..UserSeed::default() }],
            projects: vec![ProjectSeed {
                path: path.into(),
                members: BTreeMap::from([("alice".into(), Role::Maintainer)]),
                triggers: vec![TriggerSeed {
                    token: Self::TRIGGER_TOKEN.into(),
                    description: "ops".into(),
                    owner: "alice".into(),
                    expires_at: None,
                }],
                ..ProjectSeed::default()
            }],
            access_tokens: vec![AccessTokenSeed {
                token: Self::ACCESS_TOKEN.into(),
                name: "bot".into(),
                user: "alice".into(),
                scopes: vec![Scope::Api],
                ..AccessTokenSeed::default()
            }],
            ..Self::default()
        }
    }

    /// Reads YAML, of which JSON is a part.
    pub fn from_yaml(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }
}
