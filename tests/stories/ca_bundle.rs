//! A GitLab whose certificate comes from a private CA.

use std::net::SocketAddr;

use pipekick_sandbox::gitlab::Source;
use pipekick_sandbox::tls::{Authority, TlsFront};
use serde_json::json;

use crate::harness::gitlab::{long, playing, quick};
use crate::harness::{ConfigMap, Secret, Story, Trigger, story};

async fn front(story: &Story, authority: &Authority) -> TlsFront {
    let address: SocketAddr = story.gitlab.url().trim_start_matches("http://").parse().unwrap();
    TlsFront::start(address, authority).await.unwrap()
}

fn believing(name: &str, kind: &str, object: &str) -> Trigger {
    Trigger::new(name).with("spec.gitlab.caBundleRef", json!({"kind": kind, "name": object, "key": "ca.crt"}))
}

fn bundle(pem: &str) -> ConfigMap {
    ConfigMap::new("corp-ca").text("ca.crt", pem)
}

#[test]
fn a_private_ca_is_believed_for_firing_and_following_where_its_bundle_is_named() {
    story(playing(quick()), async |story| {
        let (ours, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let front = front(story, &ours).await;
        story.operator_of(&front.url(), &[]);
        // A bundle may hold several, and text between them.
        let several = format!("# corp\n{}\n# and\n{}", other.pem(), ours.pem());
        story.config_map(&bundle(&several)).await;
        // No credential, so without a label.
        let secret = Secret::unmarked("tls").key("ca.crt", &ours.pem());
        story.secret(secret).await;
        story.apply(&believing("map", "ConfigMap", "corp-ca")).await;
        story.apply(&believing("secret", "Secret", "tls")).await;
        let by_access = believing("access", "ConfigMap", "corp-ca").without("spec.gitlab.triggerTokenRef");
        story.apply(&by_access).await;
        for name in ["map", "secret", "access"] {
            let ended = story.until_phase(name, "Succeeded").await;
            assert_eq!(ended.text("status.run.target.caBundle.key"), "ca.crt");
        }
        let sources: Vec<Source> = story.ledger().pipelines.iter().map(|p| p.source).collect();
        assert_eq!(sources.iter().filter(|source| **source == Source::Api).count(), 1, "{sources:?}");
        assert_eq!(sources.len(), 3);

        story.apply(&Trigger::new("public")).await;
        let seen = story.until("public", "not believe it", |seen| seen.reason() == "Unreachable").await;
        assert!(seen.message().contains("certificate"), "{}", seen.message());
        assert_eq!(story.ledger().pipelines.len(), 3);
    });
}

#[test]
fn a_bundle_that_is_missing_or_none_is_named_and_waited_for() {
    story(playing(quick()), async |story| {
        let ours = Authority::new().unwrap();
        let front = front(story, &ours).await;
        story.operator_of(&front.url(), &[]);
        story.config_map(&bundle("-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n")).await;
        story.config_map(&ConfigMap::new("empty").text("other", "x")).await;
        let cases = [
            ("broken", "corp-ca", "CaBundleUnusable", "key ca.crt of ConfigMap corp-ca is no CA bundle"),
            ("no-key", "empty", "CaBundleMissing", "ConfigMap empty has no key ca.crt"),
            ("no-map", "absent", "CaBundleMissing", "ConfigMap absent does not exist"),
        ];
        for (name, object, ..) in cases {
            story.apply(&believing(name, "ConfigMap", object)).await;
        }
        for (name, _, reason, says) in cases {
            let seen = story.until(name, reason, |seen| seen.reason() == reason).await;
            assert_eq!(
                (seen.phase(), seen.truth("Ready"), seen.truth("Fired")),
                ("Pending", "False", "False")
            );
            assert!(seen.message().contains(says), "{}", seen.message());
        }
        for object in ["corp-ca", "empty", "absent"] {
            story.config_map(&ConfigMap::new(object).text("ca.crt", &ours.pem())).await;
        }
        for (name, ..) in cases {
            story.until_run(name, 1, "Succeeded").await;
        }
        assert_eq!(story.ledger().pipelines.len(), 3);
    });
}

#[test]
fn a_rotated_ca_is_believed_without_a_restart_also_by_who_follows() {
    story(playing(long()), async |story| {
        let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
        let mut front = front(story, &old).await;
        story.operator_of(&front.url(), &[]);
        story.config_map(&bundle(&old.pem())).await;
        story.apply(&believing("checkout", "ConfigMap", "corp-ca")).await;
        story.until_phase("checkout", "Running").await;

        front.rotate(&new).unwrap();
        let lost = |seen: &crate::harness::Seen| seen.phase() == "Running" && seen.reason() == "CannotFollow";
        let seen = story.until("checkout", "not be followed", lost).await;
        assert!(seen.message().contains("certificate"), "{}", seen.message());
        story.apply(&believing("other", "ConfigMap", "corp-ca")).await;
        story.until("other", "not be sent", |seen| seen.reason() == "Unreachable").await;
        assert_eq!(story.fired("other"), 0);

        story.config_map(&bundle(&new.pem())).await;
        story.until_phase("other", "Running").await;
        story.end_pipelines();
        for name in ["checkout", "other"] {
            story.until_run(name, 1, "Succeeded").await;
            assert_eq!(story.fired(name), 1, "{name}");
        }
    });
}
