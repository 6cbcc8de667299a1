//! The hands of a decision: one guarded write, then its effects in their order.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Resource as _};
use pipekick_core::decide::schedule::{ChildCause, ChildOrder, Creation, Effect, Plan, Told};
use pipekick_core::decide::trigger::Note;
use pipekick_core::domain::ObjectKey;
use pipekick_core::domain::schedule::ScheduleStatus;
use serde_json::json;

use super::observe::{Template, sibling};
use super::{Object, Record, ScheduleController, ScheduleRef, Turn, sleep};
use crate::api::schedule::{SCHEDULE_LABEL, SCHEDULED_TIME_ANNOTATION, TemplateMetadata, TriggerTemplate};
use crate::api::trigger::CANCEL_ANNOTATION;
use crate::api::{PipelineSchedule, PipelineTrigger};
use crate::clock;
use crate::cluster::client::DEADLINE;
use crate::cluster::events::Subject;
use crate::cluster::status::{self, Guard, WriteError};
use crate::controllers::trigger;
use crate::crash;
use crate::runtime::{Outcome, Rank, Sighted};

/// After something that was not confirmed, the object is looked at again this soon.
const UNCONFIRMED: Duration = Duration::from_secs(1);
/// What gives way to a crowd is looked at again this soon.
const POSTPONED: SignedDuration = SignedDuration::from_secs(1);
/// What the API server refuses is a bug of ours or a policy of theirs; it is not tried in a loop.
const REFUSED: Duration = Duration::from_secs(60);

/// How a turn goes on.
pub(super) enum Next {
    /// Decide again: something was learned.
    Decide,
    /// The turn is over.
    End(Outcome),
}

/// A create of which nobody knows whether it took effect.
struct Unconfirmed(String);

impl ScheduleController {
    /// Does what `plan` says.
    pub(super) async fn apply(&self, key: &ObjectKey, turn: &mut Turn, plan: Plan) -> Next {
        let goes_on = plan.goes_on();
        let Plan { status, effects, events, wake, can_wait } = plan;
        if can_wait && (status.is_some() || !effects.is_empty()) {
            if (self.crowded)() && self.postponed.may_wait(key, clock::instant()) {
                let again = clock::now().checked_add(POSTPONED).unwrap_or(Timestamp::MAX);
                return Next::End(match wake {
                    Some(wake) if wake <= again => sleep(Some(wake), Rank::Firing),
                    Some(_) | None => sleep(Some(again), Rank::Bookkeeping),
                });
            }
            self.postponed.done(key);
        }
        if !effects.iter().any(|effect| matches!(effect, Effect::Look { name: _ })) {
            self.looking.stop(key);
        }
        if let Some(status) = status {
            if let Err(error) = self.write(turn, &status).await {
                return self.not_written(key, turn, &error).await;
            }
            self.tell(key, turn, events.into_iter().map(|Told { tick: _, note }| note).collect());
        }
        for effect in effects {
            match effect {
                Effect::Confirm => {
                    if let Some(end) = self.read_again(key, turn).await {
                        return Next::End(end);
                    }
                }
                Effect::Delete { name, uid } => self.trim(key, &name, uid).await,
                Effect::Look { name } => {
                    self.follower.look_since(&sibling(key, &name), self.looking.go_on(key));
                }
                Effect::Cancel { name, value } => self.cancel(key, &name, &value).await,
                Effect::Create(order) => {
                    let tick = match &order.cause {
                        ChildCause::Tick { tick, release: _, scheduled_time: _ } => Some(*tick),
                        ChildCause::Request { value: _ } => None,
                    };
                    let outcome = match self.create(key, turn, &order).await {
                        Ok(outcome) => outcome,
                        Err(Unconfirmed(message)) => {
                            tracing::warn!(object = %key, child = order.name, detail = message, "child was not confirmed");
                            return Next::End(Outcome::done().wake_in(UNCONFIRMED, Rank::Firing));
                        }
                    };
                    let exists = matches!(outcome, Creation::Made { .. } | Creation::Ours { .. });
                    self.creations.add(&turn.schedule, &order.name, tick, outcome);
                    if !exists {
                        break;
                    }
                }
            }
        }
        if goes_on { Next::Decide } else { Next::End(sleep(wake, Rank::Firing)) }
    }

