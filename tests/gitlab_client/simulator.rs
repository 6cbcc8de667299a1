//! The client against the simulator, which answers by its table of facts: both must mean the same.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use pipekick::gitlab::{
    Client, Endpoint, JobFilter, ReadKind, ScheduleFields, ScheduleVariable, TestSummary, VariableKind,
};
use pipekick_core::domain::{Answer, GitLabVersion, PipelineStatus, Reason};
use pipekick_sandbox::gitlab::{
    ClockSeed, Fault, FaultRule, GitlabSim, Handle, JobPlay, Outcome, Play, Role, ScheduleSeed,
    ScheduleSettings, Seed, Status, Tests, Triggers, UserSeed,
};
use secrecy::SecretString;
use serde_json::{Value, json};

struct Shop {
    sim: Handle,
    client: Client,
    at: Endpoint,
    token: SecretString,
}

/// One project of alice's whose pipelines consist of a bridge, a build and a test that succeeds when it is retried.
fn shop(change: impl FnOnce(&mut Seed)) -> Shop {
    let mut seed = Seed::one_project("shop/checkout");
    seed.clock = Some(ClockSeed::Manual { start: "2026-11-02T08:00:00Z".parse().unwrap() });
    let flaky = JobPlay::ending("test", 5, [Outcome::Failed, Outcome::Success]);
    let tests = Tests { success: 7, failed: 1, skipped: 2, error: 0 };
    let jobs = [JobPlay::bridge("down", Triggers::default()), JobPlay::new("build", 5), flaky];
    seed.projects[0].script = vec![Play { tests, ..Play::jobs(jobs) }];
    change(&mut seed);
    let sim = GitlabSim::start(seed).unwrap();
    let at = super::endpoint(sim.url());
    Shop { sim, client: super::client(), at, token: SecretString::from(Seed::ACCESS_TOKEN) }
}

impl Shop {
    async fn fire(&self) -> u64 {
        let mut order = super::order(self.sim.url());
        order.variables.clear();
        let (answer, _) = self.client.fire_with_access(&order, &self.token, None).await;
        let Answer::Accepted(pipeline) = answer else { panic!("{answer:?}") };
        pipeline.id
    }
}

#[tokio::test]
async fn a_failed_pipeline_is_retried_and_its_new_job_has_a_new_id() {
    let shop = shop(|_| {});
    let id = shop.fire().await;
    let Shop { sim, client, at, token } = &shop;
    sim.advance(SignedDuration::from_secs(10));
    let failed = JobFilter::of(PipelineStatus::Failed);
    let before = client.jobs(at, id, &failed, token).await.unwrap();
    let [test] = &before.jobs[..] else { panic!("{before:?}") };
    let shown = (test.shown.name.as_str(), test.shown.failure_reason.as_deref());
    assert_eq!((shown, before.next), (("test", Some("script_failure")), None));

    assert_eq!(client.retry_pipeline(at, id, token).await.unwrap().status, PipelineStatus::Running);
    assert_eq!(client.jobs(at, id, &failed, token).await.unwrap().jobs, []);
    let all = JobFilter { retried: true, ..JobFilter::default() };
    let jobs = client.jobs(at, id, &all, token).await.unwrap().jobs;
    let ids: Vec<u64> = jobs.iter().map(|job| job.id).collect();
    assert!(ids.len() == 3 && ids[0] > test.id && ids.contains(&test.id), "{ids:?}");

    sim.advance(SignedDuration::from_secs(5));
    assert_eq!(client.pipeline(at, id, token).await.unwrap().status, PipelineStatus::Success);
    let tests = client.test_summary(at, id, token).await.unwrap();
    assert_eq!(tests, TestSummary { total: 10, success: 7, failed: 1, skipped: 2, error: 0 });
    let below = client.downstream(at, id, token).await.unwrap();
    assert_eq!(below[0].source.as_deref(), Some("parent_pipeline"));
}

