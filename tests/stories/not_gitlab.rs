//! Nobody answers under GitLab's address, or somebody else does: the condition says which, and what to do.

use jiff::{SignedDuration, Timestamp};
use pipekick_sandbox::gitlab::{Fault, FaultRule, Seed};
use pipekick_sandbox::tls::{Authority, TlsFront};

use crate::harness::gitlab::{playing, quick};
use crate::harness::{Secret, Seen, Story, Trigger, status_writes, story};

/// A trigger of the GitLab at `url`, with a Secret for that.
async fn at(story: &Story, name: &str, url: &str) -> Trigger {
    let secret = Secret::new(name).annotation("pipekick.dev/gitlab-url", url);
    let secret = secret.key("trigger-token", Seed::TRIGGER_TOKEN).key("access-token", Seed::ACCESS_TOKEN);
    story.secret(secret).await;
    let trigger = Trigger::new(name).with("spec.gitlab.url", url);
    let trigger = trigger.with("spec.gitlab.triggerTokenRef.name", name);
    trigger.with("spec.gitlab.accessTokenRef.name", name)
}

fn assert_says(seen: &Seen, words: &[&str]) {
    for word in words {
        assert!(seen.message().contains(word), "`{word}` is not in: {}", seen.message());
    }
}

#[test]
fn a_host_that_does_not_resolve_is_named_and_what_never_left_gives_way_to_the_corrected_url() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        // RFC 6761: no name below `invalid` ever resolves.
        story.apply(&at(story, "checkout", "http://gitlab.invalid").await).await;
        let waits = story.until("checkout", "be Pending", |seen| seen.reason() == "Unreachable").await;
        assert_eq!(
            (waits.phase(), waits.truth("Ready"), waits.truth("Reconciling"), waits.truth("Fired")),
            ("Pending", "Unknown", "True", "False")
        );
        assert_eq!(waits.text("status.run.attempt.last"), "NotSent");
        assert_says(
            &waits,
            &["gitlab.invalid", "cannot be resolved from inside the cluster", "Correct the URL", "DNS"],
        );
        story.until_event("checkout", "Unreachable", "gitlab.invalid").await;
        assert_eq!(story.events("checkout").await, [("Warning".to_owned(), "Unreachable".to_owned())]);

        story.apply(&at(story, "checkout", story.gitlab.url()).await).await;
        let ended = story.until_run("checkout", 2, "Succeeded").await;
        assert_eq!(ended.at("status.history")[0]["phase"], "Superseded");
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_certificate_of_a_private_ca_is_told_with_the_field_that_names_the_ca() {
    story(playing(quick()), async |story| {
        let address = story.gitlab.url().trim_start_matches("http://").parse().unwrap();
        let front = TlsFront::start(address, &Authority::new().unwrap()).await.unwrap();
        story.operator_of(&front.url(), &[]);
        story.apply(&Trigger::new("checkout")).await;
        let waits = story.until("checkout", "not believe it", |seen| seen.reason() == "Unreachable").await;
        assert_eq!(waits.text("status.run.attempt.last"), "NotSent");
        assert_says(&waits, &["signed by a CA that the operator does not know", "spec.gitlab.caBundleRef"]);
        assert_eq!(story.ledger().calls.len(), 0);
    });
}

#[test]
fn html_from_a_proxy_is_told_as_such_never_quoted_and_its_request_is_looked_up() {
    for effect in [true, false] {
        story(playing(quick()), async |story| {
            story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
            story.gitlab.fault(FaultRule::next("trigger", Fault::BadGateway { effect })).unwrap();
            let versions = story.record_versions().await;
            story.apply(&Trigger::new("checkout")).await;
            let ended = story.until_run("checkout", 1, "Succeeded").await;
            let versions = versions.up_to(&ended).await;
            let unknown = versions.iter().find(|seen| seen.phase() == "Unknown").unwrap();
            assert_eq!(unknown.reason(), "OutcomeUnknown");
            assert_says(
                unknown,
                &["502", "a body that is not GitLab's", "a proxy or load balancer before GitLab"],
            );
            assert!(versions.iter().all(|seen| !seen.message().contains('<')), "no HTML in a status");
            assert_eq!(story.fired("checkout"), 1);
            assert_eq!(story.ledger().calls_to("trigger").len(), if effect { 1 } else { 2 });
        });
    }
}

/// A redirect that stays, as where the URL is an old name of GitLab's: looks get through, requests do not.
#[test]
fn who_keeps_answering_in_gitlabs_place_is_told_once_and_asked_ever_more_seldom_until_somebody_edits() {
    story(playing(quick()), async |story| {
        story.operator(&["--request-deadline", "2s", "--gitlab-request-limit", "1s"]);
        let elsewhere = Fault::Redirect { location: "https://sso.example.com/sign-in".into() };
        story.gitlab.fault(FaultRule::always("trigger", elsewhere)).unwrap();
        let versions = story.record_versions().await;
        story.apply(&Trigger::new("checkout")).await;
        let lost_again =
            |seen: &Seen| seen.phase() == "Pending" && seen.number("status.run.attempt.count") == 2;
        let waits = story.until("checkout", "be lost twice", lost_again).await;
        assert_says(&waits, &["looked twice", "302", "https://sso.example.com", "when spec is edited"]);
        assert_eq!(waits.text("status.run.attempt.trouble"), "OutcomeUnknown");
        let due: Timestamp = waits.text("status.run.attempt.nextAt").parse().unwrap();
        let waited = due.duration_since(story.ledger().calls_to("trigger")[1].at);
        assert!(waited > SignedDuration::from_secs(20), "longer than what proves it absent: {waited}");
        story.until_event("checkout", "OutcomeUnknown", "302").await;
        let told = story.events("checkout").await;
        assert_eq!(told, [("Warning".to_owned(), "OutcomeUnknown".to_owned())], "one for both");
        let writes = status_writes(&versions.up_to(&waits).await);
        // Of each: the intent, that it is unknown, when it was first not found; and that the second waits.
        assert!(writes <= 7, "{writes} status writes");

        story.gitlab.clear_faults();
        story.apply(&Trigger::new("checkout").with("spec.timeout", "1h")).await;
        story.until_run("checkout", 1, "Succeeded").await;
        assert_eq!((story.fired("checkout"), story.ledger().calls_to("trigger").len()), (1, 3));
    });
}
