//! What Argo CD and Flux make of an object in each phase: Argo CD by the Lua of `integrations/argocd`, run as Argo CD
//! runs it, Flux by kstatus. Both read the object as the API server shows it.

use jiff::SignedDuration;
use kube::api::{DynamicObject, PostParams};
use mlua::{Lua, LuaSerdeExt as _};
use pipekick_sandbox::gitlab::{Fault, FaultRule, JobPlay, Play};
use serde_json::{Value, json};

use crate::harness::gitlab::{failing, long, playing, project, quick};
use crate::harness::schedules::schedule;
use crate::harness::{Seen, Story, Trigger, story};

const HEALTH: &str = include_str!("../../integrations/argocd/health/pipelinetrigger.lua");
const HEALTH_OF_SCHEDULE: &str = include_str!("../../integrations/argocd/health/pipelineschedule.lua");
const ACTIONS: [(&str, &str); 6] = [
    ("discovery", include_str!("../../integrations/argocd/actions/pipelinetrigger/discovery.lua")),
    ("fire", include_str!("../../integrations/argocd/actions/pipelinetrigger/fire.lua")),
    ("retry", include_str!("../../integrations/argocd/actions/pipelinetrigger/retry.lua")),
    ("cancel", include_str!("../../integrations/argocd/actions/pipelinetrigger/cancel.lua")),
    ("suspend", include_str!("../../integrations/argocd/actions/pipelinetrigger/suspend.lua")),
    ("resume", include_str!("../../integrations/argocd/actions/pipelinetrigger/resume.lua")),
];

/// Runs a script as Argo CD does: the object is the global `obj`, what the script returns is the answer.
fn lua(script: &str, object: &Value) -> Value {
    let lua = Lua::new();
    lua.globals().set("obj", lua.to_value(object).unwrap()).unwrap();
    let answer: mlua::Value = lua.load(script).eval().unwrap();
    lua.from_value(answer).unwrap()
}

fn argo_cd(seen: &Seen) -> (String, String) {
    let health = lua(HEALTH, &seen.0);
    let text = |key: &str| health[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("message"))
}

/// kstatus' rules for a kind that it does not know, as Flux and `kubectl`'s appliers use them: cli-utils,
/// pkg/kstatus/status/generic.go and core.go.
fn kstatus(seen: &Seen) -> &'static str {
    if seen.at("metadata.deletionTimestamp").is_string() {
        return "Terminating";
    }
    if seen.at("status.observedGeneration").is_i64() && !seen.is_current() {
        return "InProgress";
    }
    if seen.truth("Reconciling") == "True" {
        return "InProgress";
    }
    if seen.truth("Stalled") == "True" {
        return "Failed";
    }
    match seen.truth("Ready") {
        "True" | "" => "Current",
        _ => "InProgress",
    }
}

async fn held_for_want_of_a_look(story: &Story) {
    let lost = FaultRule::next("trigger", Fault::Reset);
    story.gitlab.fault(lost).unwrap();
    story.apply(&Trigger::new("undecided").without("spec.gitlab.accessTokenRef")).await;
    story.until_phase("undecided", "Held").await;
}

