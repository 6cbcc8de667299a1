//! Looks into a refusal: is the project there, which branches has it? A look of a few seconds at most, which may
//! fail without harm.

use std::time::Duration;

use pipekick_core::decide::trigger::{LookInto, Question};
use pipekick_core::domain::{Finding, GitRef};
use secrecy::SecretString;

use super::lookup::Looker;
use crate::gitlab::{Endpoint, ReadError, ReadKind};

/// The outcome of the POST waits for this look to be written, so it is much shorter than a request may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// More branches than one page has: then those are asked for that share a half of the name.
const PAGE: usize = 100;
/// A shorter half would be shared by too many.
const MIN_HALF: usize = 2;

impl Looker {
    /// What GitLab did not say with the refusal.
    pub(super) async fn look_into(&self, namespace: &str, look: &LookInto) -> Finding {
        let answered = tokio::time::timeout(DEADLINE, self.inquire(namespace, look)).await;
        answered.unwrap_or(Finding::Nothing)
    }

    async fn inquire(&self, namespace: &str, look: &LookInto) -> Finding {
        let LookInto { key: _, target, access, question } = look;
        let (at, token) = match self.reach(namespace, target, access).await {
            Ok(reached) => reached,
            Err((_, message)) => return Finding::Failed(message),
        };
        match question {
            Question::Project => match self.gitlab.project(&at, &token).await {
                Ok(_) => Finding::Project,
                Err(error) => unseen(error),
            },
            Question::Branches => {
                let short = target
                    .git_ref
                    .parse::<GitRef>()
                    .map_or_else(|_| target.git_ref.clone(), |git_ref| git_ref.short().to_owned());
                self.branches_like(&at, &short, &token).await.map_or(Finding::Nothing, Finding::Branches)
            }
        }
    }

    /// The project's branches; if it has more than a page, those that share the first or the second half of `name`: a
    /// single slip leaves one of them as it is.
    async fn branches_like(
        &self,
        at: &Endpoint,
        name: &str,
        token: &SecretString,
    ) -> Result<Vec<String>, ReadError> {
        let mut names = self.gitlab.branches(at, "", token).await?;
        if names.len() < PAGE {
            return Ok(names);
        }
        let middle = name.char_indices().nth(name.chars().count() / 2).map_or(0, |(at, _)| at);
        let (first, second) = name.split_at(middle);
        for half in [first, second] {
            if half.chars().count() >= MIN_HALF {
                names.extend(self.gitlab.branches(at, half, token).await?);
            }
        }
        Ok(names)
    }
}

/// What it means that the project was not shown.
fn unseen(ReadError { kind, reason: _, message, moved_to }: ReadError) -> Finding {
    match kind {
        ReadKind::NotFound if moved_to.is_some() => Finding::Moved(moved_to.map(|to| to.to_string())),
        ReadKind::NotFound => Finding::NoProject,
        ReadKind::Unauthorized | ReadKind::Forbidden => Finding::Failed(message),
        // What passes is not worth a word.
        ReadKind::Throttled { .. } | ReadKind::Refused | ReadKind::Unreachable | ReadKind::Trouble => {
            Finding::Nothing
        }
    }
}