#[tokio::test]
async fn a_pipeline_is_named_cancelled_and_by_its_owner_deleted() {
    let shop = shop(|seed| seed.projects[0].members = BTreeMap::from([("alice".into(), Role::Owner)]));
    let id = shop.fire().await;
    let Shop { sim, client, at, token } = &shop;
    client.name_pipeline(at, id, "release 1.2", token).await.unwrap();
    assert_eq!(client.cancel(at, id, token).await.unwrap().status, PipelineStatus::Canceled);
    assert_eq!(sim.pipeline_status(id), Some(Status::Canceled));
    for sentence in ["it is deleted", "it is deleted already"] {
        client.delete_pipeline(at, id, token).await.expect(sentence);
    }
    let gone = client.retry_pipeline(at, id, token).await.unwrap_err();
    assert_eq!((gone.kind, gone.reason), (ReadKind::NotFound, Reason::PipelineGone));
}

#[tokio::test]
async fn who_may_not_is_told_who_may() {
    let shop = shop(|_| {});
    let id = shop.fire().await;
    let Shop { sim, client, at, token } = &shop;
    let error = client.delete_pipeline(at, id, token).await.unwrap_err();
    assert_eq!((error.kind, error.reason), (ReadKind::Forbidden, Reason::Forbidden));
    assert!(error.message.contains("Only an Owner may"), "{error}");
    let old = Seed { version: Some("16.5".parse().unwrap()), ..Seed::default() };
    sim.add(old).unwrap();
    let error = client.name_pipeline(at, id, "x", token).await.unwrap_err();
    assert_eq!((error.kind, error.reason), (ReadKind::NotFound, Reason::Refused));
    let version = client.version(at, token).await.unwrap();
    assert_eq!(version.version.parse(), Ok(GitLabVersion { major: 16, minor: 5 }));
}

#[tokio::test]
async fn a_retry_whose_answer_was_lost_shows_in_the_jobs() {
    let shop = shop(|_| {});
    let id = shop.fire().await;
    let Shop { sim, client, at, token } = &shop;
    sim.advance(SignedDuration::from_secs(10));
    sim.fault(FaultRule::next("retry", Fault::EffectThenReset)).unwrap();
    assert_eq!(client.retry_pipeline(at, id, token).await.unwrap_err().kind, ReadKind::Trouble);
    let all = JobFilter { retried: true, ..JobFilter::default() };
    assert_eq!(client.jobs(at, id, &all, token).await.unwrap().jobs.len(), 3);
}

#[tokio::test]
async fn branches_are_found_by_a_part_of_their_name() {
    let names = ["main", "release/1.0", "release/2.0"];
    let shop = shop(|seed| seed.projects[0].branches = names.map(|name| (name.to_owned(), None)).into());
    let found = shop.client.branches(&shop.at, "ease/", &shop.token).await.unwrap();
    assert_eq!(found, ["release/1.0", "release/2.0"]);
}

fn nightly() -> ScheduleFields {
    ScheduleFields {
        description: "nightly".into(),
        git_ref: "main".into(),
        cron: "0 2 * * *".into(),
        cron_timezone: "Europe/Berlin".into(),
        active: false,
        inputs: BTreeMap::new(),
    }
}

fn variable(key: &str, value: &str, kind: VariableKind) -> ScheduleVariable {
    ScheduleVariable { key: key.into(), value: value.into(), kind }
}

