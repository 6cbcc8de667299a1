//! The hands of a POST: leave for it, its intent and its credential, and the request itself.

use pipekick_core::decide::span;
use pipekick_core::decide::trigger::{Credentials, FireOrder, INTENT_MAX_AGE, Note};
use pipekick_core::domain::trace::asks_for_context;
use pipekick_core::domain::{Answer, ObjectKey, Reason, Run, Spec, TriggerStatus};
use secrecy::SecretString;

use super::apply::{Next, UNCONFIRMED};
use super::freight::Freight;
use super::{TriggerController, Turn};
use crate::clock::{self, Moment};
use crate::cluster::secrets::Unavailable;
use crate::cluster::status::WriteError;
use crate::gitlab::{self, Permit, SentVariable};

impl TriggerController {
    /// Fires if there is leave for it; else nothing is written but that it waits.
    pub(super) async fn fire_in_turn(
        &self,
        key: &ObjectKey,
        turn: &mut Turn,
        intent: &TriggerStatus,
        mut order: FireOrder,
        events: Vec<Note>,
    ) -> Next {
        // Whose account it is, the access token tells: read before the intent the first time, and beside it from then on.
        let mut account = self.account(key, &order.spec);
        if account.is_none()
            && let Ok(freight) = self.load(&key.namespace, &order.spec).await
        {
            turn.freight = Some(freight);
            order.read_beside = false;
            account = self.account(key, &order.spec);
        }
        let Some(account) = account else {
            return self.fire(key, turn, intent, order, events, None).await;
        };
        let permit = match self.ration.enter(&account, key) {
            Ok(permit) => permit,
            Err(wait) => {
                turn.held_back = Some(clock::after(wait));
                return Next::Decide;
            }
        };
        let next = self.fire(key, turn, intent, order, events, Some(permit)).await;
        self.ration.go_on(&account);
        next
    }

    async fn fire(
        &self,
        key: &ObjectKey,
        turn: &mut Turn,
        intent: &TriggerStatus,
        order: FireOrder,
        events: Vec<Note>,
        permit: Option<Permit>,
    ) -> Next {
        let began = Moment::now();
        let namespace = key.namespace.clone();
        let (written, freight) = if order.read_beside {
            tokio::join!(self.write(turn, intent), self.load(&namespace, &order.spec))
        } else {
            let freight = turn.freight.take();
            let missing = || Unavailable {
                reason: Reason::SecretMissing,
                message: "the credential was not read".into(),
                look_again: UNCONFIRMED,
            };
            (self.write(turn, intent).await, freight.ok_or_else(|| missing().into()))
        };
        if let Err(error) = written {
            if matches!(error, WriteError::Unconfirmed(_)) {
                // Should it stand after all: nothing was sent for it.
                let message = "the record of the intent was not confirmed, so nothing was sent".into();
                let answer = Answer::NotSent { reason: Reason::Waiting, message };
                self.memories.answered(key, order.key, answer);
            }
            return self.not_written(key, turn, &error).await;
        }
        turn.credentials = Credentials::Unread;
        let answer = match freight {
            Err(short) => short.into_answer(),
            Ok(_) if began.age() >= INTENT_MAX_AGE => Answer::NotSent {
                reason: Reason::Waiting,
                message: "the process slept after it had recorded the intent, so nothing was sent".into(),
            },
            Ok(freight) => self.post(key, turn, &order, freight, permit).await,
        };
        self.memories.answered(key, order.key, answer);
        self.tell(key, turn, events);
        Next::Decide
    }

    async fn post(
        &self,
        key: &ObjectKey,
        turn: &Turn,
        order: &FireOrder,
        freight: Freight,
        permit: Option<Permit>,
    ) -> Answer {
        let fire_id = order.key.fire_id.clone();
        let Freight { endpoint, token, mut variables } = freight;
        let run = turn.trigger.status.run.as_deref().filter(|run| run.fire_id == fire_id);
        let traced = self.tracer.as_ref().zip(run);
        if let Some((_, run)) = traced {
            hand_on(&mut variables, &order.spec, run);
        }
        let request = gitlab::FireOrder {
            endpoint,
            git_ref: order.spec.git_ref.clone(),
            variables,
            inputs: order.spec.inputs.clone(),
            payload: order.spec.payload.clone(),
            fire_id: fire_id.clone(),
            object: key.clone(),
            scheduled_time: turn.scheduled_time.clone(),
        };
        if order.key.count == 1 {
            self.metrics.cause_to_post(clock::instant().saturating_duration_since(turn.seen_at));
        }
        let start = clock::now();
        let (answer, meta) = if order.spec.trigger_token.is_some() {
            self.gitlab.fire_with_trigger(&request, &token, permit).await
        } else {
            self.gitlab.fire_with_access(&request, &token, permit).await
        };
        self.metrics.fired(&answer);
        if let Some((tracer, run)) = traced {
            let route = gitlab::firing_route(order.spec.trigger_token.is_some());
            let (key_of_post, end) = (&order.key, clock::now());
            let post =
                span::Post { key: key_of_post, route, status: meta.status, answer: &answer, start, end };
            span::of_post(key, run, &post).into_iter().for_each(|span| tracer.tell(span));
        }
        match &answer {
            Answer::Accepted(pipeline) => {
                tracing::info!(object = %key, %fire_id, pipeline_id = pipeline.id, attempt = order.key.count, "pipeline was created");
            }
            Answer::FailedAtBirth { message } => {
                tracing::info!(object = %key, %fire_id, detail = message, "pipeline failed at birth");
            }
            Answer::Refused { reason, message } => {
                tracing::info!(object = %key, %fire_id, %reason, detail = message, "gitlab refused");
            }
            Answer::Throttled { reason, message, until } => {
                tracing::info!(object = %key, %fire_id, %reason, detail = message, %until, "gitlab asked to wait");
            }
            Answer::NotSent { reason, message } => {
                tracing::info!(object = %key, %fire_id, %reason, detail = message, "nothing was sent");
            }
            Answer::Unknown { message } => {
                tracing::warn!(object = %key, %fire_id, detail = message, "outcome is unknown");
            }
        }
        answer
    }

    pub(super) async fn read_credentials(&self, key: &ObjectKey, turn: &mut Turn) {
        let Ok(spec) = &turn.trigger.spec else { return };
        turn.credentials = match self.load(&key.namespace, spec).await {
            Ok(freight) => {
                turn.freight = Some(freight);
                Credentials::Ready
            }
            Err(short) => short.into_credentials(),
        };
    }
}

/// The run's own context goes where its variable asks for one: into the trace that the run was asked with, or one that
/// begins with it.
fn hand_on(variables: &mut Vec<SentVariable>, spec: &Spec, run: &Run) {
    let Some(asks) = spec.variables.iter().find(|variable| asks_for_context(variable)) else { return };
    let value = SecretString::from(span::context(run).to_string());
    match variables.binary_search_by(|sent| sent.name.cmp(&asks.name)) {
        Ok(at) => variables[at].value = value,
        Err(at) => variables.insert(at, SentVariable { name: asks.name.clone(), kind: asks.kind, value }),
    }
}
