//! `runBy: GitLab`: a pipeline schedule inside GitLab is kept equal to the object, whatever happens to either.
//!
//! The judge is what the simulator stores, and its ledger of calls and runs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use pipekick_sandbox::gitlab::{
    AccessTokenSeed, CallRecord, Ci, Fault, FaultRule, InputSpec, Role, Schedule, Scope, Seed, Source,
    UserSeed,
};
use serde_json::{Value, json};

use crate::harness::gitlab::{PROJECT, playing, project, quick};
use crate::harness::schedules::{in_gitlab, schedule};
use crate::harness::{ConfigMap, Secret, Seen, Story, Trigger, story};

const OTHER: &str = "shop/other";
const EVES_TOKEN: &str = "glpat-eve-0123456789";
/// Several looks.
const A_WHILE: Duration = Duration::from_secs(3);
/// Looks every second, and lost requests are settled in a few.
const QUICK: &[&str] = &[
    "--schedule-interval",
    "1s",
    "--request-deadline",
    "1s",
    "--gitlab-request-limit",
    "1s",
    "--resolution-delay",
    "2s",
];

/// Two projects, and eve beside alice in the first.
fn seed() -> Seed {
    let mut seed = playing(quick());
    seed.projects[0].inputs = BTreeMap::from([("tier".into(), InputSpec::default())]);
    seed.projects[0].members.insert("eve".into(), Role::Maintainer);
    seed.projects.push(project(OTHER, quick()));
    seed.users.push(UserSeed { username: "eve".into(), ..UserSeed::default() });
    seed.access_tokens.push(AccessTokenSeed {
        token: EVES_TOKEN.into(),
        name: "eve".into(),
        user: "eve".into(),
        scopes: vec![Scope::Api],
        ..AccessTokenSeed::default()
    });
    seed
}

/// With two variables and an input.
fn nightly() -> Trigger {
    in_gitlab("nightly", "17 2 * * *")
        .with("spec.timeZone", "Europe/Berlin")
        .with("spec.triggerTemplate.spec.inputs", json!({"tier": "gold"}))
        .with(
            "spec.triggerTemplate.spec.variables",
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2", "type": "File"}]),
        )
}

impl Story {
    /// The one schedule of a project.
    fn held(&self, project: &str) -> Schedule {
        let [held] = &self.gitlab.schedules(project)[..] else {
            panic!("{:?}", self.gitlab.schedules(project));
        };
        held.clone()
    }

    async fn until_equal(&self, name: &str) -> Seen {
        self.until_schedule(name, "be equal in GitLab", |seen| {
            seen.is_current() && seen.reason() == "Scheduled" && !seen.at("status.gitlab.equalAt").is_null()
        })
        .await
    }

    /// Requests about schedules that changed something.
    fn changes(&self) -> Vec<String> {
        let of = |call: &&CallRecord| call.path.contains("pipeline_schedules") && call.method != "GET";
        self.ledger().calls.iter().filter(of).map(|call| format!("{} {}", call.method, call.path)).collect()
    }

    /// A person at GitLab, below `/pipeline_schedules/<id>`.
    async fn person(&self, token: &str, method: &str, path: &str, body: Value) {
        let id = self.held(PROJECT).id;
        let at =
            format!("{}/api/v4/projects/shop%2Fcheckout/pipeline_schedules/{id}{path}", self.gitlab.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.request(method.parse().unwrap(), at).header("PRIVATE-TOKEN", token);
        let answer = request.json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
    }
}

fn values(held: &Schedule) -> Vec<(String, String)> {
    let mut values: Vec<_> = held.variables.iter().map(|v| (v.key.clone(), v.value.clone())).collect();
    values.sort();
    values
}

fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn it_is_created_whole_and_then_left_alone() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        let seen = story.until_equal("nightly").await;
        let held = story.held(PROJECT);
        assert_eq!((held.cron.as_str(), held.cron_timezone.as_str()), ("17 2 * * *", "Europe/Berlin"));
        assert_eq!((held.git_ref.as_str(), held.active), ("refs/heads/main", true));
        assert_eq!(values(&held), pairs(&[("A", "1"), ("B", "2")]));
        assert_eq!(held.inputs["tier"], "gold");
        let marker = format!("/{}/nightly]", story.namespace);
        assert!(
            held.description.starts_with("nightly [pipekick.dev:") && held.description.ends_with(&marker)
        );
        assert_eq!(seen.number("status.gitlab.scheduleId").unsigned_abs(), held.id);
        assert_eq!(seen.text("status.nextScheduleTime"), held.next_run_at.unwrap().to_string());
        let page = format!("/shop/checkout/-/pipeline_schedules/{}/edit", held.id);
        assert!(seen.text("status.gitlab.webUrl").ends_with(&page));
        assert_eq!(seen.text("status.gitlab.owner"), "alice");
        story.until_event("nightly", "CreatedInGitLab", "pipeline schedule").await;

