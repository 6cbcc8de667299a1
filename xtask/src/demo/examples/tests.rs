use serde_json::{Value, json};

use super::*;

fn example(name: &str) -> Example {
    *EXAMPLES.iter().find(|example| example.name == name).unwrap()
}

fn made(id: u64, project: &str, status: GitLabStatus) -> Made {
    Made { id, project: project.into(), fire_id: Some(format!("f{id}")), status: Some(status), tick: None }
}

fn status(phase: &str, reason: &str, message: &str, pipeline: Option<(u64, &str)>) -> Value {
    let fire_id = pipeline.map_or("f0".into(), |(id, _)| format!("f{id}"));
    let pipeline = pipeline.map(|(id, status)| json!({"id": id, "status": status}));
    json!({
        "phase": phase,
        "message": message,
        "run": {
            "seq": 1, "fireId": fire_id, "cause": "Apply", "digest": "v1:0", "phase": phase, "reason": reason,
            "message": message, "intendedAt": "2026-11-02T08:00:00Z", "pipeline": pipeline,
            "target": {"url": "http://x", "project": "a/b", "ref": "main"},
        },
    })
}

fn succeeded(id: u64, message: &str) -> Value {
    status("Succeeded", "PipelineSucceeded", message, Some((id, "success")))
}

fn judge(name: &str, status: &Value, made: &[Made]) -> Verdict {
    let status: TriggerStatus = serde_json::from_value(status.clone()).unwrap();
    example(name).judge(Some(&status), made)
}

#[track_caller]
fn missed(verdict: &Verdict, why: &str) {
    assert!(matches!(verdict, Verdict::Missed(said) if said.contains(why)), "{verdict:?}");
}

const CHECKOUT: &str = "shop/checkout";

#[test]
fn each_end_is_reached_when_status_and_ledger_agree_on_it() {
    let ok = [made(7, CHECKOUT, GitLabStatus::Success), made(8, "shop/cart-2", GitLabStatus::Success)];
    assert_eq!(judge("succeeds", &succeeded(7, "pipeline 7 succeeded in 5s"), &ok), Verdict::Reached);

    let says = "job unit-tests (test) failed: script_failure";
    let failed = status("Failed", "PipelineFailed", says, Some((9, "failed")));
    let in_gitlab = [made(9, "shop/payments", GitLabStatus::Failed)];
    assert_eq!(judge("job-fails", &failed, &in_gitlab), Verdict::Reached);

    let says = "404: the trigger token is not known to project shop/cart (mistyped), or";
    let rejected = status("Rejected", "NotFoundByTrigger", says, None);
    assert_eq!(judge("wrong-token", &rejected, &ok), Verdict::Reached);
}

#[test]
fn what_is_under_way_may_still_get_there() {
    assert!(matches!(example("succeeds").judge(None, &[]), Verdict::Underway(_)));
    assert!(matches!(judge("succeeds", &json!({"observedGeneration": -1}), &[]), Verdict::Underway(_)));
    for phase in ["Pending", "Firing", "Unknown", "Running"] {
        let verdict = judge("succeeds", &status(phase, "Waiting", "waits", None), &[]);
        assert_eq!(verdict, Verdict::Underway(format!("{phase}: waits")));
    }
}

#[test]
fn another_end_is_missed_and_says_which() {
    let verdict = judge("succeeds", &status("Rejected", "RefNotFound", "no such ref", None), &[]);
    assert_eq!(verdict, Verdict::Missed("Rejected and not Succeeded: no such ref".into()));
    let verdict = judge("bad-ref", &status("Rejected", "Forbidden", "no", None), &[]);
    missed(&verdict, "and not RefNotFound");
    let verdict = judge("bad-ref", &status("Rejected", "RefNotFound", "HTTP 400", None), &[]);
    missed(&verdict, "does not tell");
}

#[test]
fn the_ledger_is_believed_over_status() {
    let says = "pipeline 7 succeeded in 5s";
    let case = |in_gitlab: &[Made], why: &str| {
        missed(&judge("succeeds", &succeeded(7, says), in_gitlab), why);
    };
    let seven = made(7, CHECKOUT, GitLabStatus::Success);
    case(&[], "made 0 pipelines");
    case(&[made(6, CHECKOUT, GitLabStatus::Success), seven.clone()], "made 2 pipelines");
    case(&[made(6, CHECKOUT, GitLabStatus::Success)], "7 in status and 6 in GitLab");
    case(&[made(7, CHECKOUT, GitLabStatus::Running)], "success in status");
    case(&[Made { fire_id: Some("other".into()), ..seven.clone() }], "fire id");
    case(&[Made { status: None, ..seven }], "success in status");

    let says = "the trigger token is not known to project shop/cart";
    let rejected = status("Rejected", "NotFoundByTrigger", says, None);
    let sent_anyway = [made(1, "shop/cart", GitLabStatus::Success)];
    missed(&judge("wrong-token", &rejected, &sent_anyway), "made 1 pipelines");
}

#[test]
fn a_pipeline_too_many_is_missed_even_while_the_run_is_under_way() {
    let running = status("Running", "PipelineRunning", "under way", Some((7, "running")));
    let two = [6, 7].map(|id| made(id, CHECKOUT, GitLabStatus::Running));
    missed(&judge("succeeds", &running, &two), "made 2 pipelines");
}

#[test]
fn asked_again_is_at_its_end_after_the_second_pipeline_and_not_before() {
    let both = [3, 4].map(|id| made(id, "shop/reports", GitLabStatus::Success));
    let first = succeeded(3, "pipeline 3 succeeded in 2s");
    assert!(matches!(judge("asked-again", &first, &both[..1]), Verdict::Underway(_)));

    let mut second = succeeded(4, "pipeline 4 succeeded in 2s");
    second["lastHandled"] = json!({"fire": {"value": "again", "answer": "Fired"}});
    second["run"]["request"] = json!("again");
    assert_eq!(judge("asked-again", &second, &both), Verdict::Reached);
    missed(&judge("asked-again", &second, &both[1..]), "made 1 pipelines");

    second["lastHandled"]["fire"]["answer"] = json!("Suspended");
    missed(&judge("asked-again", &second, &both), "answered Suspended");
}

#[test]
fn no_two_examples_share_a_project_for_the_ledger_is_read_by_project() {
    let mut projects: Vec<&str> = EXAMPLES.iter().map(|example| example.project).collect();
    projects.sort_unstable();
    projects.dedup();
    assert_eq!(projects.len(), EXAMPLES.len());
}
