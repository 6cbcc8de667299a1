//! Where small values of the model meet the real `decide`: numbers stand for statuses and intents, and a
//! decision on the same facts is taken once and remembered.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipekick_core::decide::trigger::{
    Credentials, Effect, Facts, FirstSight, LOOK_INTERVAL, Observed, Plan, Policy, decide,
};
use pipekick_core::domain::{
    Answer, AttemptKey, Changed, ConcurrencyPolicy, DeletionPolicy, FailedJob, Finding, FireOn, FiringFields,
    LastAttempt, Lookup, Named, ObjectKey, OnUnknown, Phase, Pipeline, PipelineStatus, Reason, Report,
    RetryKey, RetryPolicy, Run, SecretKeyRef, Sighting, Span, Spec, Stretch, Trigger, TriggerStatus,
};

use crate::config::{Break, Config};
use crate::world::{Content, Life, Look, Made, Redone, Reply, Seen, Stands, Verb};

/// One step of time, in seconds: the first back-off; an intent grows too old in two.
pub const TICK: u16 = 5;
/// Longest a request may take: one step of time.
pub const DEADLINE: u64 = 5;

/// Number of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusId(u32);

/// Number of an [`Intent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntentId(u32);

/// Number of a [`Redo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RetryId(u32);

/// Number of a [`Stretch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StretchId(u32);

/// One record that failed jobs are about to be started again, and which.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Redo {
    pub key: RetryKey,
    pub jobs: Vec<u64>,
}

/// One record of an intent: the POST, and which write of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Intent {
    pub key: AttemptKey,
    pub at: Timestamp,
    pub by: String,
}

/// Everything that one decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    pub seen: Seen,
    pub operator: u8,
    pub life: u8,
    pub tick: u16,
    pub moment: u8,
    pub answers: Vec<(IntentId, Reply)>,
    /// In steps of time.
    pub intent_age: Option<u16>,
    pub credentials: bool,
    pub sighting: Option<(StretchId, Life)>,
    pub retried: Option<(RetryId, Redone)>,
    /// With how many steps of time ago it began.
    pub lookup: Option<(IntentId, Look, u16)>,
    /// With how many steps of time ago it began.
    pub looked_at: Option<(u8, Option<Life>, u16)>,
    pub look_again: Option<u16>,
    pub named: Option<(u8, Option<Made>)>,
    pub looked_into: Option<IntentId>,
}

impl Question {
    /// How many steps of time ago the look of this turn began.
    fn look_began(&self) -> Option<u16> {
        self.lookup.map(|(_, _, steps)| steps).or(self.looked_at.map(|(_, _, steps)| steps))
    }
}

/// A [`Plan`] in the model's values.
#[derive(Debug, Clone)]
pub struct Decision {
    pub status: Option<StatusId>,
    pub effect: Act,
    pub follow: Option<StretchId>,
    pub wake: Option<u16>,
    pub settled: bool,
}

/// An [`Effect`] in the model's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    ReadCredentials,
    LookUp(IntentId, Content),
    LookAt(u8),
    LookAtOwn(u8),
    LookInto(IntentId),
    Fire(IntentId, Content),
    Retry(RetryId, u8),
}

