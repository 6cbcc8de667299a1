//! The two requests that make a pipeline, and what is known after each.
//!
//! Whatever is not known for certain is `Unknown`: a wrong "nothing exists" is a second pipeline.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use pipekick_core::domain::variable::FIRE_ID_VARIABLE;
use pipekick_core::domain::{Answer, FireId, GitRef, ObjectKey, Reason, VariableName, VariableType};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::explain::{About, Call, Meaning, explain, unsent};
use super::http::{Reply, Request, SendError, Token, Want};
use super::wire::{KeyValue, Mark, PipelineBody, PipelineWire, TriggerBody, answered};
use super::{Account, Class, Client, Endpoint, Leave, NoAnswer, Permit, ResponseMeta};
use crate::clock;

/// Everything of a run that travels to GitLab, except the credential.
#[derive(Clone)]
pub struct FireOrder {
    /// Where to.
    pub endpoint: Endpoint,
    /// The branch or tag, as the user wrote it.
    pub git_ref: GitRef,
    /// The pipeline's variables; names are unique.
    pub variables: Vec<SentVariable>,
    /// The pipeline's inputs, by name.
    pub inputs: BTreeMap<String, Value>,
    /// What jobs find under `.payload` of `TRIGGER_PAYLOAD`. A request by access token has no place for it.
    pub payload: Option<Value>,
    /// The name of the run.
    pub fire_id: FireId,
    /// The object that fires.
    pub object: ObjectKey,
    /// The tick of the schedule that made the object, RFC 3339. A request by access token has no place for it.
    pub scheduled_time: Option<String>,
}

/// A variable as it is sent.
#[derive(Clone)]
pub struct SentVariable {
    /// Its name in jobs.
    pub name: VariableName,
    /// How jobs get it. A trigger token knows nothing but `EnvVar`.
    pub kind: VariableType,
    /// Its value, which may come from a Secret.
    pub value: SecretString,
}

/// Without the values of variables: they may come from a Secret.
impl fmt::Debug for FireOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, git_ref, variables, inputs, payload, fire_id, object, scheduled_time } = self;
        f.debug_struct("FireOrder")
            .field("endpoint", endpoint)
            .field("git_ref", git_ref)
            .field("variables", &variables.iter().map(|v| v.name.as_str()).collect::<Vec<_>>())
            .field("inputs", &inputs.keys().collect::<Vec<_>>())
            .field("payload", &payload.is_some())
            .field("fire_id", fire_id)
            .field("object", object)
            .field("scheduled_time", scheduled_time)
            .finish()
    }
}

impl Client {
    /// `POST /projects/:id/trigger/pipeline`. The fire id travels beside GitLab's own keys. Without a `permit` it asks
    /// for one.
    pub async fn fire_with_trigger(
        &self,
        order: &FireOrder,
        token: &SecretString,
        permit: Option<Permit>,
    ) -> (Answer, ResponseMeta) {
        let body = TriggerBody {
            token: token.expose_secret(),
            git_ref: order.git_ref.as_str(),
            variables: order.variables.iter().map(|v| (v.name.as_str(), v.value.expose_secret())).collect(),
            inputs: &order.inputs,
            payload: order.payload.as_ref(),
            pipekick: Mark {
                fire_id: order.fire_id.as_str(),
                object: order.object.to_string(),
                scheduled_time: order.scheduled_time.as_deref(),
            },
        };
        let token = Token::Body(token, json(&body));
        // GitLab counts trigger calls as anonymous traffic of our address.
        let who = Account::address(&order.endpoint.url);
        let leave = permit.map_or(Leave::Ask(&who, Class::Firing), Leave::Held);
        self.fire(Call::FireTrigger, order, "trigger/pipeline", leave, token).await
    }

