//! Variables whose values stand elsewhere, or that travel in another way than by their plain text.

use std::collections::BTreeMap;

use pipekick_sandbox::gitlab::{Fault, FaultRule, PipelineRecord, Seed, Source, VariableType};
use serde_json::{Value, json};

use crate::credentials::until_missing;
use crate::harness::gitlab::{playing, quick};
use crate::harness::{ConfigMap, FIRE, Secret, Story, Trigger, story};

const VARIABLES_LABEL: &str = "pipekick.dev/variables";

/// A Secret whose values may become variables.
fn values(name: &str) -> Secret {
    Secret::unmarked(name).label(VARIABLES_LABEL, "true")
}

fn from(name: &str, source: &Value) -> Value {
    json!({"name": name, "valueFrom": source})
}

fn secret(name: &str, secret: &str, key: &str) -> Value {
    from(name, &json!({"secretKeyRef": {"name": secret, "key": key}}))
}

fn config(name: &str, map: &str, key: &str) -> Value {
    from(name, &json!({"configMapKeyRef": {"name": map, "key": key}}))
}

fn field(name: &str, path: &str) -> Value {
    from(name, &json!({"fieldRef": {"fieldPath": path}}))
}

fn with(name: &str, variables: &[Value]) -> Trigger {
    Trigger::new(name).with("spec.variables", variables.to_vec())
}

fn by_access(trigger: Trigger) -> Trigger {
    trigger.without("spec.gitlab.triggerTokenRef")
}

/// What users asked for, of a pipeline: name → how and what jobs get.
fn asked(pipeline: &PipelineRecord) -> BTreeMap<&str, (VariableType, &str)> {
    let ours = |key: &str| ["TRIGGER_PAYLOAD", "PIPEKICK_FIRE_ID"].contains(&key);
    let theirs = pipeline.variables.iter().filter(|v| !ours(&v.key));
    theirs.map(|v| (v.key.as_str(), (v.variable_type, v.value.as_str()))).collect()
}

/// The one pipeline there is.
fn only(story: &Story) -> PipelineRecord {
    let mut all = story.ledger().pipelines;
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

#[test]
fn values_come_from_secrets_config_maps_and_the_object_itself() {
    story(playing(quick()), async |story| {
        story.operator(&["--log-level", "trace"]);
        // `Story::end` sees to it that this value is told nowhere.
        story
            .secret(values("license").key("file", "license-canary-1").key("other", "license-canary-2"))
            .await;
        let notes = ConfigMap::new("notes").text("text", "two\nlines\n").binary("blob", "ünï".as_bytes());
        story.config_map(&notes).await;
        let mut trigger = with(
            "checkout",
            &[
                json!({"name": "PLAIN", "value": "x"}),
                secret("LICENSE", "license", "file"),
                config("NOTES", "notes", "text"),
                config("BLOB", "notes", "blob"),
                field("NAME", "metadata.name"),
                field("NAMESPACE", "metadata.namespace"),
                field("UID", "metadata.uid"),
                field("TEAM", "metadata.labels['example.com/team']"),
                field("WHY", "metadata.annotations['pipekick.dev/fire']"),
                from("NO_KEY", &json!({"configMapKeyRef": {"name": "notes", "key": "no", "optional": true}})),
                from("NO_MAP", &json!({"configMapKeyRef": {"name": "no", "key": "no", "optional": true}})),
                from("NO_SECRET", &json!({"secretKeyRef": {"name": "no", "key": "no", "optional": true}})),
                from(
                    "NO_LABEL",
                    &json!({"fieldRef": {"fieldPath": "metadata.labels['no']", "optional": true}}),
                ),
            ],
        );
        trigger.0["metadata"]["labels"]["example.com/team"] = "pay".into();
        let applied = story.apply(&trigger.asking("because")).await;
        story.until_phase("checkout", "Succeeded").await;

        let pipeline = only(story);
        let uid = applied.text("metadata.uid");
        let expected = json!({
            "PLAIN": "x", "LICENSE": "license-canary-1", "NOTES": "two\nlines\n", "BLOB": "ünï", "NAME": "checkout",
            "NAMESPACE": story.namespace, "UID": uid, "TEAM": "pay", "WHY": "because",
        });
        assert_eq!(pipeline.params["variables"], expected);
        assert!(story.log().contains(" TRACE "));
    });
}

#[test]
fn a_trace_is_handed_on_to_the_run_that_was_asked_for_with_it() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let path = "metadata.annotations['example.com/traceparent']";
        let traced = from("TRACEPARENT", &json!({"fieldRef": {"fieldPath": path, "optional": true}}));
        story.apply(&with("checkout", &[traced])).await;
        story.until_run("checkout", 1, "Succeeded").await;
        let annotations = json!({"example.com/traceparent": TRACE, FIRE: "build-7"});
        story.merge("checkout", &json!({"metadata": {"annotations": annotations}})).await;
        story.until_run("checkout", 2, "Succeeded").await;
        // The next trace alone asks for nothing.
        let annotations = json!({"example.com/traceparent": TRACE.replace("-01", "-00")});
        story.merge("checkout", &json!({"metadata": {"annotations": annotations}})).await;
        story.let_pass().await;
        let runs = story.pipelines_of("checkout");
        let traces: Vec<_> = runs.iter().map(|run| asked(run).get("TRACEPARENT").map(|v| v.1)).collect();
        assert_eq!(traces, [None, Some(TRACE)]);
    });
}

