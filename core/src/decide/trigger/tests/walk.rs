//! A long random life of one object: edits, requests, restarts, answers good and bad. Whatever happens, for
//! one fire id at most one pipeline may exist.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use proptest::prelude::*;

use super::scene::{
    DELAY, PATIENCE, Scene, accepted, failed, image_update, not_sent, pipeline, refused, seen, taken, unknown,
};
use crate::decide::image_update::Verdict;
use crate::decide::trigger::{
    CancelOrder, CancelSent, Credentials, Effect, FirstSight, OutputsRead, Plan, UpdateKey, UpdateOrder,
    UpdateSeen, cancel_again,
};
use crate::domain::digest::Compared;
use crate::domain::image_update::When;
use crate::domain::status::Answered;
use crate::domain::{
    Answer, AttemptKey, Cancelled, Changed, ConcurrencyPolicy, Finding, FireId, FireOn, LastAttempt, Lookup,
    Named, Output, Phase, Pick, PipelineStatus, Reason, Report, RetryKey, RetryPolicy, RetryState, Run,
    Sighting, Span, UpdateState,
};

#[derive(Debug, Clone)]
enum Step {
    Edit(u8),
    EditOther,
    Ask(u8),
    FireOn(FireOn),
    Suspend(bool),
    Broken(bool),
    AccessToken(bool),
    Timeout(bool),
    HistoryLimit(usize),
    Wait(u64),
    Budget(Option<u64>),
    CredentialsMissing,
    CredentialsReady,
    /// GitLab answers the POST that is on its way.
    Answer(Reply),
    Sight(Look),
    /// A look for a lost pipeline, by a GitLab that tells the truth or nothing.
    LookUp(Find),
    Resolve(u8),
    /// `pipekick.dev/cancel` for the current run.
    Cancel(u8),
    CancelOnTimeout(bool),
    Replace(bool),
    /// GitLab answers a request to cancel, if one was ordered.
    Brought(Brings),
    /// `spec.retry`.
    Retries(bool),
    /// `pipekick.dev/retry` for the current run.
    AskRetry(u8),
    /// GitLab answers the request to start failed jobs again, if one is on its way.
    Retried(Redo),
    /// A request whose reply was lost starts the jobs now, if it still may.
    LateRetry,
    /// A look at the run's own pipeline, if one was ordered; whether GitLab can be asked.
    LookAtOwn(bool),
    /// `spec.imageUpdates`: none, one, two, or one that reads an output.
    Images(u8),
    /// What a queue does with what it has.
    Queue(Does),
    /// Whether jobs' artifacts can be read.
    Artifacts(bool),
    /// Whether others wait to be fired, so that what can wait is not written.
    Crowd(bool),
    /// Another process takes over; what it finds out about a POST on its way is nothing.
    Restart {
        hold: bool,
        pause: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Accepted,
    FailedAtBirth,
    Refused,
    Throttled,
    NotSent,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
enum Find {
    Truth,
    CannotTell,
    Trouble,
}

#[derive(Debug, Clone, Copy)]
enum Brings {
    Taken,
    Manual,
    Refused,
    Trouble,
}

#[derive(Debug, Clone, Copy)]
enum Redo {
    Done,
    /// It had its effect, and nobody hears of it.
    LostReply,
    /// It may have its effect later.
    Lost,
    Refused,
    NotNow,
}

#[derive(Debug, Clone, Copy)]
enum Does {
    Commits,
    /// It is on the branch, and nobody knows yet.
    LosesReply,
    Refuses,
    PutsBack,
}

/// An image update that a queue has.
#[derive(Debug, Clone)]
struct Queued {
    key: UpdateKey,
    given_up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Look {
    Canceled,
    /// Its jobs fail.
    JobsFail,
    Running,
    Manual,
    Success,
    Failed,
    Trouble,
    Gone,
}

fn committed() -> UpdateSeen {
    UpdateSeen::Settled(Verdict::Committed { commit: "0123456789abcdef".into() })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fire_on = prop_oneof![Just(FireOn::Apply), Just(FireOn::Change), Just(FireOn::Request)];
    let reply = prop_oneof![
        3 => Just(Reply::Accepted),
        1 => Just(Reply::FailedAtBirth),
        3 => Just(Reply::Refused),
        2 => Just(Reply::Throttled),
        4 => Just(Reply::NotSent),
        1 => Just(Reply::Unknown),
    ];
    let brings = prop_oneof![
        3 => Just(Brings::Taken),
        1 => Just(Brings::Manual),
        1 => Just(Brings::Refused),
        1 => Just(Brings::Trouble)
    ];
    let look = prop_oneof![
        1 => Just(Look::Canceled),
        5 => Just(Look::JobsFail),
        1 => Just(Look::Running),
        1 => Just(Look::Manual),
        1 => Just(Look::Success),
        1 => Just(Look::Failed),
        1 => Just(Look::Trouble),
        1 => Just(Look::Gone)
    ];
    let redo = prop_oneof![
        3 => Just(Redo::Done),
        2 => Just(Redo::LostReply),
        3 => Just(Redo::Lost),
        1 => Just(Redo::Refused),
        1 => Just(Redo::NotNow)
    ];
    let wait = prop_oneof![0..12_u64, 25..35_u64, 595..605_u64, Just(10_000)];
    let step = prop_oneof![
        4 => (0..3_u8).prop_map(Step::Edit),
        1 => Just(Step::EditOther),
        3 => (0..4_u8).prop_map(Step::Ask),
        1 => fire_on.prop_map(Step::FireOn),
        2 => any::<bool>().prop_map(Step::Suspend),
        2 => prop::bool::weighted(0.3).prop_map(Step::Broken),
        1 => any::<bool>().prop_map(Step::AccessToken),
        1 => any::<bool>().prop_map(Step::Timeout),
        1 => (0..4_usize).prop_map(Step::HistoryLimit),
        5 => wait.prop_map(Step::Wait),
        2 => prop::option::weighted(0.3, 1..90_u64).prop_map(Step::Budget),
        1 => Just(Step::CredentialsMissing),
        4 => Just(Step::CredentialsReady),
        9 => reply.prop_map(Step::Answer),
        4 => look.prop_map(Step::Sight),
        4 => prop_oneof![6 => Just(Find::Truth), 1 => Just(Find::CannotTell), 1 => Just(Find::Trouble)]
            .prop_map(Step::LookUp),
        1 => (0..4_u8).prop_map(Step::Resolve),
        2 => (0..3_u8).prop_map(Step::Cancel),
        1 => any::<bool>().prop_map(Step::CancelOnTimeout),
        1 => any::<bool>().prop_map(Step::Replace),
        3 => brings.prop_map(Step::Brought),
        2 => prop::bool::weighted(0.8).prop_map(Step::Retries),
        2 => (0..3_u8).prop_map(Step::AskRetry),
        4 => redo.prop_map(Step::Retried),
        2 => Just(Step::LateRetry),
        5 => prop::bool::weighted(0.8).prop_map(Step::LookAtOwn),
        4 => (0..4_u8).prop_map(Step::Images),
        4 => prop_oneof![
            3 => Just(Does::Commits),
            1 => Just(Does::LosesReply),
            1 => Just(Does::Refuses),
            2 => Just(Does::PutsBack)
        ]
        .prop_map(Step::Queue),
        1 => prop::bool::weighted(0.7).prop_map(Step::Artifacts),
        2 => any::<bool>().prop_map(Step::Crowd),
        1 => (prop::bool::weighted(0.3), prop::bool::weighted(0.3))
            .prop_map(|(hold, pause)| Step::Restart { hold, pause }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A request to start failed jobs again.
#[derive(Debug, Clone)]
struct Redoing {
    jobs: Vec<u64>,
    sent: Timestamp,
}

/// The scene, and what GitLab and an honest bookkeeper know.
struct Walk {
    scene: Scene,
    on_its_way: Option<AttemptKey>,
    ordered: HashSet<AttemptKey>,
    /// Runs that have a pipeline, or may have one.
    may_exist: HashSet<FireId>,
    /// Of the run's pipeline in GitLab: the id of its newest job, and whether that has failed.
    job: u64,
    has_failed: bool,
    retry_on_its_way: Option<(RetryKey, Redoing)>,
    cancel_ordered: Option<Box<CancelOrder>>,
    /// Requests to start failed jobs again whose reply is lost.
    retries_lost: Vec<Redoing>,
    names: HashMap<FireId, u64>,
    last_seq: u64,
    /// The number of the run that was there when a value was asked for the first time.
    asked: HashMap<String, Option<u64>>,
    queued: Vec<Queued>,
    /// What is on the branch, by run and entry.
    written: HashSet<(FireId, usize)>,
    artifacts: bool,
    crowded: bool,
}

impl Walk {
    fn new() -> Self {
        Self {
            scene: Scene::new(FireOn::Apply),
            on_its_way: None,
            ordered: HashSet::new(),
            may_exist: HashSet::new(),
            job: 1,
            has_failed: false,
            retry_on_its_way: None,
            cancel_ordered: None,
            retries_lost: Vec::new(),
            names: HashMap::new(),
            last_seq: 0,
            asked: HashMap::new(),
            queued: Vec::new(),
            written: HashSet::new(),
            artifacts: true,
            crowded: false,
        }
    }

    fn take(&mut self, step: &Step) {
        if !matches!(step, Step::LookAtOwn(_)) {
            self.forget_looks();
        }
        let scene = &mut self.scene;
        // No two things happen at the same instant.
        scene.now += std::time::Duration::from_nanos(1);
        match step {
            Step::Edit(to) => {
                scene.git_ref(["A", "B", "C"][usize::from(*to)]);
            }
            Step::EditOther => {
                scene.edit(|_| ());
            }
            Step::Ask(value) => {
                let value = ["", "a", "b", "c"][usize::from(*value)];
                scene.ask(value);
                let last = scene.trigger.status.run.as_deref().map_or(0, |run| run.seq);
                // What was asked before is asked for again by a new value only.
                self.asked.entry(value.into()).and_modify(|seq| *seq = None).or_insert(Some(last));
            }
            Step::FireOn(mode) => {
                scene.fire_on(*mode);
            }
            Step::Suspend(suspend) => {
                scene.suspend(*suspend);
            }
            Step::Broken(true) => {
                scene.break_spec();
            }
            Step::Broken(false) => {
                scene.mend_spec();
            }
            Step::AccessToken(true) => {
                scene.other_token();
            }
            Step::AccessToken(false) => {
                scene.edit(|spec| spec.access_token = None);
            }
            Step::Timeout(set) => {
                scene.edit(|spec| spec.timeout = set.then_some(Span::from_secs(600)));
            }
            Step::HistoryLimit(limit) => {
                scene.edit(|spec| spec.history_limit = *limit);
            }
            Step::Wait(seconds) => {
                scene.wait(*seconds);
                // The ledger of rate limits forgets what is over.
                scene.facts.budget_until = scene.facts.budget_until.filter(|until| *until > scene.now);
            }
            Step::Budget(seconds) => {
                scene.budget(*seconds);
            }
            Step::CredentialsMissing => {
                let look_again = scene.now + std::time::Duration::from_secs(5);
                let (reason, message) = (Reason::SecretMissing, "missing".to_owned());
                scene.credentials(Credentials::Missing { reason, message, look_again });
            }
            Step::CredentialsReady => {
                scene.credentials(Credentials::Ready);
            }
            Step::Answer(reply) => self.answer(*reply),
            Step::Sight(look) => self.sight(*look),
            Step::LookUp(find) => self.look_up(*find),
            Step::Resolve(which) => {
                let seq = scene.trigger.status.run.as_deref().map_or(0, |run| run.seq);
                let order = ["abandon", "adopt=700", "nonsense", ""][usize::from(*which)];
                scene.resolve(&format!("{seq}:{order}"));
                scene.facts.named = Some((700, Named::Missing));
            }
            Step::Cancel(again) => {
                let seq = scene.trigger.status.run.as_deref().map_or(0, |run| run.seq);
                scene.cancel(&format!("{seq}#{again}"));
            }
            Step::CancelOnTimeout(cancels) => {
                scene.edit(|spec| spec.cancel_on_timeout = *cancels);
            }
            Step::Replace(replaces) => {
                let policy = if *replaces { ConcurrencyPolicy::Replace } else { ConcurrencyPolicy::Wait };
                scene.edit(|spec| spec.concurrency_policy = policy);
            }
            Step::Brought(brings) => self.brought(*brings),
            Step::Retries(set) => {
                let policy = RetryPolicy { limit: 2, backoff: Span::from_secs(20) };
                scene.edit(|spec| spec.retry = set.then_some(policy));
            }
            Step::AskRetry(again) => {
                let seq = scene.trigger.status.run.as_ref().map_or(0, |run| run.seq);
                scene.trigger.retry = Some(format!("{seq}#{again}"));
            }
            Step::Retried(redo) => self.retried(*redo),
            Step::LateRetry => {
                if let Some(redoing) = self.retries_lost.pop() {
                    self.start_again(&redoing);
                }
            }
            Step::LookAtOwn(well) => self.look_at_own(*well),
            Step::Images(which) => {
                let updates = match which {
                    0 => vec![],
                    1 => vec![image_update(When::Success, "v1")],
                    2 => vec![image_update(When::Success, "v1"), image_update(When::Always, "v2")],
                    _ => vec![image_update(When::Always, "{{ outputs.tag }}")],
                };
                let output = Output {
                    name: "tag".parse().unwrap(),
                    job: "build".into(),
                    artifact: "build.env".parse().unwrap(),
                    pick: Pick::Key("TAG".parse().unwrap()),
                };
                scene.edit(|spec| {
                    spec.image_updates = updates;
                    spec.outputs = if *which == 3 { vec![output] } else { vec![] };
                });
            }
            Step::Queue(does) => self.queue(*does),
            Step::Artifacts(well) => self.artifacts = *well,
            Step::Crowd(there) => self.crowded = *there,
            Step::Restart { hold, pause } => {
                scene.restart();
                scene.policy.first_sight = if *hold { FirstSight::Hold } else { FirstSight::Fire };
                scene.policy.paused = *pause;
                // GitLab may make a pipeline of what the old process sent; nobody is told.
                self.may_exist.extend(self.on_its_way.take().map(|key| key.fire_id));
                self.lose_retry();
                self.queued.clear();
            }
        }
    }

    fn queue(&mut self, does: Does) {
        for Queued { key, given_up } in std::mem::take(&mut self.queued) {
            let of = (key.fire_id.clone(), key.entry);
            let is_written = self.written.contains(&of);
            let seen = match does {
                Does::Commits | Does::Refuses if is_written => committed(),
                Does::Commits | Does::Refuses if given_up => UpdateSeen::Settled(Verdict::Absent),
                Does::Commits => {
                    self.written.insert(of);
                    committed()
                }
                Does::Refuses => UpdateSeen::Settled(Verdict::Refused { message: "no".into() }),
                Does::LosesReply => {
                    if !given_up {
                        self.written.insert(of);
                    }
                    UpdateSeen::Held { given_up, trouble: None }
                }
                Does::PutsBack => {
                    let trouble = Some((Reason::UpdateDelayed, "rivals".to_owned()));
                    UpdateSeen::Held { given_up, trouble }
                }
            };
            if let UpdateSeen::Held { .. } = seen {
                self.queued.push(Queued { key: key.clone(), given_up });
            }
            self.see(key, seen);
        }
    }

    /// Older verdicts stay: telling them apart is decide's work.
    fn see(&mut self, key: UpdateKey, seen: UpdateSeen) {
        let known = &mut self.scene.facts.updates;
        known.retain(|(of, _)| *of != key);
        known.push((key, seen));
    }

    fn check_update(&mut self, order: &UpdateOrder) {
        let run = self.scene.trigger.status.run.as_deref().expect("a run").clone();
        let stopped = self.scene.policy.paused || self.scene.trigger.suspend;
        assert!(!order.entries.is_empty() && run.has_ended_pipeline(), "{run:?}");
        for entry in &order.entries {
            let record = &run.image_updates[entry.key.entry];
            assert_eq!((record.state, record.at), (UpdateState::Committing, Some(self.scene.now)));
            assert_eq!((&entry.key.fire_id, entry.key.at), (&run.fire_id, self.scene.now));
            assert!(run.phase == Phase::Succeeded || record.when == When::Always, "{run:?}");
            assert!(!stopped || entry.give_up, "written while stopped");
            let of = (run.fire_id.clone(), entry.key.entry);
            assert!(
                entry.since.is_some() || !self.written.contains(&of),
                "written before, and not looked for"
            );
            assert!(
                self.queued.iter().all(|queued| queued.key.entry != entry.key.entry),
                "in the queue already"
            );
            let given_up = entry.give_up;
            self.queued.push(Queued { key: entry.key.clone(), given_up });
            self.see(entry.key.clone(), UpdateSeen::Held { given_up, trouble: None });
        }
    }

    /// Nobody hears any more of the request to start failed jobs.
    fn lose_retry(&mut self) {
        self.retries_lost.extend(self.retry_on_its_way.take().map(|(_, redoing)| redoing));
    }

    /// A request to start failed jobs again takes effect, within its time.
    fn start_again(&mut self, redoing: &Redoing) {
        if self.has_failed && self.scene.now < redoing.sent + std::time::Duration::from_secs(DELAY) {
            assert_eq!(redoing.jobs, [self.job], "jobs are started that nobody meant");
            (self.job, self.has_failed) = (self.job + 1, false);
        }
    }

    fn retried(&mut self, redo: Redo) {
        let Some((key, redoing)) = self.retry_on_its_way.take() else { return };
        if matches!(redo, Redo::Done | Redo::LostReply) {
            self.start_again(&redoing);
        }
        let changed = match redo {
            Redo::Done => Changed::Done(Some(pipeline(PipelineStatus::Running))),
            Redo::LostReply => Changed::Unknown { message: "reset".into() },
            Redo::Lost => {
                self.retries_lost.push(redoing);
                Changed::Unknown { message: "reset".into() }
            }
            Redo::Refused => Changed::Refused { reason: Reason::Forbidden, message: "403".into() },
            Redo::NotNow => {
                let until = self.scene.now + std::time::Duration::from_secs(30);
                Changed::NotNow { reason: Reason::RateLimited, message: "429".into(), until }
            }
        };
        self.scene.facts.retried = Some((key, changed));
    }

    fn look_at_own(&mut self, well: bool) {
        let Effect::LookAtOwn(look) = self.scene.decide().effect else { return };
        let sighting = match well {
            true if self.has_failed => failed(&[self.job]),
            true => seen(PipelineStatus::Running),
            false => Sighting::Trouble { reason: Reason::Unreachable, message: "down".into() },
        };
        self.scene.facts.looked_at = Some((look.pipeline_id, sighting));
    }

    fn answer(&mut self, reply: Reply) {
        let Some(key) = self.on_its_way.take() else { return };
        let answer = match reply {
            Reply::Accepted => accepted(),
            Reply::FailedAtBirth => Answer::FailedAtBirth { message: "invalid yaml".into() },
            Reply::Refused => refused(),
            Reply::Throttled => {
                let until = self.scene.now + std::time::Duration::from_secs(30);
                Answer::Throttled { reason: Reason::ReadOnly, message: "later".into(), until }
            }
            Reply::NotSent => not_sent(),
            Reply::Unknown => unknown(),
        };
        if matches!(reply, Reply::Accepted | Reply::FailedAtBirth | Reply::Unknown) {
            self.may_exist.insert(key.fire_id.clone());
        }
        // Old answers are never cleared: telling them apart is decide's work.
        self.scene.facts.answers.push((key, answer));
    }

    fn look_up(&mut self, find: Find) {
        let Some(key) = self.scene.trigger.status.run.as_deref().and_then(Run::attempt_key) else { return };
        let exists = self.may_exist.contains(&key.fire_id);
        let lookup = match find {
            Find::Truth if exists => Lookup::Found {
                pipeline: pipeline(PipelineStatus::Running),
                report: Report::default(),
                duplicates: vec![],
            },
            Find::Truth => Lookup::NoneOurs,
            Find::CannotTell => {
                Lookup::CannotTell { reason: Reason::Forbidden, message: "may not be read".into() }
            }
            Find::Trouble => Lookup::Trouble { reason: Reason::Unreachable, message: "down".into() },
        };
        self.scene.facts.lookup = Some((key, lookup));
    }

    fn sight(&mut self, look: Look) {
        if self.on_its_way.is_some() {
            return;
        }
        let stretch = self.scene.trigger.status.run.as_deref().and_then(Run::stretch);
        let sighting = match look {
            Look::JobsFail => {
                self.has_failed |= stretch.is_some();
                if self.has_failed { failed(&[self.job]) } else { seen(PipelineStatus::Running) }
            }
            // What has failed is seen so, until it is started again.
            Look::Running | Look::Manual | Look::Canceled | Look::Success | Look::Failed
                if self.has_failed =>
            {
                failed(&[self.job])
            }
            Look::Running => seen(PipelineStatus::Running),
            Look::Manual => seen(PipelineStatus::Manual),
            Look::Canceled => seen(PipelineStatus::Canceled),
            Look::Success => seen(PipelineStatus::Success),
            Look::Failed => seen(PipelineStatus::Failed),
            Look::Trouble => Sighting::Trouble { reason: Reason::Unauthorized, message: "401".into() },
            Look::Gone => Sighting::Gone,
        };
        self.scene.facts.sighting = stretch.map(|of| (of, sighting));
    }

    fn brought(&mut self, brings: Brings) {
        let scene = &mut self.scene;
        let Some(order) = self.cancel_ordered.take() else { return };
        let brought = match brings {
            Brings::Taken => taken(PipelineStatus::Canceling),
            Brings::Manual => taken(PipelineStatus::Manual),
            Brings::Refused => Cancelled::Refused { reason: Reason::Forbidden, message: "403".into() },
            Brings::Trouble => Cancelled::Trouble { reason: Reason::Unreachable, message: "down".into() },
        };
        scene.facts.cancel = Some(CancelSent {
            pipeline_id: order.pipeline_id,
            requested_at: order.requested_at,
            again_at: scene.now + cancel_again(&brought, 1),
            brought,
        });
    }

    /// One turn of the loop, and everything that must be true of it.
    fn turn(&mut self) -> Plan {
        let age = self.scene.facts.intent_age.unwrap_or_default();
        if age >= std::time::Duration::from_secs(PATIENCE) {
            // Past its deadline nobody waits for a reply any more; the pipeline may be there.
            self.may_exist.extend(self.on_its_way.take().map(|key| key.fire_id));
        }
        let heard_until = |redoing: &Redoing| redoing.sent + std::time::Duration::from_secs(PATIENCE);
        if self.retry_on_its_way.as_ref().is_some_and(|(_, r)| heard_until(r) <= self.scene.now) {
            self.lose_retry();
        }
        if self.crowded {
            let plan = self.scene.decide();
            if plan.can_wait {
                assert!(
                    plan.effect == Effect::Nothing && plan.status.is_some(),
                    "nothing but a record waits"
                );
                return plan;
            }
        }
        let plan = self.scene.step();
        self.scene.facts.finding = None;
        if !matches!(plan.effect, Effect::LookAtOwn(_)) {
            self.forget_looks();
        }
        if let Effect::LookInto(look) = &plan.effect {
            self.scene.facts.finding = Some((look.key.clone(), Finding::Nothing));
        }
        if let Effect::Fire(order) = &plan.effect {
            let run = plan.status.as_ref().and_then(|status| status.run.as_deref()).expect("recorded first");
            assert_eq!(run.attempt_key().as_ref(), Some(&order.key), "the very POST that is recorded");
            let attempt = run.attempt.as_ref().unwrap();
            assert_eq!((run.phase, attempt.last), (Phase::Firing, LastAttempt::Unknown));
            assert_eq!((&attempt.by, attempt.at), (&self.scene.policy.writer, self.scene.now));
            assert!(self.ordered.insert(order.key.clone()), "no POST is ordered twice");
            assert!(!self.may_exist.contains(&order.key.fire_id), "a second pipeline of one fire id");
            assert!(self.on_its_way.is_none(), "one POST at a time");
            assert!(self.stopped().is_none(), "fired while stopped");
            assert_eq!(self.scene.trigger.firing.compare(&run.digest), Compared::Same, "what spec says now");
            self.on_its_way = Some(order.key.clone());
            // Another pipeline will have other jobs.
            (self.job, self.has_failed, self.retry_on_its_way) = (self.job + 1, false, None);
            self.retries_lost.clear();
        }
        if let Effect::Retry(order) = &plan.effect {
            let run = self.scene.trigger.status.run.as_deref().expect("a run");
            assert_eq!(run.retry_key().as_ref(), Some(&order.key), "the very request that is recorded");
            assert!(!self.scene.policy.paused && !self.scene.trigger.suspend, "retried while stopped");
            assert!(self.on_its_way.is_none(), "one request at a time");
            let order = order.clone();
            self.lose_retry();
            let run = self.scene.trigger.status.run.as_ref().expect("a run");
            let jobs = run.retry.as_ref().map(|retry| retry.job_ids.clone()).unwrap_or_default();
            self.retry_on_its_way = Some((order.key.clone(), Redoing { jobs, sent: self.scene.now }));
        }
        if let Effect::Update(order) = &plan.effect {
            self.check_update(order);
        }
        if let Effect::GiveUp(keys) = &plan.effect {
            for key in keys {
                let queued = self.queued.iter_mut().find(|queued| queued.key == *key).expect("held");
                assert!(!queued.given_up, "given up once");
                queued.given_up = true;
                self.see(key.clone(), UpdateSeen::Held { given_up: true, trouble: None });
            }
        }
        if let Effect::ReadOutputs(order) = &plan.effect {
            let read = if self.artifacts {
                OutputsRead::Read(BTreeMap::from([("tag".to_owned(), Ok("v3".to_owned()))]))
            } else {
                OutputsRead::Trouble { reason: Reason::Unreachable, message: "down".into() }
            };
            self.scene.facts.outputs = Some(((**order).clone(), read));
        }
        self.cancel_ordered = None;
        if let Effect::Cancel(order) = &plan.effect {
            self.cancel_ordered = Some(order.clone());
            let run = self.scene.trigger.status.run.as_deref().expect("a run");
            let recorded = run.cancel_request().map(|(at, _)| at);
            assert_eq!(recorded, Some(order.requested_at), "the wish is on record first");
            assert_eq!(run.pipeline.as_ref().map(|p| p.id), Some(order.pipeline_id), "its own pipeline");
            assert!(run.is_active(), "what ended is not cancelled");
        }
        self.check_run(plan.status.is_some());
        self.check_answers();
        self.check_waits(&plan);
        self.check_nothing_waits(&plan);
        self.check_written_once(&plan);
        plan
    }

    /// A look is decided on in the turn that took it.
    fn forget_looks(&mut self) {
        (self.scene.facts.lookup, self.scene.facts.looked_at) = (None, None);
        self.scene.facts.outputs = None;
    }

    fn stopped(&self) -> Option<&str> {
        match &self.scene.trigger.spec {
            _ if self.scene.policy.paused => Some("paused"),
            Err(_) => Some("of a broken spec"),
            Ok(_) => self.scene.trigger.suspend.then_some("suspended"),
        }
    }

    fn check_run(&mut self, written: bool) {
        let Some(run) = &self.scene.trigger.status.run else { return };
        assert!(run.seq >= self.last_seq, "numbers only grow");
        self.last_seq = run.seq;
        assert_eq!(*self.names.entry(run.fire_id.clone()).or_insert(run.seq), run.seq, "a name of its own");
        let limit = self.scene.trigger.spec.as_ref().map_or(usize::MAX, |spec| spec.history_limit);
        assert!(
            !written || self.scene.past().len() <= limit,
            "a broken spec alone says nothing of its limit"
        );
    }

    /// Who asked waits for the answer, then for the end: that is never the end of an earlier run.
    fn check_answers(&self) {
        let status = &self.scene.trigger.status;
        let (Some(handled), Some(run)) = (&status.last_handled.fire, &status.run) else { return };
        let fired = matches!(handled.answer, Answered::Fired | Answered::Collapsed);
        if let (true, Some(Phase::Succeeded), Some(Some(before))) =
            (fired, status.phase, self.asked.get(&handled.value))
        {
            assert!(run.seq > *before, "{} is told the success of run {}", handled.value, run.seq);
        }
    }

    /// Somebody comes back to an active run, unless only an edit, or a person, can help it.
    fn check_waits(&self, plan: &Plan) {
        let Some(run) = self.scene.trigger.status.active_run() else { return };
        let begun = run.image_updates.iter().any(|update| update.state == UpdateState::Committing);
        let unbegun = run.phase == Phase::Pending || (run.is_updating() && !begun);
        let helpless = unbegun && self.stopped().is_some();
        assert!(helpless || !plan.is_settled(), "nobody comes back to {run:?}");
    }

    /// No cause waits beside an ended run, unless something stops it or somebody comes back to it.
    fn check_nothing_waits(&self, plan: &Plan) {
        let status = &self.scene.trigger.status;
        let held = status.run.as_deref().is_some_and(|run| run.reason == Some(Reason::FirstSight));
        if status.active_run().is_some() || self.stopped().is_some() || held || !plan.is_settled() {
            return;
        }
        assert!(status.waiting.is_none(), "{:?} waits, and nobody comes back: {plan:?}", status.waiting);
        self.check_decided();
    }

    fn check_written_once(&self, plan: &Plan) {
        // Unless it comes back at once: what was written is on record first, then comes more.
        let at_once = plan.wake.is_some_and(|wake| wake <= self.scene.now);
        if plan.effect == Effect::Nothing && !at_once {
            let again = self.scene.decide();
            assert!(again.status.is_none() && again.events.is_empty(), "first {plan:?}, then {again:?}");
        }
    }

    /// With every obstacle gone, and a GitLab where all succeeds, each cause that stands is answered.
    fn come_to_rest(&mut self) {
        self.take(&Step::Restart { hold: false, pause: false });
        (self.artifacts, self.crowded) = (true, false);
        self.scene.suspend(false).mend_spec().edit(|spec| spec.timeout = None);
        let mut told = Vec::new();
        for _ in 0..80 {
            let plan = self.turn();
            told.push((self.scene.now, format!("{:?}", plan.effect), plan.wake));
            if self.on_its_way.is_some() {
                self.answer(Reply::Accepted);
            } else if let Effect::ReadOutputs(_) = plan.effect {
                // They are there already.
            } else if !self.queued.is_empty() {
                self.queue(Does::Commits);
            } else if let Effect::Cancel(_) = plan.effect {
                self.brought(Brings::Taken);
            } else if let Effect::LookAt(look) = &plan.effect {
                self.scene.facts.named = Some((look.pipeline_id, Named::Missing));
            } else if self.retry_on_its_way.is_some() {
                self.retried(Redo::Done);
            } else if let Effect::LookAtOwn(_) = plan.effect {
                self.look_at_own(true);
            } else if self.awaits_retry() && plan.wake.is_some() {
                self.wake_up(&plan);
            } else if plan.follow.as_ref().is_some_and(|follow| follow.stretch.finished_at.is_none()) {
                self.has_failed = false;
                self.sight(Look::Success);
            } else if let Effect::LookUp(_) = plan.effect {
                self.look_up(Find::Truth);
            } else if let Effect::ReadCredentials(_) = plan.effect {
                self.scene.credentials(Credentials::Ready);
            } else if plan.wake.is_some() {
                self.wake_up(&plan);
            } else {
                return self.check_rest();
            }
        }
        panic!("does not come to rest: {told:#?} {:?}", self.scene.trigger.status);
    }

    /// Whether its failed jobs are to be started again.
    fn awaits_retry(&self) -> bool {
        let run = self.scene.trigger.status.active_run();
        let state = run.and_then(|run| run.retry.as_ref()).map(|retry| retry.state);
        self.has_failed && matches!(state, Some(RetryState::Waiting | RetryState::Unknown))
    }

    fn wake_up(&mut self, plan: &Plan) {
        let Some(wake) = plan.wake else { return };
        let seconds = wake.duration_since(self.scene.now).as_secs();
        self.scene.wait(u64::try_from(seconds).unwrap_or_default() + 1);
    }

    fn check_rest(&self) {
        let status = &self.scene.trigger.status;
        if status.run.as_deref().is_some_and(|run| run.reason == Some(Reason::FirstSight)) {
            return;
        }
        assert_ne!(status.phase, Some(Phase::Rejected), "a refused run was given up");
        self.check_decided();
    }

    /// What spec says, and who asked, is decided on.
    fn check_decided(&self) {
        let (trigger, status) = (&self.scene.trigger, &self.scene.trigger.status);
        let decided = status.decided_digest.as_ref().unwrap();
        assert_eq!(trigger.firing.compare(decided), Compared::Same, "an edit was not answered");
        if let Some(value) = trigger.fire.as_ref().filter(|value| !value.is_empty()) {
            let requests = status.history.iter().map(|entry| &entry.request);
            let of_run = status.run.iter().map(|run| &run.request);
            let answered = status.last_handled.fire.as_ref().is_some_and(|handled| handled.value == *value);
            assert!(
                answered || requests.chain(of_run).any(|r| r.as_ref() == Some(value)),
                "{value} was lost"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn for_one_fire_id_at_most_one_pipeline_exists(steps in steps()) {
        let mut walk = Walk::new();
        walk.turn();
        for step in &steps {
            walk.take(step);
            walk.turn();
        }
        walk.come_to_rest();
    }
}
