//! `imageUpdates[].mergeRequest`, as written.

use kube::KubeSchema;
use pipekick_core::domain::{MergeRequestTemplate, SpecProblem, Template};
use serde::{Deserialize, Serialize};

use super::trigger::problem;

/// What the merge request is that the update goes by. All of it may be left out.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MergeRequestSpec {
    /// The branch it comes from, a template as value is. Runs that name the same one share its open merge request: a
    /// newer one commits on top. Unset: pipekick/NAMESPACE/NAME-NUMBER, with the number of this entry, from 1; for runs of
    /// a schedule, its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: Option<String>,
    /// Its title, a template, at most 255 characters when filled in. Unset: the first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub title: Option<String>,
    /// Its description, a template in Markdown. The names of run, pipeline and values follow it. Unset: who made it, after
    /// which pipeline, and what changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub description: Option<String>,
    /// Labels that it gets, without commas, at most 10; those that people add stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 255), regex(pattern = "^[^,\\n\\r]+$")))]
    pub labels: Option<Vec<String>>,
    /// Whom it is assigned to when it is opened, by username without @, at most 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 10),
        inner(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))
    )]
    pub assignees: Option<Vec<String>>,
    /// Who is asked to review it when it is opened, by username without @, at most 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 10),
        inner(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"))
    )]
    pub reviewers: Option<Vec<String>>,
    /// true: it is merged when its pipeline succeeds, if the token's user may merge to branch. It needs a pipeline, and
    /// nothing on its branch but what Pipekick wrote last. Unset: false, and somebody merges it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_merge: Option<bool>,
    /// false: its branch is kept when it is merged; the next run deletes it and begins anew. Unset: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_source_branch: Option<bool>,
}

impl MergeRequestSpec {
    /// `at` names the entry.
    pub(super) fn parse(&self, at: &str) -> Result<MergeRequestTemplate, SpecProblem> {
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
        let template = |name: &str, text: &Option<String>| {
            let parsed = text.as_ref().map(|text| text.parse::<Template>()).transpose();
            parsed.map_err(|error| problem(&format!("{at}.{name}"), &error))
        };
        Ok(MergeRequestTemplate {
            branch: template("branch", branch)?,
            title: template("title", title)?,
            description: template("description", description)?,
            labels: each(labels.as_ref(), &format!("{at}.labels"))?,
            assignees: each(assignees.as_ref(), &format!("{at}.assignees"))?,
            reviewers: each(reviewers.as_ref(), &format!("{at}.reviewers"))?,
            auto_merge: auto_merge.unwrap_or(false),
            remove_source_branch: remove_source_branch.unwrap_or(true),
        })
    }
}

fn each<T>(texts: Option<&Vec<String>>, at: &str) -> Result<Vec<T>, SpecProblem>
where
    T: std::str::FromStr,
    T::Err: std::error::Error,
{
    texts.into_iter().flatten().map(|text| text.parse().map_err(|error| problem(at, &error))).collect()
}