/// Values by their number, and numbers by their value.
struct Numbered<T> {
    all: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Numbered<T> {
    fn number(&mut self, value: T) -> u32 {
        let next = u32::try_from(self.all.len()).expect("fewer than 2^32");
        *self.numbers.entry(value).or_insert_with_key(|value| {
            self.all.push(value.clone());
            next
        })
    }

    fn get(&self, number: u32) -> &T {
        &self.all[number as usize]
    }
}

/// What the search knows beside its states.
pub struct Lab {
    pub config: Config,
    statuses: Vec<Rc<TriggerStatus>>,
    status_ids: HashMap<String, StatusId>,
    intents: Numbered<Intent>,
    redos: Numbered<Redo>,
    stretches: Numbered<Stretch>,
    known: HashMap<Question, Rc<Decision>>,
}

impl Lab {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            statuses: Vec::new(),
            status_ids: HashMap::new(),
            intents: Numbered::default(),
            redos: Numbered::default(),
            stretches: Numbered::default(),
            known: HashMap::new(),
        }
    }

    /// How many different decisions were taken.
    pub fn decisions(&self) -> usize {
        self.known.len()
    }

    pub fn status(&self, id: StatusId) -> &Rc<TriggerStatus> {
        &self.statuses[id.0 as usize]
    }

    pub fn intent(&self, id: IntentId) -> &Intent {
        self.intents.get(id.0)
    }

    /// Files a status. When a condition last changed is looked at by people only, and is left out.
    pub fn file(&mut self, mut status: TriggerStatus) -> StatusId {
        for condition in &mut status.conditions {
            condition.last_transition_time = Timestamp::UNIX_EPOCH;
        }
        let text = serde_json::to_string(&status).expect("a status is JSON");
        let next = StatusId(u32::try_from(self.statuses.len()).expect("fewer statuses than 2^32"));
        *self.status_ids.entry(text).or_insert_with(|| {
            self.statuses.push(Rc::new(status));
            next
        })
    }

    /// The intent that stands in a status.
    pub fn intent_of(&mut self, run: &Run) -> Option<IntentId> {
        let attempt = run.attempt.as_ref()?;
        let intent = Intent { key: run.attempt_key()?, at: attempt.at, by: attempt.by.clone() };
        Some(IntentId(self.intents.number(intent)))
    }

    pub fn redo(&self, id: RetryId) -> &Redo {
        self.redos.get(id.0)
    }

    pub fn stretch(&self, id: StretchId) -> &Stretch {
        self.stretches.get(id.0)
    }

    /// The intent to start failed jobs again that stands in a status.
    pub fn redo_of(&mut self, run: &Run) -> Option<RetryId> {
        let redo = Redo { key: run.retry_key()?, jobs: run.retry.as_ref()?.job_ids.clone() };
        Some(RetryId(self.redos.number(redo)))
    }

    /// Asks the real `decide`.
    pub fn decide(&mut self, question: &Question) -> Rc<Decision> {
        if let Some(known) = self.known.get(question) {
            return Rc::clone(known);
        }
        let now = self.now(question);
        let policy = self.policy(question);
        let trigger = self.trigger(&question.seen);
        let facts = self.facts(question, now);
        let mut plan = decide(&Observed { now, policy: &policy, trigger: &trigger, facts: &facts });
        if self.config.broken == Some(Break::ForgetTheTimer) {
            plan.wake = None;
        }
        if self.config.broken == Some(Break::NobodyChecks)
            && let Some(attempt) =
                plan.status.as_mut().and_then(|s| s.run.as_deref_mut()).and_then(|r| r.attempt.as_mut())
        {
            attempt.check_at = None;
        }
        let decision = Rc::new(self.translate(plan, question, now));
        self.known.insert(question.clone(), Rc::clone(&decision));
        decision
    }

    /// The wall clock of this operator: no two decisions on different ground are taken at the same instant.
    fn now(&self, question: &Question) -> Timestamp {
        let skew = if question.operator == 0 { 0 } else { self.config.skew };
        let instant = true_time(question.tick) + SignedDuration::from_secs(skew);
        instant + SignedDuration::from_nanos(i64::from(question.operator) + 10 * i64::from(question.moment))
    }

    fn policy(&self, question: &Question) -> Policy {
        let at_once = self.config.broken == Some(Break::LookTwiceAtOnce);
        let delay = if at_once { 0 } else { self.config.delay.into() };
        Policy {
            first_sight: FirstSight::Fire,
            paused: false,
            writer: format!("{}-{}", question.operator, question.life),
            request_deadline: Duration::from_secs(DEADLINE),
            resolution_delay: Duration::from_secs(delay),
            cancel_patience: Duration::from_secs(60),
            traced: false,
        }
    }

    fn trigger(&self, seen: &Seen) -> Trigger {
        let token = |key: &str| Some(SecretKeyRef { name: "gitlab".into(), key: key.into() });
        let project = "shop/checkout";
        let spec = Spec {
            url: "https://gitlab.example.com".parse().expect("a URL"),
            project: project.parse().expect("a project"),
            git_ref: name_of(seen.content).parse().expect("a ref"),
            trigger_token: token("trigger").filter(|_| self.config.tokens.trigger),
            access_token: token("access").filter(|_| self.config.tokens.access),
            ca_bundle: None,
            variables: vec![],
            concurrency_policy: ConcurrencyPolicy::Wait,
            deletion_policy: DeletionPolicy::Orphan,
            inputs: BTreeMap::new(),
            payload: None,
            timeout: None,
            cancel_on_timeout: false,
            history_limit: 5,
            on_unknown: if self.config.refire { OnUnknown::Refire } else { OnUnknown::Hold },
            retry: (self.config.retries > 0).then(|| RetryPolicy {
                limit: self.config.retries.into(),
                backoff: Span::from_secs(TICK.into()),
            }),
            name: None,
            history_deletes_pipelines: false,
            ttl_after_finished: None,
            outputs: vec![],
            image_updates: vec![],
        };
        let resolve = seen.resolve.map(|(seq, verb, id)| match verb {
            Verb::Refire => format!("{seq}:refire"),
            Verb::Abandon => format!("{seq}:abandon"),
            Verb::Adopt => format!("{seq}:adopt={id}"),
        });
        Trigger {
            key: ObjectKey { namespace: "shop".into(), name: "checkout".into() },
            uid: format!("uid-{}", seen.uid),
            generation: seen.generation.into(),
            deleted_at: None,
            finalizers: vec![],
            generated: false,
            fire: fire_value(seen.fire),
            resolve,
            cancel: None,
            retry: None,
            fire_on: FireOn::Apply,
            suspend: false,
            firing: firing_fields(seen.content),
            spec: Ok(spec),
            status: (**self.status(seen.status)).clone(),
        }
    }

    fn facts(&self, question: &Question, now: Timestamp) -> Facts {
        let at = |tick: u16| later(now, tick.saturating_sub(question.tick));
        let answer = |reply: Reply| match reply {
            Reply::Accepted(id) => Answer::Accepted(pipeline(id, None, PipelineStatus::Created)),
            Reply::FailedAtBirth => Answer::FailedAtBirth { message: "no jobs".into() },
            Reply::Refused => Answer::Refused { reason: Reason::RefNotFound, message: "no ref".into() },
            Reply::Throttled { until } => {
                Answer::Throttled { reason: Reason::RateLimited, message: "429".into(), until: at(until) }
            }
            Reply::NotSent => Answer::NotSent { reason: Reason::Waiting, message: "not sent".into() },
            Reply::Unknown => Answer::Unknown { message: "reset".into() },
        };
        let answers = question.answers.iter();
        Facts {
            answers: answers.map(|(of, reply)| (self.intent(*of).key.clone(), answer(*reply))).collect(),
            intent_age: question.intent_age.map(|ticks| Duration::from_secs((ticks * TICK).into())),
            credentials: if question.credentials { Credentials::Ready } else { Credentials::Unread },
            budget_until: None,
            look_took: question.look_began().map_or(Duration::ZERO, |steps| {
                let steps = if self.config.broken == Some(Break::LookDatedAtReply) { 0 } else { steps };
                Duration::from_secs((steps * TICK).into())
            }),
            // GitLab's clock is the true one; an answer is dated when it is sent.
            look_date: question.lookup.map(|_| true_time(question.tick)),
            gitlab_now: None,
            sighting: question.sighting.map(|(of, life)| {
                let stretch = self.stretch(of).clone();
                let seen = sighting(small(stretch.pipeline_id), life);
                (stretch, seen)
            }),
            lookup: question.lookup.map(|(of, look, _)| {
                let lookup = match look {
                    Look::Found(id, other) => Lookup::Found {
                        pipeline: pipeline(id, None, PipelineStatus::Running),
                        report: Report::default(),
                        duplicates: other.into_iter().map(u64::from).collect(),
                    },
                    Look::NoCandidate => Lookup::NoCandidate,
                    Look::NoneOurs => Lookup::NoneOurs,
                    Look::CannotTell => {
                        Lookup::CannotTell { reason: Reason::Forbidden, message: "no".into() }
                    }
                    Look::Trouble => Lookup::Trouble { reason: Reason::Unreachable, message: "no".into() },
                };
                (self.intent(of).key.clone(), lookup)
            }),
            look_again: question.look_again.map(at),
            named: question.named.map(|(id, made)| {
                let seen = |made: Made| Named::Seen {
                    pipeline: pipeline(id, Some(made.content), PipelineStatus::Running),
                    carries: self.config.marked().then(|| self.intent(made.by).key.fire_id.clone()),
                };
                (id.into(), made.map_or(Named::Missing, seen))
            }),
            cancel: None,
            finding: question.looked_into.map(|of| (self.intent(of).key.clone(), Finding::Nothing)),
            looked_at: question.looked_at.map(|(id, life, _)| {
                let trouble = || Sighting::Trouble { reason: Reason::Unreachable, message: "no".into() };
                (id.into(), life.map_or_else(trouble, |life| sighting(id, life)))
            }),
            retried: question.retried.map(|(of, redone)| (self.redo(of).key.clone(), changed(redone, now))),
            naming: None,
            deleted: vec![],
            outputs: None,
            updates: vec![],
            requests: Vec::new(),
            requests_look_age: None,
            contended: BTreeMap::new(),
        }
    }

    fn translate(&mut self, plan: Plan, question: &Question, now: Timestamp) -> Decision {
        let settled = plan.is_settled();
        // Whoever gives way to a crowd is a process that is slow, which every one may be at any time.
        let Plan { status, effect, events: _, follow, wake, expires: _, can_wait: _ } = plan;
        let standing = status.as_ref().unwrap_or(self.status(question.seen.status)).run.clone();
        let intent = standing.as_ref().and_then(|run| self.intent_of(run));
        let redo = standing.as_ref().and_then(|run| self.redo_of(run));
        let effect = match (effect, intent) {
            (Effect::ReadCredentials(_), _) => Act::ReadCredentials,
            (Effect::LookUp(look), Some(intent)) => Act::LookUp(intent, content_of(&look.target.git_ref)),
            (Effect::LookAt(look), _) => Act::LookAt(small(look.pipeline_id)),
            (Effect::LookAtOwn(look), _) => Act::LookAtOwn(small(look.pipeline_id)),
            (Effect::Retry(order), _) => {
                let redo = redo.expect("an intent stands");
                assert_eq!(order.key, self.redo(redo).key, "an order is the intent's");
                Act::Retry(redo, small(order.at.pipeline_id))
            }
            (Effect::LookInto(_), Some(intent)) => Act::LookInto(intent),
            (Effect::Fire(order), Some(intent)) => {
                assert_eq!(order.key, self.intent(intent).key, "an order is the intent's");
                Act::Fire(intent, content_of(order.spec.git_ref.as_str()))
            }
            (
                Effect::Nothing
                | Effect::LookUp(_)
                | Effect::LookInto(_)
                | Effect::Fire(_)
                | Effect::Cancel(_)
                | Effect::SetFinalizers(_),
                _,
            ) => Act::Nothing,
            (
                Effect::Name(_)
                | Effect::DeletePipeline(_)
                | Effect::DeleteObject
                | Effect::ReadOutputs(_)
                | Effect::Update(_)
                | Effect::LookAtRequests(_)
                | Effect::GiveUp(_),
                _,
            ) => {
                unreachable!("the model's spec asks for none of these")
            }
        };
        let wake = wake.map(|at| {
            let nanos = at.duration_since(now).as_nanos().max(0);
            let ticks = nanos.div_euclid(i128::from(TICK) * 1_000_000_000)
                + i128::from(nanos.rem_euclid(i128::from(TICK) * 1_000_000_000) != 0);
            question.tick + u16::try_from(ticks).expect("a wake-up within hours")
        });
        Decision {
            status: status.map(|status| self.file(status)),
            effect,
            // What becomes of a pipeline after its end is not in the model.
            follow: follow
                .filter(|follow| follow.stretch.finished_at.is_none())
                .map(|follow| StretchId(self.stretches.number(follow.stretch))),
            wake,
            settled,
        }
    }

    /// The status as it would stand if a look had found nothing long ago.
    pub fn as_if_looked_before(&mut self, id: StatusId) -> StatusId {
        let mut status = (**self.status(id)).clone();
        let attempt = status.run.as_deref_mut().filter(|run| run.phase == Phase::Unknown);
        if let Some(attempt) = attempt.and_then(|run| run.attempt.as_mut()) {
            attempt.absent_at = Some(attempt.at - SignedDuration::from_hours(1));
            assert_eq!(attempt.last, LastAttempt::Unknown);
        }
        self.file(status)
    }
}

