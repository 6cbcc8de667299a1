//! GitLab says no: each reason is told with what to do about it, nothing is hammered, and what was mended fires.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Ci, ClockSeed, Fault, FaultRule, Limits, ProjectSeed, Protection, Role, Scope, Seed,
    TriggerSeed, UserSeed, VariablesRole,
};
use serde_json::json;

use crate::harness::gitlab::{long, playing, project, quick};
use crate::harness::{Secret, Seen, Trigger, status_writes, story};

/// Longer than any back-off that would be a hot loop.
const A_WHILE: Duration = Duration::from_secs(5);

struct Case {
    /// Its name, and its project's.
    name: &'static str,
    project: fn(ProjectSeed) -> ProjectSeed,
    trigger: fn(Trigger) -> Trigger,
    reason: &'static str,
    /// What the message says, and what to do.
    words: &'static [&'static str],
}

fn same<T>(it: T) -> T {
    it
}

fn by_access(trigger: Trigger) -> Trigger {
    trigger.without("spec.gitlab.triggerTokenRef")
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    Case { name: "wrong-token", project: same, trigger: |t| t.with("spec.gitlab.triggerTokenRef.key", "wrong"),
           reason: "TriggerTokenUnknown", words: &["404", "shop/wrong-token is there", "Pipeline trigger tokens"] },
    Case { name: "wrong-token-alone", project: same,
           trigger: |t| t.without("spec.gitlab.accessTokenRef").with("spec.gitlab.triggerTokenRef.key", "wrong"),
           reason: "NotFoundByTrigger", words: &["404", "shop/wrong-token-alone", "does not say which", "accessTokenRef"] },
    Case { name: "wrong-tokens", project: same,
           trigger: |t| t.with("spec.gitlab.triggerTokenRef.key", "wrong").with("spec.gitlab.accessTokenRef.key", "wrong"),
           reason: "NotFoundByTrigger", words: &["404", "could not tell", "401"] },
    Case { name: "hidden", project: |p| ProjectSeed { members: BTreeMap::from([("bob".into(), Role::Owner)]), ..p },
           trigger: |t| t.with("spec.gitlab.triggerTokenRef.key", "wrong"),
           reason: "ProjectNotFound", words: &["404", "shop/hidden does not exist", "may not see it either"] },
    Case { name: "no-project", project: same, trigger: |t| t.with("spec.gitlab.project", "shop/nowhere"),
           reason: "ProjectNotFound", words: &["404", "shop/nowhere does not exist", "Correct the project"] },
    Case { name: "no-ref", project: same, trigger: |t| t.with("spec.ref", "mian"),
           reason: "RefNotFound", words: &["Reference not found", "\"mian\"", "correct the ref", "Did you mean \"main\"?"] },
    Case { name: "no-ref-of-many", project: |p| ProjectSeed { branches: many_branches(), ..p },
           trigger: |t| t.with("spec.ref", "relaese/2026.11"),
           reason: "RefNotFound", words: &["Did you mean \"release/2026.11\"?"] },
    Case { name: "no-ref-unread", project: same,
           trigger: |t| t.without("spec.gitlab.accessTokenRef").with("spec.ref", "mian"),
           reason: "RefNotFound", words: &["correct the ref"] },
    Case { name: "protected", project: |p| ProjectSeed {
               protected: vec![Protection { pattern: "main".into(), role: Role::Maintainer }], ..owned_by_bob(p) },
           trigger: |t| t.with("spec.gitlab.triggerTokenRef.key", "bob"),
           reason: "RefProtected", words: &["\"main\" is protected", "Allow that user"] },
    Case { name: "no-variables", project: |p| ProjectSeed { variables_role: VariablesRole::NoOneAllowed, ..p }, trigger: same,
           reason: "VariablesRefused", words: &["TRIGGER_PAYLOAD", "Minimum role"] },
    Case { name: "filtered", project: |p| ProjectSeed { ci: Ci::Filtered, ..p }, trigger: same,
           reason: "NoJobs", words: &["workflow:rules", "$CI_PIPELINE_SOURCE"] },
    Case { name: "empty", project: |p| ProjectSeed { ci: Ci::Empty, ..p }, trigger: same,
           reason: "NoJobs", words: &["no job's rules", "$CI_PIPELINE_SOURCE"] },
    Case { name: "no-ci", project: |p| ProjectSeed { ci: Ci::Missing, ..p }, trigger: same,
           reason: "NoCiConfig", words: &[".gitlab-ci.yml"] },
    Case { name: "switched-off", project: |p| ProjectSeed { pipelines_enabled: false, ..p }, trigger: same,
           reason: "Forbidden", words: &["switched off", "Switch it on"] },
    Case { name: "guest", project: |p| ProjectSeed {
               members: BTreeMap::from([("alice".into(), Role::Owner), ("bob".into(), Role::Guest)]), ..owned_by_bob(p) },
           trigger: |t| t.with("spec.gitlab.triggerTokenRef.key", "bob"),
           reason: "Forbidden", words: &["Developer"] },
    Case { name: "scope", project: same, trigger: |t| by_access(t).with("spec.gitlab.accessTokenRef.key", "reader"),
           reason: "InsufficientScope", words: &["scope api", "make a new token"] },
    Case { name: "unknown-access", project: same, trigger: |t| by_access(t).with("spec.gitlab.accessTokenRef.key", "wrong"),
           reason: "Unauthorized", words: &["401", "valid one into the Secret"] },
    Case { name: "expired", project: same, trigger: |t| by_access(t).with("spec.gitlab.accessTokenRef.key", "expired"),
           reason: "Unauthorized", words: &["401", "the access token has expired", "new one into the Secret"] },
    Case { name: "revoked", project: same, trigger: |t| by_access(t).with("spec.gitlab.accessTokenRef.key", "revoked"),
           reason: "Unauthorized", words: &["401", "revoked", "new one into the Secret"] },
    Case { name: "blocked", project: same, trigger: |t| by_access(t).with("spec.gitlab.accessTokenRef.key", "blocked"),
           reason: "Forbidden", words: &["blocked in GitLab", "unblocked"] },
    Case { name: "ambiguous", project: |p| ProjectSeed { tags: BTreeMap::from([("main".into(), None)]), ..p }, trigger: same,
           reason: "Refused", words: &["both a branch and a tag", "Write refs/heads/"] },
    Case { name: "trigger-expired", project: |p| ProjectSeed {
               triggers: vec![TriggerSeed { expires_at: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..p.triggers[0].clone() }], ..p },
           trigger: same, reason: "TriggerTokenUnknown", words: &["404", "shop/trigger-expired is there"] },
    Case { name: "unseen-project", project: |p| ProjectSeed { members: BTreeMap::from([("bob".into(), Role::Owner)]), ..p }, trigger: by_access,
           reason: "ProjectNotFound", words: &["may not see it"] },
    Case { name: "bad-yaml-by-access", project: |p| ProjectSeed { ci: Ci::Invalid("jobs:build config contains unknown keys: scirpt".into()), ..p }, trigger: by_access,
           reason: "Refused", words: &["jobs:build config contains unknown keys: scirpt"] },
];