        let (changes, version) = (story.changes(), seen.text("metadata.resourceVersion").to_owned());
        assert_eq!(
            changes.iter().filter(|call| call.ends_with("pipeline_schedules")).count(),
            1,
            "{changes:?}"
        );
        story.rest(A_WHILE).await;
        assert_eq!(story.changes(), changes);
        let seen = story.schedule("nightly").await;
        assert_eq!(seen.text("metadata.resourceVersion"), version);
        assert!(story.children("nightly").await.is_empty() && story.ledger().pipelines.is_empty());
    });
}

#[test]
fn gitlab_runs_it_and_status_tells_when_and_what_came_of_it() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        story.gitlab.advance(SignedDuration::from_hours(24));
        let ran = story
            .until_schedule("nightly", "show the pipeline", |s| {
                s.text("status.gitlab.lastPipeline.status") == "success"
            })
            .await;
        let [pipeline] = &story.ledger().pipelines[..] else { panic!("one run") };
        assert_eq!(pipeline.source, Source::Schedule);
        assert_eq!(ran.number("status.gitlab.lastPipeline.id").unsigned_abs(), pipeline.id);
        assert!(!ran.text("status.lastScheduleTime").is_empty());
        assert!(!ran.text("status.lastSuccessfulTime").is_empty());
        assert_eq!(ran.text("status.nextScheduleTime"), story.held(PROJECT).next_run_at.unwrap().to_string());
        assert!(ran.at("status.missed").is_null());
    });
}

#[test]
fn drift_is_set_right_and_told_and_values_are_not() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let set = |field: &str, value: Value| ("PUT", String::new(), json!({field: value}));
        let cases = [
            (set("cron", "* * * * *".into()), "cron was"),
            (set("cron_timezone", "UTC".into()), "time zone was"),
            (set("ref", "next".into()), "ref was"),
            (set("active", false.into()), "it was inactive"),
            (set("description", "mine".into()), "description was"),
            (set("inputs", json!([{"name": "tier", "value": "tin"}])), "input tier was"),
            (("PUT", "/variables/A".into(), json!({"value": "hunter22"})), "variable A had another value"),
            (("DELETE", "/variables/B".into(), json!({})), "variable B was missing"),
            (
                ("POST", "/variables".into(), json!({"key": "C", "value": "hunter22"})),
                "variable C is not in spec",
            ),
        ];
        for ((method, path, body), says) in cases {
            story.person(Seed::ACCESS_TOKEN, method, &path, body).await;
            story
                .until_schedule("nightly", &format!("say that {says}"), |seen| {
                    seen.text("status.gitlab.lastDrift.message").contains(says)
                        && seen.reason() == "Scheduled"
                })
                .await;
            let held = story.held(PROJECT);
            assert_eq!((held.cron.as_str(), held.cron_timezone.as_str()), ("17 2 * * *", "Europe/Berlin"));
            assert_eq!((held.git_ref.as_str(), held.active), ("refs/heads/main", true));
            assert_eq!(values(&held), pairs(&[("A", "1"), ("B", "2")]));
            assert_eq!(held.inputs["tier"], "gold");
            story.until_event("nightly", "DriftRepaired", says).await;
        }
        story.person(EVES_TOKEN, "POST", "/take_ownership", json!({})).await;
        let seen = story
            .until_schedule("nightly", "be ours again", |seen| {
                seen.text("status.gitlab.lastDrift.message") == "it belonged to eve"
            })
            .await;
        assert_eq!(seen.text("status.gitlab.owner"), "alice");
        assert!(!seen.yaml().contains("hunter22") && !story.log().contains("hunter22"));

        let id = story.held(PROJECT).id;
        story.person(Seed::ACCESS_TOKEN, "DELETE", "", json!({})).await;
        story.until_event("nightly", "DriftRepaired", "is not in project").await;
        story.until_equal("nightly").await;
        assert!(story.held(PROJECT).id > id && story.held(PROJECT).active);
    });
}