/// So many steps of time between two looks.
pub fn look_interval() -> u16 {
    u16::try_from(LOOK_INTERVAL.as_secs()).expect("seconds").div_ceil(TICK)
}

pub fn firing_fields(content: Content) -> FiringFields {
    FiringFields {
        url: None,
        project: "shop/checkout".into(),
        git_ref: name_of(content).into(),
        ..FiringFields::default()
    }
}

pub fn fire_value(number: u8) -> Option<String> {
    (number > 0).then(|| format!("ask-{number}"))
}

fn name_of(content: Content) -> &'static str {
    match content {
        Content::A => "a",
        Content::B => "b",
    }
}

fn content_of(git_ref: &str) -> Content {
    if git_ref == "a" { Content::A } else { Content::B }
}

fn small(id: u64) -> u8 {
    u8::try_from(id).expect("few pipelines")
}

fn true_time(tick: u16) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::from(tick * TICK)).expect("a time of this century")
}

fn later(now: Timestamp, ticks: u16) -> Timestamp {
    now + SignedDuration::from_secs((ticks * TICK).into())
}

/// The id of the one job of a pipeline, after so many starts.
pub fn job(pipeline: u8, starts: u8) -> u64 {
    100 * u64::from(pipeline) + u64::from(starts)
}

const fn status_of(life: Life) -> PipelineStatus {
    match life.stands {
        Stands::UnderWay => PipelineStatus::Running,
        Stands::Failed => PipelineStatus::Failed,
        Stands::Succeeded => PipelineStatus::Success,
    }
}