#[test]
fn each_phase_is_healthy_degraded_or_under_way_as_it_is_meant() {
    let manual = |allow_failure| JobPlay { manual: true, allow_failure, ..JobPlay::new("deploy", 1) };
    let mut seed = playing(quick());
    seed.projects.push(project("shop/failing", failing(SignedDuration::from_millis(300))));
    seed.projects.push(project("shop/long", long()));
    seed.projects.push(project("shop/gate", Play::jobs([manual(false)])));
    seed.projects.push(project("shop/optional", Play::jobs([manual(true)])));
    story(seed, async |story| {
        story.operator(&["--first-sight", "Hold"]);
        story.apply(&Trigger::new("restored")).await;
        story.until_phase("restored", "Held").await;
        story.kill_operators();
        story.operator(&[]);
        held_for_want_of_a_look(story).await;

        let at = |name: &str, path: &str| Trigger::new(name).with("spec.gitlab.project", path);
        for trigger in [
            Trigger::new("succeeded"),
            Trigger::new("fired").without("spec.gitlab.accessTokenRef"),
            at("failed", "shop/failing"),
            at("running", "shop/long"),
            at("canceled", "shop/long"),
            at("late", "shop/long").with("spec.timeout", "1s"),
            at("gate", "shop/gate"),
            at("skipped", "shop/optional"),
            Trigger::new("refused").with("spec.ref", "mian"),
            Trigger::new("waiting").with("spec.gitlab.triggerTokenRef.name", "absent"),
            Trigger::new("idle").with("spec.fireOn", "Request"),
            Trigger::new("suspended").with("spec.suspend", true),
        ] {
            story.apply(&trigger).await;
        }
        let canceled = story.until_phase("canceled", "Running").await;
        let id = canceled.number("status.run.pipeline.id");
        story.merge("canceled", &json!({"metadata": {"annotations": {"pipekick.dev/cancel": "1"}}})).await;
        assert!(id > 0);
        story.until("gate", "wait for a person", |seen| seen.reason() == "PipelineManual").await;

        for (name, phase, health, status) in [
            ("succeeded", "Succeeded", "Healthy", "Current"),
            ("fired", "Fired", "Healthy", "Current"),
            ("skipped", "Skipped", "Healthy", "Current"),
            ("idle", "Idle", "Healthy", "Current"),
            ("suspended", "Suspended", "Suspended", "Current"),
            ("running", "Running", "Progressing", "InProgress"),
            ("waiting", "Pending", "Progressing", "InProgress"),
            ("gate", "Running", "Suspended", "InProgress"),
            ("failed", "Failed", "Degraded", "Failed"),
            ("canceled", "Canceled", "Degraded", "Failed"),
            ("late", "TimedOut", "Degraded", "Failed"),
            ("refused", "Rejected", "Degraded", "Failed"),
            ("undecided", "Held", "Degraded", "Failed"),
            ("restored", "Held", "Suspended", "Failed"),
        ] {
            let seen = story.until_phase(name, phase).await;
            let (told, message) = argo_cd(&seen);
            assert_eq!((told.as_str(), kstatus(&seen)), (health, status), "{}", seen.yaml());
            assert_eq!(message, seen.message(), "{name}");
            assert!(!message.is_empty(), "{name}");
        }

        // Not looked at yet: neither may take the last version's end for this one's.
        story.kill_operators();
        let edited = story.apply(&Trigger::new("succeeded").with("spec.ref", "next")).await;
        assert_eq!((argo_cd(&edited).0.as_str(), kstatus(&edited)), ("Progressing", "InProgress"));
        let new = story.apply(&Trigger::new("new")).await;
        assert_eq!((argo_cd(&new).0.as_str(), kstatus(&new)), ("Progressing", "InProgress"));
    });
}

