//! Secrets: what is missing is named and waited for, what is rotated is found, and nothing is sent where it does
//! not belong.

use pipekick_sandbox::gitlab::{CredentialKind, GitlabSim, Seed};

use crate::harness::gitlab::{failing, long, playing, quick};
use crate::harness::{Secret, Seen, Story, Trigger, story};

/// A trigger with both tokens in a Secret of its own.
fn with_secret(name: &str, secret: &str) -> Trigger {
    let trigger = Trigger::new(name).with("spec.gitlab.triggerTokenRef.name", secret);
    trigger.with("spec.gitlab.accessTokenRef.name", secret)
}

fn both_tokens(secret: Secret) -> Secret {
    secret.key("trigger-token", Seed::TRIGGER_TOKEN).key("access-token", Seed::ACCESS_TOKEN)
}

/// Waits until the object says what is missing, and checks that it says it as it should.
pub async fn until_missing(story: &Story, name: &str, reason: &str, words: &[&str]) -> Seen {
    let seen = story.until(name, &format!("say {reason}"), |seen| seen.reason() == reason).await;
    assert_eq!(seen.phase(), "Pending", "{name}");
    let truths = ["Ready", "Reconciling", "Fired", "Succeeded"].map(|kind| seen.truth(kind));
    assert_eq!(truths, ["False", "True", "False", "Unknown"], "{name}");
    for word in words {
        assert!(seen.message().contains(word), "{name}: `{word}` is not in: {}", seen.message());
    }
    seen
}

#[test]
fn a_missing_secret_and_a_missing_key_are_named_and_fire_once_they_are_there() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.secret(Secret::new("half").key("access-token", Seed::ACCESS_TOKEN)).await;
        story.apply(&with_secret("no-secret", "absent")).await;
        story.apply(&with_secret("no-key", "half")).await;
        until_missing(story, "no-secret", "SecretMissing", &["Secret absent", "trigger-token"]).await;
        until_missing(story, "no-key", "SecretMissing", &["Secret half", "trigger-token"]).await;
        assert_eq!(story.ledger().calls.len(), 0);

        story.secret(both_tokens(Secret::new("absent"))).await;
        story.secret(both_tokens(Secret::new("half"))).await;
        for name in ["no-secret", "no-key"] {
            let ended = story.until_run(name, 1, "Succeeded").await;
            assert_eq!(ended.text("status.run.cause"), "Apply", "{name}");
        }
        story.let_pass().await;
        assert_eq!((story.fired("no-secret"), story.fired("no-key")), (1, 1));
    });
}

#[test]
fn a_change_while_the_secret_is_missing_replaces_what_was_never_sent() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        let trigger = with_secret("checkout", "absent");
        story.apply(&trigger).await;
        until_missing(story, "checkout", "SecretMissing", &[]).await;
        story.apply(&trigger.with("spec.ref", "next")).await;
        story.secret(both_tokens(Secret::new("absent"))).await;
        story.until_run("checkout", 2, "Succeeded").await;
        story.let_pass().await;
        let pipelines = story.pipelines_of("checkout");
        assert_eq!(pipelines.len(), 1);
        assert_eq!(pipelines[0].git_ref, "next");
        let seen = story.look("checkout").await;
        assert_eq!(seen.at("status.history")[0]["phase"], "Superseded");
    });
}

#[test]
fn a_missing_access_token_delays_following_and_nothing_else() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.gitlab.accessTokenRef.name", "absent")).await;
        let running = story.until("checkout", "be running, not followed", |seen| {
            seen.phase() == "Running" && seen.reason() == "SecretMissing" && seen.truth("Ready") == "False"
        });
        let running = running.await;
        assert!(running.message().contains("Secret absent"), "{}", running.message());
        assert_eq!(story.fired("checkout"), 1);
        story.secret(both_tokens(Secret::new("absent"))).await;
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_secret_deleted_while_following_is_named_and_found_again() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.secret(both_tokens(Secret::new("mine"))).await;
        story.apply(&with_secret("checkout", "mine")).await;
        story.until_phase("checkout", "Running").await;
        story.delete_secret("mine").await;
        let lost = story.until("checkout", "say so", |seen| seen.reason() == "SecretMissing").await;
        assert_eq!(lost.phase(), "Running");
        assert!(lost.message().contains("Secret mine"), "{}", lost.message());
        story.secret(both_tokens(Secret::new("mine"))).await;
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn a_rotated_token_fires_the_next_run_and_goes_on_following_the_last() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;

        let trigger_token = story.gitlab.rotate_token("ops").unwrap();
        let access_token = story.gitlab.rotate_token("bot").unwrap();
        let rotated = Secret::new("gitlab").key("trigger-token", &format!("{trigger_token}\n"));
        story.secret(rotated.key("access-token", &access_token)).await;
        story.end_pipelines();
        story.until_run("checkout", 1, "Succeeded").await;

        story.apply(&Trigger::new("checkout").with("spec.ref", "next")).await;
        story.until_run("checkout", 2, "Running").await;
        let ledger = story.ledger();
        assert_eq!(ledger.pipelines.len(), 2);
        assert!(ledger.calls_to("trigger").iter().all(|call| call.status == Some(201)));
    });
}

