//! Merge requests within one project: what they hold, when they can be merged, and merging.
//!
//! Whether one can be merged is computed in the background: the first look after a change of either branch says
//! `checking`, later ones what it is.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    git::{GitError, Person},
    ledger::MergeRequestRecord,
    pipeline::{Pipeline, Status},
    repositories::Pusher,
    state::{Project, World},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRequestState {
    Opened,
    Merged,
    Closed,
}

/// One merge request, as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct MergeRequest {
    pub id: u64,
    pub iid: u64,
    pub title: String,
    pub description: Option<String>,
    pub source_branch: String,
    pub target_branch: String,
    pub state: MergeRequestState,
    pub labels: Vec<String>,
    /// User ids.
    pub assignees: Vec<u64>,
    /// User ids.
    pub reviewers: Vec<u64>,
    pub remove_source_branch: bool,
    pub squash: bool,
    #[serde(skip)]
    pub(crate) author: u64,
    #[serde(skip)]
    pub(crate) armed: Option<Armed>,
    /// The heads of both branches that mergeability was computed for.
    #[serde(skip)]
    pub(crate) checked: Option<(String, String)>,
    /// The head of the source branch; after its end, as it was then.
    pub sha: String,
    /// The commit that brought it to the target branch.
    pub merge_commit: Option<String>,
    /// The one that its own were squashed into.
    pub squash_commit: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) merged_by: Option<u64>,
}

/// To be merged when its pipeline succeeds.
#[derive(Debug, Clone)]
pub(crate) struct Armed {
    pub(crate) by: Pusher,
    /// A push to the source branch disarms it.
    pub(crate) sha: String,
    pub(crate) how: Merging,
}

/// How a merge is to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merging {
    pub(crate) remove_source: bool,
    pub(crate) squash: bool,
    pub(crate) message: Option<String>,
    pub(crate) squash_message: Option<String>,
}

/// What stands in the way of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    NotOpen,
    Draft,
    /// Pipelines must succeed here, and this one has not.
    PipelineMissing,
    Conflict,
    Mergeable,
}

impl MergeRequest {
    pub(crate) fn is_open(&self) -> bool {
        self.state == MergeRequestState::Opened
    }

    pub(crate) fn is_draft(&self) -> bool {
        ["draft:", "[draft]", "(draft)"].iter().any(|mark| self.title.to_lowercase().starts_with(mark))
    }
}

impl Project {
    /// The pipeline of a merge request's newest commit.
    pub(crate) fn head_pipeline(&self, request: &MergeRequest) -> Option<&Pipeline> {
        let mut newest = self.pipelines.values().rev();
        newest.find(|pipeline| pipeline.sha == request.sha && pipeline.git_ref == request.source_branch)
    }

    pub(crate) fn standing(&self, request: &MergeRequest) -> Result<Standing, GitError> {
        if !request.is_open() {
            return Ok(Standing::NotOpen);
        }
        if request.is_draft() {
            return Ok(Standing::Draft);
        }
        let succeeded = self.head_pipeline(request).is_some_and(|p| p.status == Status::Success);
        if self.settings.merges_need_pipeline && !succeeded {
            return Ok(Standing::PipelineMissing);
        }
        let target = self.settings.branches.get(&request.target_branch);
        let merges = match (&self.repository, target) {
            (Some(repository), Some(target)) => repository.merged_tree(target, &request.sha)?.is_some(),
            (None, _) | (_, None) => false,
        };
        Ok(if merges { Standing::Mergeable } else { Standing::Conflict })
    }
}

impl World {
    /// The project of an open merge request, and its first member, for who acts by hand.
    pub(crate) fn open_by(&self, project: &str, iid: u64) -> Option<(u64, Pusher)> {
        let project = self.projects.get(self.paths.get(project)?)?;
        project.merge_requests.get(&iid).filter(|request| request.is_open())?;
        let user = project.settings.members.keys().next().copied().unwrap_or_default();
        Some((project.id, Pusher { user, credential: None, call: 0 }))
    }

    /// The heads of open merge requests follow their branches.
    pub(crate) fn follow_sources(&mut self, project: u64) {
        let Some(project) = self.projects.get_mut(&project) else { return };
        for request in project.merge_requests.values_mut().filter(|request| request.is_open()) {
            if let Some(head) = project.settings.branches.get(&request.source_branch) {
                request.sha.clone_from(head);
            }
        }
    }

