//! One trigger, one operator and a clock: what the tables move about. It does what the real loop does and
//! nothing more: the written status becomes the stored one, an ordered POST is noted down.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::decide::trigger::{
    CancelSent, Credentials, Effect, Facts, FireOrder, FirstSight, Observed, Plan, Policy, RetryOrder, decide,
};
use crate::domain::image_update::{EditTarget, EditTemplate, When};
use crate::domain::run::CauseKind;
use crate::domain::status::Answered;
use crate::domain::{
    Answer, Cancelled, ConcurrencyPolicy, DeletionPolicy, FailedJob, Finding, FireOn, FiringFields,
    ImageUpdate, Lookup, MergeRequest, MergeRequestState, ObjectKey, OnUnknown, Phase, Pipeline,
    PipelineStatus, Reason, Report, Run, SecretKeyRef, Sighting, Spec, SpecProblem, Trigger, TriggerStatus,
};

/// Longest a request may take, in seconds.
pub(super) const DEADLINE: u64 = 20;
/// A request takes effect within this many seconds or never.
pub(super) const DELAY: u64 = 90;
/// A pipeline that was asked to be cancelled ends within this many seconds, or it is told that it does not.
pub(super) const PATIENT: u64 = 300;
/// Age in seconds at which an intent without an answer is an unknown outcome.
pub(super) const PATIENCE: u64 = 10 + DEADLINE;
pub(super) const MODES: [FireOn; 3] = [FireOn::Apply, FireOn::Change, FireOn::Request];

/// Something that happens to a scene.
pub(super) type Move = fn(&mut Scene) -> &mut Scene;

#[derive(Debug)]
pub(super) struct Scene {
    pub(super) now: Timestamp,
    pub(super) policy: Policy,
    pub(super) trigger: Trigger,
    pub(super) facts: Facts,
    /// The spec as it would be read if nothing were wrong with it.
    pub(super) spec: Spec,
    /// Every POST ordered so far.
    pub(super) posts: Vec<FireOrder>,
    /// Every request to start failed jobs again, ordered so far.
    pub(super) retries: Vec<RetryOrder>,
}