#[test]
fn an_edit_changes_what_differs_and_suspend_switches_it_off() {
    story(seed(), async |story| {
        story.operator(&[]);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let before = story.changes().len();
        let edited = nightly().with("spec.schedule", "@daily").with(
            "spec.triggerTemplate.spec.variables",
            json!([{"name": "A", "value": "1"}, {"name": "C", "value": "3"}]),
        );
        story.apply_schedule(&edited).await;
        story.until_equal("nightly").await;
        let held = story.held(PROJECT);
        assert_eq!((held.cron.as_str(), values(&held)), ("0 0 * * *", pairs(&[("A", "1"), ("C", "3")])));
        assert_eq!(story.changes().len(), before + 3, "{:?}", story.changes());
        story.until_event("nightly", "UpdatedInGitLab", "cron was").await;

        story.apply_schedule(&edited.clone().with("spec.suspend", true)).await;
        let off = story.until_schedule("nightly", "be suspended", |seen| seen.reason() == "Suspended").await;
        assert!(!story.held(PROJECT).active && off.at("status.nextScheduleTime").is_null());
        story.apply_schedule(&edited.with("spec.suspend", false)).await;
        story.until_equal("nightly").await;
        assert!(story.held(PROJECT).active);
        assert!(story.ledger().pipelines.is_empty(), "resuming fires nothing");
    });
}

#[test]
fn values_come_from_secrets_and_config_maps_and_follow_them() {
    let from = json!([
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "values", "key": "key"}}},
        {"name": "NOTES", "valueFrom": {"configMapKeyRef": {"name": "notes", "key": "text"}}},
        {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]);
    story(seed(), async |story| {
        story.operator(QUICK);
        story.config_map(&ConfigMap::new("notes").text("text", "first")).await;
        story.apply_schedule(&nightly().with("spec.triggerTemplate.spec.variables", from)).await;
        let waits = |seen: &Seen| seen.reason() == "ValueMissing" && seen.message().contains("values");
        story.until_schedule("nightly", "miss a value", waits).await;
        assert!(story.gitlab.schedules(PROJECT).is_empty());
        let secret =
            |value| Secret::unmarked("values").label("pipekick.dev/variables", "true").key("key", value);
        story.secret(secret("s3cret-one")).await;
        story.until_equal("nightly").await;
        let expected = |key, notes| pairs(&[("KEY", key), ("NOTES", notes), ("WHO", "nightly")]);
        assert_eq!(values(&story.held(PROJECT)), expected("s3cret-one", "first"));
        story.secret(secret("s3cret-two")).await;
        story.config_map(&ConfigMap::new("notes").text("text", "second")).await;
        story
            .until_true("the values should follow", async || {
                let now = values(&story.held(PROJECT));
                if now == expected("s3cret-two", "second") { Ok(()) } else { Err(format!("{now:?}")) }
            })
            .await;
    });
}

#[test]
fn a_lost_reply_is_found_again_and_a_lost_request_sent_again() {
    for fault in
        [Fault::EffectThenReset, Fault::Reset, Fault::LateEffect { after: SignedDuration::from_millis(800) }]
    {
        story(seed(), async |story| {
            story.gitlab.fault(FaultRule::next("schedule_create", fault.clone())).unwrap();
            story.operator(QUICK);
            story.apply_schedule(&nightly()).await;
            story.until_schedule("nightly", "not know", |seen| seen.reason() == "OutcomeUnknown").await;
            story.until_equal("nightly").await;
            story.rest(A_WHILE).await;
            let held = story.held(PROJECT);
            assert!(held.active && values(&held).len() == 2, "{fault:?}");
            let creates =
                story.changes().into_iter().filter(|call| call.ends_with("pipeline_schedules")).count();
            assert_eq!(creates, if fault == Fault::Reset { 2 } else { 1 }, "{fault:?}");
        });
    }
}

