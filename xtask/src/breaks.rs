//! `cargo xtask breaks`: a test that cannot fail is no proof. Each break below takes one rule out of the real code;
//! the check that guards it must fail, and say why. `docs/breaks.md` lists them.
//!
//! The breaks are applied to a copy of the sources below `target/`; the sources themselves are never touched. A break
//! that no longer fits the code fails the tests of this crate: who changes the code changes the break.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::ci_steps::{cargo, line_of};
use crate::controlplane::root;

/// Break the code on purpose, rule by rule, and see that a check of each rule fails.
#[derive(Debug, Args)]
pub struct Breaks {
    /// Only breaks whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Those of the operator too, which are caught by stories on a control plane; without it, those of the core alone.
    #[arg(long)]
    operator: bool,
    /// List them as a Markdown table, and run nothing.
    #[arg(long)]
    list: bool,
}

/// One rule taken out of the code.
struct Break {
    name: &'static str,
    /// What must hold, and no longer does.
    rule: &'static str,
    file: &'static str,
    /// This text, which stands there once,
    takes: &'static str,
    /// becomes this.
    puts: &'static str,
    caught_by: Check,
    /// What the failing check says, among other things.
    says: &'static str,
}

/// A test that fails when the rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// A search of the model, or a table or property of the core.
    Core(&'static [&'static str]),
    /// A test of the operator, its client, or a story.
    Operator(&'static [&'static str]),
}

const fn model(search: &'static [&'static str]) -> Check {
    Check::Core(search)
}