    /// Merges what is armed and may be merged by now.
    pub(crate) fn merge_armed(&mut self, now: Timestamp) -> Result<(), GitError> {
        let armed = |project: &Project| {
            let requests = project.merge_requests.values().filter(|r| r.is_open() && r.armed.is_some());
            requests.map(|request| (project.id, request.iid)).collect::<Vec<_>>()
        };
        let all: Vec<(u64, u64)> = self.projects.values().flat_map(armed).collect();
        for (project, iid) in all {
            self.refresh(project)?;
            self.settled(project, now);
            let found = &self.projects[&project];
            let request = &found.merge_requests[&iid];
            let Some(Armed { by, sha, how }) = request.armed.clone() else { continue };
            if request.sha != sha {
                self.change_request(project, iid, now, |request| request.armed = None);
                continue;
            }
            let succeeded = found.head_pipeline(request).is_some_and(|p| p.status == Status::Success);
            if succeeded && found.standing(request)? == Standing::Mergeable {
                self.merge(project, iid, &how, &by, now)?;
            }
        }
        Ok(())
    }

    pub(crate) fn change_request(
        &mut self,
        project: u64,
        iid: u64,
        now: Timestamp,
        change: impl FnOnce(&mut MergeRequest),
    ) {
        let project = self.projects.get_mut(&project);
        if let Some(request) = project.and_then(|project| project.merge_requests.get_mut(&iid)) {
            change(request);
            request.updated_at = now;
        }
    }

    /// Brings a merge request to its target. `false`: the branches conflict, or the target moved meanwhile.
    pub(crate) fn merge(
        &mut self,
        project: u64,
        iid: u64,
        how: &Merging,
        by: &Pusher,
        now: Timestamp,
    ) -> Result<bool, GitError> {
        let person: Person = self.person(by.user);
        let found = &self.projects[&project];
        let request = found.merge_requests[&iid].clone();
        let (source, target) = (&request.source_branch, &request.target_branch);
        let (Some(repository), Some(head)) = (&found.repository, found.settings.branches.get(target)) else {
            return Ok(false);
        };
        let Some(tree) = repository.merged_tree(head, &request.sha)? else { return Ok(false) };
        let squashed = if how.squash || request.squash {
            let message = how.squash_message.clone().unwrap_or_else(|| request.title.clone());
            Some(repository.commit_tree(&tree, &[head], &message, &person, now)?)
        } else {
            None
        };
        let theirs = squashed.clone().unwrap_or_else(|| request.sha.clone());
        let message = how.message.clone().unwrap_or_else(|| {
            let see = format!("See merge request {}!{iid}", found.path);
            format!("Merge branch '{source}' into '{target}'\n\n{}\n\n{see}", request.title)
        });
        let merged = repository.commit_tree(&tree, &[head, &theirs], &message, &person, now)?;
        if !repository.point(target, &merged, head)? {
            return Ok(false);
        }
        let removes = (how.remove_source || request.remove_source_branch)
            && source != &found.settings.default_branch
            && !found.protects(source);
        if removes {
            repository.delete_branch(source)?;
        }
        let target = target.clone();
        self.change_request(project, iid, now, |request| {
            request.state = MergeRequestState::Merged;
            request.armed = None;
            request.merge_commit = Some(merged.clone());
            request.squash_commit = squashed;
            request.merged_by = Some(by.user);
            request.ended_at = Some(now);
        });
        self.pushed(project, &target, &merged, by, now)?;
        Ok(true)
    }

    /// Without merging it.
    pub(crate) fn close_request(&mut self, project: u64, iid: u64, now: Timestamp) {
        self.change_request(project, iid, now, |request| {
            request.state = MergeRequestState::Closed;
            request.armed = None;
            request.ended_at = Some(now);
        });
    }

    /// Stores a new one and tells the ledger.
    pub(crate) fn open_request(&mut self, project: u64, mut request: MergeRequest, by: &Pusher) -> u64 {
        request.id = self.next_merge_request();
        let user = self.users.get(&by.user).map_or_else(String::new, |user| user.username.clone());
        let Some(found) = self.projects.get_mut(&project) else { return 0 };
        let iid = found.merge_requests.keys().next_back().copied().unwrap_or_default() + 1;
        request.iid = iid;
        self.ledger.opened(MergeRequestRecord {
            iid,
            project_id: project,
            project: found.path.clone(),
            source_branch: request.source_branch.clone(),
            target_branch: request.target_branch.clone(),
            title: request.title.clone(),
            at: request.created_at,
            user,
            credential: by.credential.clone(),
            call: by.call,
        });
        found.merge_requests.insert(iid, request);
        iid
    }
}
