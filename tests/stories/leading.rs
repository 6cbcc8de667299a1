//! Several operators of which one leads: whoever takes over, and however the other ended, each trigger has one
//! pipeline and none is forgotten.

use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::PostParams;
use pipekick_sandbox::apiproxy::ApiProxy;
use pipekick_sandbox::gitlab::Seed;
use serde_json::json;

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{Seen, Story, Trigger, story};

pub const NAMESPACE: &str = "pipekick-system";
const WITHIN: Duration = Duration::from_secs(120);
/// As short as the operator allows.
const LEASE: Duration = Duration::from_secs(3);
const LEASE_FLAG: &str = "3s";

/// An operator that leads or stands by, on a Lease of this story's.
pub fn flags(story: &Story) -> [&str; 7] {
    let [elect, namespace, name] = ["--leader-elect", "--lease-namespace", "--lease-name"];
    [elect, namespace, NAMESPACE, name, &story.namespace, "--lease-duration", LEASE_FLAG]
}

/// A story whose operators agree on a Lease of its own, with the rights that the chart gives for the release's one.
fn electing(seed: Seed, tale: impl AsyncFnOnce(&Story)) {
    story(seed, async |story| {
        allow(story).await;
        tale(story).await;
    });
}

/// As if the release were named like the story.
pub async fn allow(story: &Story) {
    let role = format!("{}-lease", story.namespace);
    let rights = include_str!("../../deploy/rbac.yaml")
        .replace("name: pipekick-lease", &format!("name: {role}"))
        .replace("resourceNames: [pipekick]", &format!("resourceNames: [{}]", story.namespace));
    let object = |kind: &str| {
        let mut objects = rights.split("\n---\n").filter(|object| object.contains(&role));
        objects.find(|object| object.contains(&format!("\nkind: {kind}\n"))).unwrap()
    };
    let (roles, bindings): (Api<Role>, Api<RoleBinding>) =
        (Api::namespaced(story.client.clone(), NAMESPACE), Api::namespaced(story.client.clone(), NAMESPACE));
    let create = PostParams::default();
    roles.create(&create, &serde_saphyr::from_str(object("Role")).unwrap()).await.unwrap();
    bindings.create(&create, &serde_saphyr::from_str(object("RoleBinding")).unwrap()).await.unwrap();
}

fn leases(story: &Story) -> Api<Lease> {
    Api::namespaced(story.client.clone(), NAMESPACE)
}

async fn leader(story: &Story) -> Option<String> {
    let lease = leases(story).get_opt(&story.namespace).await.unwrap()?;
    lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
}

