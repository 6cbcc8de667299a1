//! What is asked of GitLab about the schedules it runs. Each request is sent once; an error tells what is known then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pipekick_core::decide::gitlab_schedule::{
    Applied, Change, ChangeOrder, Created, DeleteOrder, Deleted, Look, LookOrder, Seen, Trouble,
};
use pipekick_core::domain::run::Place;
use pipekick_core::domain::schedule::Marker;
use pipekick_core::domain::schedule::in_gitlab::{Fields, Held, HeldVariable, Hidden, Kept, Owner, Wanted};
use pipekick_core::domain::{CredentialUse, GitLabUrl, ObjectKey, ProjectRef, Reason, VariableType};
use secrecy::{ExposeSecret as _, SecretString};

use crate::clock;
use crate::cluster::secrets::{Secrets, Unavailable};
use crate::gitlab::{
    self, Endpoint, Fingerprint, PipelineSchedule, ReadError, ReadKind, ScheduleFields, ScheduleVariable,
    VariableKind,
};

/// Pages of 100 schedules in one look: GitLab's limit for a project is 10 unless an administrator raises it.
const PAGES: u32 = 50;
/// Users of tokens remembered at most; then all are forgotten and asked for again.
const MAX_USERS: usize = 1000;
/// A token that is not accepted may be rotated: it is read again after this.
const TOKEN_AGAIN: Duration = Duration::from_secs(60);

/// Where a look was taken, and with what.
pub(super) struct Reached {
    at: Endpoint,
    token: SecretString,
}

/// Asks GitLab.
pub(super) struct Requests {
    gitlab: Arc<gitlab::Client>,
    secrets: Arc<Secrets>,
    default_url: GitLabUrl,
    /// Whom a token acts for never changes.
    users: Mutex<HashMap<(GitLabUrl, Fingerprint), Owner>>,
}

impl Requests {
    pub(super) fn new(gitlab: Arc<gitlab::Client>, secrets: Arc<Secrets>, default_url: GitLabUrl) -> Self {
        Self { gitlab, secrets, default_url, users: Mutex::default() }
    }

    /// Both sides: what spec wants, with values, and what GitLab has.
    pub(super) async fn look(
        &self,
        key: &ObjectKey,
        kept: &Kept,
        order: &LookOrder,
    ) -> (Look, Option<Reached>) {
        let Ok(wanted) = &kept.spec else { return (Look::NotYet, None) };
        let mut reached = match self.reach(&key.namespace, &order.place).await {
            Ok(reached) => reached,
            Err(trouble) => return (Look::Trouble(trouble), None),
        };
        match self.see(key, wanted, order, &mut reached).await {
            Ok(seen) => (Look::Seen(Box::new(seen)), Some(reached)),
            Err(trouble) => (Look::Trouble(trouble), None),
        }
    }

    async fn see(
        &self,
        key: &ObjectKey,
        wanted: &Wanted,
        order: &LookOrder,
        reached: &mut Reached,
    ) -> Result<Seen, Trouble> {
        let variables = self.values(&key.namespace, wanted).await?;
        let user = self.user(reached).await.map_err(trouble)?;
        self.must_take_inputs(wanted, reached).await?;
        let mut held = None;
        if let Some(id) = order.schedule_id {
            held = match self.show(reached, id).await {
                Ok(schedule) => Some(schedule),
                Err(error) if error.is_gone() => None,
                Err(error) => return Err(trouble(error)),
            };
        }
        let mut others = Vec::new();
        if held.is_none() {
            let marked = self.marked(reached, &order.marker).await.map_err(trouble)?;
            let mut marked = marked.into_iter();
            if let Some(oldest) = marked.next() {
                // A list shows neither variables nor the last pipeline.
                held = Some(self.show(reached, oldest).await.map_err(trouble)?);
            }
            others = marked.collect();
        }
        let date = self.gitlab.now_at(&reached.at.url).unwrap_or_else(clock::now);
        Ok(Seen { user, held: held.map(into_held), others, variables, date })
    }

    /// The values of the variables that spec wants, as they are sent.
    async fn values(&self, namespace: &str, wanted: &Wanted) -> Result<Vec<HeldVariable>, Trouble> {
        let to = self.credential_use(&wanted.url, &wanted.project);
        let values = self.secrets.values(namespace, &wanted.variables, to).await.map_err(missing)?;
        let held = wanted.variables.iter().zip(values).filter_map(|(variable, value)| {
            let value = value?;
            let sent = variable.escaped(value.expose_secret());
            let value = Hidden::new(sent.unwrap_or_else(|| value.expose_secret().to_owned()));
            Some(HeldVariable { name: variable.name.to_string(), kind: variable.kind, value })
        });
        Ok(held.collect())
    }

