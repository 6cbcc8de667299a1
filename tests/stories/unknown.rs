//! A reply that was lost: the pipeline is found again, proven absent, or put before a person; by the ledger, one
//! fire id never has two.

use pipekick_sandbox::gitlab::{AccessTokenSeed, Fault, FaultRule, ProjectSeed, Role, Scope, Seed, UserSeed};
use serde_json::json;

use crate::harness::gitlab::{PROJECT, long, playing, project, quick};
use crate::harness::{Secret, Seen, Story, Trigger, story};

/// Short waits, in a simulator whose late effects come sooner.
const FLAGS: [&str; 4] = ["--request-deadline", "2s", "--gitlab-request-limit", "1s"];

fn trigger() -> Trigger {
    Trigger::new("checkout")
}

/// The next POST takes effect, and nobody hears of it.
fn lose_a_reply(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::EffectThenReset)).unwrap();
}

/// The next POST never arrives, and nobody hears of that either.
fn lose_a_request(story: &Story) {
    story.gitlab.fault(FaultRule::next("trigger", Fault::Reset)).unwrap();
}

fn calls_to(story: &Story, route: &str) -> usize {
    story.ledger().calls_to(route).len()
}

async fn resolve(story: &Story, value: &str) {
    story.merge("checkout", &json!({"metadata": {"annotations": {"pipekick.dev/resolve": value}}})).await;
}

fn resolved(seen: &Seen) -> &str {
    seen.text("status.lastHandled.resolve.answer")
}

#[test]
fn a_ref_in_full_is_found_under_its_short_name() {
    story(playing(quick()), async |story| {
        lose_a_reply(story);
        story.operator(&FLAGS);
        story.apply(&trigger().with("spec.ref", "refs/heads/main")).await;
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), calls_to(story, "trigger")), (1, 1));
        let told = story.events("checkout").await;
        assert!(told.iter().any(|(_, reason)| reason == "PipelineFound"), "{told:?}");
    });
}

#[test]
fn a_pipeline_is_found_though_its_project_was_renamed_meanwhile() {
    let mut seed = playing(quick());
    seed.projects[0].id = Some(77);
    story(seed, async |story| {
        // While the lists are down, the project moves.
        let lists = FaultRule::always("pipelines", Fault::Unavailable { retry_after: 1 });
        story.gitlab.fault(lists).unwrap();
        lose_a_reply(story);
        story.operator(&FLAGS);
        story.apply(&trigger()).await;
        story.until_phase("checkout", "Unknown").await;
        let moved = ProjectSeed {
            id: Some(77),
            moved_from: vec![PROJECT.into()],
            ..project("shop/renamed", quick())
        };
        story.gitlab.add(Seed { projects: vec![moved], ..Seed::default() }).unwrap();
        story.gitlab.clear_faults();
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), calls_to(story, "trigger")), (1, 1));
    });
}

#[test]
fn an_edit_while_the_outcome_is_unknown_never_sends_the_old_content_again() {
    story(playing(quick()), async |story| {
        lose_a_request(story);
        story.operator(&FLAGS);
        story.apply(&trigger()).await;
        story.until_phase("checkout", "Unknown").await;
        story.apply(&trigger().with("spec.ref", "next")).await;
        let ended = story.until_run("checkout", 2, "Succeeded").await;
        assert_eq!(ended.at("status.history")[0]["phase"], "Superseded");
        let made: Vec<String> = story.pipelines_of("checkout").into_iter().map(|p| p.git_ref).collect();
        assert_eq!(made, ["next"], "the old content was proven absent and is wanted no more");
        assert_eq!(story.ledger().duplicate_fire_ids(), Vec::<&str>::new());
    });
}

#[test]
fn a_pipeline_that_appears_late_is_found_and_not_sent_again() {
    story(playing(quick()), async |story| {
        let late = Fault::LateEffect { after: jiff::SignedDuration::from_secs(2) };
        story.gitlab.fault(FaultRule::next("trigger", late)).unwrap();
        story.operator(&FLAGS);
        story.apply(&trigger()).await;
        story.until_phase("checkout", "Succeeded").await;
        assert_eq!((story.fired("checkout"), calls_to(story, "trigger")), (1, 1));
    });
}

/// The token may list pipelines and not read the variables of those that somebody else started.
fn guarded() -> Seed {
    let mut seed = playing(quick());
    seed.users.push(UserSeed { username: "bob".into(), ..UserSeed::default() });
    seed.projects[0].members.insert("bob".into(), Role::Developer);
    seed.access_tokens[0] = AccessTokenSeed {
        token: Seed::ACCESS_TOKEN.into(),
        name: "bot".into(),
        user: "bob".into(),
        scopes: vec![Scope::Api],
        ..AccessTokenSeed::default()
    };
    seed
}

async fn held(story: &Story) -> Seen {
    lose_a_reply(story);
    story.operator(&FLAGS);
    story.apply(&trigger()).await;
    let seen = story.until_phase("checkout", "Held").await;
    assert_eq!((seen.reason(), story.fired("checkout")), ("Undecided", 1));
    assert!(seen.message().contains("1:adopt="), "it says what a person can do: {}", seen.message());
    seen
}

#[test]
fn a_token_that_may_not_read_variables_leaves_the_decision_to_a_person_who_adopts() {
    story(guarded(), async |story| {
        held(story).await;
        let id = story.pipelines_of("checkout")[0].id;
        resolve(story, "2:refire").await;
        story.until("checkout", "answer Ignored", |seen| resolved(seen) == "Ignored").await;
        resolve(story, "nonsense").await;
        story.until("checkout", "answer Invalid", |seen| resolved(seen) == "Invalid").await;
        resolve(story, "1:adopt=999999").await;
        story.until("checkout", "answer NotFound", |seen| resolved(seen) == "NotFound").await;
        resolve(story, &format!("1:adopt={id}")).await;
        let seen = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(resolved(&seen), "Adopted");
        assert_eq!((seen.number("status.run.pipeline.id"), story.fired("checkout")), (id.cast_signed(), 1));
    });
}