    /// Creates a child, or finds out who has its name.
    async fn create(
        &self,
        key: &ObjectKey,
        turn: &Turn,
        order: &ChildOrder,
    ) -> Result<Creation, Unconfirmed> {
        let Some(Ok(template)) = turn.template.as_ref().map(Template::read) else {
            // A spec that cannot be read has no tick.
            return Ok(Creation::Refused { message: "the spec cannot be read".into() });
        };
        let child = manifest(turn, template, order);
        let api: Api<PipelineTrigger> = Api::namespaced(self.cluster.clone(), &key.namespace);
        let params = PostParams::default();
        let create = tokio::time::timeout(DEADLINE, api.create(&params, &child));
        match crash::point("child", create).await {
            Ok(Ok(made)) => {
                let uid = made.metadata.uid.unwrap_or_default();
                self.count(order);
                tracing::info!(object = %key, child = order.name, "child was created");
                Ok(Creation::Made { uid })
            }
            Ok(Err(kube::Error::Api(status))) if status.is_already_exists() => {
                self.whose(key, turn, &order.name).await
            }
            // Refused before anything was stored.
            Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
                tracing::info!(object = %key, child = order.name, detail = status.message, "child was refused");
                Ok(Creation::Refused { message: status.message.clone() })
            }
            Ok(Err(error)) => Err(Unconfirmed(error.to_string())),
            Err(_) => Err(Unconfirmed(format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }

    /// Who has the name of a child.
    async fn whose(&self, key: &ObjectKey, turn: &Turn, name: &str) -> Result<Creation, Unconfirmed> {
        let child = sibling(key, name);
        let found = status::read::<PipelineTrigger, trigger::Object>(&self.cluster, &child).await;
        let Some(object) = found.map_err(Unconfirmed)? else {
            let message = format!("{name} existed, and was deleted when it was looked at");
            return Ok(Creation::Refused { message });
        };
        Ok(match ScheduleRef::of(&object.metadata) {
            Some(owner) if owner.uid == turn.schedule.uid => {
                Creation::Ours { uid: object.metadata.uid.unwrap_or_default() }
            }
            Some(owner) if owner.name == key.name => Creation::Earlier,
            Some(_) | None => Creation::Stranger,
        })
    }

    fn count(&self, order: &ChildOrder) {
        match &order.cause {
            ChildCause::Tick { tick: _, release, scheduled_time: _ } => {
                let late = clock::now().duration_since(*release);
                self.metrics.tick_fired(late.try_into().unwrap_or_default());
            }
            ChildCause::Request { value: _ } => {}
        }
    }

    /// Deletes a child beyond the history limits. The next turn tries again what failed.
    async fn trim(&self, key: &ObjectKey, name: &str, uid: String) {
        let api: Api<PipelineTrigger> = Api::namespaced(self.cluster.clone(), &key.namespace);
        let preconditions = Preconditions { uid: Some(uid), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let delete = tokio::time::timeout(DEADLINE, api.delete(name, &params));
        match crash::point("trim", delete).await {
            Ok(Ok(_)) => tracing::debug!(object = %key, child = name, "child was deleted: history limit"),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {}
            Ok(Err(error)) => tracing::warn!(object = %key, child = name, %error, "child was not deleted"),
            Err(_) => tracing::warn!(object = %key, child = name, "child was not deleted in time"),
        }
    }

    /// Asks a child to cancel its run. The next turn asks again if that failed.
    async fn cancel(&self, key: &ObjectKey, name: &str, value: &str) {
        let api: Api<PipelineTrigger> = Api::namespaced(self.cluster.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"metadata": {"annotations": {CANCEL_ANNOTATION: value}}}));
        let params = PatchParams::default();
        let send = tokio::time::timeout(DEADLINE, api.patch_metadata(name, &params, &patch));
        match crash::point("ask-cancel", send).await {
            Ok(Ok(_)) => tracing::info!(object = %key, child = name, "child was asked to cancel its run"),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => {
                tracing::warn!(object = %key, child = name, %error, "child was not asked to cancel");
            }
            Err(_) => tracing::warn!(object = %key, child = name, "child was not asked to cancel in time"),
        }
    }

    /// Reads the schedule itself; answers how the turn ends, if it does.
    pub(super) async fn read_again(&self, key: &ObjectKey, turn: &mut Turn) -> Option<Outcome> {
        match status::read::<PipelineSchedule, Object>(&self.cluster, key).await {
            Ok(Some(object)) if object.metadata.uid.as_deref() == Some(&turn.schedule.uid) => {
                (!self.take(turn, object)).then(Outcome::done)
            }
            Ok(_) => Some(Outcome::done()),
            Err(message) => {
                tracing::warn!(object = %key, detail = message, "object could not be read again");
                Some(Outcome::done().wake_in(UNCONFIRMED, Rank::Firing))
            }
        }
    }

    /// Writes the status, guarded, and goes on with the object as it stands then.
    pub(super) async fn write(&self, turn: &mut Turn, status: &ScheduleStatus) -> Result<(), WriteError> {
        let object: Object =
            status::write::<PipelineSchedule, _>(&self.cluster, &guard(turn), status).await?;
        self.take(turn, object);
        Ok(())
    }

    /// Goes on with a newer version of the object; the store learns it too, ahead of the watch. `false` if it cannot
    /// be read.
    pub(super) fn take(&self, turn: &mut Turn, object: Object) -> bool {
        let metadata = object.metadata.clone();
        let record = Record::new(object, &self.default_url);
        let readable = match &record.schedule {
            Ok(schedule) => {
                turn.schedule = schedule.clone();
                turn.resource_version.clone_from(&record.resource_version);
                turn.template.clone_from(&record.template);
                turn.kept.clone_from(&record.kept);
                turn.read_at = Some(clock::instant());
                true
            }
            Err(_) => false,
        };
        if let Some(seen) = Sighted::new(&metadata, record) {
            self.handle.put_own(seen);
        }
        readable
    }

    /// A write that does not stand, or may not: look again, and only then decide.
    pub(super) async fn not_written(&self, key: &ObjectKey, turn: &mut Turn, error: &WriteError) -> Next {
        match error {
            WriteError::Gone => Next::End(Outcome::done()),
            WriteError::Busy(wait) => Next::End(Outcome::done().wake_in(*wait, Rank::Firing)),
            WriteError::Refused(message) => {
                tracing::error!(object = %key, detail = message, "status was refused");
                Next::End(Outcome::done().wake_in(REFUSED, Rank::Bookkeeping))
            }
            WriteError::Conflict => match self.read_again(key, turn).await {
                Some(end) => Next::End(end),
                None => Next::Decide,
            },
            WriteError::Unconfirmed(message) => {
                tracing::warn!(object = %key, detail = message, "status was not confirmed");
                let end = self.read_again(key, turn).await;
                Next::End(end.unwrap_or_else(|| Outcome::done().wake_in(UNCONFIRMED, Rank::Firing)))
            }
        }
    }

    /// Each write tells its own: no other has its resourceVersion.
    pub(super) fn tell(&self, key: &ObjectKey, turn: &Turn, notes: Vec<Note>) {
        for (number, note) in notes.into_iter().enumerate() {
            let occasion = format!("{}.{number}", turn.resource_version);
            self.events.tell(Subject { key: key.clone(), uid: turn.schedule.uid.clone(), occasion }, note);
        }
    }
}

/// A child as it is created.
fn manifest(turn: &Turn, template: TriggerTemplate, order: &ChildOrder) -> PipelineTrigger {
    let TriggerTemplate { metadata, spec } = template;
    let TemplateMetadata { labels, annotations } = metadata.unwrap_or_default().theirs();
    let (mut labels, mut annotations) = (labels.unwrap_or_default(), annotations.unwrap_or_default());
    let ObjectKey { namespace, name } = &turn.schedule.key;
    labels.insert(SCHEDULE_LABEL.into(), name.clone());
    match &order.cause {
        ChildCause::Tick { tick: _, release: _, scheduled_time } => {
            annotations.insert(SCHEDULED_TIME_ANNOTATION.into(), scheduled_time.clone());
        }
        ChildCause::Request { value: _ } => {}
    }
    let owner = OwnerReference {
        api_version: PipelineSchedule::api_version(&()).into_owned(),
        kind: PipelineSchedule::kind(&()).into_owned(),
        name: name.clone(),
        uid: turn.schedule.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    PipelineTrigger {
        metadata: ObjectMeta {
            name: Some(order.name.clone()),
            namespace: Some(namespace.clone()),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

/// What a write is guarded by: the object as it was looked at.
pub(super) fn guard(turn: &Turn) -> Guard {
    Guard {
        key: turn.schedule.key.clone(),
        uid: turn.schedule.uid.clone(),
        resource_version: turn.resource_version.clone(),
    }
}