    /// An old GitLab drops inputs without a word.
    async fn must_take_inputs(&self, wanted: &Wanted, reached: &Reached) -> Result<(), Trouble> {
        if wanted.inputs.is_empty() {
            return Ok(());
        }
        match self.gitlab.known_version(&reached.at, &reached.token).await.map_err(trouble)? {
            Some(version) if !version.takes_inputs() => Err(Trouble {
                reason: Reason::GitLabTooOld,
                message: format!(
                    "{} is GitLab {version}, which drops `inputs` without a word; they take 17.11 or later. Nothing was changed",
                    wanted.url.authority()
                ),
                stuck: true,
                wait: Duration::ZERO,
            }),
            Some(_) | None => Ok(()),
        }
    }

    async fn user(&self, Reached { at, token }: &Reached) -> Result<Owner, ReadError> {
        let who = (at.url.clone(), self.gitlab.fingerprint(token));
        if let Some(user) = self.users.lock().unwrap_or_else(PoisonError::into_inner).get(&who) {
            return Ok(user.clone());
        }
        let gitlab::User { id, username } = self.gitlab.user(at, token).await?;
        let user = Owner { id, username };
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.len() >= MAX_USERS {
            users.clear();
        }
        users.insert(who, user.clone());
        Ok(user)
    }

    /// One schedule; a project that was renamed or moved is followed, once.
    async fn show(&self, reached: &mut Reached, id: u64) -> Result<PipelineSchedule, ReadError> {
        match self.gitlab.schedule(&reached.at, id, &reached.token).await {
            Err(ReadError { moved_to: Some(project), .. }) => {
                reached.at.project = project;
                self.gitlab.schedule(&reached.at, id, &reached.token).await
            }
            shown => shown,
        }
    }

    /// The ids of all schedules that carry the mark, oldest first.
    async fn marked(&self, reached: &mut Reached, marker: &Marker) -> Result<Vec<u64>, ReadError> {
        let (mut marked, mut page, mut moved) = (Vec::new(), 1, false);
        loop {
            let listed = match self.gitlab.schedules(&reached.at, page, &reached.token).await {
                Err(ReadError { moved_to: Some(project), .. }) if !moved => {
                    moved = true;
                    reached.at.project = project;
                    continue;
                }
                listed => listed?,
            };
            let ours = listed.schedules.iter().filter(|schedule| marker.is_in(&schedule.description));
            marked.extend(ours.map(|schedule| schedule.id));
            match listed.next {
                Some(next) if next > page && next <= PAGES => page = next,
                Some(_) | None => break,
            }
        }
        marked.sort_unstable();
        marked.dedup();
        Ok(marked)
    }

    pub(super) async fn create(&self, key: &ObjectKey, reached: &Reached, fields: &Fields) -> Created {
        let Reached { at, token } = reached;
        match self.gitlab.create_schedule(at, &into_wire(fields), token).await {
            Ok(PipelineSchedule { id, .. }) => {
                tracing::info!(object = %key, schedule_id = id, "pipeline schedule was created in gitlab");
                Created::Made { id }
            }
            Err(error) if error.kind == ReadKind::Trouble => {
                tracing::warn!(object = %key, detail = error.message, "outcome of a create is unknown");
                Created::Unknown { message: error.message }
            }
            Err(error) => {
                tracing::info!(object = %key, reason = %error.reason, detail = error.message, "pipeline schedule was not created");
                Created::Not(trouble(error))
            }
        }
    }

    /// Changes one thing after the other, until one fails.
    pub(super) async fn change(&self, key: &ObjectKey, reached: &Reached, order: ChangeOrder) -> Applied {
        let mut failure = None;
        for change in &order.changes {
            if let Err(error) = self.change_one(reached, order.schedule_id, change).await {
                tracing::info!(object = %key, schedule_id = order.schedule_id, reason = %error.reason, detail = error.message, "pipeline schedule was not changed");
                failure = Some(trouble(error));
                break;
            }
        }
        if failure.is_none() {
            tracing::info!(object = %key, schedule_id = order.schedule_id, changes = order.changes.len(), "pipeline schedule was changed in gitlab");
        }
        Applied { order, at: clock::now(), failure }
    }

    async fn change_one(
        &self,
        Reached { at, token }: &Reached,
        id: u64,
        change: &Change,
    ) -> Result<(), ReadError> {
        match change {
            Change::Take => self.gitlab.take_schedule(at, id, token).await.map(drop),
            Change::Fields(fields) => {
                self.gitlab.update_schedule(at, id, &into_wire(fields), token).await.map(drop)
            }
            Change::AddVariable(variable) => {
                self.gitlab.add_schedule_variable(at, id, &variable_to_wire(variable), token).await
            }
            Change::SetVariable(variable) => {
                self.gitlab.set_schedule_variable(at, id, &variable_to_wire(variable), token).await
            }
            Change::RemoveVariable(name) => self.gitlab.remove_schedule_variable(at, id, name, token).await,
            Change::DeleteOther(other) => self.gitlab.delete_schedule(at, *other, token).await,
        }
    }

