//! Merge requests of image updates: what one is to be, and what is seen of one.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::trailers::Written;
use super::{Context, GitRef, Template, TemplateError};

/// Longest title that GitLab takes, in characters.
const MAX_TITLE: usize = 255;

/// How an image update is written. Commit (when unset): by a commit on branch. MergeRequest: by a commit on a branch of
/// its own, with a merge request from there to branch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Via {
    /// By a commit on the branch.
    #[default]
    Commit,
    /// By a merge request to the branch.
    MergeRequest,
}

/// What `spec.imageUpdates[].mergeRequest` says, with nothing left to check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MergeRequestTemplate {
    /// The branch it comes from; unset: one of the trigger's own.
    pub branch: Option<Template>,
    /// Its title; unset: the commit's.
    pub title: Option<Template>,
    /// Its description; unset: who wrote it, after which pipeline, and what changes.
    pub description: Option<Template>,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Whom it is assigned to.
    pub assignees: Vec<Username>,
    /// Who is to review it.
    pub reviewers: Vec<Username>,
    /// It is merged by itself when its pipeline succeeds.
    pub auto_merge: bool,
    /// Its branch goes when it is merged.
    pub remove_source_branch: bool,
}

/// The same, filled in, for one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The branch it comes from; unset: one of the trigger's own.
    pub source: Option<GitRef>,
    /// The branch it goes to.
    pub target: GitRef,
    /// Its title, if spec says so.
    pub title: Option<String>,
    /// Its description, if spec says so.
    pub description: Option<String>,
    /// Its labels.
    pub labels: Vec<Label>,
    /// Whom it is assigned to.
    pub assignees: Vec<Username>,
    /// Who is to review it.
    pub reviewers: Vec<Username>,
    /// It is merged by itself when its pipeline succeeds.
    pub auto_merge: bool,
    /// Its branch goes when it is merged.
    pub remove_source_branch: bool,
    /// The page of the pipeline that it comes from.
    pub pipeline_url: Option<String>,
}

/// Why a merge request cannot be what spec says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProposalError {
    /// A template of it: the field's name, and why.
    #[error("mergeRequest.{0}: {1}")]
    Template(&'static str, TemplateError),
    /// Its branch has no name that git allows, or is the one it goes to.
    #[error("mergeRequest.branch: {0}")]
    Branch(String),
    /// A title with nothing in it, or too much.
    #[error("mergeRequest.title: it has {0} characters: write 1 to 255")]
    Title(usize),
}

impl MergeRequestTemplate {
    /// Fills in the templates.
    ///
    /// # Errors
    /// Names the field and what is wrong with it.
    pub fn render(&self, target: &GitRef, context: &Context) -> Result<Proposal, ProposalError> {
        let Self {
            branch,
            title,
            description,
            labels,
            assignees,
            reviewers,
            auto_merge,
            remove_source_branch,
        } = self;
        let filled = |name: &'static str, template: &Option<Template>| {
            let text = template.as_ref().map(|template| template.render(context)).transpose();
            text.map_err(|why| ProposalError::Template(name, why))
        };
        let source = filled("branch", branch)?.map(|name| source(name.trim(), target)).transpose()?;
        let title = filled("title", title)?.map(|title| one_line(&title)).transpose()?;
        Ok(Proposal {
            source,
            target: target.clone(),
            title,
            description: filled("description", description)?,
            labels: labels.clone(),
            assignees: assignees.clone(),
            reviewers: reviewers.clone(),
            auto_merge: *auto_merge,
            remove_source_branch: *remove_source_branch,
            pipeline_url: context.pipeline.web_url.clone(),
        })
    }
}

fn source(name: &str, target: &GitRef) -> Result<GitRef, ProposalError> {
    let source: GitRef = name.parse().map_err(|error| ProposalError::Branch(format!("{error}")))?;
    if source.short() == target.short() {
        let why = format!("{target} is the branch that is written to: name another, or leave it out");
        return Err(ProposalError::Branch(why));
    }
    Ok(source)
}

fn one_line(title: &str) -> Result<String, ProposalError> {
    let words: Vec<&str> = title.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    match line.chars().count() {
        1..=MAX_TITLE => Ok(line),
        length => Err(ProposalError::Title(length)),
    }
}

/// A label of a merge request. GitLab makes it if the project has none of this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(String);

/// The name of a GitLab user, without `@`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Username(String);

/// Why a text is no label, or no username.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// No label.
    #[error("`{0}` is no label: write 1 to 255 characters without a comma or line break")]
    Label(String),
    /// No username.
    #[error("`{0}` is no username: write it as GitLab shows it, without @")]
    Username(String),
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label = text.trim();
        let fits = (1..=255).contains(&label.chars().count());
        if !fits || label.chars().any(|c| c == ',' || c.is_control()) {
            return Err(NameError::Label(text.chars().take(64).collect()));
        }
        Ok(Self(label.to_owned()))
    }
}