#[test]
fn actions_do_what_their_names_say() {
    let discovered = |seen: &Seen| {
        let actions = lua(ACTIONS[0].1, &seen.0);
        let on = |name: &&str| actions[*name]["disabled"] == false;
        ["fire", "retry", "cancel", "suspend", "resume"].into_iter().filter(on).collect::<Vec<_>>()
    };
    let mut seed = playing(quick());
    seed.projects.push(project("shop/failing", failing(SignedDuration::from_millis(300))));
    seed.projects.push(project("shop/long", long()));
    story(seed, async |story| {
        let act = async |name: &str, action: &str| {
            let (_, script) = ACTIONS.iter().find(|(known, _)| *known == action).unwrap();
            let before = story.look(name).await;
            let mut object = before.0.clone();
            // Argo CD sends the difference between what it gave the script and what came back.
            object["metadata"].as_object_mut().unwrap().remove("managedFields");
            let after = lua(script, &object);
            story.merge(name, &json!({"metadata": {"annotations": after["metadata"]["annotations"]}})).await;
            story.merge(name, &json!({"spec": {"suspend": after["spec"]["suspend"]}})).await;
        };
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.fireOn", "Request")).await;
        let idle = story.until_phase("checkout", "Idle").await;
        assert_eq!(discovered(&idle), ["fire", "suspend"]);
        act("checkout", "fire").await;
        story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);

        act("checkout", "suspend").await;
        let seen = story.until_phase("checkout", "Suspended").await;
        assert_eq!(discovered(&seen), ["resume"]);
        act("checkout", "resume").await;
        story.until_phase("checkout", "Succeeded").await;

        story.apply(&Trigger::new("failed").with("spec.gitlab.project", "shop/failing")).await;
        let seen = story.until_phase("failed", "Failed").await;
        assert_eq!(discovered(&seen), ["fire", "retry", "suspend"]);
        act("failed", "retry").await;
        let answered = |seen: &Seen| seen.text("status.lastHandled.retry.answer") == "Retried";
        story.until("failed", "answer the retry", answered).await;

        story.apply(&Trigger::new("running").with("spec.gitlab.project", "shop/long")).await;
        let seen = story.until_phase("running", "Running").await;
        assert_eq!(discovered(&seen), ["fire", "cancel", "suspend"]);
        act("running", "cancel").await;
        story.until_phase("running", "Canceled").await;
    });
}

/// As a PreSync hook: Argo CD creates the object under a new name at each sync, and goes on when it is healthy.
#[test]
fn a_hook_gates_a_sync_by_its_run_and_each_sync_has_a_run_of_its_own() {
    let mut seed = playing(quick());
    seed.projects.push(project("shop/failing", failing(SignedDuration::from_millis(300))));
    story(seed, async |story| {
        story.operator(&[]);
        for (path, end) in
            [("shop/checkout", "Healthy"), ("shop/checkout", "Healthy"), ("shop/failing", "Degraded")]
        {
            let mut hook = Trigger::new("hook").with("spec.gitlab.project", path).0;
            let metadata = hook["metadata"].as_object_mut().unwrap();
            metadata.remove("name");
            metadata.insert("generateName".into(), "migrate-".into());
            let hooks = json!({"argocd.argoproj.io/hook": "PreSync", "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation"});
            metadata.insert("annotations".into(), hooks);
            let hook: DynamicObject = serde_json::from_value(hook).unwrap();
            let made = story.triggers().create(&PostParams::default(), &hook).await.unwrap();
            let name = made.metadata.name.unwrap();
            let seen = story.until(&name, "end", |seen| argo_cd(seen).0 != "Progressing").await;
            assert_eq!(argo_cd(&seen).0, end, "{}", seen.yaml());
            assert_eq!(story.fired(&name), 1);
        }
        assert_eq!(story.ledger().pipelines.len(), 3);
    });
}

#[test]
fn a_schedule_is_healthy_while_it_keeps_time() {
    story(playing(quick()), async |story| {
        let told = |seen: &Seen| lua(HEALTH_OF_SCHEDULE, &seen.0)["status"].as_str().unwrap().to_owned();
        let nightly = schedule("nightly", "0 2 * * *");
        story.apply_schedule(&nightly).await;
        let new = story.schedule("nightly").await;
        assert_eq!((told(&new).as_str(), kstatus(&new)), ("Progressing", "InProgress"));
        story.operator(&[]);
        let seen = story.until_schedule("nightly", "be ready", |seen| seen.truth("Ready") == "True").await;
        assert_eq!((told(&seen).as_str(), kstatus(&seen)), ("Healthy", "Current"));
        story.apply_schedule(&nightly.with("spec.suspend", true)).await;
        let seen = story
            .until_schedule("nightly", "be suspended", |s| s.is_current() && s.reason() == "Suspended")
            .await;
        assert_eq!((told(&seen).as_str(), kstatus(&seen)), ("Suspended", "Current"));
    });
}