/// More than a page, and the one that is meant on neither the first nor the second.
fn many_branches() -> BTreeMap<String, Option<String>> {
    let names = (0..250).map(|number| format!("feature/{number:03}"));
    names.chain(["main".into(), "release/2026.11".into()]).map(|name| (name, None)).collect()
}

fn owned_by_bob(project: ProjectSeed) -> ProjectSeed {
    let members = BTreeMap::from([("alice".into(), Role::Owner), ("bob".into(), Role::Developer)]);
    let token = TriggerSeed {
        token: "glptt-of-bob".into(),
        description: "bobs".into(),
        owner: "bob".into(),
        ..TriggerSeed::default()
    };
    let members = if project.members.contains_key("bob") { project.members } else { members };
    ProjectSeed { members, triggers: vec![token], ..project }
}

fn seed() -> Seed {
    let mut seed = playing(quick());
    seed.users.push(UserSeed { username: "bob".into(), ..UserSeed::default() });
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-reader".into(),
        name: "reader".into(),
        user: "alice".into(),
        scopes: vec![Scope::ReadApi],
        ..AccessTokenSeed::default()
    });
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-of-last-year".into(),
        name: "expired".into(),
        user: "alice".into(),
        scopes: vec![Scope::Api],
        expires_at: Some("2020-01-01T00:00:00Z".parse().unwrap()),
        ..AccessTokenSeed::default()
    });
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-taken-back".into(),
        name: "revoked".into(),
        user: "alice".into(),
        scopes: vec![Scope::Api],
        revoked: true,
        ..AccessTokenSeed::default()
    });
    seed.users.push(UserSeed { username: "carol".into(), blocked: true, ..UserSeed::default() });
    seed.access_tokens.push(AccessTokenSeed {
        token: "glpat-of-carol".into(),
        name: "blocked".into(),
        user: "carol".into(),
        scopes: vec![Scope::Api],
        ..AccessTokenSeed::default()
    });
    let projects = CASES.iter().map(|case| (case.project)(project(&format!("shop/{}", case.name), quick())));
    seed.projects.extend(projects);
    seed
}

