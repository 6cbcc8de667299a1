//! The same searches, further: `cargo test -p pipekick-core --test model --release -- --ignored`.

use crate::config::Config;
use crate::holds;

#[test]
#[ignore = "full size"]
fn full_one_operator_meets_two_faults_and_edits_there_and_back() {
    holds(
        Config::small("full: one operator, two faults, two edits").operators(1).faults(2).edits(2).ticks(9),
    );
}

#[test]
#[ignore = "full size"]
fn full_one_operator_meets_two_faults_a_request_and_a_recreation() {
    let config = Config::small("full: one operator, two faults, asked, made again").operators(1);
    holds(config.faults(2).asks(1).recreations(1).ticks(7));
}

#[test]
#[ignore = "full size"]
fn full_two_operators_meet_two_faults() {
    holds(Config::small("full: two operators, two faults").faults(2).ticks(3));
}

#[test]
#[ignore = "full size"]
fn full_two_operators_meet_a_fault_and_an_edit() {
    holds(Config::small("full: two operators, one fault, one edit").edits(1).ticks(2));
}

#[test]
#[ignore = "full size"]
fn full_two_operators_meet_a_fault_for_long() {
    holds(Config::small("full: two operators, one fault, long").ticks(9));
}

#[test]
#[ignore = "full size"]
fn full_a_refused_run_waits_ten_minutes() {
    holds(Config::small("full: two faults, an edit, ten minutes").operators(1).faults(2).edits(1).jumps(1));
}

#[test]
#[ignore = "full size"]
fn full_one_operator_retries_twice_and_meets_two_faults() {
    let config = Config::small("full: one operator retries twice, two faults").operators(1).faults(2);
    holds(config.failing(2, 2).ticks(9));
}

#[test]
#[ignore = "full size"]
fn full_one_operator_retries_and_meets_a_fault_and_an_edit() {
    let config = Config::small("full: one operator retries, one fault, one edit").operators(1).edits(1);
    holds(config.failing(2, 1).ticks(8));
}

#[test]
#[ignore = "full size"]
fn full_two_operators_retry_and_meet_a_fault() {
    holds(Config::small("full: two operators retry, one fault").failing(1, 1).ticks(6));
}
