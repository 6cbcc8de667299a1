//! All that one simulated GitLab knows: users, projects with their pipelines, tokens, and the ledger.
//! Pipelines are kept by project and id, so that a page of a long list costs a walk and no copies.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    call::Call,
    clock::Clock,
    faults::Faults,
    git::Repository,
    inputs::InputSpec,
    ledger::{Credential, CredentialKind, Ledger},
    limits::Limiter,
    merge_requests::MergeRequest,
    pipeline::Pipeline,
    schedules::Schedules,
    script::Play,
    seed::{Ci, JobState, Protection, Role, Scope, VariablesRole, Visibility},
    version::Version,
};

pub(crate) struct World {
    pub(crate) version: Version,
    pub(crate) clock: Clock,
    /// `http://host:port` of this simulator.
    pub(crate) base_url: String,
    pub(crate) object_storage: bool,
    pub(crate) users: BTreeMap<u64, User>,
    pub(crate) projects: BTreeMap<u64, Project>,
    /// Current paths.
    pub(crate) paths: HashMap<String, u64>,
    /// Former paths.
    pub(crate) moved: HashMap<String, u64>,
    pub(crate) access_tokens: HashMap<String, AccessToken>,
    pub(crate) job_tokens: HashMap<String, JobToken>,
    pub(crate) limiter: Limiter,
    pub(crate) faults: Faults,
    pub(crate) ledger: Ledger,
    pub(crate) schedules: Schedules,
    /// Pipelines with bridges, by project and id.
    pub(crate) bridging: BTreeSet<(u64, u64)>,
    /// Calls whose effect is still to come, by time and number.
    pub(crate) late: BTreeMap<(Timestamp, u64), Call>,
    /// Where the repositories lie, once there is one; it goes with the simulator.
    pub(crate) repositories: Option<TempDir>,
    next: Counters,
}

struct Counters {
    user: u64,
    project: u64,
    pipeline: u64,
    job: u64,
    token: u64,
    schedule: u64,
    merge_request: u64,
}

#[derive(Debug)]
pub(crate) struct User {
    pub(crate) id: u64,
    pub(crate) username: String,
    pub(crate) name: String,
    pub(crate) blocked: bool,
}

#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: u64,
    pub(crate) path: String,
    pub(crate) settings: Settings,
    /// By token value.
    pub(crate) triggers: HashMap<String, TriggerToken>,
    pub(crate) pipelines: BTreeMap<u64, Pipeline>,
    /// Those that time can still move.
    pub(crate) active: BTreeSet<u64>,
    pub(crate) created: u64,
    /// Branches and tags in the settings are a copy of its own, as they were at the beginning of the call.
    pub(crate) repository: Option<Repository>,
    /// By their number in the project.
    pub(crate) merge_requests: BTreeMap<u64, MergeRequest>,
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) visibility: Visibility,
    pub(crate) public_pipelines: bool,
    pub(crate) pipelines_enabled: bool,
    pub(crate) default_branch: String,
    pub(crate) branches: BTreeMap<String, String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) protected: Vec<Protection>,
    pub(crate) members: BTreeMap<u64, Role>,
    pub(crate) variables_role: VariablesRole,
    pub(crate) payload_exempt: bool,
    pub(crate) ci: Ci,
    pub(crate) inputs: BTreeMap<String, InputSpec>,
    pub(crate) workflow_name: Option<String>,
    pub(crate) script: Vec<Arc<Play>>,
    pub(crate) push_pipelines: bool,
    pub(crate) merges_need_pipeline: bool,
}

#[derive(Debug)]
pub(crate) struct TriggerToken {
    pub(crate) credential: Credential,
    pub(crate) owner: u64,
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct AccessToken {
    pub(crate) credential: Credential,
    pub(crate) user: u64,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked: bool,
}

#[derive(Debug)]
pub(crate) struct JobToken {
    pub(crate) credential: Credential,
    pub(crate) user: u64,
    pub(crate) state: JobState,
}

/// What a `:id` names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named {
    Current(u64),
    /// By a former path.
    Moved(u64),
}

