//! While nothing changes, nothing is written, however often somebody looks; a try is written, and only that.

use std::time::Duration;

use pipekick_sandbox::gitlab::{Fault, FaultRule, Seed};

use crate::harness::gitlab::{long, playing};
use crate::harness::{Secret, Seen, Trigger, story};

/// Looks, reads and follows come 1 s to 10 s apart, and back off to a minute.
const WATCHED: Duration = Duration::from_secs(30);

#[test]
fn what_waits_writes_nothing_while_nothing_changes() {
    story(playing(long()), async |story| {
        story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
        // Followed; refused; without its Secret; held by nobody's knowledge; asked about in vain.
        story.apply(&Trigger::new("running")).await;
        story.until_phase("running", "Running").await;
        story.apply(&Trigger::new("rejected").with("spec.ref", "mian")).await;
        story.until_phase("rejected", "Rejected").await;
        story.apply(&Trigger::new("pending").with("spec.gitlab.triggerTokenRef.name", "absent")).await;
        story.until("pending", "miss its Secret", |seen| seen.reason() == "SecretMissing").await;
        story.gitlab.fault(FaultRule::next("trigger", Fault::Reset)).unwrap();
        story.apply(&Trigger::new("held").without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("held", "Held").await;
        story.gitlab.fault(FaultRule::always("pipelines", Fault::BadGateway { effect: false })).unwrap();
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        story.apply(&Trigger::new("unknown")).await;
        let cannot_ask = |seen: &Seen| {
            seen.message().contains("cannot be asked") && seen.message().contains("pipekick.dev/resolve")
        };
        story.until("unknown", "tell why, and what a person can do", cannot_ask).await;
        story.gitlab.fault(FaultRule::always("pipeline", Fault::BadGateway { effect: false })).unwrap();
        story.until("running", "tell why", |seen| seen.reason() == "CannotFollow").await;

        // Whatever was still to be told, to somebody who asks again after 5 s, has been told when it is quiet for longer.
        let mut before = story.all().await;
        loop {
            story.rest(Duration::from_secs(8)).await;
            let now = story.all().await;
            if std::mem::replace(&mut before, now) == before {
                break;
            }
        }
        let calls = story.ledger().calls.len();
        story.rest(WATCHED).await;
        assert!(story.ledger().calls.len() > calls, "looking went on");
        for (now, before) in story.all().await.iter().zip(&before) {
            assert_eq!(now, before);
        }
        assert_eq!(before.len(), 5);
    });
}

/// From the first look on: a try is two writes, its intent and its outcome.
#[test]
fn every_write_is_explained_by_an_attempt() {
    const WATCHED: Duration = Duration::from_secs(20);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = format!("http://127.0.0.1:{port}");
    // Tries in that time: where nobody listens after 0 s, 5 s and 15 s. A Secret is looked for without one.
    let cases = [
        (Trigger::new("rejected").with("spec.ref", "mian"), "Rejected", 1..=1),
        (Trigger::new("no-secret").with("spec.gitlab.triggerTokenRef.name", "absent"), "Pending", 1..=1),
        (
            Trigger::new("unreachable")
                .with("spec.gitlab.url", nowhere.as_str())
                .with("spec.gitlab.triggerTokenRef.name", "elsewhere")
                .with("spec.gitlab.accessTokenRef.name", "elsewhere"),
            "Pending",
            2..=3,
        ),
    ];
    story(playing(long()), async |story| {
        let secret = Secret::new("elsewhere").annotation("pipekick.dev/gitlab-url", &nowhere);
        let secret = secret.key("trigger-token", Seed::TRIGGER_TOKEN);
        story.secret(secret.key("access-token", Seed::ACCESS_TOKEN)).await;
        story.operator(&[]);
        let versions = story.record_versions().await;
        for (trigger, _, _) in &cases {
            story.apply(trigger).await;
        }
        story.rest(WATCHED).await;
        for (trigger, phase, tries) in &cases {
            let name = trigger.name();
            let seen = story.until_phase(name, phase).await;
            let tried = seen.number("status.run.attempt.count");
            assert!(tries.contains(&tried), "{name} was tried {tried} times");
            let writes = versions.up_to(&seen).await.len() - 1;
            let explained = 2 * usize::try_from(tried).unwrap();
            assert!(writes <= explained, "{name}: {writes} writes, {tried} tries");
        }
    });
}
