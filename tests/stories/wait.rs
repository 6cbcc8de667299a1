//! `pipekick wait`: whoever waits is told the end of the run they mean, and of no other.

use std::time::Duration;

use jiff::SignedDuration;
use pipekick_sandbox::apiproxy::{ApiProxy, Calls, Fault, Strike, Verb};

use crate::harness::gitlab::{failing, long, playing, project, quick};
use crate::harness::schedules::{in_gitlab, schedule};
use crate::harness::{Seen, Trigger, story};

const FAILING: &str = "shop/failing";
/// Several looks.
const A_WHILE: Duration = Duration::from_secs(3);

#[test]
fn the_end_of_a_run_is_told_by_the_exit_code_also_to_who_waited_before_it_existed() {
    let mut seed = playing(quick());
    seed.projects.push(project(FAILING, failing(SignedDuration::from_millis(300))));
    seed.projects.push(project("shop/long", long()));
    story(seed, async |story| {
        let mut early = story.types(&["wait", "pipelinetrigger/early", "--for", "succeeded"]);
        early.goes_on(A_WHILE).await;
        story.operator(&[]);
        story.apply(&Trigger::new("early")).await;
        let answer = early.answer().await;
        assert_eq!(answer.code, 0, "{answer:?}");
        let object = format!("PipelineTrigger {}/early: ", story.namespace);
        assert!(answer.out.starts_with(&format!("{object}it does not exist yet\n")), "{answer:?}");
        assert!(answer.last_line().starts_with(&format!("{object}Succeeded: ")), "{answer:?}");

        story.apply(&Trigger::new("failed").with("spec.gitlab.project", FAILING)).await;
        let answer = story.answer(&["wait", "ptrig/failed"]).await;
        assert!(answer.code == 1 && answer.last_line().contains("Failed: job"), "{answer:?}");

        story.apply(&Trigger::new("late").with("spec.gitlab.project", "shop/long")).await;
        let answer = story.answer(&["wait", "ptrig/late", "--timeout", "3s"]).await;
        assert!(answer.code == 3 && answer.err.contains("not within 3s"), "{answer:?}");
        assert_eq!(story.answer(&["wait", "ptrig/late", "--for", "fired"]).await.code, 0);

        let goes = story.types(&["wait", "ptrig/late"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        story.delete("late").await;
        let answer = goes.answer().await;
        assert!(answer.code == 1 && answer.last_line().ends_with("it was deleted"), "{answer:?}");

        story.apply(&Trigger::new("unfollowed").without("spec.gitlab.accessTokenRef")).await;
        let answer = story.answer(&["wait", "ptrig/unfollowed"]).await;
        assert!(answer.code == 1 && answer.out.contains("wait --for fired"), "{answer:?}");
        assert_eq!(story.answer(&["wait", "ptrig/unfollowed", "--for", "fired"]).await.code, 0);
    });
}

#[test]
fn who_has_just_asked_or_edited_is_not_given_the_end_of_the_run_before() {
    let mut seed = playing(quick());
    seed.projects.push(project(FAILING, failing(SignedDuration::from_millis(300))));
    story(seed, async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout").with("spec.gitlab.project", FAILING)).await;
        story.until_phase("checkout", "Failed").await;
        story.kill_operators();
        // Nobody answers for a while, and the status goes on to say Failed.
        story.apply(&Trigger::new("checkout")).await;
        let mut edited = story.types(&["wait", "ptrig/checkout"]);
        edited.goes_on(A_WHILE).await;
        story.operator(&[]);
        assert_eq!(edited.answer().await.code, 0);

        story.kill_operators();
        story.ask("checkout", "again").await;
        let mut asked = story.types(&["wait", "ptrig/checkout"]);
        let mut named = story.types(&["wait", "ptrig/checkout", "--request", "again"]);
        let mut unasked = story.types(&["wait", "ptrig/checkout", "--request", "another"]);
        asked.goes_on(A_WHILE).await;
        named.goes_on(Duration::ZERO).await;
        story.operator(&[]);
        for waiter in [asked, named] {
            let answer = waiter.answer().await;
            assert!(answer.code == 0 && answer.out.contains("\"again\" is not answered yet"), "{answer:?}");
        }
        assert_eq!(story.fired("checkout"), 3);
        unasked.goes_on(A_WHILE).await;
        story.ask("checkout", "another").await;
        assert_eq!(unasked.answer().await.code, 0);
        // It is an earlier one by now.
        let answer = story.answer(&["wait", "ptrig/checkout", "--request", "again"]).await;
        assert!(answer.code == 0 && answer.out.contains("Succeeded: run 3"), "{answer:?}");

        story.merge("checkout", &serde_json::json!({"spec": {"suspend": true}})).await;
        story.ask("checkout", "in vain").await;
        let answer = story.answer(&["wait", "ptrig/checkout", "--request", "in vain"]).await;
        assert!(answer.code == 1 && answer.out.contains("answered Suspended"), "{answer:?}");
    });
}

#[test]
fn a_while_without_an_api_server_is_a_while_without_news() {
    story(playing(long()), async |story| {
        story.operator(&[]);
        story.apply(&Trigger::new("checkout")).await;
        story.until_phase("checkout", "Running").await;
        let proxy = ApiProxy::start(story.operator_kubeconfig()).await.unwrap();
        let mut waits = story.types_with(proxy.kubeconfig(), &["wait", "ptrig/checkout"]);
        waits.goes_on(Duration::from_secs(1)).await;
        proxy.down();
        story.end_pipelines();
        story.until_phase("checkout", "Succeeded").await;
        waits.goes_on(Duration::from_secs(6)).await;
        proxy.up();
        let answer = waits.answer().await;
        assert!(answer.code == 0 && answer.out.contains("cannot be asked"), "{answer:?}");
    });
}

#[test]
fn a_watch_tells_when_to_look_and_without_one_looks_alone_will_do() {
    const MANY_LOOKS: Duration = Duration::from_secs(10);
    story(playing(long()), async |story| {
        story.operator(&[]);
        let faults =
            [None, Some(Fault::Drop), Some(Fault::Gone), Some(Fault::GoneEvent), Some(Fault::FrozenWatch)];
        for (number, fault) in faults.iter().enumerate() {
            let name = format!("t{number}");
            story.apply(&Trigger::new(&name)).await;
            story.until_phase(&name, "Running").await;
            let proxy = ApiProxy::start(story.operator_kubeconfig()).await.unwrap();
            if let Some(fault) = fault {
                proxy.fault(Calls::to(Verb::Watch, "pipelinetriggers"), Strike::Always, fault.clone());
            }
            let mut waits = story.types_with(proxy.kubeconfig(), &["wait", &format!("ptrig/{name}")]);
            waits.goes_on(MANY_LOOKS).await;
            let looks = proxy.count(&Calls::to(Verb::Get, &name));
            match fault {
                // A watch that says nothing is one that has nothing to say.
                None | Some(Fault::FrozenWatch) => assert!(looks <= 2, "{fault:?}: {looks} looks"),
                Some(_) => assert!(looks >= 3, "{fault:?}: {looks} looks"),
            }
            assert!(proxy.count(&Calls::to(Verb::Watch, "pipelinetriggers")) > 0, "{fault:?}");
            story.end_pipelines();
            let answer = waits.answer().await;
            assert!(answer.code == 0 && answer.last_line().contains("Succeeded"), "{fault:?}: {answer:?}");
        }
    });
}

#[test]
fn a_schedule_is_waited_for_by_the_child_that_it_makes() {
    story(playing(quick()), async |story| {
        let mut newest = story.types(&["wait", "psched/nightly"]);
        newest.goes_on(Duration::from_secs(1)).await;
        story.operator(&[]);
        story.known_schedule(&schedule("nightly", "0 0 1 1 *")).await;
        newest.goes_on(A_WHILE).await;
        story.ask_schedule("nightly", "now").await;
        let named = story.types(&["wait", "pipelineschedule/nightly", "--request", "now"]);
        for waiter in [newest, named] {
            let answer = waiter.answer().await;
            assert_eq!(answer.code, 0, "{answer:?}");
            let child = format!("PipelineTrigger {}/nightly-", story.namespace);
            assert!(answer.last_line().starts_with(&child) && answer.last_line().contains("Succeeded"));
        }
        assert_eq!(story.children("nightly").await.len(), 1);

        story.apply_schedule(&in_gitlab("there", "0 0 1 1 *")).await;
        story.until_schedule("there", "be looked at", Seen::is_current).await;
        let answer = story.answer(&["wait", "psched/there"]).await;
        assert!(answer.code == 2 && answer.err.contains("runBy: GitLab"), "{answer:?}");
    });
}
