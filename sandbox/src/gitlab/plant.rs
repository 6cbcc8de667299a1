//! From a seed's names to the state's ids: what cannot be resolved is an error that says so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    cron::{self, Cron},
    faults::{RoutePattern, UnknownRoute},
    git::{GitError, Refs},
    ledger::CredentialKind,
    pipeline::{Phase, Pipeline, Variable, VariableType},
    schedules::Schedule,
    script::{JobPlay, Opening, Play},
    seed::{
        AccessTokenSeed, JobTokenSeed, PipelineSeed, ProjectSeed, ScheduleSeed, Seed, TriggerSeed, UserSeed,
    },
    state::{AccessToken, JobToken, Project, Settings, TriggerToken, User, World, made_up_sha},
};

/// Why a seed was refused. What came before the mistake stays planted.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    #[error("unknown user `{0}`: list it under `users`")]
    UnknownUser(String),
    #[error("project path `{0}` needs a namespace, as in `group/project`")]
    PathWithoutNamespace(String),
    #[error("project `{project}` has no branch or tag `{git_ref}`")]
    UnknownRef { project: String, git_ref: String },
    #[error("a token of `{0}` is empty")]
    EmptyToken(String),
    #[error("project `{0}` has pipelines or schedules, but no members to own them")]
    NoMembers(String),
    #[error("the clock is set once, at the start")]
    ClockIsSet,
    #[error("`{0}` is no cron expression, or no time zone")]
    Cron(String),
    #[error(
        "project `{project}` has a repository, and `{git_ref}` begins at its first commit: leave out `{head}`"
    )]
    HeadIsReal { project: String, git_ref: String, head: String },
    #[error("no repository could be made: {0}")]
    Git(#[from] GitError),
    #[error(transparent)]
    Route(#[from] UnknownRoute),
}

impl World {
    /// Adds a seed; what is there by name takes the new settings and keeps its pipelines.
    pub(crate) fn plant(&mut self, seed: Seed) -> Result<(), SeedError> {
        let Seed {
            version,
            clock,
            users,
            projects,
            access_tokens,
            job_tokens,
            limits,
            object_storage,
            scheduling,
            faults,
            latency,
        } = seed;
        if clock.is_some() {
            return Err(SeedError::ClockIsSet);
        }
        self.version = version.unwrap_or(self.version);
        self.object_storage = object_storage.unwrap_or(self.object_storage);
        if let Some(settings) = scheduling {
            let worker = settings.worker.clone();
            self.schedules.set(settings).then_some(()).ok_or(SeedError::Cron(worker))?;
        }
        users.into_iter().for_each(|user| self.plant_user(user));
        for project in projects {
            self.plant_project(project)?;
        }
        for token in access_tokens {
            self.plant_access_token(token)?;
        }
        for token in job_tokens {
            self.plant_job_token(token)?;
        }
        if let Some(limits) = limits {
            self.limiter.set(limits)?;
        }
        for rule in faults {
            self.faults.put(rule)?;
        }
        for (pattern, lasts) in latency {
            self.faults.slow(RoutePattern::parse(&pattern)?, lasts.unsigned_abs());
        }
        Ok(())
    }

    fn plant_user(&mut self, seed: UserSeed) {
        let UserSeed { username, id, name, blocked } = seed;
        let known = self.user_by_name(&username).map(|user| user.id);
        let id = known.or(id).unwrap_or_else(|| self.next_user());
        let name = name.unwrap_or_else(|| username.clone());
        self.users.insert(id, User { id, username, name, blocked });
    }

    fn user_id(&self, username: &str) -> Result<u64, SeedError> {
        let user = self.user_by_name(username);
        user.map(|user| user.id).ok_or_else(|| SeedError::UnknownUser(username.to_owned()))
    }

    fn plant_project(&mut self, seed: ProjectSeed) -> Result<(), SeedError> {
        let ProjectSeed {
            path,
            id,
            moved_from,
            visibility,
            public_pipelines,
            pipelines_enabled,
            default_branch,
            branches,
            tags,
            protected,
            members,
            variables_role,
            payload_exempt,
            ci,
            inputs,
            workflow_name,
            script,
            triggers,
            pipelines,
            schedules,
            repository,
            push_pipelines,
            merges_need_pipeline,
        } = seed;
        if !path.contains('/') {
            return Err(SeedError::PathWithoutNamespace(path));
        }
        let named = branches.iter().chain(&tags);
        let made_up = named.filter_map(|(name, head)| head.as_ref().map(|head| (name, head))).next();
        if let Some((git_ref, head)) = made_up.filter(|_| repository.is_some()) {
            let (git_ref, head) = (git_ref.clone(), head.clone());
            return Err(SeedError::HeadIsReal { project: path, git_ref, head });
        }
        let heads = |refs: BTreeMap<String, Option<String>>| -> BTreeMap<String, String> {
            let sha = |name: &str| made_up_sha(&format!("{path}@{name}"));
            refs.into_iter().map(|(name, head)| (name.clone(), head.unwrap_or_else(|| sha(&name)))).collect()
        };
        let members = members
            .into_iter()
            .map(|(name, role)| Ok((self.user_id(&name)?, role)))
            .collect::<Result<_, SeedError>>()?;
        let settings = Settings {
            visibility,
            public_pipelines,
            pipelines_enabled,
            default_branch,
            branches: heads(branches),
            tags: heads(tags),
            protected,
            members,
            variables_role,
            payload_exempt,
            ci,
            inputs,
            workflow_name,
            script: script.into_iter().map(|play| Arc::new(playable(play))).collect(),
            push_pipelines,
            merges_need_pipeline,
        };
        let id = match self.paths.get(&path).copied().or(id) {
            Some(id) => id,
            None => self.next_project(),
        };
        let named = Refs { branches: settings.branches.clone(), tags: settings.tags.clone() };
        self.moved.extend(moved_from.into_iter().map(|old| (old, id)));
        match self.projects.get_mut(&id) {
            Some(project) => {
                project.settings = settings;
                if project.path != path {
                    self.paths.remove(&project.path);
                    self.moved.insert(std::mem::replace(&mut project.path, path.clone()), id);
                }
            }
            None => {
                let project = Project {
                    id,
                    path: path.clone(),
                    settings,
                    triggers: HashMap::new(),
                    pipelines: BTreeMap::new(),
                    active: BTreeSet::new(),
                    created: 0,
                    repository: None,
                    merge_requests: BTreeMap::new(),
                };
                self.projects.insert(id, project);
            }
        }
        self.paths.insert(path, id);
        match repository {
            Some(seed) => self.plant_repository(id, seed, &named)?,
            None => self.refresh(id)?,
        }
        for trigger in triggers {
            self.plant_trigger(id, trigger)?;
        }
        for pipeline in pipelines {
            self.plant_pipeline(id, pipeline)?;
        }
        for schedule in schedules {
            self.plant_schedule(id, schedule)?;
        }
        Ok(())
    }

    fn plant_schedule(&mut self, project: u64, seed: ScheduleSeed) -> Result<(), SeedError> {
        let ScheduleSeed { description, git_ref, cron, cron_timezone, active, owner, variables } = seed;
        let found = &self.projects[&project];
        let unknown = || SeedError::UnknownRef { project: found.path.clone(), git_ref: git_ref.clone() };
        let git_ref = found.full_ref(&git_ref).ok_or_else(unknown)?;
        let owner = self.member(project, &owner)?;
        let zone = cron::zone(&cron_timezone).ok_or_else(|| SeedError::Cron(cron_timezone.clone()))?;
        Cron::parse(&cron, zone).ok_or_else(|| SeedError::Cron(cron.clone()))?;
        let known = self.schedules.of(project).find(|schedule| schedule.description == description);
        let known = known.map(|schedule| (schedule.id, schedule.created_at));
        let now = self.clock.now();
        let (id, created_at) = known.unwrap_or_else(|| (self.next_schedule(), now));
        let variable = |(key, value): (String, String)| Variable::new(VariableType::EnvVar, &key, value);
        let schedule = Schedule {
            id,
            project,
            description,
            git_ref,
            cron,
            cron_timezone,
            active,
            owner,
            variables: variables.into_iter().map(variable).collect(),
            inputs: serde_json::Map::new(),
            next_run_at: None,
            created_at,
            updated_at: now,
        };
        self.schedules.save(schedule, now);
        Ok(())
    }

    /// A user by name; without a name, the project's first member.
    fn member(&self, project: u64, username: &str) -> Result<u64, SeedError> {
        let project = &self.projects[&project];
        match username {
            "" => project.settings.members.keys().next().copied(),
            name => return self.user_id(name),
        }
        .ok_or_else(|| SeedError::NoMembers(project.path.clone()))
    }

    fn plant_trigger(&mut self, project: u64, seed: TriggerSeed) -> Result<(), SeedError> {
        let TriggerSeed { token, description, owner, expires_at } = seed;
        if token.is_empty() {
            return Err(SeedError::EmptyToken(description));
        }
        let owner = self.user_id(&owner)?;
        let credential = self.next_credential(CredentialKind::TriggerToken, &description);
        if let Some(project) = self.projects.get_mut(&project) {
            project.triggers.insert(token, TriggerToken { credential, owner, expires_at });
        }
        Ok(())
    }

    fn plant_access_token(&mut self, seed: AccessTokenSeed) -> Result<(), SeedError> {
        let AccessTokenSeed { token, name, user, scopes, expires_at, revoked } = seed;
        if token.is_empty() {
            return Err(SeedError::EmptyToken(name));
        }
        let user = self.user_id(&user)?;
        let credential = self.next_credential(CredentialKind::AccessToken, &name);
        self.access_tokens.insert(token, AccessToken { credential, user, scopes, expires_at, revoked });
        Ok(())
    }

    fn plant_job_token(&mut self, seed: JobTokenSeed) -> Result<(), SeedError> {
        let JobTokenSeed { token, name, user, state } = seed;
        if token.is_empty() {
            return Err(SeedError::EmptyToken(name));
        }
        let user = self.user_id(&user)?;
        let credential = self.next_credential(CredentialKind::JobToken, &name);
        self.job_tokens.insert(token, JobToken { credential, user, state });
        Ok(())
    }

    fn plant_pipeline(&mut self, project: u64, seed: PipelineSeed) -> Result<(), SeedError> {
        let PipelineSeed { git_ref, source, status, user, age, name, variables } = seed;
        let found = &self.projects[&project];
        let Some(sha) = found.head(&git_ref).cloned() else {
            return Err(SeedError::UnknownRef { project: found.path.clone(), git_ref });
        };
        let user = self.member(project, &user)?;
        let created_at = self.clock.now() - age;
        let id = self.next_pipeline();
        let Some(project) = self.projects.get_mut(&project) else { return Ok(()) };
        project.created += 1;
        let pipeline = Pipeline {
            id,
            iid: project.created,
            sha,
            tag: project.settings.tags.contains_key(&git_ref),
            git_ref,
            source,
            user,
            name,
            yaml_errors: None,
            variables: variables
                .into_iter()
                .map(|(key, value)| Variable::new(VariableType::EnvVar, &key, value))
                .collect(),
            status,
            created_at,
            updated_at: created_at,
            started_at: Some(created_at),
            finished_at: status.is_terminal().then_some(created_at),
            schedule: None,
            depth: 0,
            play: Arc::new(playable(Play::default())),
            phase: Phase::Still,
            jobs: Vec::new(),
        };
        project.pipelines.insert(id, pipeline);
        Ok(())
    }
}

/// A pipeline without jobs does not exist, and none is born running.
pub(crate) fn playable(mut play: Play) -> Play {
    if play.jobs.is_empty() {
        play.jobs.push(JobPlay::default());
    }
    if play.opening.is_empty() {
        play.opening.push(Opening::AT_ONCE);
    }
    play
}