    pub(super) async fn delete(&self, key: &ObjectKey, order: &DeleteOrder) -> Deleted {
        let DeleteOrder { place, schedule_id, marker } = order;
        let deleted = match self.reach(&key.namespace, place).await {
            Ok(mut reached) => {
                self.delete_all(&mut reached, *schedule_id, marker.as_ref()).await.map_err(trouble)
            }
            Err(trouble) => Err(trouble),
        };
        match deleted {
            Ok(()) => {
                tracing::info!(object = %key, ?schedule_id, "pipeline schedule was deleted in gitlab");
                Deleted::Done
            }
            Err(trouble) => {
                tracing::info!(object = %key, ?schedule_id, reason = %trouble.reason, detail = trouble.message, "pipeline schedule was not deleted");
                Deleted::Not(trouble)
            }
        }
    }

    async fn delete_all(
        &self,
        reached: &mut Reached,
        id: Option<u64>,
        marker: Option<&Marker>,
    ) -> Result<(), ReadError> {
        if let Some(id) = id {
            match self.gitlab.delete_schedule(&reached.at, id, &reached.token).await {
                Err(ReadError { moved_to: Some(project), .. }) => {
                    reached.at.project = project;
                    self.gitlab.delete_schedule(&reached.at, id, &reached.token).await?;
                }
                deleted => deleted?,
            }
        }
        if let Some(marker) = marker {
            for id in self.marked(reached, marker).await? {
                self.gitlab.delete_schedule(&reached.at, id, &reached.token).await?;
            }
        }
        Ok(())
    }

    /// The credential and the trust for a place.
    async fn reach(&self, namespace: &str, place: &Place) -> Result<Reached, Trouble> {
        let Place { url, project, project_id: _, access, ca_bundle } = place;
        let nonsense = |error: &dyn std::fmt::Display| Trouble {
            reason: Reason::CannotKeep,
            message: format!("status.gitlab.place: {error}"),
            stuck: true,
            wait: Duration::ZERO,
        };
        let url: GitLabUrl = url.parse().map_err(|e| nonsense(&e))?;
        let project: ProjectRef = project.parse().map_err(|e| nonsense(&e))?;
        let access = access.as_ref().ok_or_else(|| nonsense(&"it names no access token"))?;
        let to = self.credential_use(&url, &project);
        let token = self.secrets.token(namespace, access, to).await.map_err(missing)?;
        let trust = self.secrets.trust(namespace, ca_bundle.as_ref()).await.map_err(missing)?;
        Ok(Reached { at: Endpoint { url, project, trust }, token })
    }

    const fn credential_use<'a>(&'a self, url: &'a GitLabUrl, project: &'a ProjectRef) -> CredentialUse<'a> {
        CredentialUse { url, default_url: &self.default_url, project }
    }
}

fn missing(Unavailable { reason, message, look_again }: Unavailable) -> Trouble {
    Trouble { reason, message, stuck: false, wait: look_again }
}

fn trouble(ReadError { kind, reason, message, moved_to: _ }: ReadError) -> Trouble {
    let (stuck, wait) = match kind {
        ReadKind::NotFound | ReadKind::Forbidden | ReadKind::Refused => (true, Duration::ZERO),
        ReadKind::Unauthorized => (false, TOKEN_AGAIN),
        ReadKind::Throttled { wait } => (false, wait),
        ReadKind::Unreachable | ReadKind::Trouble => (false, Duration::ZERO),
    };
    // The client's word for trouble is about pipelines.
    let reason = if reason == Reason::CannotFollow { Reason::CannotKeep } else { reason };
    Trouble { reason, message, stuck, wait }
}

fn into_held(schedule: PipelineSchedule) -> Held {
    let PipelineSchedule {
        id, description, git_ref, cron, cron_timezone, active, next_run_at, owner, ..
    } = schedule;
    let variable = |ScheduleVariable { key, value, kind }| HeldVariable {
        name: key,
        kind: match kind {
            VariableKind::EnvVar => VariableType::EnvVar,
            VariableKind::File => VariableType::File,
        },
        value: Hidden::new(value),
    };
    Held {
        id,
        fields: Fields { description, git_ref, cron, zone: cron_timezone, active, inputs: schedule.inputs },
        next_run_at,
        owner: owner.map(|gitlab::User { id, username }| Owner { id, username }),
        last_pipeline: schedule.last_pipeline,
        variables: schedule.variables.map(|all| all.into_iter().map(variable).collect()),
    }
}

fn into_wire(fields: &Fields) -> ScheduleFields {
    let Fields { description, git_ref, cron, zone, active, inputs } = fields.clone();
    ScheduleFields { description, git_ref, cron, cron_timezone: zone, active, inputs }
}

fn variable_to_wire(variable: &HeldVariable) -> ScheduleVariable {
    let HeldVariable { name, kind, value } = variable;
    ScheduleVariable {
        key: name.clone(),
        value: value.expose().to_owned(),
        kind: match kind {
            VariableType::EnvVar => VariableKind::EnvVar,
            VariableType::File => VariableKind::File,
        },
    }
}