#[test]
fn what_a_person_gives_up_is_superseded_and_what_a_person_sends_again_is_sent() {
    story(guarded(), async |story| {
        held(story).await;
        resolve(story, "1:abandon").await;
        let seen = story.until_phase("checkout", "Superseded").await;
        assert_eq!((resolved(&seen), seen.reason()), ("Abandoned", "Abandoned"));
        story.let_pass().await;
        assert_eq!(story.fired("checkout"), 1);
    });
    story(playing(quick()), async |story| {
        lose_a_request(story);
        story.operator(&FLAGS);
        story.apply(&trigger().without("spec.gitlab.accessTokenRef")).await;
        story.until_phase("checkout", "Held").await;
        resolve(story, "1:refire").await;
        story.until_phase("checkout", "Fired").await;
        assert_eq!((story.fired("checkout"), calls_to(story, "trigger")), (1, 2));
    });
}

#[test]
fn refire_sends_again_where_nobody_can_tell() {
    story(playing(quick()), async |story| {
        lose_a_request(story);
        story.operator(&FLAGS);
        let blind = trigger().without("spec.gitlab.accessTokenRef").with("spec.onUnknown", "Refire");
        story.apply(&blind).await;
        story.until_phase("checkout", "Fired").await;
        assert_eq!(story.fired("checkout"), 1);
    });
}

#[test]
fn an_outage_of_the_lists_is_waited_out_and_the_pipeline_is_found_after_it() {
    story(playing(long()), async |story| {
        story.gitlab.fault(FaultRule::always("pipelines", Fault::BadGateway { effect: false })).unwrap();
        lose_a_reply(story);
        story.operator(&FLAGS);
        story.apply(&trigger()).await;
        let waits =
            story.until("checkout", "tell why", |seen| seen.message().contains("cannot be asked")).await;
        assert_eq!((waits.phase(), waits.reason()), ("Unknown", "OutcomeUnknown"));
        // Longer than the resolution delay: nothing is concluded from silence.
        story.rest(std::time::Duration::from_secs(15)).await;
        assert_eq!((story.look("checkout").await.phase(), calls_to(story, "trigger")), ("Unknown", 1));
        let age = async || {
            let metrics = story.metrics().await;
            let line =
                metrics.lines().find_map(|line| line.strip_prefix("pipekick_oldest_unknown_run_seconds "));
            line.unwrap().parse::<u64>().unwrap()
        };
        assert!(age().await >= 15, "{} s", age().await);
        story.gitlab.clear_faults();
        story.until_phase("checkout", "Running").await;
        assert_eq!((story.fired("checkout"), calls_to(story, "trigger")), (1, 1));
        assert_eq!(age().await, 0);
    });
}

/// The token that may read variables.
async fn give_the_owners_token(story: &Story) {
    let token = "glpat-owner-canary-0001";
    let owner = AccessTokenSeed {
        token: token.into(),
        name: "owner".into(),
        user: "alice".into(),
        scopes: vec![Scope::Api],
        ..AccessTokenSeed::default()
    };
    story.gitlab.add(Seed { access_tokens: vec![owner], ..Seed::default() }).unwrap();
    let secret = Secret::new("gitlab").key("trigger-token", Seed::TRIGGER_TOKEN);
    story.secret(secret.key("access-token", token)).await;
}

#[test]
fn what_is_not_the_runs_own_is_not_adopted_and_trouble_with_it_is_told() {
    story(guarded(), async |story| {
        held(story).await;
        let own = story.pipelines_of("checkout")[0].id;
        story.apply(&Trigger::new("other")).await;
        story.until_ledger("have the other's", |ledger| ledger.pipelines.len() == 2).await;
        let others = story.pipelines_of("other")[0].id;
        story.apply(&Trigger::new("by-api").without("spec.gitlab.triggerTokenRef")).await;
        story.until_ledger("have a third", |ledger| ledger.pipelines.len() == 3).await;
        let by_api = story.ledger().pipelines[2].id;
        give_the_owners_token(story).await;

        for (id, says) in [(others, "another run"), (by_api, "its source is api")] {
            resolve(story, &format!("1:adopt={id}")).await;
            let seen = story.until("checkout", "answer", |seen| resolved(seen) == "NotItsOwn").await;
            assert_eq!((seen.phase(), seen.reason()), ("Held", "Undecided"), "{says}");
            story.until_event("checkout", "NotAdopted", says).await;
            resolve(story, "1:nothing").await;
            story.until("checkout", "answer Invalid", |seen| resolved(seen) == "Invalid").await;
        }

        story.gitlab.fault(FaultRule::always("pipeline", Fault::BadGateway { effect: false })).unwrap();
        resolve(story, &format!("1:adopt={own}")).await;
        let waits = story.until("checkout", "tell the trouble", |seen| seen.reason() == "NotAdopted").await;
        assert_eq!((waits.phase(), resolved(&waits)), ("Held", "Invalid"), "not answered yet");
        assert!(
            waits.message().contains(&format!("pipeline {own} could not be looked at")),
            "{}",
            waits.message()
        );
        story.gitlab.clear_faults();
        let seen = story.until_phase("checkout", "Succeeded").await;
        assert_eq!(resolved(&seen), "Adopted");
        assert_eq!((seen.number("status.run.pipeline.id"), story.fired("checkout")), (own.cast_signed(), 1));
    });
}
