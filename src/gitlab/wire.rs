//! The bodies that travel: typed, tolerant of what a newer GitLab adds, and bounded in what is kept of them.
//!
//! Nothing here decides what an answer means.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use pipekick_core::domain::trailers::made_for;
use pipekick_core::domain::variable::FIRE_ID_VARIABLE;
use pipekick_core::domain::{FailedJob, FireId, Pipeline, PipelineStatus, YamlErrors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::jobs::Job;
use super::repository::Branch;
use super::says::{clean, printable};

const MAX_NAME: usize = 255;
const MAX_SHA: usize = 64;
const MAX_WORD: usize = 64;
const MAX_URL: usize = 2048;
/// GitLab's file variable with everything that came with a trigger call, except the token.
const TRIGGER_PAYLOAD: &str = "TRIGGER_PAYLOAD";

// ---- What is sent --------------------------------------------------------------------------------------------

/// `POST /projects/:id/trigger/pipeline`. GitLab keeps undeclared keys inside `TRIGGER_PAYLOAD`.
#[derive(Serialize)]
pub(super) struct TriggerBody<'a> {
    pub(super) token: &'a str,
    #[serde(rename = "ref")]
    pub(super) git_ref: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) variables: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) inputs: &'a BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<&'a Value>,
    pub(super) pipekick: Mark<'a>,
}

/// By what a lost pipeline is found again; and for jobs, the tick that a schedule made it for.
#[derive(Serialize)]
pub(super) struct Mark<'a> {
    pub(super) fire_id: &'a str,
    pub(super) object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scheduled_time: Option<&'a str>,
}

/// `POST /projects/:id/pipeline`.
#[derive(Serialize)]
pub(super) struct PipelineBody<'a> {
    #[serde(rename = "ref")]
    pub(super) git_ref: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) variables: Vec<KeyValue<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) inputs: &'a BTreeMap<String, Value>,
}

#[derive(Serialize)]
pub(super) struct KeyValue<'a> {
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// Unset: an environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variable_type: Option<&'static str>,
}

// ---- What is received ----------------------------------------------------------------------------------------

/// `Ci::PipelineBasic` and `Ci::Pipeline`. Only what makes it a pipeline must be there and well formed.
#[derive(Deserialize)]
pub(super) struct PipelineWire {
    id: u64,
    status: PipelineStatus,
    #[serde(default, deserialize_with = "lenient")]
    iid: Option<u64>,
    #[serde(default, deserialize_with = "lenient")]
    project_id: Option<u64>,
    #[serde(rename = "ref", default, deserialize_with = "lenient")]
    git_ref: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    sha: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    source: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    web_url: Option<String>,
    #[serde(default, deserialize_with = "time")]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "time")]
    finished_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    duration: Option<f64>,
    #[serde(default, deserialize_with = "lenient")]
    name: Option<String>,
    /// `"85.20"`, or a number.
    #[serde(default, deserialize_with = "lenient")]
    coverage: Option<Value>,
    #[serde(default, deserialize_with = "time")]
    updated_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    yaml_errors: Option<String>,
}

impl From<PipelineWire> for Pipeline {
    fn from(wire: PipelineWire) -> Self {
        Self {
            id: wire.id,
            iid: wire.iid,
            project_id: wire.project_id,
            git_ref: wire.git_ref.and_then(|text| bounded(text, MAX_NAME)),
            sha: wire.sha.and_then(|text| bounded(text, MAX_SHA)),
            status: wire.status,
            source: wire.source.and_then(|text| bounded(text, MAX_WORD)),
            web_url: wire.web_url.and_then(page),
            created_at: wire.created_at,
            started_at: wire.started_at,
            finished_at: wire.finished_at,
            // Fractions and nonsense (negative, infinite) are cut off by the cast.
            duration_seconds: wire.duration.map(|seconds| seconds as u64),
            name: wire.name.and_then(|text| bounded(text, MAX_NAME)),
            coverage: wire.coverage.and_then(|coverage| match coverage {
                Value::String(text) => bounded(text, MAX_WORD),
                Value::Number(number) => Some(number.to_string()),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
            }),
            updated_at: wire.updated_at,
            // They quote values of variables, and nobody knows whose: only the answer to a request of ours can have its
            // own values hidden ([`answered`]).
            yaml_errors: wire.yaml_errors.filter(|text| !text.is_empty()).map(|_| YamlErrors::Untold),
        }
    }
}

/// The pipeline in the answer to our own request, in whose words the values that were sent are hidden.
pub(super) fn answered(mut wire: PipelineWire) -> Pipeline {
    let told = wire.yaml_errors.take().filter(|text| !text.is_empty());
    Pipeline { yaml_errors: told.map(|text| YamlErrors::Told(printable(&text))), ..Pipeline::from(wire) }
}