#[tokio::test]
async fn a_schedule_is_made_inactive_given_its_variables_and_switched_on() {
    let Shop { sim, client, at, token } = shop(|_| {});
    let made = client.create_schedule(&at, &nightly(), &token).await.unwrap();
    assert_eq!((made.git_ref.as_str(), made.active), ("refs/heads/main", false));
    assert_eq!((made.variables, made.last_pipeline), (Some(Vec::new()), None));
    assert_eq!(made.next_run_at.unwrap().to_string(), "2026-11-03T01:03:00Z");
    assert_eq!(made.owner.unwrap().username, "alice");
    let secret = "value-canary-0123456789";
    for added in [variable("ENV", "dev", VariableKind::EnvVar), variable("KEY", secret, VariableKind::File)] {
        client.add_schedule_variable(&at, made.id, &added, &token).await.unwrap();
    }
    let twice = variable("ENV", "prod", VariableKind::EnvVar);
    let error = client.add_schedule_variable(&at, made.id, &twice, &token).await.unwrap_err();
    assert!(error.kind == ReadKind::Refused && error.message.contains("has already been taken"), "{error}");
    client.set_schedule_variable(&at, made.id, &twice, &token).await.unwrap();
    let on = ScheduleFields { active: true, ..nightly() };
    assert!(client.update_schedule(&at, made.id, &on, &token).await.unwrap().active);
    let shown = client.schedule(&at, made.id, &token).await.unwrap();
    assert_eq!(shown.variables, Some(vec![twice, variable("KEY", secret, VariableKind::File)]));
    assert!(!format!("{shown:?}").contains(secret), "a value may be a secret");
    sim.advance(SignedDuration::from_hours(24));
    let ran = client.schedule(&at, made.id, &token).await.unwrap().last_pipeline.unwrap();
    assert_eq!((ran.source.as_deref(), ran.id), (Some("schedule"), sim.ledger().pipelines[0].id));
    for _ in 0..2 {
        client.remove_schedule_variable(&at, made.id, "KEY", &token).await.unwrap();
    }
    assert_eq!(client.schedule(&at, made.id, &token).await.unwrap().variables.unwrap().len(), 1);
    for _ in 0..2 {
        client.delete_schedule(&at, made.id, &token).await.unwrap();
    }
    let gone = client.schedule(&at, made.id, &token).await.unwrap_err();
    assert!(gone.is_gone() && gone.kind == ReadKind::NotFound, "{gone:?}");
}

#[tokio::test]
async fn schedules_are_paged_and_inputs_replaced_by_name_and_a_lost_create_is_found_again() {
    let scheduling = ScheduleSettings { per_project: 1000, ..ScheduleSettings::default() };
    let Shop { sim, client, at, token } = shop(|seed| {
        seed.scheduling = Some(scheduling);
        seed.projects[0].schedules = (0..100)
            .map(|n| ScheduleSeed { description: format!("other {n}"), ..ScheduleSeed::default() })
            .collect();
    });
    sim.fault(FaultRule::next("schedule_create", Fault::EffectThenReset)).unwrap();
    let inputs = |pairs: &[(&str, Value)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    let with_inputs =
        ScheduleFields { inputs: inputs(&[("n", json!(3)), ("list", json!(["a"]))]), ..nightly() };
    let error = client.create_schedule(&at, &with_inputs, &token).await.unwrap_err();
    assert_eq!(error.kind, ReadKind::Trouble);
    let first = client.schedules(&at, 1, &token).await.unwrap();
    assert_eq!((first.schedules.len(), first.next), (100, Some(2)));
    let second = client.schedules(&at, 2, &token).await.unwrap();
    let [found] = &second.schedules[..] else { panic!("{second:?}") };
    assert_eq!((found.description.as_str(), second.next), ("nightly", None));
    assert_eq!((&found.inputs, &found.variables), (&with_inputs.inputs, &None));

    let changed = ScheduleFields { inputs: inputs(&[("n", json!(4)), ("list", Value::Null)]), ..nightly() };
    let changed = client.update_schedule(&at, found.id, &changed, &token).await.unwrap();
    assert_eq!(changed.inputs, inputs(&[("n", json!(4))]));
}

#[tokio::test]
async fn only_the_owner_changes_a_schedule_and_a_maintainer_takes_it_first() {
    let Shop { sim: _sim, client, at, token } = shop(|seed| {
        seed.users.push(UserSeed { username: "dora".into(), ..UserSeed::default() });
        seed.projects[0].members.insert("dora".into(), Role::Developer);
        let (description, owner) = ("dora's".to_owned(), "dora".to_owned());
        seed.projects[0].schedules = vec![ScheduleSeed { description, owner, ..ScheduleSeed::default() }];
    });
    let id = client.schedules(&at, 1, &token).await.unwrap().schedules[0].id;
    let error = client.update_schedule(&at, id, &nightly(), &token).await.unwrap_err();
    assert_eq!((error.kind, error.reason), (ReadKind::Forbidden, Reason::Forbidden));
    assert!(error.message.contains("only its owner"), "{error}");
    for _ in 0..2 {
        assert_eq!(client.take_schedule(&at, id, &token).await.unwrap().owner.unwrap().username, "alice");
    }
    assert_eq!(client.update_schedule(&at, id, &nightly(), &token).await.unwrap().description, "nightly");
}