/// What a look at a pipeline shows.
fn sighting(id: u8, life: Life) -> Sighting {
    let failed = FailedJob {
        id: Some(job(id, life.starts)),
        name: "unit-tests".into(),
        stage: None,
        failure_reason: None,
        web_url: None,
    };
    let failed_jobs = if life.stands == Stands::Failed { vec![failed] } else { vec![] };
    let report = Report { failed_jobs, ..Report::default() };
    Sighting::Seen { pipeline: pipeline(id, None, status_of(life)), report }
}

fn changed(redone: Redone, now: Timestamp) -> Changed {
    match redone {
        Redone::Done(life) => Changed::Done(Some(pipeline(0, None, status_of(life)))),
        Redone::Refused => Changed::Refused { reason: Reason::Forbidden, message: "403".into() },
        Redone::NotNow => Changed::NotNow { reason: Reason::Waiting, message: "not sent".into(), until: now },
        Redone::Unknown => Changed::Unknown { message: "reset".into() },
    }
}

fn pipeline(id: u8, content: Option<Content>, status: PipelineStatus) -> Pipeline {
    Pipeline {
        id: id.into(),
        iid: None,
        project_id: Some(7),
        git_ref: content.map(|content| name_of(content).to_owned()),
        sha: None,
        status,
        source: None,
        web_url: None,
        created_at: None,
        started_at: None,
        finished_at: None,
        duration_seconds: None,
        name: None,
        coverage: None,
        updated_at: None,
        yaml_errors: None,
    }
}