#[test]
fn deleting_the_object_deletes_it_there_and_orphan_leaves_it() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let finalizers = story.schedule("nightly").await.at("metadata.finalizers").clone();
        assert_eq!(finalizers, json!(["pipekick.dev/gitlab-schedule"]));
        story.delete_schedule("nightly").await;
        story.until_schedule_gone("nightly").await;
        assert!(story.gitlab.schedules(PROJECT).is_empty());

        story.apply_schedule(&nightly().with("spec.deletionPolicy", "Orphan")).await;
        story.until_equal("nightly").await;
        let left = story.held(PROJECT);
        story.delete_schedule("nightly").await;
        story.until_schedule_gone("nightly").await;
        assert!(story.held(PROJECT).active);

        // Made anew, it takes on what it left.
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        assert_eq!(story.held(PROJECT).id, left.id);
        story.until_event("nightly", "AdoptedInGitLab", "mark").await;
    });
}

#[test]
fn a_deletion_waits_for_a_missing_secret_no_longer_than_its_patience() {
    story(seed(), async |story| {
        story.operator(&["--cancel-patience", "3s"]);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        story.delete_secret("gitlab").await;
        story.delete_schedule("nightly").await;
        story.until_schedule_gone("nightly").await;
        story.until_event("nightly", "LeftInGitLab", "may go on in project shop/checkout").await;
        assert_eq!(story.gitlab.schedules(PROJECT).len(), 1);
    });
}

#[test]
fn another_project_in_spec_moves_it() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let there = nightly().with("spec.triggerTemplate.spec.gitlab.project", OTHER);
        story.apply_schedule(&there.without("spec.triggerTemplate.spec.inputs")).await;
        story.until_equal("nightly").await;
        assert!(story.gitlab.schedules(PROJECT).is_empty());
        assert!(story.held(OTHER).active && values(&story.held(OTHER)).len() == 2);
    });
}

#[test]
fn what_gitlab_switched_off_is_stalled_until_somebody_acts() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        // The owner may read and no more when it is due; the token's user is the owner.
        let role = |role| {
            let mut seed = Seed::default();
            let mut changed = project(PROJECT, quick());
            changed.members = BTreeMap::from([("alice".into(), role)]);
            seed.projects.push(changed);
            seed
        };
        story.gitlab.add(role(Role::Reporter)).unwrap();
        story.gitlab.advance(SignedDuration::from_hours(24));
        let off = story
            .until_schedule("nightly", "be switched off", |seen| seen.reason() == "DeactivatedByGitLab")
            .await;
        assert_eq!(off.truth("Stalled"), "True");
        assert!(
            off.message().contains("alice") && off.message().contains("refs/heads/main"),
            "{}",
            off.message()
        );
        assert_eq!(off.at("status.missed.count"), 1);
        let changes = story.changes();
        story.rest(A_WHILE).await;
        assert_eq!(story.changes(), changes, "it is left as GitLab wants it");
        assert!(story.ledger().pipelines.is_empty());

        story.gitlab.add(role(Role::Owner)).unwrap();
        story.apply_schedule(&nightly().with("spec.schedule", "18 2 * * *")).await;
        story.until_equal("nightly").await;
        assert!(story.held(PROJECT).active);
    });
}

#[test]
fn a_run_without_a_pipeline_is_told() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let mut broken = project(PROJECT, quick());
        broken.ci = Ci::Filtered;
        broken.inputs = BTreeMap::from([("tier".into(), InputSpec::default())]);
        story.gitlab.add(Seed { projects: vec![broken], ..Seed::default() }).unwrap();
        story.gitlab.advance(SignedDuration::from_hours(24));
        story.until_event("nightly", "NoPipelineMade", "made no pipeline").await;
        assert_eq!(*story.schedule("nightly").await.at("status.missed.count"), 1);
    });
}

#[test]
fn a_token_that_may_not_says_what_it_takes() {
    let mut seed = seed();
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-reads-0123456789".into(),
        name: "reads".into(),
        user: "alice".into(),
        scopes: vec![Scope::ReadApi],
        ..AccessTokenSeed::default()
    });
    seed.users.push(UserSeed { username: "guest".into(), ..UserSeed::default() });
    seed.projects[0].members.insert("guest".into(), Role::Reporter);
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-guest-0123456789".into(),
        name: "guest".into(),
        user: "guest".into(),
        scopes: vec![Scope::Api],
        ..AccessTokenSeed::default()
    });
    story(seed, async |story| {
        let tokens = Secret::new("tokens").key("reads", "glpat-reads-0123456789");
        story.secret(tokens.key("guest", "glpat-guest-0123456789")).await;
        story.operator(QUICK);
        for (key, reason, says) in [
            ("reads", "InsufficientScope", "api"),
            ("guest", "Forbidden", "may not create pipeline schedules"),
        ] {
            let refused = in_gitlab(key, "17 2 * * *").with(
                "spec.triggerTemplate.spec.gitlab.accessTokenRef",
                json!({"name": "tokens", "key": key}),
            );
            story.apply_schedule(&refused).await;
            let seen = story.until_schedule(key, "be refused", |seen| seen.reason() == reason).await;
            assert!(seen.message().contains(says), "{}", seen.message());
            assert_eq!(seen.truth("Stalled"), "True");
        }
    });
}

