//! A refusal that leaves something open is looked into before it is told, where an access token is at hand:
//! whether it is the project or the trigger token that GitLab does not know, and which branch may have been meant.
//!
//! ```text
//! Refused ── nothing open, or nothing to look with ──────────────────────→ told as it is
//!    └ open ── LookInto ── finding, or none within a few seconds ──→ told with what was found
//! ```
//!
//! It changes reason and message, never what is done: whatever the finding, nothing was made.

use super::{Draft, Effect, LookInto, Question, access_of};
use crate::domain::{Answer, AttemptKey, Finding, Reason, Target};

/// Names suggested, at most.
const SUGGESTIONS: usize = 3;

impl Draft<'_> {
    /// The answer with what was found out about it; `None` while that is being asked.
    pub(super) fn looked_into(&mut self, key: &AttemptKey, answer: Answer) -> Option<Answer> {
        let seen = self.seen;
        let run = self.status.run.as_deref()?;
        let Answer::Refused { reason, message } = answer else { return Some(answer) };
        let refused = |(reason, message)| Some(Answer::Refused { reason, message });
        let (Some(question), Some(access)) = (left_open(reason, &run.target), access_of(run, seen.trigger))
        else {
            return refused((reason, message));
        };
        if let Some((_, finding)) = seen.facts.finding.as_ref().filter(|(of, _)| of == key) {
            return refused(explained(reason, message, &run.target, finding));
        }
        if seen.trigger.deleted_at.is_some() {
            return refused((reason, message));
        }
        let (key, target) = (key.clone(), run.target.clone());
        self.effect = Effect::LookInto(Box::new(LookInto { key, target, access, question }));
        None
    }
}

/// What GitLab did not say with a refusal for this reason.
fn left_open(reason: Reason, target: &Target) -> Option<Question> {
    if reason == Reason::NotFoundByTrigger {
        Some(Question::Project)
    } else if reason == Reason::RefNotFound && !target.git_ref.starts_with("refs/tags/") {
        Some(Question::Branches)
    } else {
        None
    }
}

/// The refusal with what was found.
fn explained(reason: Reason, message: String, target: &Target, finding: &Finding) -> (Reason, String) {
    let project = &target.project;
    match finding {
        Finding::Project => (
            Reason::TriggerTokenUnknown,
            format!(
                "GitLab answered 404 to the trigger token. Project {project} is there, so it is the token that is not known to it: mistyped, revoked, expired, or of another project. Put one of the project's own into the Secret (Settings, CI/CD, Pipeline trigger tokens)."
            ),
        ),
        Finding::NoProject => (
            Reason::ProjectNotFound,
            format!(
                "GitLab answered 404 to the trigger token, and to the access token as well: project {project} does not exist, or the access token may not see it either. Correct the project; if it is right, give the access token's user a role in it."
            ),
        ),
        Finding::Moved(to) => {
            let to =
                to.as_ref().map_or_else(|| "its new path".to_owned(), |to| format!("{to} (its new path)"));
            (
                Reason::ProjectNotFound,
                format!(
                    "GitLab answered 404 to the trigger token: project {project} was renamed or moved. Write {to}, or its numeric id, which stays."
                ),
            )
        }
        Finding::Branches(names) => {
            let short = target.git_ref.strip_prefix("refs/heads/").unwrap_or(&target.git_ref);
            let meant: Vec<String> = closest(short, names).iter().map(|name| format!("\"{name}\"")).collect();
            match meant.split_last() {
                None => (reason, message),
                Some((last, [])) => (reason, format!("{message} Did you mean {last}?")),
                Some((last, others)) => {
                    (reason, format!("{message} Did you mean {} or {last}?", others.join(", ")))
                }
            }
        }
        Finding::Failed(why) => (reason, format!("{message} The access token could not tell: {why}")),
        Finding::Nothing => (reason, message),
    }
}

/// Those of `names` that `wanted` may be a slip of, the likeliest first: a letter in three wrong, left out, too many
/// or swapped with its neighbour; upper case for lower; a folder forgotten or added.
fn closest<'a>(wanted: &str, names: &'a [String]) -> Vec<&'a str> {
    let lower = wanted.to_lowercase();
    let length = lower.chars().count();
    let allowed = (length / 3).max(1);
    let mut ranked: Vec<(usize, &str)> = names
        .iter()
        .filter_map(|name| {
            let other = name.to_lowercase();
            if last_of(&other) == lower || last_of(&lower) == other {
                return Some((1, name.as_str()));
            }
            // Far cheaper than to compare, and often enough.
            if other.chars().count().abs_diff(length) > allowed {
                return None;
            }
            let distance = strsim::osa_distance(&lower, &other);
            (distance <= allowed).then_some((distance, name.as_str()))
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

fn last_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_suggested_that_may_have_been_meant() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cases: &[(&str, &str, &[&str], &[&str])] = &[
            ("two letters swapped", "mian", &["main", "next"], &["main"]),
            (
                "a letter left out",
                "releas/1.2",
                &["release/1.2", "release/2.0"],
                &["release/1.2", "release/2.0"],
            ),
            ("upper case", "Main", &["main"], &["main"]),
            ("a folder forgotten", "login", &["feature/login", "login-page"], &["feature/login"]),
            ("a folder too many", "origin/main", &["main", "next"], &["main"]),
            ("nothing like it", "production", &["main", "next"], &[]),
            ("the closest first, then by name", "v2", &["v1", "v20", "v3", "v4"], &["v1", "v20", "v3"]),
            ("a short name is no slip of another", "qa", &["dev", "prod"], &[]),
            ("no branches", "main", &[], &[]),
            ("the same name twice", "mian", &["main", "main"], &["main"]),
        ];
        for (sentence, wanted, there, expected) in cases {
            assert_eq!(closest(wanted, &names(there)), *expected, "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn suggestions_are_few_and_do_not_depend_on_the_order(
            wanted in "[a-z/]{1,12}", mut names in prop::collection::vec("[a-z/]{1,12}", 0..30)
        ) {
            let before: Vec<String> = closest(&wanted, &names).into_iter().map(str::to_owned).collect();
            prop_assert!(before.len() <= SUGGESTIONS && before.iter().all(|name| names.contains(name)));
            names.reverse();
            prop_assert_eq!(closest(&wanted, &names), before);
        }
    }
}