fn tokens() -> Secret {
    Secret::new("gitlab")
        .key("trigger-token", Seed::TRIGGER_TOKEN)
        .key("access-token", Seed::ACCESS_TOKEN)
        .key("bob", "glptt-of-bob")
        .key("reader", "glpat-reader")
        .key("expired", "glpat-of-last-year")
        .key("revoked", "glpat-taken-back")
        .key("blocked", "glpat-of-carol")
        .key("wrong", "glxxx-of-nobody")
}

#[test]
fn each_refusal_is_explained_once_and_not_hammered() {
    story(seed(), async |story| {
        story.secret(tokens()).await;
        story.operator(&[]);
        let versions = story.record_versions().await;
        for case in CASES {
            let trigger = Trigger::new(case.name).with("spec.gitlab.project", format!("shop/{}", case.name));
            story.apply(&(case.trigger)(trigger)).await;
        }
        for case in CASES {
            let Case { name, reason, words, project: _, trigger: _ } = case;
            let seen = story.until_phase(name, "Rejected").await;
            assert_eq!(seen.reason(), *reason, "{name}: {}", seen.message());
            for word in *words {
                assert!(seen.message().contains(word), "{name}: `{word}` is not in: {}", seen.message());
            }
            let truths =
                ["Ready", "Reconciling", "Stalled", "Fired", "Succeeded"].map(|kind| seen.truth(kind));
            assert_eq!(truths, ["False", "", "True", "False", "False"], "{name}");
            assert_eq!(seen.text("status.run.attempt.last"), "Refused", "{name}");
            assert_eq!(seen.at("status.run").get("pipeline"), None, "{name}");
        }
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(story.ledger().pipelines.len(), 0);
        let posts = story.ledger().calls.iter().filter(|call| call.method == "POST").count();
        assert_eq!(posts, CASES.len(), "each was sent once");
        let looks = story.ledger().calls.len() - posts;
        assert!(looks <= 5 + 3 + 1, "{looks} looks into refusals");
        for case in CASES {
            let seen = story.look(case.name).await;
            let writes = status_writes(&versions.up_to(&seen).await);
            assert!(writes <= 2, "{}: {writes} status writes", case.name);
            story.until_event(case.name, case.reason, "").await;
            let told = story.events(case.name).await;
            assert_eq!(told, [("Warning".to_owned(), case.reason.to_owned())], "{}", case.name);
        }
    });
}

