//! Image updates: what stands in the repository once a pipeline has ended, as git itself tells.

use std::path::PathBuf;
use std::process::Command;

use pipekick_sandbox::gitlab::{
    AccessTokenSeed, Fault, FaultRule, JobPlay, Outcome, Play, Protection, Role, Scope, Seed, UserSeed,
};
use serde_json::{Value, json};

use crate::harness::gitlab::{GITOPS, LONG, quick, with_gitops};
use crate::harness::{Secret, Seen, Story, Trigger, story};

const VALUES: &str = "# deployed by Argo CD\r\nimage:\r\n  repository: registry.example.com/shop/checkout # ours\r\n  tag: 'v1.0.0'   # pipekick\r\nreplicas: 2";

fn values() -> Seed {
    with_gitops(quick(), &[("values.yaml", VALUES)])
}

/// A pipeline whose job `build` leaves these files behind.
fn leaving(files: &[(&str, &str)]) -> Play {
    let mut play = quick();
    play.jobs[0].artifacts = files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
    play
}

/// With one entry of `imageUpdates`, which makes these edits.
pub fn updating(name: &str, edits: Value) -> Trigger {
    let mut update = json!({"project": GITOPS, "branch": "main"});
    update["edits"] = edits;
    Trigger::new(name).with("spec.imageUpdates", json!([update]))
}

pub fn tag(value: &str) -> Value {
    json!([{"file": "values.yaml", "path": "image.tag", "value": value}])
}

/// The judge: the repository itself.
pub struct Git(PathBuf);

impl Git {
    pub fn of(story: &Story) -> Self {
        Self(story.gitlab.repository(GITOPS).unwrap())
    }

