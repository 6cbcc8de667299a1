//! Pipeline schedules inside GitLab: list, show, create, change, delete, take; their variables one by one.
//!
//! GitLab knows no key by which a create could be told from its repetition: after a lost answer, list and compare
//! before creating again. Everything else may be asked again at will.

use std::collections::BTreeMap;
use std::fmt;

use http::Method;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pipekick_core::domain::Pipeline;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::act::{Deed, gone_is_done};
use super::explain::Call;
use super::read::{MAX_PER_PAGE, ReadError, next_page, value};
use super::wire::{PipelineWire, lenient, time};
use super::{Class, Client, Endpoint, User};

/// A pipeline schedule as GitLab tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineSchedule {
    /// Unique in the GitLab instance.
    pub id: u64,
    /// What people see; the only place for a mark of ours.
    pub description: String,
    /// As GitLab stores it: as a rule in full, `refs/heads/main`, whatever was sent.
    pub git_ref: String,
    /// In GitLab's dialect.
    pub cron: String,
    /// A name of the zone database, or one that Rails has for people.
    pub cron_timezone: String,
    /// GitLab switches it off when its owner may not run pipelines any more.
    pub active: bool,
    /// When GitLab's worker will pick it up: later than the time its cron names.
    pub next_run_at: Option<Timestamp>,
    /// As whom it runs, and who alone may change it.
    pub owner: Option<User>,
    /// By name; none from a GitLab older than 17.11.
    pub inputs: BTreeMap<String, Value>,
    /// Not in lists.
    pub last_pipeline: Option<Pipeline>,
    /// Not in lists, and only for the owner and Maintainers.
    pub variables: Option<Vec<ScheduleVariable>>,
}

/// A variable of a schedule. Its value may be a secret, so it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleVariable {
    /// Unique in the schedule.
    pub key: String,
    /// What jobs get, or what is in the file they get.
    pub value: String,
    /// How jobs get it.
    #[serde(rename = "variable_type", default)]
    pub kind: VariableKind,
}

/// How jobs get a variable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariableKind {
    /// As itself.
    #[default]
    EnvVar,
    /// As the path of a file that holds it.
    File,
}

impl fmt::Debug for ScheduleVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value: _, kind } = self;
        f.debug_struct("ScheduleVariable").field("key", key).field("kind", kind).finish_non_exhaustive()
    }
}

/// All of a schedule that one call sets; its variables are calls of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleFields {
    /// What people see.
    pub description: String,
    /// A branch or tag; a short name is expanded, if it is not both.
    pub git_ref: String,
    /// Five fields.
    pub cron: String,
    /// A name of the zone database.
    pub cron_timezone: String,
    /// Whether it runs.
    pub active: bool,
    /// By name; null takes an input away. GitLab leaves out of an update alone what is not named here.
    pub inputs: BTreeMap<String, Value>,
}

impl ScheduleFields {
    fn body(&self) -> Vec<u8> {
        let Self { description, git_ref, cron, cron_timezone, active, inputs } = self;
        let mut body = json!({
            "description": description, "ref": git_ref, "cron": cron, "cron_timezone": cron_timezone,
            "active": active,
        });
        if !inputs.is_empty() {
            let input = |(name, value): (&String, &Value)| match value {
                Value::Null => json!({ "name": name, "destroy": true }),
                value => json!({ "name": name, "value": value }),
            };
            body["inputs"] = inputs.iter().map(input).collect();
        }
        body.to_string().into_bytes()
    }
}

/// A page of schedules.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulePage {
    /// Its entries, without last pipeline and variables.
    pub schedules: Vec<PipelineSchedule>,
    /// The number of the next page, if there is or may be one.
    pub next: Option<u32>,
}

#[derive(Deserialize)]
struct ScheduleWire {
    id: u64,
    description: String,
    #[serde(rename = "ref")]
    git_ref: String,
    cron: String,
    cron_timezone: String,
    active: bool,
    #[serde(default, deserialize_with = "time")]
    next_run_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "lenient")]
    owner: Option<User>,
    #[serde(default)]
    inputs: Vec<InputWire>,
    #[serde(default)]
    last_pipeline: Option<PipelineWire>,
    #[serde(default)]
    variables: Option<Vec<ScheduleVariable>>,
}

#[derive(Deserialize)]
struct InputWire {
    name: String,
    #[serde(default)]
    value: Value,
}

impl From<ScheduleWire> for PipelineSchedule {
    fn from(wire: ScheduleWire) -> Self {
        let ScheduleWire { id, description, git_ref, cron, cron_timezone, active, next_run_at, .. } = wire;
        Self {
            id,
            description,
            git_ref,
            cron,
            cron_timezone,
            active,
            next_run_at,
            owner: wire.owner,
            inputs: wire.inputs.into_iter().map(|input| (input.name, input.value)).collect(),
            last_pipeline: wire.last_pipeline.map(Pipeline::from),
            variables: wire.variables,
        }
    }
}