impl FromStr for Username {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !(first && rest && text.len() <= 255) {
            return Err(NameError::Username(text.chars().take(64).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a merge request is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequestFields {
    /// At most 255 characters.
    pub title: String,
    /// Markdown.
    pub description: String,
    /// Added to those that it has.
    pub labels: Vec<Label>,
    /// When it is merged, by whomever.
    pub remove_source_branch: bool,
}

/// A merge request as GitLab tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeRequest {
    /// Its number in the project.
    pub iid: u64,
    /// Where it stands.
    pub state: MergeRequestState,
    /// Its title.
    pub title: String,
    /// Its page.
    pub web_url: Option<String>,
    /// The branch it goes to.
    pub target: Option<String>,
    /// The head of the branch it comes from.
    pub sha: Option<String>,
    /// What brought it to the target branch: the merge commit, or the squashed one.
    pub merged_as: Option<String>,
    /// It is merged by itself once nothing stands in the way.
    pub auto_merge: bool,
    /// GitLab's word for what stands in the way, such as `conflict`, `checking`, `mergeable`.
    pub detailed_status: Option<String>,
    /// What the trailers of its description tell.
    pub written: Vec<Written>,
}

/// Where a merge request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRequestState {
    /// It waits; `locked` is one that is being merged just now.
    #[serde(alias = "locked")]
    Opened,
    /// Its changes are on the target branch.
    Merged,
    /// Given up.
    Closed,
}

impl MergeRequest {
    /// Whether it waits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == MergeRequestState::Opened
    }

    /// Whether it is still to be told to merge by itself: it waits, says no such thing, and holds nothing but the
    /// commit that is meant. What somebody pushed on top is theirs to merge.
    #[must_use]
    pub fn is_to_be_armed(&self, commit: &str) -> bool {
        self.is_open() && !self.auto_merge && self.sha.as_deref() == Some(commit)
    }

    /// Whether it waits, and cannot be merged before its branch takes in what the target has: both changed the same
    /// lines, or the project merges only what begins at the target's head.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.is_open() && matches!(self.detailed_status.as_deref(), Some("conflict" | "need_rebase"))
    }

    /// What its commits become if they are squashed into one: their trailers would be lost otherwise.
    #[must_use]
    pub fn squash_message(&self) -> String {
        let trailers: Vec<String> = self.written.iter().map(Written::to_string).collect();
        format!("{}\n\n{}", self.title, trailers.concat())
    }

    /// What it waits for, in words.
    #[must_use]
    pub fn waits_for(&self) -> String {
        match self.detailed_status.as_deref() {
            // Whether it is armed or not: GitLab cannot merge it.
            Some("conflict") => {
                "it conflicts with its target branch: resolve that, or close it. The next run replaces it if nobody else committed to its branch".into()
            }
            Some("need_rebase") => {
                "its target branch has gone on, and the project merges only what begins there: rebase it, or close it. The next run replaces it if nobody else committed to its branch".into()
            }
            _ if self.auto_merge => "GitLab merges it when nothing stands in the way".into(),
            Some("checking" | "unchecked" | "preparing" | "mergeable") | None => "it is open".into(),
            Some(other) => format!("it is open; GitLab says `{other}`"),
        }
    }
}

/// A merge request that a run's change is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MergeRequestRecord {
    /// Its number in the project.
    pub iid: u64,
    /// Its page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_url: Option<String>,
    /// The branch it comes from.
    pub branch: String,
    /// Since when the run's change is in it. It is looked at after a tenth of that time, between 5 s and 10 minutes.
    pub since: Timestamp,
    /// It is to be merged when its pipeline succeeds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_merge: bool,
    /// The commit that brought it to the branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_commit: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(field: &str, text: &str) -> MergeRequestTemplate {
        let template = Some(text.parse().unwrap());
        let none = MergeRequestTemplate::default();
        match field {
            "branch" => MergeRequestTemplate { branch: template, ..none },
            "title" => MergeRequestTemplate { title: template, ..none },
            _ => MergeRequestTemplate { description: template, ..none },
        }
    }

    #[test]
    fn templates_are_filled_in_and_checked() {
        let main: GitRef = "main".parse().unwrap();
        let of = |field: &str, text: &str| {
            template(field, text).render(&main, &Context::example()).map_err(|error| error.to_string())
        };
        let source = of("branch", "bump/{{ trigger.name }}").unwrap().source.unwrap();
        assert!(source.short().starts_with("bump/"), "{source}");
        assert_eq!(of("title", "a\n b").unwrap().title.as_deref(), Some("a b"));
        for (field, text, told) in [
            ("branch", "refs/heads/main", "mergeRequest.branch: main is the branch that is written to"),
            ("branch", "a b", "mergeRequest.branch: `a b` is not a name git allows"),
            ("title", "{{ \"\" }}", "mergeRequest.title: it has 0 characters"),
            (
                "description",
                "{{ pipeline.nope }}",
                "mergeRequest.description: `pipeline.nope` is not defined",
            ),
        ] {
            let error = of(field, text).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
        assert!(of("title", &"x".repeat(256)).is_err());
    }

    #[test]
    fn labels_and_usernames_are_what_gitlab_takes() {
        for (text, label, user) in [
            ("bot", true, true),
            ("team: shop", true, false),
            ("a,b", false, false),
            ("@alice", true, false),
            ("", false, false),
        ] {
            assert_eq!(
                (text.parse::<Label>().is_ok(), text.parse::<Username>().is_ok()),
                (label, user),
                "{text}"
            );
        }
    }
}