    pub fn run(&self, args: &[&str]) -> String {
        let output = Command::new("git").current_dir(&self.0).args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn show(&self, file: &str) -> String {
        self.run(&["show", &format!("main:{file}")])
    }

    pub fn commits(&self) -> usize {
        self.run(&["rev-list", "--count", "main"]).trim().parse().unwrap()
    }

    pub fn head(&self) -> String {
        self.run(&["rev-parse", "main"]).trim().to_owned()
    }
}

pub fn state(seen: &Seen) -> &str {
    seen.at("status.run.imageUpdates")[0]["state"].as_str().unwrap_or_default()
}

fn why(seen: &Seen) -> &str {
    seen.at("status.run.imageUpdates")[0]["message"].as_str().unwrap_or_default()
}

/// Waits until no update of the current run is under way.
pub async fn until_updated(story: &Story, name: &str) -> Seen {
    let is = |seen: &Seen| ["True", "False"].contains(&seen.truth("ImagesUpdated")) && seen.is_current();
    story.until(name, "have its updates done", is).await
}

#[test]
fn a_tag_is_written_and_no_other_byte() {
    let play = leaving(&[("build.env", "IMAGE_TAG=v1.4.0\n"), ("out/image.json", r#"{"image": {"n": 7}}"#)]);
    story(with_gitops(play, &[("values.yaml", VALUES)]), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let trigger = updating("checkout", tag("{{ outputs.tag }}-{{ outputs.n }}")).with(
            "spec.outputs",
            json!([
                {"name": "tag", "job": "build", "artifact": "build.env", "key": "IMAGE_TAG"},
                {"name": "n", "job": "build", "artifact": "out/image.json", "jsonPath": "image.n"},
            ]),
        );
        story.apply(&trigger).await;
        let seen = until_updated(story, "checkout").await;
        assert_eq!((state(&seen), seen.phase()), ("Committed", "Succeeded"), "{}", seen.yaml());
        assert_eq!(git.show("values.yaml"), VALUES.replace("v1.0.0", "v1.4.0-7"));
        assert_eq!(git.commits(), 2);
        let commit = &seen.at("status.run.imageUpdates")[0]["commit"];
        assert_eq!(commit.as_str(), Some(git.head().as_str()));
        let message = git.run(&["log", "-1", "--format=%B", "main"]);
        let pipeline = seen.number("status.run.pipeline.id");
        assert!(message.contains(&format!("Pipekick-Pipeline: {pipeline}\n")), "{message}");
        assert!(message.contains(&format!("Pipekick-Fire-Id: {}\n", seen.text("status.run.fireId"))));
        let truths = ["Ready", "Succeeded", "ImagesUpdated"].map(|kind| seen.truth(kind));
        assert_eq!(truths, ["True"; 3]);
        story.until_event("checkout", "ImagesUpdated", "on main of platform/gitops: values.yaml").await;
        // Neither a restart nor time writes it again.
        story.kill_operators();
        story.operator(&[]);
        story.let_pass().await;
        assert_eq!(git.commits(), 2);
    });
}

#[test]
fn every_kind_of_edit_of_one_entry_is_in_one_commit() {
    let files = [
        ("values.yaml", "image: {tag: v1}\n"),
        ("kustomization.yaml", "images:\n- name: a/b\n  newTag: v1 # here\n"),
        (
            "deploy.yaml",
            "kind: Service\nmetadata: {name: web}\n---\nkind: Deployment\nspec:\n  image: a/b:v1\n",
        ),
        ("marked.yaml", "a: v1 # pipekick: web:tag\nb: v1\n"),
        (".env", "# ours\nTAG=v1\nOTHER=v1\n"),
    ];
    story(with_gitops(quick(), &files), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let new = "{{ variables.VERSION }}";
        let edits = json!([
            {"file": "values.yaml", "path": "image.tag", "value": new},
            {"file": "kustomization.yaml", "image": "a/b", "newTag": new},
            {"file": "deploy.yaml", "document": {"kind": "Deployment"}, "path": "spec.image", "part": "Tag", "value": new},
            {"file": "marked.yaml", "marker": "web:tag", "value": new},
            {"file": ".env", "line": "TAG", "value": new},
        ]);
        let mut trigger = updating("all", edits).variables(&[("VERSION", "v2")]);
        trigger.0["spec"]["imageUpdates"][0]["message"] =
            "web {{ variables.VERSION }} by {{ trigger.name }}".into();
        trigger.0["spec"]["imageUpdates"][0]["author"] = json!({"name": "Web CI", "email": "ci@example.com"});
        story.apply(&trigger).await;
        let seen = until_updated(story, "all").await;
        assert_eq!(state(&seen), "Committed", "{}", seen.yaml());
        for (file, text) in files {
            // The first v1 of each file is the one that was meant.
            assert_eq!(git.show(file), text.replacen("v1", "v2", 1), "{file}");
        }
        assert_eq!(git.commits(), 2);
        assert_eq!(git.run(&["log", "-1", "--format=%s", "main"]), "web v2 by all\n");
        let by = git.run(&["log", "-1", "--format=%an <%ae>, %ce", "main"]);
        assert_eq!(by, "Web CI <ci@example.com>, alice@example.com\n");
    });
}

#[test]
fn what_cannot_be_written_is_told_with_its_place_and_nothing_is() {
    let cases = [
        (
            "missing-file",
            json!([{"file": "nope.yaml", "path": "a", "value": "v2"}]),
            "nope.yaml: there is no such file",
        ),
        (
            "missing-path",
            json!([{"file": "values.yaml", "path": "image.tga", "value": "v2"}]),
            "values.yaml:3: there is no `image.tga`; here are repository, tag",
        ),
        ("undefined", tag("{{ pipeline.nope }}"), "`pipeline.nope` is not defined here"),
        ("no-artifact", tag("{{ outputs.tag }}"), "job build has no artifact build.env"),
        ("two-lines", tag("{{ \"a\\nb\" }}"), "the value has a line break"),
        // The others of one entry are not written either.
        ("half", json!([tag("v9")[0], {"file": "nope.yaml", "path": "a", "value": "v2"}]), "nope.yaml"),
    ];
    story(values(), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        for (name, edits, says) in &cases {
            let output = json!([{"name": "tag", "job": "build", "artifact": "build.env", "key": "TAG"}]);
            let trigger = updating(name, edits.clone()).with("spec.outputs", output);
            story.apply(&trigger).await;
            let seen = until_updated(story, name).await;
            assert_eq!((state(&seen), seen.phase()), ("Refused", "Succeeded"), "{name}: {}", seen.yaml());
            assert!(why(&seen).contains(says), "{name}: {}", why(&seen));
            let truths = ["Ready", "Stalled", "Succeeded", "ImagesUpdated"].map(|kind| seen.truth(kind));
            assert_eq!(truths, ["False", "True", "True", "False"], "{name}");
            assert!(seen.message().contains(says), "{name}: {}", seen.message());
            story.until_event(name, "UpdateRefused", says).await;
            story.delete(name).await;
            story.until_gone(name).await;
        }
        assert_eq!((git.commits(), git.show("values.yaml").as_str()), (1, VALUES));
    });
}

#[test]
fn a_token_that_fires_and_may_not_push_is_told_and_tried_again_when_asked() {
    let mut seed = values();
    seed.users.push(UserSeed { username: "dora".into(), ..UserSeed::default() });
    let gitops = seed.projects.iter_mut().find(|project| project.path == GITOPS).unwrap();
    gitops.members.insert("dora".into(), Role::Developer);
    gitops.protected.push(Protection { pattern: "main".into(), role: Role::Maintainer });
    let token = |name: &str, user: &str, scope| AccessTokenSeed {
        token: format!("glpat-{name}-0123456789"),
        name: name.into(),
        user: user.into(),
        scopes: vec![scope],
        ..AccessTokenSeed::default()
    };
    seed.access_tokens.extend([token("dora", "dora", Scope::Api), token("reader", "alice", Scope::ReadApi)]);
    story(seed, async |story| {
        let git = Git::of(story);
        let secret = |key: &str| Secret::new("gitops").key("token", &format!("glpat-{key}-0123456789"));
        story.operator(&[]);
        for (number, (key, says)) in [("dora", "main"), ("reader", "api")].into_iter().enumerate() {
            story.secret(secret(key)).await;
            let name = format!("by-{key}");
            let mut trigger = updating(&name, tag(&format!("v2.{number}")));
            trigger.0["spec"]["imageUpdates"][0]["accessTokenRef"] =
                json!({"name": "gitops", "key": "token"});
            story.apply(&trigger).await;
            let seen = until_updated(story, &name).await;
            assert_eq!(state(&seen), "Refused", "{}", seen.yaml());
            assert!(why(&seen).contains(says), "{key}: {}", why(&seen));
            println!("{key}: {}", why(&seen));
            assert_eq!(git.commits(), 1 + number);
            // The token is replaced by one that may, and somebody asks.
            let may = Secret::new("gitops").key("token", Seed::ACCESS_TOKEN);
            story.secret(may).await;
            story.merge(&name, &json!({"metadata": {"annotations": {"pipekick.dev/retry": "1"}}})).await;
            let is = |seen: &Seen| state(seen) == "Committed" && seen.truth("Ready") == "True";
            story.until(&name, "be written", is).await;
            assert_eq!(git.show("values.yaml"), VALUES.replace("v1.0.0", &format!("v2.{number}")));
            story.delete(&name).await;
            story.until_gone(&name).await;
        }
    });
}

#[test]
fn a_missing_secret_is_told_and_waited_for() {
    story(values(), async |story| {
        story.operator(&[]);
        let mut trigger = updating("checkout", tag("v2"));
        trigger.0["spec"]["imageUpdates"][0]["accessTokenRef"] = json!({"name": "gitops", "key": "token"});
        story.apply(&trigger).await;
        let is = |seen: &Seen| seen.reason() == "SecretMissing" && seen.truth("Ready") == "False";
        let seen = story.until("checkout", "tell what is missing", is).await;
        assert_eq!((seen.truth("ImagesUpdated"), seen.phase()), ("Unknown", "Running"));
        assert!(seen.message().contains("Secret gitops does not exist"), "{}", seen.message());
        story.secret(Secret::new("gitops").key("token", Seed::ACCESS_TOKEN)).await;
        let seen = until_updated(story, "checkout").await;
        assert_eq!((state(&seen), seen.truth("Ready")), ("Committed", "True"));
    });
}

#[test]
fn what_stands_there_already_makes_no_commit_and_a_dry_run_none_either() {
    story(values(), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        story.apply(&updating("same", tag("v1.0.0"))).await;
        assert_eq!(state(&until_updated(story, "same").await), "UpToDate");
        story.delete("same").await;
        story.until_gone("same").await;
        let mut trigger = updating("dry", tag("v2"));
        trigger.0["spec"]["imageUpdates"][0]["dryRun"] = true.into();
        story.apply(&trigger).await;
        let seen = until_updated(story, "dry").await;
        let diff = &seen.at("status.run.imageUpdates")[0]["diff"];
        assert_eq!((state(&seen), diff.as_str()), ("DryRun", Some("values.yaml:4 image.tag: v1.0.0 → v2\n")));
        story.until_event("dry", "ImagesUpdated", "values.yaml:4 image.tag: v1.0.0 → v2").await;
        assert_eq!((git.commits(), git.show("values.yaml").as_str()), (1, VALUES));
    });
}