#[test]
fn who_runs_it_cannot_be_changed_and_made_anew_it_fires_nothing_twice() {
    story(seed(), async |story| {
        story.operator(QUICK);
        let by_gitlab = in_gitlab("nightly", "17 2 * * *");
        story.apply_schedule(&by_gitlab).await;
        story.until_equal("nightly").await;
        let by_us = schedule("nightly", "17 2 * * *");
        let refused = story.schedule_edit_refused(&by_us).await.unwrap_or_default();
        assert!(refused.contains("runBy cannot be changed"), "{refused}");
        story.delete_schedule("nightly").await;
        story.until_schedule_gone("nightly").await;
        assert!(story.gitlab.schedules(PROJECT).is_empty(), "GitLab runs it no more");
        story.known_schedule(&by_us).await;
        let refused = story.schedule_edit_refused(&by_gitlab).await.unwrap_or_default();
        assert!(refused.contains("runBy cannot be changed"), "{refused}");
        story.rest(A_WHILE).await;
        assert!(story.ledger().pipelines.is_empty() && story.ledger().schedule_runs.is_empty());
    });
}

#[test]
fn what_gitlab_cannot_do_is_refused_with_what_to_write_instead() {
    const TEMPLATE: &str = "spec.triggerTemplate.spec";
    story(seed(), async |story| {
        assert_eq!(story.schedule_refused(&nightly()).await, None);
        let with = |path: &str, value: Value| nightly().with(path, value);
        let template = |field: &str, value: Value| nightly().with(&format!("{TEMPLATE}.{field}"), value);
        for (wrong, says) in [
            (
                with("spec.schedules", json!(["0 1 * * *", "0 2 * * *"])).without("spec.schedule"),
                "takes one schedule",
            ),
            (with("spec.schedules", json!(["@every 90m"])).without("spec.schedule"), "knows no @every"),
            (with("spec.schedule", "@every 90m".into()), "knows no @every"),
            (with("spec.dst", json!({"gap": "Skip"})), "leave dst or runBy out"),
            (with("spec.startingDeadline", "10m".into()), "leave startingDeadline or runBy out"),
            (with("spec.missedRuns", "Skip".into()), "leave missedRuns or runBy out"),
            (with("spec.concurrencyPolicy", "Forbid".into()), "resource_group"),
            (with("spec.jitter", "5m".into()), "write H"),
            (with("spec.successfulRunsHistoryLimit", 1.into()), "leave successfulRunsHistoryLimit"),
            (with("spec.failedRunsHistoryLimit", 1.into()), "leave failedRunsHistoryLimit"),
            (with("spec.triggerTemplate.metadata", json!({"labels": {"a": "b"}})), "leave it out"),
            (nightly().without("spec.triggerTemplate.spec.gitlab.accessTokenRef"), "accessTokenRef"),
            (template("gitlab.triggerTokenRef", json!({"name": "gitlab", "key": "t"})), "triggerTokenRef"),
            (template("timeout", "1h".into()), "write timeout into .gitlab-ci.yml"),
            (template("retry", json!({"limit": 1})), "write retry into the jobs"),
            (template("name", "x".into()), "write workflow:name"),
            (template("concurrencyPolicy", "Wait".into()), "workflow:auto_cancel"),
            (template("deletionPolicy", "Orphan".into()), "own deletionPolicy"),
            (template("onUnknown", "Hold".into()), "onUnknown"),
            (template("historyLimit", 1.into()), "GitLab keeps the pipelines"),
            (template("historyDeletesPipelines", true.into()), "historyDeletesPipelines"),
            (template("payload", json!({"a": 1})), "payload"),
            (template("cancelOnTimeout", true.into()), "cancelOnTimeout"),
            (
                template(
                    "imageUpdates",
                    json!([{"branch": "main", "edits": [{"file": "a", "path": "b", "value": "c"}]}]),
                ),
                "imageUpdates",
            ),
            (
                template(
                    "outputs",
                    json!([{"name": "IMAGE", "job": "build", "artifact": "build.env", "key": "IMAGE"}]),
                ),
                "triggerTemplate.spec.outputs is for runBy: Cluster",
            ),
            (with("spec.maxCatchUp", 3.into()), "maxCatchUp"),
            (schedule("ours", "@daily").with("spec.deletionPolicy", "Orphan"), "belongs to runBy: GitLab"),
        ] {
            let refused = story.schedule_refused(&wrong).await.unwrap_or_default();
            assert!(refused.contains(says), "{says}: {refused}");
        }
        // What only the operator can see is said in status.
        story.operator(QUICK);
        story.apply_schedule(&in_gitlab("wrong", "61 * * * *")).await;
        let seen = story.until_schedule("wrong", "be refused", |seen| seen.reason() == "InvalidSpec").await;
        assert!(seen.message().contains("61 in the minute field"), "{}", seen.message());
    });
}

