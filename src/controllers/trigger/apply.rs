//! The hands of a decision: one guarded write, then one effect.
//!
//! Nothing is sent unless the write of its intent was confirmed to this very process, and only while that
//! write is young. What became of a POST is remembered until it stands in status.

use std::collections::HashSet;

use pipekick_core::decide::trigger::{
    Credentials, Effect, INTENT_MAX_AGE, NameOrder, Note, OutputsRead, Plan, RetryOrder,
};
use pipekick_core::domain::{
    Changed, Deletion, Finding, FireId, Lookup, ObjectKey, Reason, Sighting, TriggerStatus,
};

use super::lookup::Looked;
use super::{Object, Record, TriggerController, Turn, ends};
use crate::api::PipelineTrigger;
use crate::clock::{self, Moment};
use crate::cluster::events::Subject;
use crate::cluster::status::{self, Guard, WriteError};
use crate::controllers::images::BranchKey;
use crate::runtime::{Outcome, Rank, Sighted};

/// After a write that was not confirmed, the object is looked at again this soon.
pub(super) const UNCONFIRMED: std::time::Duration = std::time::Duration::from_secs(1);
/// A status that the API server refuses is a bug of ours or a policy of theirs; it is not tried in a loop.
const REFUSED: std::time::Duration = std::time::Duration::from_secs(60);

/// What gives way to a crowd is looked at again this soon.
const POSTPONED: std::time::Duration = std::time::Duration::from_secs(1);

/// Should nobody call, a parked object comes back by itself.
const PARKED: std::time::Duration = std::time::Duration::from_secs(30);

/// The GitLab that an effect needs a place at, if it needs one, and how urgently.
fn host_of(effect: &Effect) -> Option<(&str, Rank)> {
    match effect {
        // A look into a refusal takes a place that is free, and waits for none: what it explains waits to be told.
        Effect::Nothing
        | Effect::ReadCredentials(_)
        | Effect::LookInto(_)
        | Effect::SetFinalizers(_)
        | Effect::DeleteObject
        // The queues have places of their own.
        | Effect::Update(_)
        | Effect::GiveUp(_) => None,
        Effect::ReadOutputs(order) => Some((&order.at.target.url, Rank::Following)),
        Effect::LookAtRequests(looks) => looks.first().map(|look| (&*look.url, Rank::Bookkeeping)),
        Effect::LookUp(look) => Some((&look.target.url, Rank::Following)),
        Effect::LookAt(look) | Effect::LookAtOwn(look) => Some((&look.target.url, Rank::Following)),
        Effect::Fire(order) => Some((&order.target.url, Rank::Firing)),
        Effect::Cancel(order) => Some((&order.url, Rank::Firing)),
        Effect::Retry(order) => Some((&order.at.target.url, Rank::Firing)),
        Effect::Name(order) => Some((&order.at.target.url, Rank::Bookkeeping)),
        Effect::DeletePipeline(deletion) => Some((&deletion.place.url, Rank::Bookkeeping)),
    }
}

/// How a turn goes on.
pub(super) enum Next {
    /// Decide again: something was learned.
    Decide,
    /// The turn is over.
    End(Outcome),
}

impl TriggerController {
    /// Does what `plan` says.
    pub(super) async fn apply(&self, key: &ObjectKey, turn: &mut Turn, mut plan: Plan) -> Next {
        if plan.can_wait {
            if (self.crowded)() && self.postponed.may_wait(key, clock::instant()) {
                return Next::End(Outcome::done().wake_in(POSTPONED, Rank::Bookkeeping));
            }
            self.postponed.done(key);
        }
        let effect = std::mem::replace(&mut plan.effect, Effect::Nothing);
        let place = match host_of(&effect) {
            None => None,
            Some((host, rank)) => match self.gate.enter(host, key, rank) {
                Some(place) => Some(place),
                // Nothing was written; whoever leaves calls this key.
                None => return Next::End(Outcome::done().wake_in(PARKED, rank)),
            },
        };
        let next = self.carry_out(key, turn, plan, effect).await;
        drop(place);
        next
    }