#[test]
fn after_a_failed_pipeline_only_what_is_always_written_is() {
    let failing = Play::jobs([JobPlay::ending("unit-tests", 0, [Outcome::Failed])]);
    story(with_gitops(failing, &[("values.yaml", VALUES), ("last.yaml", "status: none\n")]), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let always = json!({"project": GITOPS, "branch": "main", "when": "Always",
            "edits": [{"file": "last.yaml", "path": "status", "value": "{{ pipeline.status }}"}]});
        let mut trigger = updating("checkout", tag("v2"));
        trigger.0["spec"]["imageUpdates"].as_array_mut().unwrap().push(always);
        story.apply(&trigger).await;
        let seen = until_updated(story, "checkout").await;
        assert_eq!((seen.phase(), seen.truth("ImagesUpdated")), ("Failed", "True"), "{}", seen.yaml());
        assert_eq!(
            (git.show("last.yaml").as_str(), git.show("values.yaml").as_str()),
            ("status: failed\n", VALUES)
        );
    });
}

#[test]
fn suspended_it_stops_before_the_commit_and_goes_on_afterwards() {
    let long = Play::jobs([JobPlay { lasts: LONG, ..JobPlay::new("build", 0) }]);
    story(with_gitops(long, &[("values.yaml", VALUES)]), async |story| {
        let git = Git::of(story);
        story.operator(&[]);
        let trigger = updating("checkout", tag("v2"));
        story.apply(&trigger).await;
        story.until_phase("checkout", "Running").await;
        story.apply(&trigger.clone().with("spec.suspend", true)).await;
        story.until("checkout", "know that", Seen::is_current).await;
        story.end_pipelines();
        let is = |seen: &Seen| seen.text("status.run.phase") == "Succeeded";
        let seen = story.until("checkout", "see the end", is).await;
        assert!(seen.message().contains("image updates wait: spec.suspend is true"), "{}", seen.message());
        story.let_pass().await;
        assert_eq!(git.commits(), 1);
        story.apply(&trigger.with("spec.suspend", false)).await;
        assert_eq!(state(&until_updated(story, "checkout").await), "Committed");
        assert_eq!(git.commits(), 2);
    });
}