const BREAKS: &[Break] = &[
    Break {
        name: "one-look-is-proof",
        rule: "One fire id, one pipeline: absence is proven by two looks, a resolution delay apart",
        file: "core/src/decide/trigger/look.rs",
        takes: "if by_ours || by_gitlabs {",
        puts: "if true {",
        caught_by: model(&["--test", "model", "one_operator_meets_any_two_faults"]),
        says: "OnePipeline",
    },
    Break {
        name: "a-look-is-dated-at-its-reply",
        rule: "One fire id, one pipeline: a look is as old as its beginning",
        file: "core/src/decide/trigger/look.rs",
        takes: "let took = facts.look_took;",
        puts: "let took = Duration::ZERO;",
        caught_by: model(&["--test", "model", "a_look_takes_longer_than_it_is_to_the_next"]),
        says: "OnePipeline",
    },
    Break {
        name: "answers-are-filed-by-number",
        rule: "One fire id, one pipeline: what is known of a POST is filed under the write of its intent",
        file: "core/src/domain/run.rs",
        takes: "count: *count, at: *at, by: by.clone() }",
        puts: "count: *count, at: *at.min(&Timestamp::MIN), by: by.chars().take(0).collect() }",
        caught_by: model(&["--test", "model", "one_operator_meets_any_two_faults"]),
        says: "OnePipeline",
    },
    Break {
        name: "intents-are-given-up-at-once",
        rule: "Who sends a POST has written its intent, and it stands",
        file: "core/src/decide/trigger/absorb.rs",
        takes: "let patience = INTENT_MAX_AGE + self.seen.policy.request_deadline;",
        puts: "let patience = Duration::ZERO;",
        caught_by: model(&["--test", "model", "two_operators_meet_a_fault"]),
        says: "IntentStands",
    },
    Break {
        name: "a-repeat-does-not-compare",
        rule: "What is sent is what the run's digest names",
        file: "core/src/decide/trigger/repeat.rs",
        takes: "Compared::Changed => false,",
        puts: "Compared::Changed => true,",
        caught_by: model(&["--test", "model", "one_operator_meets_a_fault_and_an_edit"]),
        says: "ContentIsNamed",
    },
    Break {
        name: "a-change-is-no-cause",
        rule: "Every standing cause is answered",
        file: "core/src/decide/trigger/begin.rs",
        takes: "compare(decided) == Compared::Changed)",
        puts: "compare(decided) == Compared::UnknownVersion)",
        caught_by: model(&["--test", "model", "one_operator_meets_a_fault_and_an_edit"]),
        says: "EveryCauseIsAnswered",
    },
    Break {
        name: "a-number-is-used-twice",
        rule: "Status never goes backwards",
        file: "core/src/decide/trigger/begin.rs",
        takes: "fold(last, u64::max).saturating_add(1);",
        puts: "fold(last, u64::max).max(1);",
        caught_by: model(&["--test", "model", "one_operator_meets_a_fault_and_an_edit"]),
        says: "NeverBackwards",
    },
    Break {
        name: "nobody-comes-back",
        rule: "No wait without a wake-up",
        file: "core/src/decide/trigger/repeat.rs",
        takes: "            self.wake_at(due);\n            return;",
        puts: "            return;",
        caught_by: model(&["--test", "model", "one_operator_meets_any_two_faults"]),
        says: "SomeoneComesBack",
    },
    Break {
        name: "nobody-looks-for-a-duplicate",
        rule: "A second pipeline is told",
        file: "core/src/decide/trigger/duplicates.rs",
        takes: "attempt.check_at = Some(later(seen.now, seen.policy.resolution_delay));",
        puts: "let _ = attempt;",
        caught_by: model(&["--test", "model", "a_second_pipeline_is_told_whenever_it_comes"]),
        says: "DuplicateIsTold",
    },
    Break {
        name: "a-retry-is-sent-again-at-once",
        rule: "Failed jobs are started again only as recorded: a lost request is sent again once it can have no effect",
        file: "core/src/decide/trigger/retry.rs",
        takes: "if age < INTENT_MAX_AGE + seen.policy.resolution_delay {",
        puts: "if age > Duration::MAX {",
        caught_by: model(&["--test", "model", "one_operator_retries_twice_and_meets_a_fault"]),
        says: "OnlyWhatWasMeant",
    },
    Break {
        name: "what-waited-for-a-retry-is-forgotten",
        rule: "No cause waits beside an ended run, unless somebody comes back to it",
        file: "core/src/decide/trigger.rs",
        takes: "what stands beside it is decided on.\n            self.wake_at(self.seen.now);",
        puts: "what stands beside it is decided on.",
        caught_by: Check::Core(&["--lib", "for_one_fire_id_at_most_one_pipeline_exists"]),
        says: "first Plan",
    },
    Break {
        name: "what-reads-the-same-is-written",
        rule: "Nothing is written while nothing changes",
        file: "core/src/decide/trigger.rs",
        takes: "let changed = self.status != trigger.status && !looks;",
        puts: "let changed = !looks;",
        caught_by: Check::Core(&["--lib", "for_one_fire_id_at_most_one_pipeline_exists"]),
        says: "first Plan",
    },
    Break {
        name: "an-earlier-pipeline-wins",
        rule: "Image updates never go backwards: the later pipeline's value stands",
        file: "core/src/decide/image_update/draft.rs",
        takes: "let by = by_branch.or(by_batch);",
        puts: "let by = by_branch.filter(|_| false).or(by_batch);",
        caught_by: model(&["--lib", "every_run_is_written_once_and_nothing_goes_backwards"]),
        says: "went back from",
    },
    Break {
        name: "trailers-are-not-looked-for",
        rule: "A commit whose reply was lost is recognised by its trailers",
        file: "core/src/decide/image_update/draft.rs",
        takes: "written.fire_id == change.key.fire_id",
        puts: "written.fire_id.as_str().is_empty()",
        caught_by: model(&["--lib", "a_lost_reply_is_recognised_by_the_runs_name_and_scalar"]),
        says: "FAILED",
    },
    Break {
        name: "a-merge-request-is-not-waited-for",
        rule: "Nothing is asked of merge requests while a lost request may still take effect",
        file: "core/src/decide/image_update/merge_request.rs",
        takes: "policy.resolution_delay)).filter(|until| *until > now);",
        puts: "policy.resolution_delay)).filter(|_| false);",
        caught_by: model(&["--lib", "no_run_is_in_two_merge_requests_and_nothing_goes_backwards"]),
        says: "Test failed",
    },
    Break {
        name: "the-mark-does-not-move",
        rule: "A tick that was handled does not fire again because its child was deleted",
        file: "core/src/decide/schedule/due.rs",
        takes: "self.status.last_handled_tick = self.status.last_handled_tick.max(Some(tick));",
        puts: "",
        caught_by: Check::Core(&["--lib", "a_tick_that_was_handled_does_not_fire_again"]),
        says: "a_tick_that_was_handled_does_not_fire_again_because_its_child_was_deleted ... FAILED",
    },
    Break {
        name: "an-edit-fires-the-past",
        rule: "Resuming, and editing the schedule, never fire the past",
        file: "core/src/decide/schedule/mod.rs",
        takes: "self.status.not_before = Some(self.seen.now);",
        puts: "",
        caught_by: Check::Core(&["--lib", "decide::schedule::tests::"]),
        says: "resuming_never_fires_the_past ... FAILED",
    },
    Break {
        name: "a-missed-tick-is-not-counted",
        rule: "No tick is lost without being counted",
        file: "core/src/decide/schedule/due.rs",
        takes: "missed.count = missed.count.saturating_add(ticks);",
        puts: "missed.count = missed.count.saturating_add(ticks / 2);",
        caught_by: Check::Core(&["--lib", "decide::schedule::tests::"]),
        says: "no_tick_is_lost_without_being_counted ... FAILED",
    },
    Break {
        name: "a-child-is-trimmed-before-the-mark",
        rule: "No child newer than the written mark is deleted: its name is the lock",
        file: "core/src/decide/schedule/history.rs",
        takes: "mark.is_some_and(|mark| tick <= mark)",
        puts: "mark.is_none_or(|mark| tick >= mark || tick < mark)",
        caught_by: Check::Core(&["--lib", "decide::schedule::tests::"]),
        says: "no_child_newer_than_the_written_mark_is_deleted ... FAILED",
    },
    Break {
        name: "two-ticks-share-a-child",
        rule: "A child's name is its tick's alone",
        file: "core/src/decide/schedule/names.rs",
        takes: "tick.as_second().div_euclid(60);",
        puts: "tick.as_second().div_euclid(3600);",
        caught_by: Check::Core(&["--lib", "decide::schedule::tests::"]),
        says: "the_name_of_a_child_fits_a_label_and_no_two_ticks_share_one ... FAILED",
    },
    Break {
        name: "a-lost-create-is-sent-again-at-once",
        rule: "A schedule inside GitLab exists once: none is created while an earlier create may still take effect",
        file: "core/src/decide/gitlab_schedule/making.rs",
        takes: "let proven = later(later(creating.at, INTENT_MAX_AGE), self.seen.policy.resolution_delay);",
        puts: "let proven = creating.at;",
        caught_by: Check::Core(&["--lib", "decide::gitlab_schedule::"]),
        says: "a_create_that_may_be_under_way_is_waited_for_before_the_next_one ... FAILED",
    },
    Break {
        name: "namespaces-take-no-turns",
        rule: "Fairness: between two turns of a namespace everyone else who waits has had one",
        file: "src/runtime/queue.rs",
        takes: "self.turns.insert(turn, namespace);",
        puts: "line.turn = 0;\n            self.turns.insert(0, namespace);",
        caught_by: Check::Operator(&["--lib", "runtime::queue::"]),
        says: "no_namespace_has_two_turns_before_another_has_one ... FAILED",
    },
    Break {
        name: "sent-though-the-write-was-not-confirmed",
        rule: "Nothing is sent before the write of its intent was confirmed",
        file: "src/controllers/trigger/fire.rs",
        takes: "if let Err(error) = written {
            if matches!(error, WriteError::Unconfirmed(_)) {
                // Should it stand after all: nothing was sent for it.
                let message",
        puts: "if let Err(error) = written && !matches!(error, WriteError::Unconfirmed(_)) {
            if matches!(error, WriteError::Unconfirmed(_)) {
                // Should it stand after all: nothing was sent for it.
                let message",
        caught_by: Check::Operator(&["--test", "stories", "apiserver::"]),
        says: "a fire id with two pipelines",
    },
    Break {
        name: "writes-are-not-guarded",
        rule: "A stale view loses: each write carries the version that was decided on",
        file: "src/cluster/status.rs",
        takes: "resource_version: Some(guard.resource_version.clone()),",
        puts: "resource_version: None,",
        caught_by: Check::Operator(&["--test", "stories", "apiserver::"]),
        says: "FAILED",
    },
    Break {
        name: "a-token-is-logged",
        rule: "No token is told anywhere",
        file: "src/gitlab/http.rs",
        takes: "        token.secret().map_or(Ok(()), check)?;",
        puts: "        token.secret().map_or(Ok(()), check)?;\n        tracing::info!(token = token.secret().unwrap_or_default(), \"request\");",
        caught_by: Check::Operator(&["--test", "stories", "unknown::a_ref_in_full"]),
        says: "a token stands in the log",
    },
    Break {
        name: "redirects-are-followed",
        rule: "A request is sent once, and only to the host it is meant for",
        file: "src/gitlab/http.rs",
        takes: ".redirect(redirect::Policy::none())",
        puts: ".redirect(redirect::Policy::limited(5))",
        caught_by: Check::Operator(&["--test", "gitlab_client"]),
        says: "FAILED",
    },
];

pub fn breaks(wanted: &Breaks) -> anyhow::Result<()> {
    let Breaks { only, operator, list } = wanted;
    let chosen = |broken: &&Break| {
        let core = matches!(broken.caught_by, Check::Core(_));
        (core || *operator || *list) && only.as_ref().is_none_or(|only| broken.name.contains(only.as_str()))
    };
    let chosen: Vec<&Break> = BREAKS.iter().filter(chosen).collect();
    if *list {
        print!("{}", table(&chosen));
        return Ok(());
    }
    ensure!(!chosen.is_empty(), "no break is called so; --list tells their names");
    let copy = Copy::of(root())?;
    let mut checks: Vec<Check> = Vec::new();
    for broken in &chosen {
        if !checks.contains(&broken.caught_by) {
            checks.push(broken.caught_by);
        }
    }
    for check in checks {
        let (passed, told) = copy.check(check)?;
        ensure!(passed, "the check fails on the code as it is:\n{told}");
    }
    let mut missed = Vec::new();
    for broken in &chosen {
        copy.put(broken)?;
        let (passed, told) = copy.check(broken.caught_by)?;
        copy.mend(broken)?;
        ensure!(passed || told.contains("test result: FAILED"), "{} does not compile:\n{told}", broken.name);
        if !passed && told.contains(broken.says) {
            println!("caught  {}", broken.name);
        } else {
            println!("MISSED  {}: {}", broken.name, broken.rule);
            missed.push(broken.name);
        }
    }
    if missed.is_empty() {
        println!("{} breaks, each caught by its check", chosen.len());
        return Ok(());
    }
    bail!("not caught: {}", missed.join(", "))
}

/// A copy of the sources, with a target directory of its own.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn of(root: &Path) -> anyhow::Result<Self> {
        let below = root.join("target/breaks");
        let copy = Self { root: below.join("tree"), target: below.join("target") };
        if copy.root.exists() {
            fs::remove_dir_all(&copy.root)?;
        }
        copy_tree(root, &copy.root).context("cannot copy the sources")?;
        Ok(copy)
    }

    /// Whether the check passes, and what it prints.
    fn check(&self, check: Check) -> anyhow::Result<(bool, String)> {
        let (package, args) = match check {
            Check::Core(args) => ("pipekick-core", args),
            Check::Operator(args) => ("pipekick", args),
        };
        let mut command: Command = cargo(["test", "--package", package]);
        command.args(args).current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        let line = line_of(&command);
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {line}"))?;
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok((output.status.success(), told.concat()))
    }

    fn put(&self, broken: &Break) -> anyhow::Result<()> {
        let Break { file, takes, puts, .. } = broken;
        let path = self.root.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {file}"))?;
        ensure!(text.contains(takes), "{file} does not say `{takes}` any more");
        Ok(fs::write(&path, text.replacen(takes, puts, 1))?)
    }

    fn mend(&self, broken: &Break) -> anyhow::Result<()> {
        fs::copy(root().join(broken.file), self.root.join(broken.file))?;
        Ok(())
    }
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if kind.is_dir() && name != "target" && name != ".git" {
            copy_tree(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

fn table(breaks: &[&Break]) -> String {
    let mut table =
        "| break | the rule it takes out | caught by | which says |\n| --- | --- | --- | --- |\n".to_owned();
    for Break { name, rule, file: _, takes: _, puts: _, caught_by, says } in breaks {
        let (package, args) = match caught_by {
            Check::Core(args) => ("pipekick-core", args),
            Check::Operator(args) => ("pipekick", args),
        };
        table.push_str(&format!(
            "| {name} | {rule} | `cargo test -p {package} {}` | {says} |\n",
            args.join(" ")
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_fits_the_code_in_one_place() {
        for Break { name, rule: _, file, takes, puts, caught_by: _, says: _ } in BREAKS {
            let text = fs::read_to_string(root().join(file)).unwrap();
            assert_eq!(text.matches(takes).count(), 1, "{name}: `{takes}` in {file}");
            assert!(!text.contains(puts) || takes.contains(puts), "{name} stands in the code");
        }
    }

    #[test]
    fn the_page_lists_every_break() {
        let page = fs::read_to_string(root().join("docs/breaks.md")).unwrap();
        assert!(
            page.contains(&table(&BREAKS.iter().collect::<Vec<_>>())),
            "write what `cargo xtask breaks --list` prints"
        );
    }
}