    /// What is rarely done, or takes a while, is boxed: a flight would else carry room for all of it from its start.
    async fn carry_out(&self, key: &ObjectKey, turn: &mut Turn, mut plan: Plan, effect: Effect) -> Next {
        match effect {
            Effect::Nothing => {
                if let Some(status) = plan.status.take() {
                    if let Err(error) = self.write(turn, &status).await {
                        return self.not_written(key, turn, &error).await;
                    }
                    self.tell(key, turn, std::mem::take(&mut plan.events));
                }
                Next::End(self.rest(key, turn, &plan))
            }
            Effect::ReadCredentials(_) => {
                self.read_credentials(key, turn).await;
                Next::Decide
            }
            Effect::LookUp(look) => {
                turn.look_began = Some(clock::instant());
                let Looked { lookup, date, wait } =
                    Box::pin(self.looker.look_up(&key.namespace, &look)).await;
                turn.look_date = date;
                let trouble = matches!(lookup, Lookup::Trouble { .. });
                self.memories.looked(key, trouble, wait);
                turn.lookup = Some((look.key, lookup));
                Next::Decide
            }
            Effect::LookAt(look) => {
                turn.named =
                    Some((look.pipeline_id, Box::pin(self.looker.look_at(&key.namespace, &look)).await));
                Next::Decide
            }
            Effect::LookAtOwn(look) => {
                turn.look_began = Some(clock::instant());
                let (sighting, wait) = Box::pin(self.looker.look_at_own(&key.namespace, &look)).await;
                self.memories.looked(key, matches!(sighting, Sighting::Trouble { .. }), wait);
                turn.looked_at = Some((look.pipeline_id, sighting));
                Next::Decide
            }
            Effect::Cancel(order) => {
                if let Some(status) = plan.status.take() {
                    if let Err(error) = self.write(turn, &status).await {
                        return self.not_written(key, turn, &error).await;
                    }
                    self.tell(key, turn, std::mem::take(&mut plan.events));
                }
                Box::pin(self.cancel(key, &order)).await;
                Next::Decide
            }
            Effect::SetFinalizers(finalizers) => {
                if let Some(status) = plan.status.take()
                    && let Err(error) = self.write(turn, &status).await
                {
                    return self.not_written(key, turn, &error).await;
                }
                match self.set_finalizers(turn, &finalizers).await {
                    Ok(()) => {
                        self.tell(key, turn, plan.events);
                        if turn.trigger.deleted_at.is_some() && turn.trigger.finalizers.is_empty() {
                            // That was the last one: the object is gone, and nothing of it is followed any more.
                            return Next::End(Outcome::done());
                        }
                        Next::Decide
                    }
                    Err(error) => self.not_written(key, turn, &error).await,
                }
            }
            Effect::LookInto(look) => {
                let finding = match self.gate.try_enter(&look.target.url) {
                    Some(_place) => Box::pin(self.looker.look_into(&key.namespace, &look)).await,
                    None => Finding::Nothing,
                };
                turn.finding = Some((look.key, finding));
                Next::Decide
            }
            Effect::Fire(order) => match plan.status.take() {
                Some(status) => Box::pin(self.fire_in_turn(key, turn, &status, *order, plan.events)).await,
                // An order without an intent would be a POST that nobody could find again.
                None => Next::End(Outcome::done()),
            },
            Effect::Retry(order) => match plan.status.take() {
                Some(status) => Box::pin(self.retry(key, turn, &status, &order, plan.events)).await,
                None => Next::End(Outcome::done()),
            },
            Effect::Name(order) => match self.write_first(key, turn, &mut plan).await {
                Some(next) => next,
                None => Box::pin(self.name(key, &order)).await,
            },
            Effect::DeletePipeline(deletion) => match self.write_first(key, turn, &mut plan).await {
                Some(next) => next,
                None => Box::pin(self.delete_pipeline(key, &deletion)).await,
            },
            Effect::ReadOutputs(order) => {
                self.images.expect(key, BranchKey::all_of(&turn.trigger));
                let (read, wait) = Box::pin(self.looker.read_outputs(&key.namespace, &order)).await;
                if matches!(read, OutputsRead::Trouble { .. }) {
                    self.images.expect(key, HashSet::new());
                    self.memories.looked(key, true, wait);
                }
                turn.outputs = Some((*order, read));
                Next::Decide
            }
            Effect::Update(order) => {
                self.images.expect(key, BranchKey::all_of(&turn.trigger));
                let next = self.write_first(key, turn, &mut plan).await;
                match next {
                    Some(next) => {
                        self.images.expect(key, HashSet::new());
                        next
                    }
                    None => {
                        self.images.hand_in(key, turn.schedule.as_ref(), *order);
                        Next::Decide
                    }
                }
            }
            Effect::LookAtRequests(looks) => {
                let (sights, wait) = Box::pin(self.looker.look_at_requests(&key.namespace, &looks)).await;
                self.memories.looked_at_requests(key, wait);
                turn.requests = sights;
                Next::Decide
            }
            Effect::GiveUp(keys) => match self.write_first(key, turn, &mut plan).await {
                Some(next) => next,
                None => {
                    self.images.give_up(&keys);
                    Next::Decide
                }
            },
            Effect::DeleteObject => match self.write_first(key, turn, &mut plan).await {
                Some(next) => next,
                None => Box::pin(self.delete_object(key, turn)).await,
            },
        }
    }

