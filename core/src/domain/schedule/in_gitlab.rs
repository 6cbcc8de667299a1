//! A `PipelineSchedule` that GitLab runs (`runBy: GitLab`), and its counterpart there, as the decision sees them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::status::ScheduleStatus;
use crate::domain::run::Place;
use crate::domain::{
    CaBundleRef, GitLabUrl, GitRef, ObjectKey, Pipeline, ProjectRef, SecretKeyRef, SpecProblem, Variable,
    VariableType,
};

/// Longest `--cluster-id`: a uid has 36 characters.
const MAX_CLUSTER_ID: usize = 63;

/// Who keeps the time. Cluster (when unset): Pipekick does, and makes a PipelineTrigger at every tick. GitLab: a pipeline
/// schedule inside GitLab is kept equal to this spec, variables included, and GitLab runs it some minutes after its time;
/// for pipelines whose rules ask for $CI_PIPELINE_SOURCE == "schedule". It cannot be changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RunBy {
    /// Pipekick.
    #[default]
    Cluster,
    /// GitLab.
    GitLab,
}

/// With runBy: GitLab, what becomes of the schedule in GitLab when this object is deleted. Delete (when unset): it is
/// deleted there; the finalizer pipekick.dev/gitlab-schedule holds the object until then, at most for the operator's
/// --cancel-patience (5m). Orphan: it stays, and GitLab runs it on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ScheduleDeletion {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays.
    Orphan,
}

/// Tells this cluster from others that keep schedules in the same projects.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterId(String);

/// A text that is no cluster id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write 1 to {MAX_CLUSTER_ID} letters, digits, dots, dashes and underscores")]
pub struct ClusterIdError;

impl std::str::FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let fits = (1..=MAX_CLUSTER_ID).contains(&text.len());
        if plain && fits { Ok(Self(text.to_owned())) } else { Err(ClusterIdError) }
    }
}

/// The mark of an object on its schedule in GitLab: `<cluster id>/<namespace>/<name>`. It stands in the description, for
/// GitLab keeps nothing else of ours, and is how the schedule is found when the reply to its create was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker {
    mark: String,
    name: String,
}

/// Before the mark in a description.
const MARK: &str = "pipekick.dev:";

impl Marker {
    /// The mark of one object.
    #[must_use]
    pub fn new(cluster: &ClusterId, key: &ObjectKey) -> Self {
        let ObjectKey { namespace, name } = key;
        Self { mark: format!("{}/{namespace}/{name}", cluster.0), name: name.clone() }
    }

    /// The description of the object's schedule.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} [{MARK}{}]", self.name, self.mark)
    }

    /// Whether a description carries this mark, whatever else it says.
    #[must_use]
    pub fn is_in(&self, description: &str) -> bool {
        let words = description.split(|c: char| c.is_whitespace() || c == '[' || c == ']');
        words.filter_map(|word| word.strip_prefix(MARK)).any(|mark| mark == self.mark)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mark)
    }
}

/// A value that may be a secret: compared, sent, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides it.
    #[must_use]
    pub const fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the request that carries it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}

/// A variable with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldVariable {
    /// Unique in its schedule.
    pub name: String,
    /// How jobs get it.
    pub kind: VariableType,
    /// What they get.
    pub value: Hidden,
}

/// A user of GitLab's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user's id.
    pub id: u64,
    /// The user's name.
    pub username: String,
}

/// What spec wants GitLab to run, with nothing left to check but what stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The GitLab instance.
    pub url: GitLabUrl,
    /// The project.
    pub project: ProjectRef,
    /// The access token that keeps it.
    pub access: SecretKeyRef,
    /// Whose certificates are believed.
    pub ca_bundle: Option<CaBundleRef>,
    /// The branch or tag.
    pub git_ref: GitRef,
    /// In GitLab's words, see [`Pattern::for_gitlab`](super::Pattern::for_gitlab).
    pub cron: String,
    /// As the zone database names it.
    pub zone: String,
    /// Inputs of its pipelines, by name.
    pub inputs: BTreeMap<String, Value>,
    /// Its variables, in the order of their names; values may stand elsewhere.
    pub variables: Vec<Variable>,
}

impl Wanted {
    /// Where it is kept.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            url: self.url.to_string(),
            project: self.project.to_string(),
            project_id: None,
            access: Some(self.access.clone()),
            ca_bundle: self.ca_bundle.clone(),
        }
    }
}

/// Everything of one object that a decision needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Namespace and name.
    pub key: ObjectKey,
    /// The object's uid: a re-created object is another one.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Since when it is being deleted, by the API server's clock.
    pub deleted_at: Option<Timestamp>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// The value of `pipekick.dev/fire`.
    pub fire: Option<String>,
    /// Whether it is suspended.
    pub suspend: bool,
    /// What becomes of its schedule in GitLab; none if spec cannot be read.
    pub deletion: Option<ScheduleDeletion>,
    /// The parsed spec, or what is wrong with it.
    pub spec: Result<Wanted, SpecProblem>,
    /// The status that was read with the object.
    pub status: ScheduleStatus,
}

/// All of a schedule that one request sets.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    /// What people see, the mark included.
    pub description: String,
    /// The branch or tag.
    pub git_ref: String,
    /// When it runs.
    pub cron: String,
    /// In which zone.
    pub zone: String,
    /// Whether it runs.
    pub active: bool,
    /// By name; null takes an input away.
    pub inputs: BTreeMap<String, Value>,
}

/// A pipeline schedule as GitLab shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Unique in the GitLab instance.
    pub id: u64,
    /// What a request could have set.
    pub fields: Fields,
    /// When GitLab's worker will pick it up.
    pub next_run_at: Option<Timestamp>,
    /// As whom it runs, and who alone may change it.
    pub owner: Option<Owner>,
    /// The newest pipeline it made.
    pub last_pipeline: Option<Pipeline>,
    /// None if the token may not see them.
    pub variables: Option<Vec<HeldVariable>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(namespace: &str, name: &str) -> Marker {
        let key = ObjectKey { namespace: namespace.into(), name: name.into() };
        Marker::new(&"6f2c".parse().unwrap(), &key)
    }

    #[test]
    fn a_mark_is_found_whatever_people_write_around_it_and_no_other_is_taken_for_it() {
        let ours = marker("shop", "nightly");
        assert_eq!(ours.description(), "nightly [pipekick.dev:6f2c/shop/nightly]");
        for theirs in [ours.description(), "Renamed!  pipekick.dev:6f2c/shop/nightly  by Eve".into()] {
            assert!(ours.is_in(&theirs), "{theirs}");
        }
        for other in ["nightly", "6f2c/shop/nightly", "", "[pipekick.dev:6f2c/shop/nightly-2]"] {
            assert!(!ours.is_in(other), "{other}");
        }
        assert!(!ours.is_in(&marker("shop", "nightly2").description()));
        assert!(!ours.is_in(&marker("shop2", "nightly").description()));
    }

    #[test]
    fn a_cluster_id_cannot_reach_into_another_ones_marks() {
        for good in ["a", "prod-eu.1_x", "2f1c7a40-5a8e-4d4b-9b7e-0d7f5f3b2f11"] {
            assert!(good.parse::<ClusterId>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "a]", &"x".repeat(64)] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_is_not_shown() {
        let variable = HeldVariable {
            name: "A".into(),
            kind: VariableType::EnvVar,
            value: Hidden::new("s3cret".into()),
        };
        assert!(!format!("{variable:?}").contains("s3cret"));
    }
}
