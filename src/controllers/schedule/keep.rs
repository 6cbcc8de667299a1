//! Does what [`pipekick_core::decide::gitlab_schedule::decide`] says about a `PipelineSchedule` that GitLab runs.
//!
//! ```text
//! observe (facts of this turn) → decide (core) → apply (one guarded write, then one effect) → decide again …
//! ```
//!
//! What GitLab shows, and what goes to it, lives as long as the turn; all that is remembered is when to look again.
//! Requests are in `requests.rs`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pipekick_core::decide::gitlab_schedule::{
    Created, Effect, Facts, INTENT_MAX_AGE, Look, Observed, Plan, Policy, Trouble, decide,
};
use pipekick_core::domain::schedule::Marker;
use pipekick_core::domain::schedule::in_gitlab::{Fields, Kept};
use pipekick_core::domain::{ObjectKey, Reason};
use tokio::time::Instant;

use super::apply::{Next, guard};
use super::requests::{Reached, Requests};
use super::{Object, Record, ScheduleController, Turn};
use crate::api::PipelineSchedule;
use crate::clock;
use crate::cluster::identity::Identity;
use crate::cluster::secrets::Secrets;
use crate::cluster::status;
use crate::config::Config;
use crate::controllers::gate::{Gate, Place};
use crate::gitlab;
use crate::runtime::{Handle, Outcome, Rank};

/// Decisions in one turn, at most. A create takes eight.
const STEPS: usize = 24;

/// Keeps schedules inside GitLab.
pub(super) struct Keeper {
    requests: Requests,
    identity: Identity,
    policy: Policy,
    gate: Gate,
    /// When to look again, of which object and generation.
    next_looks: Mutex<HashMap<ObjectKey, (String, i64, Timestamp)>>,
}

/// What a turn has besides its object.
struct Hands {
    facts: Facts,
    /// Where the last look was taken, and with what.
    reached: Option<Reached>,
    /// When the last status was written.
    written_at: Option<Instant>,
    place: Option<Place>,
}

impl Keeper {
    pub(super) fn new(
        gitlab: Arc<gitlab::Client>,
        secrets: Arc<Secrets>,
        identity: Identity,
        config: &Config,
        handle: Handle<Record>,
    ) -> Self {
        let policy = Policy {
            paused: config.policy.paused,
            by: config.policy.writer.clone(),
            resolution_delay: config.policy.resolution_delay,
            patience: config.policy.cancel_patience,
            interval: config.schedule_interval,
        };
        let gate = Gate::new(move |key| {
            handle.poke(key, Rank::Following);
        });
        let requests = Requests::new(gitlab, secrets, config.gitlab_url.clone());
        Self { requests, identity, policy, gate, next_looks: Mutex::default() }
    }

    fn next_look(&self, kept: &Kept) -> Option<Timestamp> {
        let looks = self.next_looks.lock().unwrap_or_else(PoisonError::into_inner);
        let (uid, generation, at) = looks.get(&kept.key)?;
        (*uid == kept.uid && *generation == kept.generation).then_some(*at)
    }

    fn remember(&self, kept: &Kept, at: Option<Timestamp>) {
        let mut looks = self.next_looks.lock().unwrap_or_else(PoisonError::into_inner);
        match at {
            Some(at) => looks.insert(kept.key.clone(), (kept.uid.clone(), kept.generation, at)),
            None => looks.remove(&kept.key),
        };
    }

    /// A turn of work on `key` is over.
    pub(super) fn leave(&self, key: &ObjectKey) {
        self.gate.leave(key);
    }

