//! While nothing changes, nothing is written, however often somebody looks.

use std::time::Duration;

use pipekick_sandbox::gitlab::{Fault, FaultRule};

use crate::harness::gitlab::{long, playing};
use crate::harness::{Seen, Trigger, story};

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
        let cannot_ask = |seen: &Seen| seen.message().contains("cannot be asked");
        story.until("unknown", "tell why", cannot_ask).await;
        story.gitlab.fault(FaultRule::always("pipeline", Fault::BadGateway { effect: false })).unwrap();
        story.until("running", "tell why", |seen| seen.reason() == "CannotFollow").await;

        // A missing Secret counts as a POST that was not sent: the second one comes 5 s after the first.
        let waits = |seen: &Seen| seen.number("status.run.attempt.count") >= 1;
        story.until("pending", "have tried", waits).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let before = story.all().await;
        let calls = story.ledger().calls.len();
        story.rest(WATCHED).await;
        assert!(story.ledger().calls.len() > calls, "looking went on");
        for (now, before) in story.all().await.iter().zip(&before) {
            assert_eq!(now, before);
        }
        assert_eq!(before.len(), 5);
    });
}