#[test]
fn a_list_of_one_schedule_is_kept_in_gitlab_as_one() {
    story(seed(), async |story| {
        story.operator(QUICK);
        let list = nightly().without("spec.schedule").with("spec.schedules", json!(["23 3 * * *"]));
        story.apply_schedule(&list).await;
        let equal = story.until_equal("nightly").await;
        assert_eq!(equal.at("status.resolvedSchedules"), &json!(["23 3 * * *"]));
        assert_eq!(story.held(PROJECT).cron, "23 3 * * *");
    });
}

#[test]
fn without_a_cluster_id_the_uid_of_kube_system_tells_clusters_apart() {
    story(seed(), async |story| {
        story.operator(QUICK);
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let namespaces: Api<Namespace> = Api::all(story.client.clone());
        let uid = namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap();
        let held = story.held(PROJECT);
        let mark = format!("pipekick.dev:{uid}/{}/nightly", story.namespace);
        assert!(held.description.contains(&mark), "{} should have {mark}", held.description);
    });
}

#[test]
fn schedules_of_two_clusters_in_one_project_do_not_touch_each_other() {
    story(seed(), async |story| {
        story.operator(&[QUICK, &["--cluster-id", "blue"]].concat());
        story.apply_schedule(&nightly()).await;
        story.until_equal("nightly").await;
        let blue = story.held(PROJECT);
        assert!(blue.description.contains("pipekick.dev:blue/"), "{}", blue.description);
        // Rebuilt elsewhere: another id, and nothing in status.
        story.kill_operators();
        story.forget_gitlab("nightly").await;
        story.operator(&[QUICK, &["--cluster-id", "green"]].concat());
        story
            .until_true("there should be two", async || {
                let all = story.gitlab.schedules(PROJECT);
                let active = all.iter().filter(|held| held.active).count();
                if active == 2 { Ok(()) } else { Err(format!("{all:?}")) }
            })
            .await;
        // Rebuilt once more, with the old id: it takes its own up again.
        story.kill_operators();
        let green =
            story.gitlab.schedules(PROJECT).iter().map(|held| held.id).find(|id| *id != blue.id).unwrap();
        story.forget_gitlab("nightly").await;
        story.operator(&[QUICK, &["--cluster-id", "green"]].concat());
        let again = |seen: &Seen| *seen.at("status.gitlab.scheduleId") == green;
        story.until_schedule("nightly", "be adopted", again).await;
        assert_eq!(story.gitlab.schedules(PROJECT).len(), 2);
        story.delete_schedule("nightly").await;
        story.until_schedule_gone("nightly").await;
        assert_eq!(story.held(PROJECT).id, blue.id);
    });
}

#[test]
fn a_paused_operator_changes_nothing_in_gitlab() {
    story(seed(), async |story| {
        story.operator(&[QUICK, &["--pause"]].concat());
        story.apply_schedule(&nightly()).await;
        story.until_schedule("nightly", "be paused", |seen| seen.reason() == "Paused").await;
        story.rest(A_WHILE).await;
        assert!(story.changes().is_empty());
        story.kill_operators();
        story.operator(QUICK);
        story.until_equal("nightly").await;
    });
}
