//! The rules bite: each search breaks the protocol, or an assumption, and must find a counterexample.

use crate::config::{Break, Config};
use crate::rules::Rule;
use crate::search::search;

fn breaks(config: Config, rule: Rule) {
    let found = search(config).found.expect("a counterexample");
    assert_eq!(found.broken.rule, rule, "{}", found.told);
}

/// Only what happens counts, not what would come of it at rest.
fn broken(name: &'static str, broken: Break) -> Config {
    Config { liveness: false, ..Config::small(name).breaking(broken) }
}

#[test]
fn sending_on_an_unconfirmed_write_breaks_it() {
    breaks(broken("sent unconfirmed", Break::SendUnconfirmed).operators(1), Rule::IntentStands);
}

#[test]
fn sending_an_old_intent_breaks_it() {
    breaks(broken("sent after a sleep", Break::SendOld).faults(1).ticks(9), Rule::OnePipeline);
}

#[test]
fn taking_a_lost_reply_for_nothing_sent_breaks_it() {
    breaks(broken("lost is not sent", Break::LostIsNotSent).operators(1), Rule::OnePipeline);
}

#[test]
fn taking_writes_on_stale_views_breaks_it() {
    breaks(broken("no conflicts", Break::IgnoreConflicts).faults(0), Rule::NeverBackwards);
}

#[test]
fn believing_one_look_breaks_it() {
    breaks(broken("one look", Break::LookOnce).operators(1), Rule::OnePipeline);
}

#[test]
fn looking_twice_at_once_breaks_it() {
    let config = broken("two looks at once", Break::LookTwiceAtOnce).faults(2).ticks(2);
    breaks(Config { slow_looks: false, ..config }, Rule::OnePipeline);
}

#[test]
fn sending_the_newest_spec_breaks_it() {
    breaks(broken("newest spec", Break::SendNewest).operators(1).faults(0).edits(1), Rule::ContentIsNamed);
}

#[test]
fn forgetting_the_timer_breaks_it() {
    breaks(broken("no timer", Break::ForgetTheTimer).operators(1), Rule::SomeoneComesBack);
}

#[test]
fn taking_a_lost_retry_for_nothing_sent_breaks_it() {
    let config = broken("a lost retry is not sent", Break::LostRetryIsNotSent).operators(1).failing(2, 2);
    breaks(Config { delay: 20, ..config }, Rule::OnlyWhatWasMeant);
}

#[test]
#[ignore = "full size"]
fn full_retrying_on_an_old_intent_breaks_it() {
    let config = broken("retried after a sleep", Break::RetryOld).failing(2, 2).ticks(12);
    breaks(Config { slow_looks: false, ..config }, Rule::OnlyWhatWasMeant);
}

// What the protocol assumes is needed:

#[test]
fn an_effect_after_the_resolution_delay_breaks_it() {
    breaks(broken("effect too late", Break::EffectTooLate).operators(1), Rule::OnePipeline);
}

#[test]
fn a_list_that_lags_longer_than_the_resolution_delay_breaks_it() {
    breaks(broken("list too late", Break::ListTooLate).operators(1), Rule::OnePipeline);
}

#[test]
fn a_restored_cluster_repeats_a_run_that_waited() {
    let config = Config { liveness: false, ..Config::small("restored").operators(1).restores(1) };
    // A run that had not waited when the copy was made is looked for, or gets a name of its own.
    breaks(config, Rule::OnePipeline);
}

// Found by this model in the code as it once was: two writes of an intent can share run and number.

#[test]
fn an_answer_taken_for_another_write_of_the_same_number_breaks_it() {
    let config = broken("answers mixed up, one operator", Break::AnswersByNumber);
    breaks(config.operators(1).faults(2), Rule::OnePipeline);
    let config = broken("answers mixed up, two operators", Break::AnswersByNumber);
    breaks(config.faults(2).ticks(1), Rule::IntentStands);
}

#[test]
fn dating_a_look_at_its_reply_breaks_it() {
    let config = broken("a look counts from its reply", Break::LookDatedAtReply).operators(1).ticks(12);
    breaks(Config { delay: 30, ..config }, Rule::OnePipeline);
}

#[test]
fn looking_no_more_after_a_repeat_breaks_it() {
    let config = Config::small("nobody checks").operators(1).ticks(10).breaking(Break::NobodyChecks);
    breaks(Config { duplicates_happen: true, ..config }, Rule::DuplicateIsTold);
}
