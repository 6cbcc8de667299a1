//! The real `decide`, driven through every interleaving of two operators, an API server, a GitLab and people
//! with their accidents. What is modelled, what is not, and how far each search goes: `docs/model.md`.
//!
//! ```text
//! world     one state            lab       states ↔ the real decide        search   breadth first, traces
//! moves     what may happen      operator  how a process applies a plan    rules    what must hold
//! ```

mod config;
mod lab;
mod moves;
mod operator;
mod rules;
mod search;
mod world;

mod breaks;
mod full;

use config::{Config, Tokens};
use search::search;

fn holds(config: Config) {
    let searched = search(config);
    assert!(searched.found.is_none(), "{:?}", searched.found);
    assert!(searched.states > 100, "a search that goes nowhere shows nothing");
}

#[test]
fn one_operator_meets_any_two_faults() {
    holds(Config::small("one operator, two faults").operators(1).faults(2));
}

#[test]
fn one_operator_meets_a_fault_and_an_edit() {
    holds(Config::small("one operator, one fault, one edit").operators(1).edits(1).ticks(8));
}

#[test]
fn two_operators_meet_a_fault() {
    holds(Config::small("two operators, one fault").ticks(4));
}

#[test]
fn two_operators_meet_an_edit() {
    holds(Config::small("two operators, one edit").faults(0).edits(1).ticks(3));
}

#[test]
fn two_operators_are_asked() {
    holds(Config::small("two operators, asked").faults(0).asks(1).ticks(3));
}

#[test]
fn an_object_is_deleted_and_made_again() {
    holds(Config::small("one operator, one fault, made again").operators(1).recreations(1));
}

#[test]
fn two_wall_clocks_differ() {
    let config = Config::small("two operators, clocks differ").ticks(3);
    holds(Config { skew: 65, slow_looks: false, ..config });
}

#[test]
fn wall_clocks_differ_by_more_than_is_assumed() {
    // The second operator takes what the first has just intended for an orphan of long ago.
    holds(Config {
        skew: 700,
        slow_looks: false,
        ..Config::small("two operators, clocks far apart").ticks(3)
    });
}

#[test]
fn a_look_takes_longer_than_it_is_to_the_next() {
    let config = Config::small("one operator, slow looks, a long delay").operators(1).ticks(12);
    holds(Config { delay: 30, ..config });
}

#[test]
fn a_second_pipeline_is_told_whenever_it_comes() {
    let config = Config::small("effects too late").operators(1).ticks(10);
    holds(Config { duplicates_happen: true, ..config });
}

#[test]
fn without_an_access_token_a_person_decides() {
    let config = Config::small("no access token").operators(1).resolutions(1);
    holds(Config { tokens: Tokens { trigger: true, access: false }, ..config });
}

#[test]
fn a_post_without_a_mark_is_never_taken_for_another() {
    let config = Config::small("no mark").operators(1).resolutions(1).edits(1);
    holds(Config { tokens: Tokens { trigger: false, access: true }, ..config });
}

#[test]
fn refire_means_at_least_once() {
    let config = Config::small("onUnknown: Refire").operators(1).faults(2).ticks(5);
    holds(Config { refire: true, tokens: Tokens { trigger: true, access: false }, ..config });
}

#[test]
fn one_operator_retries_twice_and_meets_a_fault() {
    let config = Config::small("one operator retries twice, one fault").operators(1).failing(2, 2);
    holds(Config { delay: 20, ..config.ticks(8) });
}

#[test]
fn one_operator_retries_and_meets_a_fault_and_an_edit() {
    let config = Config::small("one operator retries, one fault, one edit").operators(1).edits(1);
    holds(config.failing(1, 1));
}

#[test]
fn two_operators_retry_and_meet_a_fault() {
    holds(Config::small("two operators retry, one fault").failing(1, 1).ticks(2));
}

#[test]
fn a_restored_cluster_fires_again_under_another_name_unless_a_run_waited() {
    // Without faults no run waits to be repeated.
    holds(Config::small("restored, no faults").operators(1).faults(0).edits(1).restores(1));
}
