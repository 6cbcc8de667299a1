//! A run whose pipeline is under way: what each look at it makes of the run, and its time.

use super::scene::{Scene, accepted, failed_job, pipeline, seen, told, wakes_in};
use crate::decide::trigger::Follow;
use crate::domain::{
    BundleKind, CaBundleRef, FireOn, Phase, PipelineStatus, Reason, Report, SecretKeyRef, Sighting, Span,
    Stretch,
};

struct Case {
    sentence: &'static str,
    sighting: fn() -> Sighting,
    expect: (Phase, Reason, &'static str),
    told: &'static str,
}

fn failed(jobs: &[&str]) -> Sighting {
    Sighting::Seen {
        pipeline: pipeline(PipelineStatus::Failed),
        report: Report {
            failed_jobs: jobs.iter().map(|name| failed_job(name)).collect(),
            ..Report::default()
        },
    }
}

fn blocked(jobs: &[&str]) -> Sighting {
    Sighting::Seen {
        pipeline: pipeline(PipelineStatus::Manual),
        report: Report {
            manual_jobs: jobs.iter().map(|name| (*name).to_owned()).collect(),
            ..Report::default()
        },
    }
}

const CASES: &[Case] = &[
    Case {
        sentence: "success",
        sighting: || seen(PipelineStatus::Success),
        expect: (Phase::Succeeded, Reason::PipelineSucceeded, "pipeline 700 succeeded in 1m30s"),
        told: "PipelineSucceeded",
    },
    Case {
        sentence: "failure without jobs",
        sighting: || failed(&[]),
        expect: (Phase::Failed, Reason::PipelineFailed, "pipeline 700 failed"),
        told: "!PipelineFailed",
    },
    Case {
        sentence: "failure names the job and why",
        sighting: || failed(&["unit", "lint"]),
        expect: (
            Phase::Failed,
            Reason::PipelineFailed,
            "job unit (test) failed: script_failure (and 1 more)",
        ),
        told: "!PipelineFailed",
    },
    Case {
        sentence: "cancelled",
        sighting: || seen(PipelineStatus::Canceled),
        expect: (Phase::Canceled, Reason::PipelineCanceled, "pipeline 700 was cancelled in GitLab"),
        told: "!PipelineCanceled",
    },
    Case {
        sentence: "skipped",
        sighting: || seen(PipelineStatus::Skipped),
        expect: (Phase::Skipped, Reason::PipelineSkipped, "pipeline 700 was skipped by GitLab"),
        told: "!PipelineSkipped",
    },
    Case {
        sentence: "gone",
        sighting: || Sighting::Gone,
        expect: (
            Phase::Canceled,
            Reason::PipelineGone,
            "pipeline 700 was deleted in GitLab before its end was seen",
        ),
        told: "!PipelineGone",
    },
    Case {
        sentence: "blocked by a manual job: still under way",
        sighting: || seen(PipelineStatus::Manual),
        expect: (
            Phase::Running,
            Reason::PipelineManual,
            "pipeline 700 waits for a person to play a manual job",
        ),
        told: "",
    },
    Case {
        sentence: "trouble: still followed",
        sighting: || Sighting::Trouble { reason: Reason::Unauthorized, message: "401".into() },
        expect: (Phase::Running, Reason::CannotFollow, "pipeline 700 cannot be followed (Unauthorized): 401"),
        told: "",
    },
];

#[test]
fn what_a_look_makes_of_the_run() {
    for Case { sentence, sighting, expect, told: events } in CASES {
        let mut scene = Scene::running();
        let plan = scene.sight(sighting());
        let run = scene.run();
        assert_eq!((run.phase, run.reason.unwrap(), run.message.as_deref().unwrap()), *expect, "{sentence}");
        assert_eq!(told(&plan).join(" "), *events, "{sentence}");
        let under_way = |follow: &Follow| follow.stretch.finished_at.is_none();
        assert_eq!(plan.follow.as_ref().is_some_and(under_way), expect.0 == Phase::Running, "{sentence}");
        assert_eq!(run.finished_at.is_some(), expect.0 != Phase::Running, "{sentence}");
        let again = scene.step();
        assert!(again.status.is_none() && again.events.is_empty(), "{sentence}: written and told once");
    }
}

#[test]
fn a_status_on_the_way_is_not_written() {
    let on_the_way = "created waiting_for_resource preparing waiting_for_callback pending running canceling \
                      scheduled brand_new";
    let mut scene = Scene::running();
    for word in on_the_way.split_whitespace() {
        let plan = scene.sight(seen(PipelineStatus::from_gitlab(word)));
        assert!(plan.status.is_none() && plan.follow.is_some(), "{word}");
    }
    scene.sight(seen(PipelineStatus::Manual));
    scene.sight(seen(PipelineStatus::Running));
    assert_eq!(scene.run().reason, Some(Reason::PipelineRunning), "played: what was told of is taken back");
}

#[test]
fn a_blocked_pipeline_names_what_a_person_must_play() {
    let mut scene = Scene::running();
    for (jobs, words) in [
        (&["deploy"][..], "play job deploy"),
        (&["deploy-eu", "deploy-us"], "play jobs deploy-eu, deploy-us"),
        (&["a", "b", "c", "d", "e"], "play jobs a, b, c (and 2 more)"),
    ] {
        let written = scene.sight(blocked(jobs)).status.is_some();
        assert!(written, "{jobs:?} is news");
        assert_eq!(
            scene.run().message.as_deref(),
            Some(&*format!("pipeline 700 waits for a person to {words}"))
        );
        assert!(scene.sight(blocked(jobs)).status.is_none(), "{jobs:?} is no news any more");
    }
}

#[test]
fn a_look_at_another_pipeline_says_nothing() {
    let mut scene = Scene::running();
    let other = Stretch { pipeline_id: 699, ..scene.run().stretch().unwrap() };
    scene.facts.sighting = Some((other, seen(PipelineStatus::Success)));
    assert!(scene.step().status.is_none());
}

#[test]
fn at_most_five_failed_jobs_are_kept() {
    let mut scene = Scene::running();
    scene.sight(failed(&["a", "b", "c", "d", "e", "f"]));
    assert_eq!(scene.run().failed_jobs.len(), 5);
    let message = scene.run().message.clone().unwrap();
    assert!(message.ends_with("(and at least 4 more)"), "{message}");
}

#[test]
fn a_pipeline_is_followed_where_it_was_fired() {
    let mut scene = Scene::running();
    let follow = scene.decide().follow.unwrap();
    assert_eq!((follow.stretch.pipeline_id, follow.project.as_str()), (700, "7"));
    assert_eq!((follow.since, &follow.fire_id), (scene.now, &scene.run().fire_id));

    let access = |scene: &Scene| scene.decide().follow.unwrap().access.token.name;
    scene.other_token();
    assert_eq!(access(&scene), "other", "a credential that moved is found");
    scene.edit(|spec| spec.project = "shop/elsewhere".parse().unwrap());
    assert_eq!(access(&scene), "gitlab", "unless spec speaks of another project");
    assert_eq!(scene.decide().follow.unwrap().named_project, "shop/checkout");
    assert_eq!(access(scene.break_spec()), "gitlab", "or of nothing");
    scene.mend_spec().edit(|spec| {
        spec.project = "shop/checkout".parse().unwrap();
        spec.access_token = None;
    });
    assert_eq!(access(&scene), "gitlab", "a token that was taken out of spec still follows");
}

#[test]
fn a_run_is_timed_out_from_the_moment_it_was_fired() {
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.timeout = Some(Span::from_secs(3600))).step();
    scene.wait(15);
    scene.answer(accepted());
    let plan = scene.wait(3599).step();
    assert_eq!((scene.phase(), wakes_in(&scene, &plan)), (Phase::Running, Some(1)));
    let plan = scene.wait(1).step();
    assert_eq!((scene.phase(), told(&plan)), (Phase::TimedOut, vec!["!TimedOut".to_owned()]));
    assert!(plan.follow.is_none());
}