#[test]
fn a_rival_that_is_quicker_keeps_what_it_wrote() {
    story(values(), async |story| {
        let git = Git::of(story);
        story
            .gitlab
            .fault(FaultRule::next("commit_create", Fault::LostRace { branch: "main".into() }))
            .unwrap();
        // It comes between the look at the branch and the commit.
        story.gitlab.latency("commit_create", jiff::SignedDuration::from_secs(2)).unwrap();
        story.operator(&[]);
        story.apply(&updating("checkout", tag("v2"))).await;
        story.until_ledger("have the commit's request", |l| !l.calls_to("commits").is_empty()).await;
        let rival = VALUES.replace("replicas: 2", "replicas: 9");
        story.gitlab.commit(GITOPS, "main", "scale", &[("values.yaml", &rival)]).unwrap().unwrap();
        let seen = until_updated(story, "checkout").await;
        assert_eq!(state(&seen), "Committed", "{}", seen.yaml());
        assert_eq!(git.show("values.yaml"), rival.replace("v1.0.0", "v2"));
        assert_eq!(git.commits(), 3);
        let parents = git.run(&["rev-list", "--min-parents=2", "main"]);
        assert!(parents.is_empty(), "linear");
    });
}

#[test]
fn a_lost_reply_is_recognised_and_nothing_is_written_twice() {
    story(values(), async |story| {
        let git = Git::of(story);
        story.gitlab.fault(FaultRule::next("commit_create", Fault::EffectThenReset)).unwrap();
        story.operator(&[]);
        story.apply(&updating("checkout", tag("v2"))).await;
        let seen = until_updated(story, "checkout").await;
        assert_eq!(state(&seen), "Committed", "{}", seen.yaml());
        assert_eq!(git.commits(), 2);
        assert_eq!(seen.at("status.run.imageUpdates")[0]["commit"].as_str(), Some(git.head().as_str()));
        assert_eq!(story.ledger().calls_to("commit_create").len(), 1);
    });
}

#[test]
fn while_a_lost_commit_may_still_arrive_that_is_told() {
    story(values(), async |story| {
        let git = Git::of(story);
        story.gitlab.fault(FaultRule::next("commit_create", Fault::Reset)).unwrap();
        story.operator(&["--request-deadline", "3s", "--gitlab-request-limit", "17s"]);
        story.apply(&updating("checkout", tag("v2"))).await;
        let told = |seen: &Seen| why(seen).contains("its outcome is not known");
        let seen = story.until("checkout", "tell of the lost commit", told).await;
        assert_eq!((state(&seen), seen.phase()), ("Committing", "Running"), "{}", seen.yaml());
        let seen = until_updated(story, "checkout").await;
        assert_eq!((state(&seen), why(&seen)), ("Committed", ""), "{}", seen.yaml());
        assert_eq!((git.commits(), story.ledger().calls_to("commit_create").len()), (2, 2));
    });
}
