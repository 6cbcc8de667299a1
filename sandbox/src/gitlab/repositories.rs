//! Which project has a repository, what a push does, and what may be pushed where.
//!
//! A project without one keeps the branches that its seed made up: they are names and heads, and nothing can be
//! committed to them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Map;

use super::{
    chain::{self, Order},
    git::{Change, GitError, NewCommit, Person, Refs, Repository},
    ledger::{CommitRecord, Credential, CredentialKind},
    pipeline::Source,
    row::Answer,
    rows,
    seed::{RepositorySeed, Role},
    state::{Project, World},
};

/// Whose commit it is, for the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Pusher {
    pub(crate) user: u64,
    pub(crate) credential: Option<Credential>,
    /// 0: no call made it.
    pub(crate) call: u64,
}

impl From<GitError> for Answer {
    /// GitLab's own words when its storage fails it; ours go to stderr.
    fn from(error: GitError) -> Self {
        tracing::error!(%error, "a repository of the simulator is broken");
        rows::REPOSITORY_BROKEN.answer()
    }
}

impl Project {
    pub(crate) fn repository(&self) -> Result<&Repository, Answer> {
        self.repository.as_ref().ok_or_else(|| rows::REPOSITORY_NOT_FOUND.answer())
    }

    /// Whether this user may push to a branch, there or not.
    pub(crate) fn may_push(&self, user: u64, branch: &str) -> bool {
        self.role(user) >= Some(Role::Developer) && self.may_update(user, branch)
    }

    pub(crate) fn protects(&self, branch: &str) -> bool {
        self.settings.protected.iter().any(|protection| protection.covers(branch))
    }

    /// The commit that a name of this project means.
    pub(crate) fn commit_of(&self, name: &str) -> Result<Option<String>, Answer> {
        Ok(self.repository()?.resolve(name)?)
    }
}

impl World {
    /// Reads the names of a project's branches and tags anew: somebody may have pushed by path.
    pub(crate) fn refresh(&mut self, project: u64) -> Result<(), GitError> {
        let Some(project) = self.projects.get_mut(&project) else { return Ok(()) };
        let Some(repository) = &project.repository else { return Ok(()) };
        let Refs { branches, tags } = repository.refs()?;
        (project.settings.branches, project.settings.tags) = (branches, tags);
        let id = project.id;
        self.follow_sources(id);
        Ok(())
    }

    /// The directory of all repositories.
    fn root(&mut self) -> Result<PathBuf, GitError> {
        if self.repositories.is_none() {
            let made = tempfile::Builder::new().prefix("gitlab-sim-").tempdir();
            self.repositories = Some(made.map_err(|error| GitError::of("init", &error))?);
        }
        Ok(self.repositories.as_ref().map(|root| root.path().to_owned()).unwrap_or_default())
    }

    /// A user as git names one.
    pub(crate) fn person(&self, user: u64) -> Person {
        let user = self.users.get(&user);
        let name = user.map_or_else(String::new, |user| user.name.clone());
        let email = user.map_or_else(String::new, |user| format!("{}@example.com", user.username));
        Person { name, email }
    }

    /// Makes the repository of a seed, or adds a commit to the one that is there.
    pub(crate) fn plant_repository(
        &mut self,
        project: u64,
        seed: RepositorySeed,
        others: &Refs,
    ) -> Result<(), GitError> {
        let RepositorySeed { files } = seed;
        let Some(found) = self.projects.get(&project) else { return Ok(()) };
        let branch = found.settings.default_branch.clone();
        let fresh = found.repository.is_none();
        if fresh {
            let path = found.path.clone();
            let path = self.root()?.join(format!("{path}.git"));
            let repository = Repository::create(path, &branch)?;
            self.projects.get_mut(&project).expect("it was found above").repository = Some(repository);
        }
        let user = self.projects[&project].settings.members.keys().next().copied().unwrap_or_default();
        let put = |(path, text): (String, String)| Change::Put {
            path,
            executable: false,
            content: text.into_bytes(),
        };
        let changes: Vec<Change> = files.into_iter().map(put).collect();
        let by = Pusher { user, credential: None, call: 0 };
        let message = if fresh { "First commit\n" } else { "Files of a seed\n" };
        let Some(head) = self.push(project, &branch, &changes, message, &by)? else { return Ok(()) };
        if fresh {
            let repository = self.projects[&project].repository.clone().expect("it was made above");
            for name in others.branches.keys().filter(|name| **name != branch) {
                repository.point(name, &head, "")?;
            }
            for name in others.tags.keys() {
                repository.tag(name, &head)?;
            }
        }
        self.refresh(project)
    }

    /// A commit on top of a branch, by whoever may or may not. None: somebody else was faster.
    pub(crate) fn push(
        &mut self,
        project: u64,
        branch: &str,
        changes: &[Change],
        message: &str,
        by: &Pusher,
    ) -> Result<Option<String>, GitError> {
        self.refresh(project)?;
        let at = self.clock.now();
        let person = self.person(by.user);
        let Some(found) = self.projects.get(&project) else { return Ok(None) };
        let Some(repository) = &found.repository else { return Ok(None) };
        let parent = found.settings.branches.get(branch).map(String::as_str);
        let new = NewCommit {
            branch,
            parent,
            changes,
            message,
            author: &person,
            committer: &person,
            at,
            force: false,
        };
        let Some(id) = repository.commit(&new)? else { return Ok(None) };
        self.pushed(project, branch, &id, by, at)?;
        Ok(Some(id))
    }

    /// What follows from a branch having moved to a commit that was made here.
    pub(crate) fn pushed(
        &mut self,
        project: u64,
        branch: &str,
        id: &str,
        by: &Pusher,
        at: Timestamp,
    ) -> Result<(), GitError> {
        self.refresh(project)?;
        let Some(found) = self.projects.get(&project) else { return Ok(()) };
        let Some(repository) = &found.repository else { return Ok(()) };
        let Some(commit) = repository.show(id)? else { return Ok(()) };
        let files = match &commit.parents[..] {
            [parent, ..] => repository.differences(parent, id)?.into_iter().map(|file| file.path).collect(),
            [] => Vec::new(),
        };
        let record = CommitRecord {
            id: id.to_owned(),
            project_id: project,
            project: found.path.clone(),
            branch: branch.to_owned(),
            at,
            user: self.users.get(&by.user).map_or_else(String::new, |user| user.username.clone()),
            credential: by.credential.clone(),
            call: by.call,
            parents: commit.parents,
            message: commit.message,
            files,
        };
        self.ledger.committed(record);
        if found.settings.push_pipelines {
            self.start_pushed(project, branch, by, at);
        }
        Ok(())
    }

    /// The pipeline of a push; whatever refuses it is told to nobody.
    fn start_pushed(&mut self, project: u64, branch: &str, by: &Pusher, at: Timestamp) {
        let credential = Credential { kind: CredentialKind::Push, id: 0, name: branch.to_owned() };
        let order = Order {
            project,
            user: by.user,
            git_ref: branch,
            source: Source::Push,
            variables: Vec::new(),
            payload: None,
            inputs: Map::new(),
            keeps_failures: true,
            at,
            call: 0,
            credential,
            params: Map::new(),
            upstream: None,
            schedule: None,
        };
        drop(chain::create(self, order));
    }

    /// Where a project's repository lies.
    pub(crate) fn repository_path(&self, project: &str) -> Option<PathBuf> {
        let project = self.projects.get(self.paths.get(project)?)?;
        project.repository.as_ref().map(Repository::path).map(Path::to_owned)
    }
}