#[test]
fn invalid_yaml_is_a_pipeline_that_failed_at_birth_and_is_not_fired_again() {
    let mut seed = playing(quick());
    seed.projects[0].ci = Ci::Invalid("jobs:build config contains unknown keys: scirpt".into());
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Failed").await;
        let linked = |seen: &Seen| seen.at("status.run.pipeline.id") == story.pipelines_of("checkout")[0].id;
        let seen = story.until("checkout", "link the failed pipeline", linked).await;
        assert_eq!(seen.reason(), "PipelineFailedAtBirth");
        assert!(seen.message().contains("unknown keys: scirpt"), "{}", seen.message());
        let truths = ["Ready", "Stalled", "Fired", "Succeeded"].map(|kind| seen.truth(kind));
        assert_eq!(truths, ["False", "True", "True", "False"]);
        story.apply(&Trigger::new("checkout").with("spec.timeout", "1h")).await;
        story.until_phase("checkout", "Failed").await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(story.fired("checkout"), 1);
        assert_eq!(story.ledger().calls_to("trigger").len(), 1);
    });
}

#[test]
fn a_refused_run_is_sent_again_under_its_fire_id_when_the_spec_is_touched() {
    let mut seed = playing(quick());
    seed.projects[0].ci = Ci::Missing;
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        let refused = story.until_phase("checkout", "Rejected").await;
        story.gitlab.add(Seed { projects: playing(quick()).projects, ..Seed::default() }).unwrap();

        story.apply(&Trigger::new("checkout").with("spec.timeout", "1h")).await;
        let ended = story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!(ended.text("status.run.fireId"), refused.text("status.run.fireId"));
        assert_eq!(ended.number("status.run.attempt.count"), 2);
        assert_eq!(
            story.pipelines_of("checkout")[0].fire_id.as_deref(),
            Some(ended.text("status.run.fireId"))
        );
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

/// Ten minutes pass by setting back what the operator wrote down of them.
#[test]
fn a_refused_run_is_tried_again_every_ten_minutes_with_its_secret_read_afresh_and_told_once() {
    story(playing(quick()), async |story| {
        let secret = |token| Secret::new("gitlab").key("trigger-token", token).key("access-token", "none");
        story.secret(secret("glptt-mistyped")).await;
        story.operator(&[]);
        let trigger = Trigger::new("checkout").without("spec.gitlab.accessTokenRef");
        story.apply(&trigger).await;
        let refused = |count: i64| {
            move |seen: &Seen| seen.phase() == "Rejected" && seen.number("status.run.attempt.count") == count
        };
        let pass = async || {
            let patch = json!({"run": {"attempt": {"nextAt": "2026-01-01T00:00:00Z"}}});
            story.merge_status("checkout", &patch).await;
        };
        for count in 1..=2 {
            let seen = story.until("checkout", "be refused", refused(count)).await;
            let due: Timestamp = seen.text("status.run.attempt.nextAt").parse().unwrap();
            let waits = due.duration_since(story.ledger().calls_to("trigger").last().unwrap().at);
            let about = SignedDuration::from_secs(599)..SignedDuration::from_secs(630);
            assert!(about.contains(&waits), "{waits}");
            if count == 1 {
                pass().await;
            }
        }
        story.until_event("checkout", "NotFoundByTrigger", "").await;
        story.secret(secret(Seed::TRIGGER_TOKEN)).await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 0, "nobody looks at it before its time");
        pass().await;
        let ended = story.until_run("checkout", 1, "Fired").await;
        assert_eq!(ended.number("status.run.attempt.count"), 3);
        assert_eq!(story.fired("checkout"), 1);
        story.until_event("checkout", "PipelineCreated", "").await;
        let told = story.events("checkout").await;
        let refusals = told.iter().filter(|(_, reason)| reason == "NotFoundByTrigger").count();
        assert_eq!(refusals, 1, "{told:?}");
    });
}

#[test]
fn a_refused_run_gives_way_to_a_corrected_ref_and_to_a_request() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.ref", "mian")).await;
        story.until_phase("checkout", "Rejected").await;
        story.ask("checkout", "again").await;
        let asked = story.until_run("checkout", 2, "Rejected").await;
        assert_eq!(asked.answer(), ("again", "Fired"));
        story.apply(&Trigger::new("checkout")).await;
        story.until_run("checkout", 3, "Succeeded").await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
        assert_eq!(story.ledger().calls_to("trigger").len(), 3 + 1, "three runs and the marker");
    });
}