    /// `key` is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.gate.forget(key);
        self.next_looks.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl ScheduleController {
    /// One turn of work on an object that GitLab runs.
    pub(super) async fn keep(&self, key: &ObjectKey, turn: &mut Turn) -> Outcome {
        let Some(kept) = turn.kept.clone() else { return Outcome::done() };
        let marker = self.keeper.identity.cluster_id().await.map(|id| Marker::new(&id, key));
        let facts = Facts {
            marker,
            next_look: self.keeper.next_look(&kept),
            look: Look::NotYet,
            created: None,
            applied: Vec::new(),
            deleted: None,
        };
        let mut hands = Hands { facts, reached: None, written_at: None, place: None };
        for _ in 0..STEPS {
            let Some(kept) = turn.kept.clone() else { return Outcome::done() };
            let plan = decide(&Observed {
                now: clock::now(),
                policy: &self.keeper.policy,
                schedule: &kept,
                facts: &hands.facts,
            });
            match self.carry_out(key, turn, &kept, &mut hands, plan).await {
                Next::Decide => {}
                Next::End(outcome) => return outcome,
            }
            let generation = turn.kept.as_ref().map(|kept| kept.generation);
            if generation != Some(kept.generation) {
                // What was seen was held against another spec.
                hands.facts.look = Look::NotYet;
                hands.facts.next_look = None;
            }
        }
        Outcome::again()
    }

    async fn carry_out(
        &self,
        key: &ObjectKey,
        turn: &mut Turn,
        kept: &Kept,
        hands: &mut Hands,
        plan: Plan,
    ) -> Next {
        let goes_on = plan.goes_on();
        let Plan { status, effect, events, wake, next_look } = plan;
        if let Some(host) = effect.as_ref().and_then(host) {
            // Before anything is written: who finds no place is called again.
            if hands.place.is_none() {
                let Some(place) = self.keeper.gate.enter(host, key, Rank::Following) else {
                    return Next::End(Outcome::done());
                };
                hands.place = Some(place);
            }
        }
        if let Some(status) = status {
            if let Err(error) = self.write(turn, &status).await {
                return self.not_written(key, turn, &error).await;
            }
            hands.written_at = Some(clock::instant());
            self.tell(key, turn, events);
        } else if let Some(Effect::SetFinalizers(finalizers)) = &effect {
            if let Err(error) = self.set_finalizers(turn, finalizers).await {
                return self.not_written(key, turn, &error).await;
            }
            self.tell(key, turn, events);
        }
        match effect {
            Some(effect) => self.reach_out(key, kept, hands, effect).await,
            None => self.keeper.remember(kept, next_look),
        }
        if goes_on {
            return Next::Decide;
        }
        Next::End(match wake {
            Some(at) => Outcome::done().wake_in(clock::until(at), Rank::Following),
            None => Outcome::done(),
        })
    }

    /// What an effect does to GitLab, and what is known after it.
    async fn reach_out(&self, key: &ObjectKey, kept: &Kept, hands: &mut Hands, effect: Effect) {
        let requests = &self.keeper.requests;
        match effect {
            // Done beside the writes.
            Effect::SetFinalizers(_) => {}
            Effect::Look(order) => {
                let (look, reached) = requests.look(key, kept, &order).await;
                hands.facts.look = look;
                hands.reached = reached;
            }
            Effect::Create(fields) => {
                hands.facts.created = Some(self.create_in_gitlab(key, hands, &fields).await);
                hands.facts.look = Look::NotYet;
            }
            Effect::Change(order) => {
                if let Some(reached) = &hands.reached {
                    hands.facts.applied.push(requests.change(key, reached, order).await);
                }
                hands.facts.look = Look::NotYet;
            }
            Effect::Delete(order) => {
                hands.facts.deleted = Some(requests.delete(key, &order).await);
            }
        }
    }

    /// Sends a create whose intent this turn wrote, while that is young: a process that slept sends nothing.
    async fn create_in_gitlab(&self, key: &ObjectKey, hands: &Hands, fields: &Fields) -> Created {
        let age = hands.written_at.map(|at| clock::instant().saturating_duration_since(at));
        match (&hands.reached, age) {
            (Some(reached), Some(age)) if age < INTENT_MAX_AGE => {
                self.keeper.requests.create(key, reached, fields).await
            }
            _ => Created::Not(Trouble {
                reason: Reason::CannotKeep,
                message: "the operator was held up before it could create the schedule; nothing was sent"
                    .into(),
                stuck: false,
                wait: Duration::ZERO,
            }),
        }
    }

    /// Makes these the object's finalizers, guarded as a status is.
    async fn set_finalizers(&self, turn: &mut Turn, finalizers: &[String]) -> Result<(), status::WriteError> {
        let object: Object =
            status::set_finalizers::<PipelineSchedule, _>(&self.cluster, &guard(turn), finalizers).await?;
        tracing::debug!(object = %turn.schedule.key, ?finalizers, "finalizers were set");
        self.take(turn, object);
        Ok(())
    }
}

/// The GitLab that an effect asks first.
fn host(effect: &Effect) -> Option<&str> {
    match effect {
        Effect::Look(order) => Some(&order.place.url),
        Effect::Delete(order) => Some(&order.place.url),
        // A look was taken before these, in the same turn.
        Effect::SetFinalizers(_) | Effect::Create(_) | Effect::Change(_) => None,
    }
}
