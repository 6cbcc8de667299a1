//! A redirect to another host that looks like an API address. It says nothing of a project on our host.

use std::time::Duration;

use pipekick_sandbox::gitlab::{Fault, FaultRule, GitlabSim, Handle, ProjectSeed, Seed};

use crate::FLAGS;
use crate::harness::gitlab::{long, playing, project, quick};
use crate::harness::{Story, Trigger, story};
use crate::plan::settled;

const OTHER: u64 = 300;
const CHECKOUT: u64 = 200;

/// Two projects; nothing of the run is ever in the one with number [`OTHER`].
fn two_projects(mut seed: Seed) -> Seed {
    seed.projects[0].id = Some(CHECKOUT);
    seed.projects.push(ProjectSeed { id: Some(OTHER), ..project("shop/other", quick()) });
    seed
}

#[test]
fn a_list_redirected_to_another_host_never_proves_that_a_pipeline_is_absent() {
    story(two_projects(playing(quick())), async |story| {
        let _elsewhere = redirected(story, "pipelines", "shop/checkout", true);
        story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
        story.operator(&FLAGS);
        story.apply(&Trigger::new("checkout")).await;
        story.until_ledger("have two looks", |ledger| ledger.calls_to("pipelines").len() >= 2).await;
        // Two looks, a resolution delay apart, and what would follow them.
        story.rest(Duration::from_secs(25)).await;
        assert_eq!(story.fired("checkout"), 1, "one cause, one pipeline");
    });
}

#[test]
fn a_look_redirected_to_another_host_does_not_end_the_run() {
    story(two_projects(playing(long())), async |story| {
        let _elsewhere = redirected(story, "pipeline", &CHECKOUT.to_string(), false);
        story.operator(&FLAGS);
        story.apply(&Trigger::new("checkout")).await;
        story.until_ledger("have a look", |ledger| !ledger.calls_to("pipeline").is_empty()).await;
        story.rest(Duration::from_secs(3)).await;
        story.end_pipelines();
        let ended = settled(story, "checkout").await;
        assert_eq!((ended.phase(), story.fired("checkout")), ("Succeeded", 1), "{}", ended.message());
    });
}

/// Calls to a route are answered with a redirect to another GitLab, to a project of a number that ours has too.
fn redirected(story: &Story, route: &str, project: &str, always: bool) -> Handle {
    let elsewhere = GitlabSim::start(playing(quick())).unwrap();
    let fault =
        Fault::Redirect { location: format!("{}/api/v4/projects/{OTHER}/pipelines", elsewhere.url()) };
    let rule = if always { FaultRule::always(route, fault) } else { FaultRule::next(route, fault) };
    story.gitlab.fault(rule.of(project)).unwrap();
    elsewhere
}