    /// `POST /projects/:id/pipeline`. The fire id travels as a variable if there are any variables; else the
    /// pipeline carries no mark, for a project may refuse every variable. Without a `permit` it asks for one.
    pub async fn fire_with_access(
        &self,
        order: &FireOrder,
        token: &SecretString,
        permit: Option<Permit>,
    ) -> (Answer, ResponseMeta) {
        let own = order.variables.iter().map(|v| KeyValue {
            key: v.name.as_str(),
            value: v.value.expose_secret(),
            variable_type: (v.kind == VariableType::File).then_some("file"),
        });
        let mark = KeyValue { key: FIRE_ID_VARIABLE, value: order.fire_id.as_str(), variable_type: None };
        let marks = (!order.variables.is_empty()).then_some(mark);
        let body = PipelineBody {
            git_ref: order.git_ref.as_str(),
            variables: own.chain(marks).collect(),
            inputs: &order.inputs,
        };
        let who = Account::access(&order.endpoint.url, self.fingerprint(token));
        let token = Token::Header(token, Some(json(&body)));
        let leave = permit.map_or(Leave::Ask(&who, Class::Firing), Leave::Held);
        self.fire(Call::FireAccess, order, "pipeline", leave, token).await
    }

    async fn fire(
        &self,
        call: Call,
        order: &FireOrder,
        path: &str,
        leave: Leave<'_>,
        token: Token<'_>,
    ) -> (Answer, ResponseMeta) {
        let Endpoint { url, project, trust } = &order.endpoint;
        let path = format!("/projects/{}/{path}", project.path_segment());
        let hide = order.variables.iter().map(|variable| &variable.value).collect();
        let request = Request {
            method: Method::POST,
            url,
            trust,
            path,
            query: Vec::new(),
            token,
            hide,
            want: Want::JSON,
        };
        match self.call(call, leave, request).await {
            Ok(reply) => {
                let project = project.to_string();
                let about = About { call, project: &project, git_ref: order.git_ref.as_str() };
                (classify(about, &reply, clock::now()), reply.meta)
            }
            Err(no_answer) => {
                (unanswered(call, no_answer, url.authority(), clock::now()), ResponseMeta::default())
            }
        }
    }
}

/// The route of the request that fires, by trigger token or by access token.
#[must_use]
pub const fn firing_route(with_trigger_token: bool) -> &'static str {
    if with_trigger_token { Call::FireTrigger.route() } else { Call::FireAccess.route() }
}

/// Serialises a body.
pub(super) fn json(body: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("structs, strings and JSON values with string keys are always JSON")
}

fn unanswered(call: Call, no_answer: NoAnswer, host: &str, now: Timestamp) -> Answer {
    match no_answer {
        NoAnswer::HeldBack(wait) => {
            let until = later(now, wait);
            let told = Timestamp::from_second(until.as_second().saturating_add(1)).unwrap_or(until);
            let message = format!("the rate limit of {host} is used up until {told}. Nothing was sent");
            Answer::Throttled { reason: Reason::RateLimited, message, until }
        }
        NoAnswer::Failed(error) => match unsent(call, host, error) {
            SendError::NotSent { reason, message } => Answer::NotSent { reason, message },
            SendError::Lost { message } => Answer::Unknown { message },
        },
    }
}

/// What an answer to a POST tells about the pipeline.
fn classify(about: About<'_>, reply: &Reply, now: Timestamp) -> Answer {
    if reply.status == 201 {
        return match reply.value::<PipelineWire>() {
            Ok(wire) => Answer::Accepted(answered(wire)),
            // It exists, but which one it is has to be looked up.
            Err(instead) => Answer::Unknown { message: format!("201 with {instead}") },
        };
    }
    if let Some(redirect) = reply.redirect() {
        return Answer::Unknown { message: redirect.to_string() };
    }
    let said = reply.said();
    match explain(about, reply.status, &reply.meta, said.as_ref().map_err(String::as_str)) {
        Meaning::Refused { reason, message } => Answer::Refused { reason, message },
        Meaning::Throttled { reason, message, wait } => {
            Answer::Throttled { reason, message, until: later(now, wait) }
        }
        Meaning::FailedAtBirth { message } => Answer::FailedAtBirth { message },
        Meaning::Overtaken { message } | Meaning::Unclear { message } => Answer::Unknown { message },
    }
}

/// Waits are an hour at most, so this never meets the end of time.
pub(super) fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok()).unwrap_or(now)
}