/// Waits for a leader that is another one than `before`.
pub async fn next_leader(story: &Story, before: Option<&str>) -> String {
    let began = std::time::Instant::now();
    loop {
        if let Some(now) = leader(story).await.filter(|now| Some(now.as_str()) != before) {
            return now;
        }
        assert!(began.elapsed() < WITHIN, "nobody leads after {before:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn each_succeeds_once(story: &Story, many: usize) {
    let all = story.until_all(WITHIN, "be Succeeded", |seen: &Seen| seen.phase() == "Succeeded").await;
    assert_eq!(all.len(), many);
    story.let_pass().await;
    for seen in &all {
        assert_eq!(story.fired(seen.text("metadata.name")), 1, "{}", seen.yaml());
    }
}

#[test]
fn one_works_and_the_other_takes_over_when_it_is_told_to_stop() {
    electing(playing(quick()), async |story| {
        story.operator(&flags(story));
        let first = next_leader(story, None).await;
        story.operator(&flags(story));
        story.apply(&Trigger::new("before")).await;
        story.until_phase("before", "Succeeded").await;
        assert!(story.metrics_of(1).await.contains("pipekick_leading 1\n"));
        let idle = story.metrics_of(2).await;
        assert!(
            idle.contains("pipekick_leading 0\n") && !idle.contains("pipekick_gitlab_requests_total{"),
            "{idle}"
        );

        story.terminate_operator(1);
        // It was released, not waited out: whoever writes for that reason counts it as a change of hands.
        next_leader(story, Some(&first)).await;
        story.apply(&Trigger::new("after")).await;
        each_succeeds_once(story, 2).await;
        assert!(story.log_of(1).contains("the Lease was released"));
    });
}

#[test]
fn what_keeps_an_operator_from_the_lease_is_told_once() {
    story(playing(quick()), async |story| {
        // It has no right to Leases here.
        story.operator(&["--leader-elect", "--lease-namespace", &story.namespace]);
        // It tries twice a second.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let lines = |what: &str| story.log().lines().filter(|line| line.contains(what)).count();
        let told = (lines("the Lease could not be read"), lines("the Lease could not be written"));
        assert_eq!(told, (1, 1), "{}", story.log());
        assert!(!story.log().contains("Status {"), "{}", story.log());
    });
}

#[test]
fn a_leader_that_is_killed_among_many_runs_is_followed_by_the_other() {
    const MANY: usize = 20;
    electing(playing(quick()), async |story| {
        story.gitlab.latency("trigger", SignedDuration::from_millis(300)).unwrap();
        let few = [
            &flags(story)[..],
            &["--concurrency", "3", "--request-deadline", "2s", "--gitlab-request-limit", "1s"],
        ]
        .concat();
        story.operator(&few);
        let first = next_leader(story, None).await;
        story.operator(&few);
        for number in 0..MANY {
            story.apply(&Trigger::new(&format!("t{number}"))).await;
        }
        story.until_ledger("show some of them", |ledger| ledger.calls_to("trigger").len() >= MANY / 4).await;
        story.kill_operator(1);
        assert_ne!(next_leader(story, Some(&first)).await, first);
        each_succeeds_once(story, MANY).await;
    });
}

#[test]
fn a_leader_that_was_stopped_for_longer_than_its_lease_ends_when_it_is_continued() {
    electing(playing(long()), async |story| {
        story.operator(&flags(story));
        let first = next_leader(story, None).await;
        story.operator(&flags(story));
        story.apply(&Trigger::new("running")).await;
        story.until_phase("running", "Running").await;
        story.signal_operator(1, "STOP");
        story.apply(&Trigger::new("meanwhile")).await;
        next_leader(story, Some(&first)).await;
        story.until_phase("meanwhile", "Running").await;
        story.apply(&Trigger::new("both")).await;
        story.signal_operator(1, "CONT");
        story.until_operator_ended(1).await;
        assert!(story.log_of(1).contains("leads no more"), "{}", story.log_of(1));
        story.until_phase("both", "Running").await;
        story.end_pipelines();
        each_succeeds_once(story, 3).await;
    });
}

#[test]
fn a_leader_without_an_api_server_ends_and_the_next_one_goes_on() {
    electing(playing(long()), async |story| {
        let proxy = story.operator_behind_proxy(&flags(story)).await;
        let first = next_leader(story, None).await;
        story.apply(&Trigger::new("running")).await;
        story.until_phase("running", "Running").await;
        proxy.down();
        story.apply(&Trigger::new("meanwhile")).await;
        story.until_operator_ended(1).await;
        assert!(story.log_of(1).contains("the Lease could not be renewed"), "{}", story.log_of(1));
        // As a kubelet does it.
        story.operator(&flags(story));
        next_leader(story, Some(&first)).await;
        story.until_phase("meanwhile", "Running").await;
        story.end_pipelines();
        each_succeeds_once(story, 2).await;
    });
}

/// Three triggers that begin their names so.
async fn three(story: &Story, name: &str) {
    for number in 0..3 {
        story.apply(&Trigger::new(&format!("{name}-{number}"))).await;
    }
}

/// Which operator leads, of so many that were started, some of which have `ended`.
async fn leading(story: &Story, started: usize, ended: &[usize]) -> usize {
    story
        .until_true("one should say that it leads", async || {
            let says = |number: &usize| story.log_of(*number).contains("this operator leads");
            let leaders: Vec<usize> =
                (1..=started).filter(|number| !ended.contains(number)).filter(says).collect();
            if let [leader] = leaders[..] { Ok(leader) } else { Err(format!("{leaders:?}")) }
        })
        .await
}

#[test]
fn three_operators_outlive_a_kill_a_stop_and_a_minute_without_an_api_server() {
    const A_MINUTE: Duration = Duration::from_secs(60);
    electing(playing(quick()), async |story| {
        // What was under way with the one that is killed is known soon.
        let soon = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];
        let flags = [&flags(story)[..], &soon].concat();
        let mut proxies = Vec::new();
        for _ in 0..3 {
            proxies.push(story.operator_behind_proxy(&flags).await);
        }
        let first = next_leader(story, None).await;
        let killed = leading(story, 3, &[]).await;
        three(story, "before").await;
        story.kill_operator(killed);
        three(story, "killed").await;
        let second = next_leader(story, Some(&first)).await;

        // As a kubelet does it, here and below.
        proxies.push(story.operator_behind_proxy(&flags).await);
        let stopped = leading(story, 4, &[killed]).await;
        story.signal_operator(stopped, "STOP");
        three(story, "stopped").await;
        let third = next_leader(story, Some(&second)).await;
        story.signal_operator(stopped, "CONT");
        story.until_operator_ended(stopped).await;

        proxies.push(story.operator_behind_proxy(&flags).await);
        let cut_off = leading(story, 5, &[killed, stopped]).await;
        proxies.iter().for_each(ApiProxy::down);
        three(story, "away").await;
        story.until_operator_ended(cut_off).await;
        // Those that stand by go on doing so: that nobody of them ended is seen after each rest.
        story.rest(A_MINUTE).await;
        assert_eq!((0..3).map(|n| story.fired(&format!("away-{n}"))).sum::<usize>(), 0);
        proxies.iter().for_each(ApiProxy::up);
        proxies.push(story.operator_behind_proxy(&flags).await);
        next_leader(story, Some(&third)).await;
        each_succeeds_once(story, 12).await;
    });
}

/// Who waited for `renewTime` to be past would wait for an hour, and who trusted it when it is long past would not
/// wait at all.
#[test]
fn what_clock_the_holder_had_is_nothing_to_go_by() {
    electing(playing(quick()), async |story| {
        let mut lease: Lease = serde_json::from_value(json!({
            "metadata": {"name": story.namespace},
            "spec": {"holderIdentity": "ahead", "leaseDurationSeconds": LEASE.as_secs(), "leaseTransitions": 4},
        }))
        .unwrap();
        let hour = SignedDuration::from_hours(1);
        lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(jiff::Timestamp::now() + hour));
        leases(story).create(&PostParams::default(), &lease).await.unwrap();
        story.operator(&flags(story));
        let mine = next_leader(story, Some("ahead")).await;
        story.kill_operator(1);
        let mut lease = leases(story).get(&story.namespace).await.unwrap();
        let spec = lease.spec.as_mut().unwrap();
        assert_eq!(spec.lease_transitions, Some(5));
        (spec.holder_identity, spec.renew_time) =
            (Some("behind".into()), Some(MicroTime(jiff::Timestamp::now() - hour)));
        leases(story).replace(&story.namespace, &PostParams::default(), &lease).await.unwrap();
        let began = std::time::Instant::now();
        story.operator(&flags(story));
        assert_ne!(next_leader(story, Some("behind")).await, mine);
        assert!(began.elapsed() >= LEASE, "it was waited for");
        story.apply(&Trigger::new("checkout")).await;
        each_succeeds_once(story, 1).await;
    });
}