impl Client {
    /// A page of a project's schedules, 100 at most, active and inactive.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind).
    pub async fn schedules(
        &self,
        at: &Endpoint,
        page: u32,
        token: &SecretString,
    ) -> Result<SchedulePage, ReadError> {
        let query = vec![("page", page.to_string()), ("per_page", MAX_PER_PAGE.to_string())];
        let path = path(Call::Schedules, at, None, "");
        let (wires, reply) =
            self.read_at::<Vec<ScheduleWire>>(Call::Schedules, at, path, query, token).await?;
        let next = next_page(&reply, wires.len(), page, MAX_PER_PAGE);
        Ok(SchedulePage { schedules: wires.into_iter().map(PipelineSchedule::from).collect(), next })
    }

    /// One schedule.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind); [`ReadError::is_gone`] if it was deleted.
    pub async fn schedule(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<PipelineSchedule, ReadError> {
        let path = path(Call::Schedule, at, Some(id), "");
        let read = self.read_at::<ScheduleWire>(Call::Schedule, at, path, Vec::new(), token);
        Ok(read.await?.0.into())
    }

    /// Creates a schedule. The token's user becomes its owner.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may exist all the same.
    pub async fn create_schedule(
        &self,
        at: &Endpoint,
        fields: &ScheduleFields,
        token: &SecretString,
    ) -> Result<PipelineSchedule, ReadError> {
        let deed = of_schedule(Call::CreateSchedule, Method::POST, at, None, Some(fields.body()));
        shown(&self.act(deed, at, token).await?)
    }

    /// Changes a schedule; GitLab then plans its next run anew. Only the owner may.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be changed all the same.
    pub async fn update_schedule(
        &self,
        at: &Endpoint,
        id: u64,
        fields: &ScheduleFields,
        token: &SecretString,
    ) -> Result<PipelineSchedule, ReadError> {
        let deed = of_schedule(Call::UpdateSchedule, Method::PUT, at, Some(id), Some(fields.body()));
        shown(&self.act(deed, at, token).await?)
    }

    /// Makes the token's user the owner. Maintainers may; who is the owner already is told the same.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be done all the same.
    pub async fn take_schedule(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<PipelineSchedule, ReadError> {
        let deed = of_schedule(Call::TakeSchedule, Method::POST, at, Some(id), None);
        shown(&self.act(deed, at, token).await?)
    }

    /// Deletes a schedule; its pipelines stay. One that is gone already is no error.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be gone all the same.
    pub async fn delete_schedule(
        &self,
        at: &Endpoint,
        id: u64,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let deed = of_schedule(Call::DeleteSchedule, Method::DELETE, at, Some(id), None);
        gone_is_done(self.act(deed, at, token).await)
    }

    /// Adds a variable to a schedule. It must not have one of this key.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be there all the same.
    pub async fn add_schedule_variable(
        &self,
        at: &Endpoint,
        id: u64,
        variable: &ScheduleVariable,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let call = Call::AddScheduleVariable;
        let deed =
            of_schedule(call, Method::POST, at, Some(id), Some(json!(variable).to_string().into_bytes()));
        self.act(deed, at, token).await.map(|_| ())
    }

    /// Sets a variable that the schedule has.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be set all the same.
    pub async fn set_schedule_variable(
        &self,
        at: &Endpoint,
        id: u64,
        variable: &ScheduleVariable,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let call = Call::SetScheduleVariable;
        let path = path(call, at, Some(id), &variable.key);
        let body = Some(json!(variable).to_string().into_bytes());
        let deed = Deed { call, method: Method::PUT, class: Class::Following, path, body };
        self.act(deed, at, token).await.map(|_| ())
    }

    /// Takes a variable off a schedule; one that is gone already is no error.
    ///
    /// # Errors
    /// See [`ReadKind`](super::ReadKind). After `Trouble` it may be gone all the same.
    pub async fn remove_schedule_variable(
        &self,
        at: &Endpoint,
        id: u64,
        key: &str,
        token: &SecretString,
    ) -> Result<(), ReadError> {
        let call = Call::RemoveScheduleVariable;
        let path = path(call, at, Some(id), key);
        let deed = Deed { call, method: Method::DELETE, class: Class::Following, path, body: None };
        gone_is_done(self.act(deed, at, token).await)
    }
}

fn shown(reply: &super::http::Reply) -> Result<PipelineSchedule, ReadError> {
    value::<ScheduleWire>(reply).map(PipelineSchedule::from)
}

fn of_schedule(call: Call, method: Method, at: &Endpoint, id: Option<u64>, body: Option<Vec<u8>>) -> Deed {
    Deed { call, method, class: Class::Following, path: path(call, at, id, ""), body }
}

fn path(call: Call, at: &Endpoint, id: Option<u64>, key: &str) -> String {
    let id = id.map_or_else(String::new, |id| id.to_string());
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
    let path = call.route().replace(":schedule_id", &id).replace(":id", &at.project.path_segment());
    path.replace(":key", &key)
}