#[test]
fn what_a_variable_needs_is_named_and_waited_for() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let bound = || values("bound").key("v", "bound-canary");
        story.secret(Secret::new("credential").key("v", "credential-canary")).await;
        story.secret(bound().annotation("pipekick.dev/projects", "shop/other")).await;
        story
            .secret(
                values("away")
                    .key("v", "away-canary")
                    .annotation("pipekick.dev/gitlab-url", "https://a.example"),
            )
            .await;
        story.config_map(&ConfigMap::new("half").text("other", "x")).await;
        story.config_map(&ConfigMap::new("binary").binary("v", &[0xff, 0xfe])).await;
        story.config_map(&ConfigMap::new("long").text("v", &"x".repeat(10_001))).await;
        let wide =
            (0..14).fold(ConfigMap::new("wide"), |map, n| map.text(&format!("v{n}"), &"é".repeat(5_000)));
        story.config_map(&wide).await;
        let all_of_wide: Vec<Value> =
            (0..14).map(|n| config(&format!("V{n}"), "wide", &format!("v{n}"))).collect();

        let cases: &[(&str, &[Value], &str, &[&str])] = &[
            ("no-secret", &[secret("A", "absent", "v")], "ValueMissing", &["Secret absent", "key v"]),
            ("no-map", &[config("A", "absent", "v")], "ValueMissing", &["ConfigMap absent", "key v"]),
            ("no-key", &[config("A", "half", "v")], "ValueMissing", &["ConfigMap half has no key v"]),
            (
                "no-label",
                &[field("A", "metadata.labels['team']")],
                "ValueMissing",
                &["metadata.labels['team']", "variable A"],
            ),
            (
                "credential",
                &[secret("A", "credential", "v")],
                "SecretNotLabelled",
                &["Secret credential", "pipekick.dev/variables=true"],
            ),
            (
                "bound",
                &[secret("A", "bound", "v")],
                "SecretNotForThisProject",
                &["Secret bound", "shop/checkout"],
            ),
            (
                "away",
                &[secret("A", "away", "v")],
                "SecretNotForThisUrl",
                &["Secret away", story.gitlab.url()],
            ),
            (
                "binary",
                &[config("A", "binary", "v")],
                "ValueUnusable",
                &["key v of ConfigMap binary", "UTF-8"],
            ),
            (
                "long",
                &[config("A", "long", "v")],
                "ValueUnusable",
                &["key v of ConfigMap long", "10001 characters", "10000"],
            ),
            ("wide", &all_of_wide, "ValueUnusable", &["140000 bytes", "131072"]),
        ];
        for (name, variables, ..) in cases {
            story.apply(&with(name, variables)).await;
        }
        for (name, _, reason, words) in cases {
            until_missing(story, name, reason, words).await;
        }
        assert_eq!(story.ledger().calls.len(), 0, "nothing was sent for any of them");

        story.secret(values("absent").key("v", "absent-canary")).await;
        story.config_map(&ConfigMap::new("absent").text("v", "1")).await;
        story.config_map(&ConfigMap::new("half").text("v", "1")).await;
        story.merge("no-label", &json!({"metadata": {"labels": {"team": "pay"}}})).await;
        story
            .secret(Secret::new("credential").key("v", "credential-canary").label(VARIABLES_LABEL, "true"))
            .await;
        story.secret(bound().annotation("pipekick.dev/projects", "shop/*")).await;
        story.secret(values("away").key("v", "away-canary")).await;
        story.config_map(&ConfigMap::new("binary").text("v", "1")).await;
        story.config_map(&ConfigMap::new("long").text("v", &"é".repeat(5_000))).await;
        story.apply(&with("wide", &all_of_wide[..13])).await;
        for (name, ..) in cases {
            story.until_run(name, if *name == "wide" { 2 } else { 1 }, "Succeeded").await;
        }
        story.let_pass().await;
        for (name, variables, ..) in cases {
            let pipelines = story.pipelines_of(name);
            let [pipeline] = pipelines.as_slice() else { panic!("{name}: {pipelines:#?}") };
            assert_eq!(asked(pipeline).len(), variables.len().min(13), "{name}");
        }
    });
}