#[test]
fn the_creation_rate_limit_is_waited_for_and_then_fires() {
    let mut seed = playing(quick());
    // Three seconds to GitLab's next minute, by its clock.
    let start = "2026-11-05T10:00:57Z".parse().unwrap();
    seed.clock = Some(ClockSeed::Manual { start });
    seed.limits = Some(Limits { pipelines_per_user: Some(1), ..Limits::default() });
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("first")).await;
        story.until_phase("first", "Running").await;
        story.apply(&Trigger::new("second")).await;
        let waits = story.until_phase("second", "Pending").await;
        assert_eq!(waits.reason(), "RateLimited");
        assert!(waits.message().contains("next minute"), "{}", waits.message());
        assert_eq!((waits.truth("Ready"), waits.truth("Reconciling")), ("Unknown", "True"));
        assert_eq!(story.fired("second"), 0);

        story.gitlab.advance(SignedDuration::from_secs(10));
        story.until_phase("second", "Running").await;
        story.gitlab.advance(SignedDuration::from_secs(10));
        story.until_phase("second", "Succeeded").await;
        assert_eq!(story.fired("second"), 1);
        assert_eq!(story.ledger().calls_to("trigger").len(), 3);
    });
}

#[test]
fn a_429_is_waited_for_and_then_fires_once() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.gitlab.fault(FaultRule::next("trigger", Fault::TooManyRequests { retry_after: 6 })).unwrap();
        story.apply(&Trigger::new("checkout")).await;
        let waits = story.until_phase("checkout", "Pending").await;
        assert_eq!(waits.reason(), "RateLimited");
        let metrics = story.metrics().await;
        assert!(metrics.contains("pipekick_gitlab_budget{gitlab=\"default\"} 0\n"), "{metrics}");
        story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
        let calls = story.ledger();
        let calls = calls.calls_to("trigger");
        assert_eq!(calls.len(), 2);
        assert!(calls[1].at.duration_since(calls[0].at) >= SignedDuration::from_millis(5900), "{calls:?}");
    });
}

#[test]
fn an_access_token_that_expires_while_following_is_named_and_a_new_one_goes_on() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        story.gitlab.expire_token("bot").unwrap();
        let is = |seen: &Seen| seen.reason() == "CannotFollow";
        let seen = story.until("checkout", "say that it cannot be followed", is).await;
        assert_eq!(
            (seen.phase(), seen.truth("Ready"), seen.truth("Reconciling")),
            ("Running", "Unknown", "True")
        );
        for word in ["expired", "new one into the Secret", "Unauthorized"] {
            assert!(seen.message().contains(word), "`{word}` is not in: {}", seen.message());
        }
        let before = story.ledger().calls.len();
        tokio::time::sleep(A_WHILE).await;
        let looks = story.ledger().calls.len() - before;
        assert!(looks <= 5, "{looks} looks in {A_WHILE:?}");

        let bot = AccessTokenSeed {
            token: "glpat-renewed".into(),
            name: "bot-2".into(),
            user: "alice".into(),
            scopes: vec![Scope::ReadApi],
            ..AccessTokenSeed::default()
        };
        story.gitlab.add(Seed { access_tokens: vec![bot], ..Seed::default() }).unwrap();
        let renewed = Secret::new("gitlab").key("trigger-token", Seed::TRIGGER_TOKEN);
        story.secret(renewed.key("access-token", "glpat-renewed")).await;
        story.until("checkout", "be followed again", |seen| seen.reason() == "PipelineRunning").await;
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn an_access_token_that_may_not_read_is_named_with_the_scope_it_lacks() {
    let mut seed = playing(quick());
    seed.access_tokens[0].scopes = vec![Scope::ReadUser];
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        let is = |seen: &Seen| seen.reason() == "CannotFollow";
        let seen = story.until("checkout", "say that it cannot be followed", is).await;
        for word in ["InsufficientScope", "read_api"] {
            assert!(seen.message().contains(word), "`{word}` is not in: {}", seen.message());
        }
        assert_eq!(story.fired("checkout"), 1);
    });
}