    /// Writes what `plan` writes before an effect that needs no record of its own. `Some` if that ended the matter.
    async fn write_first(&self, key: &ObjectKey, turn: &mut Turn, plan: &mut Plan) -> Option<Next> {
        let status = plan.status.take()?;
        if let Err(error) = self.write(turn, &status).await {
            return Some(self.not_written(key, turn, &error).await);
        }
        self.tell(key, turn, std::mem::take(&mut plan.events));
        None
    }

    async fn retry(
        &self,
        key: &ObjectKey,
        turn: &mut Turn,
        intent: &TriggerStatus,
        order: &RetryOrder,
        events: Vec<Note>,
    ) -> Next {
        let began = Moment::now();
        let written = self.write(turn, intent).await;
        // What was seen before says nothing of what comes now.
        turn.looked_at = None;
        let unsent = |message: &str| Changed::NotNow {
            reason: Reason::Waiting,
            message: message.into(),
            until: clock::now(),
        };
        if let Err(error) = written {
            if matches!(error, WriteError::Unconfirmed(_)) {
                // Should it stand after all: nothing was sent for it.
                let answer = unsent("the record of the intent was not confirmed, so nothing was sent");
                self.memories.changed(key, |changes| changes.retried = Some((order.key.clone(), answer)));
            }
            return self.not_written(key, turn, &error).await;
        }
        let is_young = || began.age() < INTENT_MAX_AGE;
        let sent = self.looker.retry(&key.namespace, &order.at, is_young).await;
        let answer = sent.unwrap_or_else(|| {
            unsent("too much time had passed since the intent was recorded, so nothing was sent")
        });
        log_change(key, "failed jobs were asked to start again", order.at.pipeline_id, &answer);
        self.memories.changed(key, |changes| changes.retried = Some((order.key.clone(), answer)));
        self.tell(key, turn, events);
        Next::Decide
    }

    async fn name(&self, key: &ObjectKey, order: &NameOrder) -> Next {
        let answer = self.looker.name(&key.namespace, order).await;
        log_change(key, "pipeline was asked to take its name", order.at.pipeline_id, &answer);
        let named = (order.at.pipeline_id, order.name.clone(), answer);
        self.memories.changed(key, |changes| changes.naming = Some(named));
        Next::Decide
    }

    async fn delete_pipeline(&self, key: &ObjectKey, deletion: &Deletion) -> Next {
        let answer = self.looker.delete(&key.namespace, deletion).await;
        log_change(key, "pipeline of an old run was asked to be deleted", deletion.pipeline_id, &answer);
        let deleted = (deletion.pipeline_id, deletion.tries, answer);
        self.memories.changed(key, |changes| changes.deleted.push(deleted));
        Next::Decide
    }

    /// The object goes, if it still is the one that was looked at, at the version that was looked at.
    async fn delete_object(&self, key: &ObjectKey, turn: &mut Turn) -> Next {
        let guard = guard(turn);
        match status::delete::<PipelineTrigger>(&self.cluster, &guard).await {
            Ok(()) => {
                tracing::info!(object = %key, "object was deleted: the time after its run is over");
                Next::End(Outcome::done())
            }
            Err(error) => self.not_written(key, turn, &error).await,
        }
    }

    /// Writes the status, guarded, and goes on with the object as it stands then.
    pub(super) async fn write(&self, turn: &mut Turn, status: &TriggerStatus) -> Result<(), WriteError> {
        let guard = guard(turn);
        let object: Object = status::write::<PipelineTrigger, _>(&self.cluster, &guard, status).await?;
        self.memories.confirmed(&turn.trigger.key);
        ends::tell(&turn.trigger.key, &turn.trigger.status, status);
        if let Some(tracer) = &self.tracer {
            let tick = turn.scheduled_time.as_deref().and_then(|tick| tick.parse().ok());
            for span in ends::spans(&turn.trigger.key, tick, &turn.trigger.status, status) {
                tracer.tell(span);
            }
        }
        self.take(turn, &object);
        Ok(())
    }