#[test]
fn a_change_of_content_fires_nothing_and_travels_with_the_next_run_and_with_each_repeat() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let notes = |text: &str| ConfigMap::new("notes").text("text", text);
        story.config_map(&notes("one")).await;
        let trigger = with("checkout", &[config("NOTES", "notes", "text")]);
        story.apply(&trigger).await;
        story.until_phase("checkout", "Succeeded").await;
        story.config_map(&notes("two")).await;
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1, "a change of the content alone");

        story.gitlab.fault(FaultRule::next("trigger", Fault::TooManyRequests { retry_after: 3 })).unwrap();
        story.ask("checkout", "again").await;
        story.until("checkout", "wait", |seen| seen.reason() == "RateLimited").await;
        story.config_map(&notes("three")).await;
        story.until_run("checkout", 2, "Succeeded").await;
        let told: Vec<Value> =
            story.pipelines_of("checkout").iter().map(|p| p.params["variables"]["NOTES"].clone()).collect();
        assert_eq!(told, ["one", "three"]);
    });
}

#[test]
fn an_access_token_carries_files_and_the_run_s_name() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.secret(values("license").key("file", "license-canary-1")).await;
        let file = |name: &str, rest: Value| {
            let mut entry = json!({"name": name, "type": "File"});
            entry.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            entry
        };
        let trigger = with(
            "checkout",
            &[
                file("TEXT", json!({"value": "in a file"})),
                file("LICENSE", json!({"valueFrom": {"secretKeyRef": {"name": "license", "key": "file"}}})),
                json!({"name": "PLAIN", "value": "x", "type": "EnvVar"}),
            ],
        );
        story.apply(&by_access(trigger)).await;
        let ended = story.until_phase("checkout", "Succeeded").await;

        let pipeline = only(story);
        assert_eq!(pipeline.source, Source::Api);
        let (file, plain) = (VariableType::File, VariableType::EnvVar);
        assert_eq!(
            asked(&pipeline),
            BTreeMap::from([
                ("TEXT", (file, "in a file")),
                ("LICENSE", (file, "license-canary-1")),
                ("PLAIN", (plain, "x")),
            ])
        );
        assert_eq!(pipeline.fire_id.as_deref(), Some(ended.text("status.run.fireId")));
        assert_eq!(ended.at("status.run.attempt.marked"), &json!(true));
    });
}