impl World {
    pub(crate) fn new(version: Version, clock: Clock, base_url: String) -> Self {
        Self {
            version,
            clock,
            base_url,
            object_storage: false,
            users: BTreeMap::new(),
            projects: BTreeMap::new(),
            paths: HashMap::new(),
            moved: HashMap::new(),
            access_tokens: HashMap::new(),
            job_tokens: HashMap::new(),
            limiter: Limiter::default(),
            faults: Faults::default(),
            ledger: Ledger::default(),
            schedules: Schedules::default(),
            bridging: BTreeSet::new(),
            late: BTreeMap::new(),
            repositories: None,
            next: Counters {
                user: 101,
                project: 101,
                pipeline: 1000,
                job: 50_000,
                token: 1,
                schedule: 1,
                merge_request: 700,
            },
        }
    }

    /// A project by number or by full path; a path without a slash names nothing.
    pub(crate) fn named(&self, id: &str) -> Option<Named> {
        if let Ok(number) = id.parse() {
            return self.projects.contains_key(&number).then_some(Named::Current(number));
        }
        if !id.contains('/') {
            return None;
        }
        let current = self.paths.get(id).map(|id| Named::Current(*id));
        current.or_else(|| self.moved.get(id).map(|id| Named::Moved(*id)))
    }

    /// Brings a project's pipelines up to date and hands it out.
    pub(crate) fn settled(&mut self, project: u64, now: Timestamp) -> Option<&mut Project> {
        let project = self.projects.get_mut(&project)?;
        project.settle(now);
        Some(project)
    }

    pub(crate) fn user_by_name(&self, username: &str) -> Option<&User> {
        self.users.values().find(|user| user.username == username)
    }

    /// An id that no seed has taken.
    pub(crate) fn next_user(&mut self) -> u64 {
        let mut id = take(&mut self.next.user);
        while self.users.contains_key(&id) {
            id = take(&mut self.next.user);
        }
        id
    }

    /// An id that no seed has taken.
    pub(crate) fn next_project(&mut self) -> u64 {
        let mut id = take(&mut self.next.project);
        while self.projects.contains_key(&id) {
            id = take(&mut self.next.project);
        }
        id
    }

    pub(crate) fn next_pipeline(&mut self) -> u64 {
        take(&mut self.next.pipeline)
    }

    pub(crate) fn next_schedule(&mut self) -> u64 {
        take(&mut self.next.schedule)
    }

    pub(crate) fn next_merge_request(&mut self) -> u64 {
        take(&mut self.next.merge_request)
    }

    pub(crate) fn next_credential(&mut self, kind: CredentialKind, name: &str) -> Credential {
        Credential { kind, id: take(&mut self.next.token), name: name.to_owned() }
    }

    /// Hands out the project and the counter of job ids together.
    pub(crate) fn with_job_ids(&mut self, project: u64) -> Option<(&mut Project, impl FnMut() -> u64)> {
        let counter = &mut self.next.job;
        Some((self.projects.get_mut(&project)?, move || take(counter)))
    }
}

fn take(counter: &mut u64) -> u64 {
    let taken = *counter;
    *counter += 1;
    taken
}

impl Project {
    pub(crate) fn settle(&mut self, now: Timestamp) {
        let Self { active, pipelines, .. } = self;
        active.retain(|id| {
            let Some(pipeline) = pipelines.get_mut(id) else { return false };
            pipeline.settle(now);
            pipeline.is_active()
        });
    }

    /// To be called after an action that may have set a pipeline in motion.
    pub(crate) fn watch(&mut self, pipeline: u64) {
        self.active.insert(pipeline);
    }

    pub(crate) fn role(&self, user: u64) -> Option<Role> {
        self.settings.members.get(&user).copied()
    }

    /// Whether this user may push to, or create, a protected ref.
    pub(crate) fn may_update(&self, user: u64, git_ref: &str) -> bool {
        let role = self.role(user);
        self.settings.protected.iter().filter(|p| p.covers(git_ref)).all(|p| role >= Some(p.role))
    }

    /// The full name of a branch or tag; none if it has none, or both have it.
    pub(crate) fn full_ref(&self, name: &str) -> Option<String> {
        if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") {
            return Some(name.to_owned());
        }
        let Settings { branches, tags, .. } = &self.settings;
        match (branches.contains_key(name), tags.contains_key(name)) {
            (true, false) => Some(format!("refs/heads/{name}")),
            (false, true) => Some(format!("refs/tags/{name}")),
            (true, true) | (false, false) => None,
        }
    }

    pub(crate) fn head(&self, name: &str) -> Option<&String> {
        self.settings.branches.get(name).or_else(|| self.settings.tags.get(name))
    }

    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// A commit id made up from words, the same every time.
pub(crate) fn made_up_sha(words: &str) -> String {
    Sha256::digest(words.as_bytes()).iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}
