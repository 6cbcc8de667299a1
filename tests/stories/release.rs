//! `pipekick release`: after it nothing of Pipekick's holds an object, nothing of anybody else's is touched, and what is
//! left in GitLab is told.

use pipekick_sandbox::gitlab::Status;
use serde_json::{Value, json};

use crate::harness::gitlab::{PROJECT, long, playing};
use crate::harness::schedules::in_gitlab;
use crate::harness::{Seen, Story, Trigger, story};

const OURS: &str = "pipekick.dev/cancel-pipeline";
const OURS_OF_SCHEDULES: &str = "pipekick.dev/gitlab-schedule";
const OTHERS: [&str; 2] = ["example.com/first", "example.com/last"];

/// A running pipeline and a schedule in GitLab, each object with a finalizer of ours among those of others.
async fn under_way(story: &Story) {
    story.apply(&Trigger::new("plain")).await;
    story.apply(&Trigger::new("checkout").with("spec.deletionPolicy", "Cancel")).await;
    story.apply_schedule(&in_gitlab("nightly", "0 2 * * *")).await;
    story.until_phase("checkout", "Running").await;
    story.until_schedule("nightly", "be in GitLab", |seen| !seen.at("status.gitlab.equalAt").is_null()).await;
}

fn finalizers(seen: &Seen) -> Value {
    seen.at("metadata.finalizers").clone()
}

#[test]
fn what_nobody_would_take_off_any_more_is_taken_off_and_what_is_left_is_told() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        under_way(story).await;
        story.terminate_operators();
        let [first, last] = OTHERS;
        story.merge("checkout", &json!({"metadata": {"finalizers": [first, OURS, last]}})).await;
        let pipeline = story.pipelines_of("checkout")[0].id;
        let schedule = story.gitlab.schedules(PROJECT)[0].id;

        let dry = story.answer(&["release", "--dry-run"]).await;
        assert!(dry.code == 0 && dry.last_line().starts_with("objects that would be released: 2"), "{dry:?}");
        assert_eq!(finalizers(&story.look("checkout").await), json!([first, OURS, last]));

        let answer = story.answer(&["release"]).await;
        assert_eq!(answer.code, 0, "{answer:?}");
        let ns = &story.namespace;
        for says in [
            format!(
                "PipelineTrigger {ns}/checkout: released; pipeline {pipeline} in shop/checkout goes on: http"
            ),
            format!(
                "PipelineSchedule {ns}/nightly: released; schedule {schedule} stays in shop/checkout and RUNS ON: http"
            ),
            "objects released: 2; left in GitLab: schedules: 1, pipelines under way: 2".into(),
        ] {
            assert!(answer.out.contains(&says), "{says} is not in {answer:?}");
        }
        assert_eq!(finalizers(&story.look("checkout").await), json!(OTHERS));
        story.merge("checkout", &json!({"metadata": {"finalizers": []}})).await;
        story.delete("checkout").await;
        story.delete_schedule("nightly").await;
        story.until_gone("checkout").await;
        story.until_schedule_gone("nightly").await;
        assert_eq!(story.gitlab.pipeline_status(pipeline), Some(Status::Running));
        assert!(story.gitlab.schedules(PROJECT)[0].active);
        // Once more: there is nothing to do.
        let again = story.answer(&["release"]).await;
        assert!(again.code == 0 && again.last_line().starts_with("objects released: 0"), "{again:?}");
    });
}

#[test]
fn an_operator_that_is_alive_is_noticed_by_its_lease_or_by_what_it_does() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        under_way(story).await;
        // It holds no Lease.
        let answer = story.answer(&["release"]).await;
        assert!(answer.code == 1 && answer.err.contains("An operator is alive"), "{answer:?}");
        story
            .until_schedule("nightly", "be held", |seen| finalizers(seen) == json!([OURS_OF_SCHEDULES]))
            .await;
        story.terminate_operators();

        crate::leading::allow(story).await;
        story.operator(&crate::leading::flags(story));
        crate::leading::next_leader(story, None).await;
        let release =
            ["release", "--lease-namespace", crate::leading::NAMESPACE, "--lease-name", &story.namespace];
        let answer = story.answer(&release).await;
        assert!(answer.code == 1 && answer.err.contains("renewed Lease"), "{answer:?}");
        assert!(!answer.out.contains(": released"), "{answer:?}");
        // Killed, it leaves a Lease that nobody renews.
        story.kill_operators();
        let answer = story.answer(&release).await;
        assert!(answer.code == 0 && answer.out.contains("objects released: 2"), "{answer:?}");
    });
}