/// A job of a pipeline.
#[derive(Deserialize)]
pub(super) struct JobWire {
    id: u64,
    name: String,
    status: PipelineStatus,
    #[serde(default, deserialize_with = "lenient")]
    stage: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    failure_reason: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    web_url: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    allow_failure: Option<bool>,
}

impl From<JobWire> for Job {
    fn from(wire: JobWire) -> Self {
        let shown = FailedJob {
            id: Some(wire.id),
            name: clean(&wire.name, MAX_NAME),
            stage: wire.stage.map(|text| clean(&text, MAX_NAME)),
            failure_reason: wire.failure_reason.map(|text| clean(&text, MAX_WORD)),
            web_url: wire.web_url.and_then(page),
        };
        Self { id: wire.id, status: wire.status, allow_failure: wire.allow_failure, shown }
    }
}

/// A job that makes a pipeline.
#[derive(Deserialize)]
pub(super) struct BridgeWire {
    /// None yet, or none any more.
    #[serde(default)]
    pub(super) downstream_pipeline: Option<PipelineWire>,
}

/// `GET …/test_report_summary`.
#[derive(Deserialize)]
pub(super) struct TestSummaryWire {
    pub(super) total: TestSummary,
}

/// A pipeline's tests in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct TestSummary {
    /// All of them.
    #[serde(rename = "count")]
    pub total: u64,
    /// They passed.
    #[serde(default)]
    pub success: u64,
    /// They did not.
    #[serde(default)]
    pub failed: u64,
    /// They were not run.
    #[serde(default)]
    pub skipped: u64,
    /// They broke.
    #[serde(default)]
    pub error: u64,
}

/// A branch.
#[derive(Deserialize)]
pub(super) struct BranchWire {
    name: String,
    #[serde(default, deserialize_with = "lenient")]
    commit: Option<HeadWire>,
    #[serde(default, deserialize_with = "lenient")]
    protected: Option<bool>,
    #[serde(default, deserialize_with = "lenient")]
    can_push: Option<bool>,
}

#[derive(Deserialize)]
struct HeadWire {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    message: Option<String>,
}

impl BranchWire {
    /// A name that could stand in a spec.
    pub(super) fn name(self) -> Option<String> {
        bounded(self.name, MAX_NAME)
    }

    /// All of it; none if the commit it is at is not told.
    pub(super) fn branch(self) -> Option<Branch> {
        let Self { name, commit, protected, can_push } = self;
        let HeadWire { id, message } = commit?;
        let is_of_request = message.is_some_and(|message| made_for(&message) == Some(&*name));
        let head = bounded(id, MAX_SHA)?;
        Some(Branch { name: bounded(name, MAX_NAME)?, head, protected, can_push, is_of_request })
    }
}

/// The variables a pipeline was made with. Their values may be secrets, so they stay inside.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct PipelineVariables(Vec<VariableWire>);

#[derive(Deserialize)]
struct VariableWire {
    key: String,
    #[serde(default, deserialize_with = "lenient")]
    value: Option<String>,
}

impl PipelineVariables {
    /// Whether what would hold our mark is there to be read: without it, its absence says nothing.
    #[must_use]
    pub fn can_tell(&self, source: super::Source) -> bool {
        match source {
            // GitLab adds it to every trigger call, with all that was sent.
            super::Source::Trigger => self
                .0
                .iter()
                .find(|variable| variable.key == TRIGGER_PAYLOAD)
                .and_then(|variable| variable.value.as_deref())
                .is_some_and(|payload| serde_json::from_str::<serde::de::IgnoredAny>(payload).is_ok()),
            super::Source::Api => true,
        }
    }

    /// The run that made this pipeline, if it carries our mark.
    #[must_use]
    pub fn fire_id(&self) -> Option<FireId> {
        #[derive(Deserialize)]
        struct Payload {
            pipekick: MarkWire,
        }
        #[derive(Deserialize)]
        struct MarkWire {
            fire_id: String,
        }
        let value = |key: &str| self.0.iter().find(|variable| variable.key == key)?.value.as_deref();
        value(FIRE_ID_VARIABLE).map(FireId::from).or_else(|| {
            let payload: Payload = serde_json::from_str(value(TRIGGER_PAYLOAD)?).ok()?;
            Some(FireId::from(payload.pipekick.fire_id.as_str()))
        })
    }
}

impl fmt::Debug for PipelineVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|variable| &variable.key)).finish()
    }
}

/// `GET /projects/:id`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Project {
    /// The project's id, which survives renames.
    pub id: u64,
    /// Its full path; unknown if GitLab does not tell.
    #[serde(default, deserialize_with = "lenient")]
    pub path_with_namespace: Option<String>,
}