    /// Makes these the object's finalizers, guarded as a status is.
    async fn set_finalizers(&self, turn: &mut Turn, finalizers: &[String]) -> Result<(), WriteError> {
        let object: Object =
            status::set_finalizers::<PipelineTrigger, _>(&self.cluster, &guard(turn), finalizers).await?;
        self.memories.confirmed(&turn.trigger.key);
        tracing::debug!(object = %turn.trigger.key, ?finalizers, "finalizers were set");
        self.take(turn, &object);
        Ok(())
    }

    /// Goes on with a newer version of the object; the store learns it too, ahead of the watch.
    fn take(&self, turn: &mut Turn, object: &Object) {
        let record = Record::new(object, &self.config.gitlab_url);
        if let Ok(trigger) = &record.trigger {
            turn.trigger = trigger.clone();
            turn.resource_version.clone_from(&record.resource_version);
        }
        let record = Record { seen_at: turn.seen_at, ..record };
        if let Some(seen) = Sighted::new(&object.metadata, record) {
            self.handle.put_own(seen);
        }
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
            WriteError::Conflict => match status::read::<PipelineTrigger, Object>(&self.cluster, key).await {
                Ok(Some(object)) if object.metadata.uid.as_deref() == Some(&turn.trigger.uid) => {
                    self.take(turn, &object);
                    turn.credentials = Credentials::Unread;
                    Next::Decide
                }
                Ok(_) => Next::End(Outcome::done()),
                Err(message) => {
                    tracing::warn!(object = %key, detail = message, "object could not be read again");
                    Next::End(Outcome::done().wake_in(UNCONFIRMED, Rank::Firing))
                }
            },
            WriteError::Unconfirmed(message) => {
                tracing::warn!(object = %key, detail = message, "status was not confirmed");
                if let Ok(Some(object)) = status::read::<PipelineTrigger, Object>(&self.cluster, key).await
                    && object.metadata.uid.as_deref() == Some(&turn.trigger.uid)
                {
                    self.take(turn, &object);
                }
                Next::End(Outcome::done().wake_in(self.memories.unconfirmed(key), Rank::Firing))
            }
        }
    }

    pub(super) fn tell(&self, key: &ObjectKey, turn: &Turn, notes: Vec<Note>) {
        for note in notes {
            if note.reason == Reason::DuplicatePipeline {
                self.metrics.duplicate_seen();
            }
            let mut occasion = turn.trigger.status.run.as_deref().map_or_else(
                || turn.trigger.generation.to_string(),
                |run| format!("{}.{}", run.fire_id, run.attempt.as_ref().map_or(0, |attempt| attempt.count)),
            );
            if matches!(
                note.reason,
                Reason::NotAdopted
                    | Reason::DuplicatePipeline
                    | Reason::SentTwice
                    | Reason::ImagesUpdated
                    | Reason::UpdateRefused
            ) {
                // Of one attempt there may be several to tell, of different pipelines or branches.
                let which = FireId::hash(&[&note.message]);
                occasion = format!("{occasion}.{}", &which[..8]);
            }
            self.events.tell(Subject { key: key.clone(), uid: turn.trigger.uid.clone(), occasion }, note);
        }
    }
}

/// What a write or a delete is guarded by: the object as it was looked at.
fn guard(turn: &Turn) -> Guard {
    Guard {
        key: turn.trigger.key.clone(),
        uid: turn.trigger.uid.clone(),
        resource_version: turn.resource_version.clone(),
    }
}

fn log_change(key: &ObjectKey, what: &str, pipeline_id: u64, changed: &Changed) {
    match changed {
        Changed::Done(_) | Changed::Gone => tracing::info!(object = %key, pipeline_id, "{what}"),
        Changed::Refused { reason, message } => {
            tracing::info!(object = %key, pipeline_id, %reason, detail = message, "{what}, gitlab refused");
        }
        Changed::NotNow { reason, message, until } => {
            tracing::info!(object = %key, pipeline_id, %reason, detail = message, %until, "{what}, not now");
        }
        Changed::Unknown { message } => {
            tracing::warn!(object = %key, pipeline_id, detail = message, "{what}, outcome is unknown");
        }
    }
}