#[test]
fn an_end_seen_in_the_last_moment_counts() {
    let mut scene = Scene::running();
    scene.edit(|spec| spec.timeout = Some(Span::from_secs(60))).wait(60);
    scene.sight(seen(PipelineStatus::Success));
    assert_eq!(scene.phase(), Phase::Succeeded);
}

#[test]
fn without_timeout_a_pipeline_is_followed_for_ever() {
    let mut scene = Scene::running();
    let plan = scene.wait(400 * 24 * 3600).step();
    assert!(plan.follow.is_some() && plan.wake.is_none() && plan.status.is_none());
}

#[test]
fn a_credential_of_the_same_name_but_another_key_is_another() {
    let mut scene = Scene::running();
    let key = SecretKeyRef { name: "gitlab".into(), key: "read-only".into() };
    scene.edit(|spec| spec.access_token = Some(key.clone()));
    assert_eq!(scene.decide().follow.unwrap().access.token, key);
}

#[test]
fn whose_certificates_are_believed_is_said_by_spec_while_it_speaks_of_the_run_and_then_by_the_run() {
    let bundle = |name: &str| {
        Some(CaBundleRef { kind: BundleKind::ConfigMap, name: name.into(), key: "ca.crt".into() })
    };
    let mut scene = Scene::new(FireOn::Apply);
    scene.edit(|spec| spec.ca_bundle = bundle("old")).step();
    scene.answer(accepted());
    assert_eq!(scene.run().target.ca_bundle, bundle("old"));
    let believed = |scene: &Scene| scene.decide().follow.unwrap().access.ca_bundle;
    scene.edit(|spec| spec.ca_bundle = bundle("new"));
    assert_eq!(believed(&scene), bundle("new"));
    scene.edit(|spec| spec.ca_bundle = None);
    assert_eq!(believed(&scene), None, "the public CAs, as spec says");
    scene.edit(|spec| spec.project = "shop/other".parse().unwrap());
    assert_eq!(believed(&scene), bundle("old"), "spec speaks of another project");
}