impl Scene {
    /// An object that nobody has looked at, with both tokens.
    pub(super) fn new(fire_on: FireOn) -> Self {
        let token = |key: &str| Some(SecretKeyRef { name: "gitlab".into(), key: key.into() });
        let spec = Spec {
            url: "https://gitlab.example.com".parse().unwrap(),
            project: "shop/checkout".parse().unwrap(),
            git_ref: "A".parse().unwrap(),
            trigger_token: token("trigger"),
            access_token: token("access"),
            ca_bundle: None,
            variables: vec![],
            concurrency_policy: ConcurrencyPolicy::Wait,
            deletion_policy: DeletionPolicy::Orphan,
            inputs: BTreeMap::new(),
            payload: None,
            timeout: None,
            cancel_on_timeout: false,
            history_limit: 5,
            on_unknown: OnUnknown::Hold,
            retry: None,
            name: None,
            history_deletes_pipelines: false,
            ttl_after_finished: None,
            outputs: vec![],
            image_updates: vec![],
        };
        let trigger = Trigger {
            key: ObjectKey { namespace: "shop".into(), name: "checkout".into() },
            uid: "uid".into(),
            generation: 1,
            deleted_at: None,
            finalizers: vec![],
            generated: false,
            fire: None,
            resolve: None,
            cancel: None,
            retry: None,
            fire_on,
            suspend: false,
            firing: written(&spec),
            spec: Ok(spec.clone()),
            status: TriggerStatus::default(),
        };
        let policy = Policy {
            first_sight: FirstSight::Fire,
            paused: false,
            writer: "first".into(),
            request_deadline: Duration::from_secs(DEADLINE),
            resolution_delay: Duration::from_secs(DELAY),
            cancel_patience: Duration::from_secs(PATIENT),
            traced: false,
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self { now, policy, trigger, facts: Facts::default(), spec, posts: vec![], retries: vec![] }
    }

    /// `kubectl apply` of a changed spec.
    pub(super) fn edit(&mut self, edit: impl FnOnce(&mut Spec)) -> &mut Self {
        edit(&mut self.spec);
        self.trigger.firing = written(&self.spec);
        if self.trigger.spec.is_ok() {
            self.trigger.spec = Ok(self.spec.clone());
        }
        self.trigger.generation += 1;
        self
    }

    /// An edit of a firing field.
    pub(super) fn git_ref(&mut self, name: &str) -> &mut Self {
        self.edit(|spec| spec.git_ref = name.parse().unwrap())
    }

    /// An edit of a field that fires nothing, but may mend what GitLab refused.
    pub(super) fn other_token(&mut self) -> &mut Self {
        let token = SecretKeyRef { name: "other".into(), key: "access".into() };
        self.edit(|spec| spec.access_token = Some(token))
    }

    pub(super) fn suspend(&mut self, suspend: bool) -> &mut Self {
        self.trigger.suspend = suspend;
        self.edit(|_| ())
    }

    pub(super) fn fire_on(&mut self, mode: FireOn) -> &mut Self {
        self.trigger.fire_on = mode;
        self.edit(|_| ())
    }

    /// `kubectl annotate pipekick.dev/resolve=VALUE`.
    pub(super) fn resolve(&mut self, value: &str) -> &mut Self {
        self.trigger.resolve = Some(value.into());
        self
    }

    /// `kubectl annotate pipekick.dev/cancel=VALUE`.
    pub(super) fn cancel(&mut self, value: &str) -> &mut Self {
        self.trigger.cancel = Some(value.into());
        self
    }

    /// A request to cancel the run's pipeline brought this; the next one is due in so many seconds.
    pub(super) fn brought(&mut self, brought: Cancelled, again: u64) -> Plan {
        let run = self.run();
        self.facts.cancel = Some(CancelSent {
            pipeline_id: run.pipeline.as_ref().unwrap().id,
            requested_at: run.cancel_requested_at.unwrap(),
            brought,
            again_at: self.now + Duration::from_secs(again),
        });
        self.step()
    }

    /// A look for the run's pipeline brought this; the next one brings something else.
    pub(super) fn look(&mut self, lookup: Lookup) -> Plan {
        self.facts.lookup = Some((self.run().attempt_key().unwrap(), lookup));
        let plan = self.step();
        self.facts.lookup = None;
        plan
    }

    pub(super) fn break_spec(&mut self) -> &mut Self {
        self.trigger.spec = Err(SpecProblem("ref is empty: name a branch or tag".into()));
        self.edit(|_| ())
    }

    pub(super) fn mend_spec(&mut self) -> &mut Self {
        self.trigger.spec = Ok(self.spec.clone());
        self.edit(|_| ())
    }

    /// `kubectl annotate pipekick.dev/fire=VALUE`; it leaves the generation alone.
    pub(super) fn ask(&mut self, value: &str) -> &mut Self {
        self.trigger.fire = Some(value.into());
        self
    }

    pub(super) fn wait(&mut self, seconds: u64) -> &mut Self {
        let span = Duration::from_secs(seconds);
        self.now = self.now.checked_add(SignedDuration::try_from(span).unwrap()).unwrap();
        self.facts.intent_age = self.facts.intent_age.map(|age| age + span);
        self.facts.requests_look_age = self.facts.requests_look_age.map(|age| age + span);
        self
    }

    /// Another process takes over and knows nothing but the object.
    pub(super) fn restart(&mut self) -> &mut Self {
        self.facts = Facts { intent_age: Some(Duration::ZERO), ..Facts::default() };
        self.policy.writer = format!("after {}", self.policy.writer);
        self
    }

    pub(super) fn credentials(&mut self, credentials: Credentials) -> &mut Self {
        self.facts.credentials = credentials;
        self
    }

    /// GitLab's budget is used up for so many seconds.
    pub(super) fn budget(&mut self, seconds: Option<u64>) -> &mut Self {
        self.facts.budget_until = seconds.map(|seconds| self.now + Duration::from_secs(seconds));
        self
    }

    pub(super) fn decide(&self) -> Plan {
        let Self { now, policy, trigger, facts, spec: _, posts: _, retries: _ } = self;
        decide(&Observed { now: *now, policy, trigger, facts })
    }

    /// One turn of the loop.
    pub(super) fn step(&mut self) -> Plan {
        let plan = self.decide();
        if let Some(status) = &plan.status {
            self.trigger.status = status.clone();
        }
        if let Effect::Fire(order) = &plan.effect {
            self.posts.push((**order).clone());
            self.facts.intent_age = Some(Duration::ZERO);
            self.facts.credentials = Credentials::Unread;
            // Of an earlier pipeline: all have the same id here, and none has in GitLab.
            (self.facts.sighting, self.facts.cancel) = (None, None);
        }
        if let Effect::Update(_) = &plan.effect {
            self.facts.intent_age = Some(Duration::ZERO);
        }
        if let Effect::Retry(order) = &plan.effect {
            self.retries.push((**order).clone());
            self.facts.intent_age = Some(Duration::ZERO);
            self.facts.looked_at = None;
        }
        plan
    }

    /// GitLab answers the POST that is on its way.
    pub(super) fn answer(&mut self, answer: Answer) -> Plan {
        let key = self.run().attempt_key().unwrap();
        self.facts.answers.push((key.clone(), answer));
        let plan = self.step();
        if !matches!(plan.effect, Effect::LookInto(_)) {
            return plan;
        }
        self.look_into(Finding::Nothing)
    }

    /// A look into the refusal brought this.
    pub(super) fn look_into(&mut self, finding: Finding) -> Plan {
        self.facts.finding = Some((self.run().attempt_key().unwrap(), finding));
        let plan = self.step();
        self.facts.finding = None;
        plan
    }

    /// The follower saw the run's pipeline.
    pub(super) fn sight(&mut self, sighting: Sighting) -> Plan {
        self.facts.sighting = Some((self.run().stretch().unwrap(), sighting));
        self.step()
    }

    /// A run that waits, is repeated: its credentials are read and there.
    pub(super) fn repeat(&mut self) -> Plan {
        let asked = self.step();
        assert!(matches!(asked.effect, Effect::ReadCredentials(_)), "{asked:?}");
        self.credentials(Credentials::Ready).step()
    }

    /// Turns until no run is active, with a GitLab where everything succeeds at once.
    pub(super) fn settle(&mut self) -> &mut Self {
        for _ in 0..20 {
            let plan = self.step();
            match self.trigger.status.active_run().map(|run| run.phase) {
                None if plan.status.is_none() => return self,
                Some(Phase::Firing) => drop(self.answer(accepted())),
                Some(Phase::Running) => drop(self.sight(seen(PipelineStatus::Success))),
                Some(_) | None => {}
            }
        }
        panic!("does not come to rest: {:?}", self.trigger.status);
    }

    /// A run whose pipeline runs.
    pub(super) fn running() -> Self {
        let mut scene = Self::new(FireOn::Apply);
        scene.step();
        scene.answer(accepted());
        scene
    }

    /// A run whose POST was never sent.
    pub(super) fn pending() -> Self {
        let mut scene = Self::new(FireOn::Apply);
        scene.step();
        scene.answer(not_sent());
        scene
    }

    pub(super) fn run(&self) -> &Run {
        self.trigger.status.run.as_deref().unwrap()
    }

    pub(super) fn phase(&self) -> Phase {
        self.trigger.status.phase.unwrap()
    }

    /// How `pipekick.dev/fire` was answered last.
    pub(super) fn answered(&self) -> Option<Answered> {
        self.trigger.status.last_handled.fire.as_ref().map(|handled| handled.answer)
    }

    /// Phases of the earlier runs, newest first.
    pub(super) fn past(&self) -> Vec<(u64, Phase)> {
        self.trigger.status.history.iter().map(|entry| (entry.seq, entry.phase)).collect()
    }
}

/// The cause of the run that a plan begins, if it orders a POST.
pub(super) fn fires(plan: &Plan) -> Option<CauseKind> {
    matches!(plan.effect, Effect::Fire(_))
        .then(|| plan.status.as_ref().unwrap().run.as_deref().unwrap().cause)
}

/// Seconds until a plan wants to be woken.
pub(super) fn wakes_in(scene: &Scene, plan: &Plan) -> Option<i64> {
    plan.wake.map(|at| at.duration_since(scene.now).as_secs())
}

/// Reasons of the Events of a plan; `!` marks a Warning.
pub(super) fn told(plan: &Plan) -> Vec<String> {
    plan.events.iter().map(|n| format!("{}{}", if n.warning { "!" } else { "" }, n.reason)).collect()
}

pub(super) fn pipeline(status: PipelineStatus) -> Pipeline {
    Pipeline {
        id: 700,
        iid: None,
        project_id: Some(7),
        git_ref: None,
        sha: None,
        status,
        source: None,
        web_url: None,
        created_at: None,
        started_at: None,
        finished_at: None,
        duration_seconds: Some(90),
        name: None,
        coverage: None,
        updated_at: None,
        yaml_errors: None,
    }
}

/// An entry of `spec.imageUpdates` that writes this value.
pub(super) fn image_update(when: When, value: &str) -> ImageUpdate {
    ImageUpdate {
        project: Some("platform/gitops".parse().unwrap()),
        access_token: None,
        branch: "main".parse().unwrap(),
        edits: vec![EditTemplate {
            file: "values.yaml".parse().unwrap(),
            target: EditTarget::Path {
                document: None,
                path: "image.tag".parse().unwrap(),
                part: None,
                value: value.parse().unwrap(),
            },
        }],
        message: None,
        author: None,
        merge_request: None,
        when,
        allow_shared: false,
        dry_run: false,
    }
}

/// As GitLab shows one.
pub(super) fn merge_request(state: MergeRequestState) -> MergeRequest {
    MergeRequest {
        iid: 7,
        state,
        title: "image.tag v2".into(),
        web_url: Some("https://gitlab.example.com/platform/gitops/-/merge_requests/7".into()),
        target: Some("main".into()),
        sha: Some("1a2b3c4d5e6f".into()),
        merged_as: (state == MergeRequestState::Merged).then(|| "6f5e4d3c2b1a".into()),
        auto_merge: false,
        detailed_status: Some("mergeable".into()),
        written: Vec::new(),
    }
}

pub(super) fn accepted() -> Answer {
    Answer::Accepted(pipeline(PipelineStatus::Created))
}

pub(super) fn refused() -> Answer {
    Answer::Refused { reason: Reason::RefNotFound, message: "Reference not found".into() }
}

pub(super) fn not_sent() -> Answer {
    Answer::NotSent { reason: Reason::Unreachable, message: "connection refused".into() }
}

pub(super) fn unknown() -> Answer {
    Answer::Unknown { message: "timed out".into() }
}

pub(super) fn seen(status: PipelineStatus) -> Sighting {
    Sighting::Seen { pipeline: pipeline(status), report: Report::default() }
}

pub(super) fn taken(status: PipelineStatus) -> Cancelled {
    Cancelled::Taken(pipeline(status))
}

pub(super) fn failed_job(name: &str) -> FailedJob {
    FailedJob {
        id: None,
        name: name.into(),
        stage: Some("test".into()),
        failure_reason: Some("script_failure".into()),
        web_url: None,
    }
}

/// A failed pipeline, by jobs with these ids.
pub(super) fn failed(ids: &[u64]) -> Sighting {
    let job = |id: &u64| FailedJob { id: Some(*id), ..failed_job("unit") };
    let report = Report { failed_jobs: ids.iter().map(job).collect(), ..Report::default() };
    Sighting::Seen { pipeline: pipeline(PipelineStatus::Failed), report }
}

fn written(spec: &Spec) -> FiringFields {
    FiringFields {
        url: None,
        project: spec.project.to_string(),
        git_ref: spec.git_ref.to_string(),
        ..FiringFields::default()
    }
}