/// GitLab reads `$$` as a dollar sign, so what it is sent is doubled.
#[test]
fn a_raw_value_is_sent_so_that_it_arrives_as_written() {
    let variables = |name: &str| {
        with(
            name,
            &[
                json!({"name": "RAW", "value": "$HOME costs 5$ and ${X}", "raw": true}),
                json!({"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "notes", "key": "text"}}, "raw": true}),
                json!({"name": "EXPANDED", "value": "$HOME costs 5$$", "raw": false}),
            ],
        )
    };
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.config_map(&ConfigMap::new("notes").text("text", "a$B")).await;
        story.apply(&variables("trigger")).await;
        story.apply(&by_access(variables("access"))).await;
        for name in ["trigger", "access"] {
            story.until_phase(name, "Succeeded").await;
        }
        let pipelines = story.ledger().pipelines;
        assert_eq!(pipelines.len(), 2);
        for pipeline in &pipelines {
            let values: Vec<&str> = asked(pipeline).values().map(|(_, value)| *value).collect();
            assert_eq!(values, ["$HOME costs 5$$", "a$$B", "$$HOME costs 5$$ and $${X}"]);
        }
    });
}

/// With an access token the run's name is a variable and travels beside others only: whoever may leave out all of
/// them carries nothing, and is told so.
#[test]
fn variables_that_are_all_left_out_leave_the_request_without_any() {
    let mut seed = playing(quick());
    seed.projects[0].variables_role = pipekick_sandbox::gitlab::VariablesRole::NoOneAllowed;
    story(seed, async |story| {
        story.operator(&[]);
        let notes = from("NOTES", &json!({"configMapKeyRef": {"name": "no", "key": "no", "optional": true}}));
        story.apply(&by_access(with("checkout", &[notes]))).await;
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(only(story).params.get("variables"), None);
        assert_eq!(ended.at("status.run.attempt.marked"), &json!(false));
    });
}

#[test]
fn a_trigger_token_alone_carries_values_from_elsewhere() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.secret(values("license").key("file", "license-canary-1")).await;
        let trigger = with("checkout", &[secret("LICENSE", "license", "file")]);
        story.apply(&trigger.without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("checkout", "Fired").await;
        assert_eq!(only(story).params["variables"], json!({"LICENSE": "license-canary-1"}));
    });
}

/// GitLab quotes in its errors what a CI file made of variables, such as the path of a file to include.
#[test]
fn a_value_of_a_secret_that_gitlab_quotes_is_not_told_on() {
    let mut seed = playing(quick());
    let quoted = "Included file `license-canary-1.yml` is empty or does not exist!";
    seed.projects[0].ci = pipekick_sandbox::gitlab::Ci::Invalid(quoted.into());
    story(seed, async |story| {
        story.operator(&[]);
        story.secret(values("license").key("file", "license-canary-1")).await;
        story.secret(Secret::new("fires").key("trigger-token", Seed::TRIGGER_TOKEN)).await;
        let trigger = with("checkout", &[secret("LICENSE", "license", "file")]);
        story.apply(&trigger.without("spec.gitlab.accessTokenRef")).await;
        let ended = story.until_phase("checkout", "Failed").await;
        assert!(ended.message().contains("Included file `[secret].yml`"), "{}", ended.message());
    });
}

#[test]
fn what_a_look_finds_gitlab_quoting_is_not_told_on_either() {
    let mut seed = playing(quick());
    let quoted = "Included file `license-canary-1.yml` is empty or does not exist!";
    seed.projects[0].ci = pipekick_sandbox::gitlab::Ci::Invalid(quoted.into());
    story(seed, async |story| {
        story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
        story.secret(values("license").key("file", "license-canary-1")).await;
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        story.apply(&with("checkout", &[secret("LICENSE", "license", "file")])).await;
        let ended = story.until_phase("checkout", "Failed").await;
        assert_eq!(ended.reason(), "PipelineFailedAtBirth");
        let id = story.pipelines_of("checkout")[0].id;
        assert!(ended.message().contains(&format!("pipeline {id} as failed")), "{}", ended.message());
        assert!(!ended.yaml().contains("license-canary"), "{}", ended.yaml());
    });
}