/// `GET /version`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Version {
    /// Such as `18.5.1-ee`.
    pub version: String,
}

/// `GET /user`: whom an access token acts for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: u64,
    /// The user's name; a bot's for project and group tokens.
    pub username: String,
}

// ---- Values --------------------------------------------------------------------------------------------------

/// A value that is only kept whole: a name cut short would be another name.
pub(super) fn bounded(text: String, max: usize) -> Option<String> {
    (text.chars().count() <= max && !text.chars().any(char::is_control)).then_some(text)
}

/// A link that a person may click.
pub(super) fn page(text: String) -> Option<String> {
    let web = text.starts_with("https://") || text.starts_with("http://");
    bounded(text, MAX_URL).filter(|_| web)
}

/// Something optional that is not what we expect is taken as absent, not as a reason to drop the whole answer.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_str().and_then(parse_time))
}

/// RFC 3339 as in the REST API, or `2016-08-12 15:23:28 UTC` and `… +0200` as elsewhere in GitLab.
fn parse_time(text: &str) -> Option<Timestamp> {
    let elsewhere = || {
        let text = text.strip_suffix(" UTC").map_or_else(|| text.to_owned(), |time| format!("{time} +0000"));
        Timestamp::strptime("%Y-%m-%d %H:%M:%S%.f %z", text).ok()
    };
    text.parse().ok().or_else(elsewhere)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_ways_gitlab_writes_a_time() {
        let cases = [
            ("2016-08-12T15:23:28.123Z", Some("2016-08-12T15:23:28.123Z")),
            ("2016-08-12T17:23:28.000+02:00", Some("2016-08-12T15:23:28Z")),
            ("2016-08-12 15:23:28 UTC", Some("2016-08-12T15:23:28Z")),
            ("2016-08-12 17:23:28 +0200", Some("2016-08-12T15:23:28Z")),
            ("yesterday", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_time(text), expected.map(|t| t.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_pipeline_needs_an_id_and_a_status_and_survives_all_else() {
        let read = |value: Value| serde_json::from_value::<PipelineWire>(value).ok().map(Pipeline::from);
        let odd = read(json!({
            "id": 7, "status": "brand_new", "source": "brand_new", "iid": "x", "ref": "a\u{1b}", "sha": "f".repeat(65),
            "web_url": "javascript:alert(1)", "created_at": 12, "started_at": "?", "duration": 61.9, "user": {"id": 1}, "new": []
        }))
        .unwrap();
        assert_eq!(odd.status, PipelineStatus::Other("brand_new".into()));
        assert_eq!(odd.source.as_deref(), Some("brand_new"));
        assert_eq!((odd.iid, odd.git_ref, odd.sha, odd.web_url), (None, None, None, None));
        assert_eq!((odd.created_at, odd.started_at, odd.duration_seconds), (None, None, Some(61)));
        assert_eq!(read(json!({"id": 7})), None);
        assert_eq!(read(json!({"id": "7", "status": "created"})), None);
        assert_eq!(read(json!({"id": -1, "status": "created"})), None);
        let plain = read(
            json!({"id": 7, "status": "failed", "duration": null, "web_url": "https://g/p/-/pipelines/7"}),
        )
        .unwrap();
        assert_eq!(plain.web_url.as_deref(), Some("https://g/p/-/pipelines/7"));
    }

    #[test]
    fn our_mark_is_found_in_either_variable_and_values_are_not_shown() {
        let variables = |value: Value| serde_json::from_value::<PipelineVariables>(value).unwrap();
        let by_access =
            variables(json!([{"key": "A", "value": "hush"}, {"key": "PIPEKICK_FIRE_ID", "value": "id1"}]));
        assert_eq!(by_access.fire_id(), Some(FireId::from("id1")));
        assert_eq!(format!("{by_access:?}"), r#"["A", "PIPEKICK_FIRE_ID"]"#);
        let payload =
            r#"{"ref":"main","id":"42","variables":{},"pipekick":{"fire_id":"id2","object":"a/b"}}"#;
        let by_trigger =
            json!([{"variable_type": "file", "key": "TRIGGER_PAYLOAD", "value": payload, "raw": false}]);
        assert_eq!(variables(by_trigger).fire_id(), Some(FireId::from("id2")));
        for foreign in [
            json!([]),
            json!([{"key": "TRIGGER_PAYLOAD", "value": "{\"ref\":\"main\"}"}]),
            json!([{"key": "TRIGGER_PAYLOAD"}]),
        ] {
            assert_eq!(variables(foreign).fire_id(), None);
        }
    }
}
