//! Free JSON that travels: pipeline inputs and the payload. It is stored as written, arrives as stored, and what a GitLab
//! would drop is not sent.

use std::collections::BTreeMap;

use pipekick_sandbox::gitlab::{InputKind, InputSpec, PipelineRecord, Seed};
use serde_json::{Value, json};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Story, Trigger, story};

/// What is edited, whether it fires, and how it is done.
type Edit = (&'static str, bool, fn(Trigger) -> Trigger);

/// A GitLab of this version, whose CI file declares these inputs.
fn gitlab(version: &str) -> Seed {
    let mut seed = playing(quick());
    seed.version = Some(version.parse().unwrap());
    let input = |kind| InputSpec { kind, ..InputSpec::default() };
    seed.projects[0].inputs = BTreeMap::from([
        ("replicas".into(), InputSpec { default: Some(json!(1)), ..input(InputKind::Number) }),
        ("ratio".into(), InputSpec { default: Some(json!(0.1)), ..input(InputKind::Number) }),
        ("dry-run".into(), InputSpec { default: Some(json!(true)), ..input(InputKind::Boolean) }),
        ("regions".into(), InputSpec { default: Some(json!([])), ..input(InputKind::Array) }),
        ("tier".into(), InputSpec { default: Some(json!("gold")), ..input(InputKind::String) }),
    ]);
    seed
}

fn inputs() -> Value {
    json!({"replicas": 3, "ratio": 0.5, "dry-run": false, "regions": ["eu", "us"], "tier": "3"})
}

/// Three levels, with a null and with what looks like a field of Kubernetes'.
fn payload() -> Value {
    json!({
        "release": {"tag": "v1", "parts": [{"name": "a", "skip": null}, 1, -2, 0.25, true, []], "none": null, "empty": {}},
        "metadata": {"name": "ours"}, "large": 9_007_199_254_740_993_i64, "quoted": "1.0", "umlaut": "ü\u{1F680}",
    })
}

fn only(story: &Story) -> PipelineRecord {
    let mut all = story.ledger().pipelines;
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// What jobs find in the file `TRIGGER_PAYLOAD`.
fn trigger_payload(pipeline: &PipelineRecord) -> Value {
    let variable = pipeline.variables.iter().find(|v| v.key == "TRIGGER_PAYLOAD").unwrap();
    serde_json::from_str(&variable.value).unwrap()
}

#[test]
fn inputs_and_payload_are_stored_as_written_and_arrive_with_their_types() {
    story(gitlab("18.5"), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.inputs", inputs()).with("spec.payload", payload());
        let applied = story.apply(&trigger).await;
        assert_eq!(applied.at("spec"), &trigger.0["spec"], "read back as written");
        let ended = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(ended.at("spec"), &trigger.0["spec"], "the operator changed nothing of it");

        let pipeline = only(story);
        assert_eq!(pipeline.params["inputs"], inputs());
        let file = trigger_payload(&pipeline);
        assert_eq!(file["payload"], payload());
        assert_eq!(file["pipekick"]["fire_id"], ended.text("status.run.fireId"));
        assert_eq!(story.ledger().calls_to("version").len(), 1);

        let again = story.apply(&trigger).await;
        story.let_pass().await;
        assert_eq!(again.text("metadata.resourceVersion"), ended.text("metadata.resourceVersion"));
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_change_of_type_or_of_a_nested_value_fires() {
    story(gitlab("18.5"), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.inputs", inputs()).with("spec.payload", payload());
        let edits: &[Edit] = &[
            ("first sight", true, |t| t),
            ("a number instead of another", true, |t| t.with("spec.inputs.replicas", 4)),
            ("an empty list of regions", true, |t| t.with("spec.inputs.regions", json!([]))),
            ("a null, three levels down", true, |t| t.with("spec.payload.release.none", json!(1))),
            ("the same once more", false, |t| t.with("spec.payload.release.none", json!(1))),
            ("no payload", true, |t| t.without("spec.payload")),
            ("no inputs", true, |t| t.without("spec.payload").without("spec.inputs")),
            ("empty inputs", false, |t| t.without("spec.payload").with("spec.inputs", json!({}))),
            ("an empty payload", true, |t| t.without("spec.inputs").with("spec.payload", json!({}))),
        ];
        let mut fired = 0;
        for (what, fires, edit) in edits {
            story.apply(&edit(trigger.clone())).await;
            fired += i64::from(*fires);
            let seen = story.until_run("checkout", fired, "Succeeded").await;
            assert!(seen.is_current(), "{what}");
        }
        story.let_pass().await;
        assert_eq!(i64::try_from(story.fired("checkout")).unwrap(), fired);
    });
}

#[test]
fn an_access_token_alone_carries_inputs() {
    story(gitlab("17.11"), async |story| {
        story.operator(&[]);
        let trigger = Trigger::new("checkout").with("spec.inputs", inputs());
        story.apply(&trigger.without("spec.gitlab.triggerTokenRef")).await;
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(only(story).params["inputs"], inputs());
    });
}

/// What GitLab does not know it drops without a word: the pipeline would run with defaults.
#[test]
fn inputs_are_not_sent_to_a_gitlab_that_would_drop_them() {
    story(gitlab("17.9"), async |story| {
        story.operator(&[]);
        let with_inputs = |name: &str| Trigger::new(name).with("spec.inputs", inputs());
        let by_access = with_inputs("access").without("spec.gitlab.triggerTokenRef");
        story.apply(&with_inputs("both")).await;
        story.apply(&by_access).await;
        for name in ["both", "access"] {
            let seen = story.until_phase(name, "Rejected").await;
            assert_eq!(
                (seen.reason(), seen.truth("Stalled"), seen.truth("Fired")),
                ("GitLabTooOld", "True", "False")
            );
            for word in ["17.9", "17.11", "inputs"] {
                assert!(seen.message().contains(word), "{}", seen.message());
            }
        }
        let ledger = story.ledger();
        assert_eq!(ledger.pipelines.len(), 0);
        assert!(ledger.calls.iter().all(|call| call.route == Some("version")), "{:#?}", ledger.calls);
        let asked = ledger.calls.len();

        // Without them it may go; and what is asked again is answered from memory.
        story.apply(&Trigger::new("both")).await;
        story.until_run("both", 2, "Succeeded").await;
        story.ask("access", "again").await;
        let seen = story.until_run("access", 2, "Rejected").await;
        assert_eq!(seen.reason(), "GitLabTooOld");
        assert_eq!(story.ledger().calls_to("version").len(), asked);

        // Nobody can tell without an access token, as the field's text says.
        story.apply(&with_inputs("trigger").without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("trigger", "Fired").await;
        assert_eq!(story.ledger().pipelines.len(), 2);
    });
}

#[test]
fn json_that_is_too_large_or_no_input_is_rejected_before_anything_is_sent() {
    story(gitlab("18.5"), async |story| {
        story.operator(&[]);
        let large = |bytes: usize| json!({"a": "x".repeat(bytes - 8)});
        let limit = 64 * 1024;
        let cases: &[(&str, Trigger, &str)] = &[
            (
                "payload",
                Trigger::new("payload").with("spec.payload", large(limit + 1)),
                "payload has 65537 bytes",
            ),
            (
                "inputs",
                Trigger::new("inputs").with("spec.inputs", large(limit + 1)),
                "inputs has 65537 bytes",
            ),
            (
                "stored",
                Trigger::new("stored")
                    .variables(&[("A", &"<".repeat(10_000)), ("B", &"&".repeat(10_000))])
                    .with("spec.payload", json!({"a": "<".repeat(50_000)})),
                "360448 are allowed",
            ),
            ("null", Trigger::new("null").with("spec.inputs", json!({"tier": null})), "inputs.tier is null"),
            (
                "object",
                Trigger::new("object").with("spec.inputs", json!({"tier": {"a": 1}})),
                "inputs.tier is an object",
            ),
        ];
        for (name, trigger, _) in cases {
            story.apply(trigger).await;
            let seen = story.until_phase(name, "Rejected").await;
            assert_eq!(seen.reason(), "InvalidSpec", "{name}");
        }
        for (name, _, says) in cases {
            let seen = story.look(name).await;
            assert!(seen.message().contains(says), "{name}: {}", seen.message());
        }
        assert_eq!(story.ledger().calls.len(), 0);
        story.apply(&Trigger::new("payload").with("spec.payload", large(limit))).await;
        story.until_phase("payload", "Succeeded").await;
        assert_eq!(only(story).params["payload"], large(limit));
    });
}

/// By access token nothing is stored; by trigger token GitLab keeps a pipeline that failed. Either way it is told what to
/// correct, and the corrected spec fires.
#[test]
fn inputs_that_gitlab_refuses_are_explained_to_both_tokens() {
    story(gitlab("18.5"), async |story| {
        story.operator(&[]);
        let cases: &[(&str, Value, &str)] = &[
            ("unknown", json!({"tire": "gold"}), "unknown input arguments: tire"),
            ("mistyped", json!({"replicas": "many"}), "`replicas` input: provided value is not a number"),
        ];
        for (name, given, _) in cases {
            let trigger = Trigger::new(name).with("spec.inputs", given.clone());
            story.apply(&trigger).await;
            let mut by_access = trigger.without("spec.gitlab.triggerTokenRef");
            by_access.0["metadata"]["name"] = json!(format!("{name}-by-access"));
            story.apply(&by_access).await;
        }
        for (name, _, says) in cases {
            let stored = story.until_phase(name, "Failed").await;
            assert_eq!(stored.reason(), "PipelineFailedAtBirth", "{name}");
            let refused = story.until_phase(&format!("{name}-by-access"), "Rejected").await;
            assert_eq!(refused.reason(), "InputsRefused", "{name}");
            for message in [stored.message(), refused.message()] {
                assert!(message.contains(says) && message.contains("Correct spec.inputs"), "{message}");
            }
        }
        assert_eq!(story.ledger().pipelines.len(), cases.len(), "by access token nothing is stored");
        story.apply(&Trigger::new("unknown").with("spec.inputs", json!({"tier": "gold"}))).await;
        story.until_run("unknown", 2, "Succeeded").await;
    });
}