#[test]
fn a_secret_that_is_not_for_this_use_is_never_sent() {
    story(playing(quick()), async |story| {
        let elsewhere = GitlabSim::start(playing(quick())).unwrap();
        story.operator(&[]);
        story.secret(both_tokens(Secret::unmarked("unmarked"))).await;
        story
            .secret(both_tokens(Secret::unmarked("half-marked").label("pipekick.dev/credential", "yes")))
            .await;
        story.secret(both_tokens(Secret::new("at-home"))).await;
        story
            .secret(both_tokens(Secret::new("listed").annotation("pipekick.dev/projects", "shop/other, x/*")))
            .await;
        story
            .secret(both_tokens(Secret::new("away").annotation("pipekick.dev/gitlab-url", elsewhere.url())))
            .await;
        for secret in ["unmarked", "half-marked", "listed", "away"] {
            story.apply(&with_secret(secret, secret)).await;
        }
        let carried = with_secret("at-home", "at-home").with("spec.gitlab.url", elsewhere.url());
        story.apply(&carried).await;

        let label = "pipekick.dev/credential=true";
        until_missing(story, "unmarked", "SecretNotLabelled", &["Secret unmarked", label]).await;
        until_missing(story, "half-marked", "SecretNotLabelled", &["Secret half-marked", label]).await;
        until_missing(
            story,
            "listed",
            "SecretNotForThisProject",
            &["shop/checkout", "pipekick.dev/projects"],
        )
        .await;
        let url = "pipekick.dev/gitlab-url";
        until_missing(story, "away", "SecretNotForThisUrl", &["Secret away", url, story.gitlab.url()]).await;
        until_missing(story, "at-home", "SecretNotForThisUrl", &["Secret at-home", url, elsewhere.url()])
            .await;
        assert_eq!((story.ledger().calls.len(), elsewhere.ledger().calls.len()), (0, 0));

        for secret in ["unmarked", "half-marked"] {
            story.secret(both_tokens(Secret::new(secret))).await;
        }
        story.secret(both_tokens(Secret::new("listed").annotation("pipekick.dev/projects", "shop/*"))).await;
        story.secret(both_tokens(Secret::new("away"))).await;
        story.secret(both_tokens(Secret::new("at-home").annotation(url, elsewhere.url()))).await;
        for name in ["unmarked", "half-marked", "listed", "away", "at-home"] {
            story.until_run(name, 1, "Succeeded").await;
        }
        assert_eq!((story.ledger().pipelines.len(), elsewhere.ledger().pipelines.len()), (4, 1));
    });
}

#[test]
fn an_access_token_that_is_not_for_this_use_is_not_sent_to_follow() {
    story(playing(quick()), async |story| {
        story.operator(&[]);
        story.secret(Secret::unmarked("unmarked").key("access-token", Seed::ACCESS_TOKEN)).await;
        story.apply(&Trigger::new("checkout").with("spec.gitlab.accessTokenRef.name", "unmarked")).await;
        let is = |seen: &Seen| seen.phase() == "Running" && seen.reason() == "SecretNotLabelled";
        let seen = story.until("checkout", "be running, not followed", is).await;
        assert!(seen.message().contains("SecretNotLabelled"), "{}", seen.message());
        story.let_pass().await;
        let is_access = |call: &pipekick_sandbox::gitlab::CallRecord| {
            call.method == "GET"
                || call.credential.as_ref().is_some_and(|c| c.kind == CredentialKind::AccessToken)
        };
        assert!(!story.ledger().calls.iter().any(is_access));
    });
}

/// Every story checks at its end that no token was told; this one makes the operator talk.
#[test]
fn no_token_is_told_in_a_trace_log_or_metrics() {
    story(playing(failing(jiff::SignedDuration::from_millis(100))), async |story| {
        story.operator(&["--log-level", "trace"]);
        story.secret(both_tokens(Secret::new("wrong").key("bad", "glptt-canary-of-nobody"))).await;
        story.apply(&Trigger::new("failed")).await;
        story.apply(&with_secret("refused", "wrong").with("spec.gitlab.triggerTokenRef.key", "bad")).await;
        story.apply(&Trigger::new("by-access").without("spec.gitlab.triggerTokenRef")).await;
        story.until_phase("failed", "Failed").await;
        story.until_phase("by-access", "Failed").await;
        story.until_phase("refused", "Rejected").await;

        let log = story.log();
        assert!(log.contains(" TRACE "), "the log is as talkative as it can be");
        let server = log.lines().find(|line| line.contains("metrics server listened")).unwrap();
        let address = server.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let metrics =
            client.get(format!("http://{address}/metrics")).send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains("pipekick"), "{metrics}");
        for token in [Seed::TRIGGER_TOKEN, Seed::ACCESS_TOKEN, "glptt-canary-of-nobody"] {
            assert!(!metrics.contains(token));
        }
    });
}

#[test]
fn plain_http_is_refused_without_the_flag_for_it() {
    story(playing(quick()), async |story| {
        story.operator_of("https://gitlab.invalid", &[]);
        let url = story.gitlab.url();
        story.secret(both_tokens(Secret::new("http").annotation("pipekick.dev/gitlab-url", url))).await;
        story.apply(&with_secret("checkout", "http").with("spec.gitlab.url", url)).await;
        until_missing(story, "checkout", "PlainHttpRefused", &["http"]).await;
        assert_eq!(story.ledger().calls.len(), 0);
    });
}

#[test]
fn another_default_gitlab_fires_nothing_and_gets_no_token() {
    story(playing(quick()), async |story| {
        let other = GitlabSim::start(playing(quick())).unwrap();
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Succeeded").await;
        story.kill_operators();
        story.operator_of(other.url(), &[]);
        story.apply(&Trigger::new("marker")).await;
        story.until_phase("marker", "Succeeded").await;
        assert_eq!(other.ledger().pipelines.len(), 1, "the marker's");
        assert_eq!(story.fired("checkout"), 1);
        assert_eq!(story.look("checkout").await.phase(), "Succeeded");
    });
}
