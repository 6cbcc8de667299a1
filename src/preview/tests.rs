use clap::Parser as _;
use serde_json::Value;

use super::*;
use crate::cli::{Cli, Command};

/// The answer to a command line, as the binary gives it.
fn answer(line: &[&str], manifest: &str) -> Result<String, BadInput> {
    let typed = Cli::try_parse_from([&["pipekick"], line].concat()).unwrap();
    match typed.command {
        Command::Next(typed) => next(&typed, "2026-03-28T12:00:00Z".parse().unwrap()),
        Command::Simulate(typed) => simulate(&typed, manifest),
        Command::Run(_)
        | Command::Crds(_)
        | Command::Reasons
        | Command::Metrics
        | Command::Check(_)
        | Command::Wait(_)
        | Command::Release(_)
        | Command::Troubleshooting => {
            panic!("not a preview")
        }
    }
}

fn refused(line: &[&str], manifest: &str) -> String {
    answer(line, manifest).unwrap_err().0
}

#[test]
fn next_shows_the_zones_time_and_utc() {
    let said = answer(&["next", "30 2 * * *", "--time-zone", "Europe/Berlin", "--count", "2"], "").unwrap();
    assert_eq!(
        said,
        "2026-03-29T03:00:00+02:00  Sun  2026-03-29T01:00:00Z\n2026-03-30T02:30:00+02:00  Mon  2026-03-30T00:30:00Z\n"
    );
    assert_eq!(answer(&["next", "@daily"], "").unwrap().lines().count(), 5);
}

#[test]
fn next_as_json_is_an_array_of_instants_in_utc() {
    let line = [
        "next",
        "0 2 * * *",
        "--from",
        "2026-01-01T00:00:00Z",
        "--until",
        "2026-01-02T02:00:00Z",
        "-o",
        "json",
    ];
    let said: Vec<String> = serde_json::from_str(&answer(&line, "").unwrap()).unwrap();
    assert_eq!(said, ["2026-01-01T02:00:00Z", "2026-01-02T02:00:00Z"]);
}

#[test]
fn next_takes_gap_fold_and_name() {
    let berlin = ["next", "30 2 * * *", "--time-zone", "Europe/Berlin", "--count", "2", "--from"];
    let said = answer(&[&berlin[..], &["2026-03-28T12:00:00Z", "--gap", "Skip"]].concat(), "").unwrap();
    assert!(said.starts_with("2026-03-30T02:30:00+02:00"), "{said}");
    let said = answer(&[&berlin[..], &["2026-10-24T12:00:00Z", "--fold", "Both"]].concat(), "").unwrap();
    assert!(
        said.contains("2026-10-25T02:30:00+02:00") && said.contains("2026-10-25T02:30:00+01:00"),
        "{said}"
    );
    let said = answer(&["next", "H 2 * * *", "--name", "shop/nightly", "--count", "1"], "").unwrap();
    assert_eq!(said, "2026-03-29T02:54:00Z  Sun\n");
}

#[test]
fn next_refuses_what_the_gap_always_skips() {
    let line = ["next", "30 2 * 3 SUN#L", "--time-zone", "Europe/Berlin", "--gap"];
    assert!(refused(&[&line[..], &["Skip"]].concat(), "").contains("never fires: each time that it names"));
    assert!(
        answer(&[&line[..], &["RunAfter"]].concat(), "").unwrap().starts_with("2026-03-29T03:00:00+02:00")
    );
}

#[test]
fn next_says_what_is_wrong() {
    assert_eq!(refused(&["next", "61 * * * *"], ""), "\"61 * * * *\": 61 in the minute field: 0-59");
    assert!(
        refused(&["next", "@daily", "--until", "2026-03-28T12:00:00Z"], "").ends_with("later than --from")
    );
    assert!(refused(&["next", "H * * * *"], "").ends_with("add --name NAMESPACE/NAME"));
    assert!(refused(&["next", "TZ=UTC 0 2 * * *"], "").ends_with("write the zone into --time-zone"));
    assert!(refused(&["next", "H * * * *", "--name", "nightly"], "").ends_with("write NAMESPACE/NAME"));
    assert!(
        refused(&["next", "@daily", "--time-zone", "Mars"], "")
            .starts_with("--time-zone: \"Mars\" is no time zone")
    );
    assert!(
        refused(&["next", "@daily", "--from", "today"], "").starts_with("--from \"today\": write an instant")
    );
    assert!(
        refused(&["next", "* * * * *", "--until", "2027-01-01T00:00:00Z"], "")
            .contains("more than 10000 ticks")
    );
}

const MANIFEST: &str = "
apiVersion: pipekick.dev/v1alpha1
kind: PipelineSchedule
metadata: {name: nightly, namespace: shop}
spec:
  schedule: '*/10 * * * *'
  concurrencyPolicy: Queue
  triggerTemplate:
    spec:
      gitlab: {project: shop/checkout, accessTokenRef: {name: gitlab, key: token}}
      ref: main
";

const HOUR: [&str; 7] =
    ["simulate", "-f", "x", "--from", "2026-11-02T09:00:00Z", "--until", "2026-11-02T10:00:00Z"];

#[test]
fn simulate_knows_nothing_of_gitlabs_clock() {
    let kept = MANIFEST.replace("concurrencyPolicy: Queue", "runBy: GitLab");
    assert!(refused(&HOUR, &kept).contains("it is GitLab that keeps the time"));
}

#[test]
fn simulate_shows_what_fires_waits_and_is_missed() {
    let down = ["--run-takes", "15m", "--down", "2026-11-02T09:21:00Z..2026-11-02T09:45:00Z"];
    let said = answer(&[&HOUR[..], &down[..]].concat(), MANIFEST).unwrap();
    let words: Vec<(&str, &str)> = said
        .lines()
        .filter_map(|line| Some((line.get(11..16)?, line.split_whitespace().nth(1)?)))
        .filter(|(at, _)| at.contains(':'))
        .collect();
    let wanted = [
        ("09:10", "Fired"),
        ("09:20", "TickQueued"),
        ("09:21", "Down"),
        ("09:25", "Ended"),
        ("09:45", "Up"),
        ("09:45", "Fired"),
        ("09:45", "TicksMissed"),
        ("09:45", "TickQueued"),
        ("09:50", "TicksMissed"),
        ("09:50", "TickQueued"),
        ("10:00", "Ended"),
        ("10:00", "Fired"),
    ];
    assert_eq!(words[..wanted.len()], wanted, "{said}");
    let told: Value =
        serde_json::from_str(&answer(&[&HOUR[..], &down[..], &["-o", "json"]].concat(), MANIFEST).unwrap())
            .unwrap();
    assert_eq!((&told["fired"], &told["missed"]), (&3.into(), &2.into()), "{told}");
    assert_eq!(
        (&told["lines"][0]["what"], &told["lines"][1]["what"]),
        (&"Fired".into(), &"TickQueued".into())
    );
    assert_eq!(told["lines"][0]["tick"], "2026-11-02T09:10:00Z");
    assert_eq!(told["lines"][1]["tick"], "2026-11-02T09:20:00Z");
}

#[test]
fn simulate_lets_a_run_that_cannot_be_followed_end_when_it_is_fired() {
    let manifest = MANIFEST.replace("accessTokenRef", "triggerTokenRef").replace("Queue", "Forbid");
    let said = answer(&[&HOUR[..], &["--run-takes", "1h"]].concat(), &manifest).unwrap();
    assert!(said.contains("\n6 fired, 0 missed\neach run has ended as soon as it is fired"), "{said}");
    assert!(!said.contains("Ended"), "{said}");
}

#[test]
fn simulate_refuses_what_the_rules_of_the_kind_refuse() {
    let spec = |line: &str| {
        refused(&HOUR, &MANIFEST.replace("spec:\n  schedule", &format!("spec:\n  {line}\n  schedule")))
    };
    let child = |line: &str| {
        refused(&HOUR, &MANIFEST.replace("      ref: main", &format!("      ref: main\n      {line}")))
    };
    let metadata = |entry: &str| {
        refused(&HOUR, &MANIFEST.replace("namespace: shop", &format!("namespace: shop, {entry}")))
    };
    let labels = |labels: &str| {
        let template = format!("  triggerTemplate:\n    metadata: {{labels: {labels}}}");
        refused(&HOUR, &MANIFEST.replace("  triggerTemplate:", &template))
    };
    for (said, begins) in [
        (spec("startingDeadline: 0s"), "spec.startingDeadline: zero"),
        (spec("startingDeadline: 10000000s"), "spec.startingDeadline: "),
        (spec("maxCatchUp: 3"), "spec.maxCatchUp belongs"),
        (spec("missedRuns: Sometimes"), "spec.missedRuns: unknown variant `Sometimes`"),
        (child("onUnknown: [Hold]"), "spec.triggerTemplate.spec.onUnknown: "),
        (spec("missedRuns: All"), "spec.missedRuns: All needs concurrencyPolicy: Allow"),
        (spec("schedules: ['@daily']"), "spec.schedule: write either"),
        (spec("deletionPolicy: Orphan"), "spec.deletionPolicy belongs to runBy: GitLab"),
        (refused(&HOUR, &MANIFEST.replace("nightly", "Nightly_X")), "metadata.name: write a name"),
        (
            refused(&HOUR, &MANIFEST.replace("spec:\n  schedule", "sepc: {}\nspec:\n  schedule")),
            "the manifest: there is no field sepc",
        ),
        (metadata("label: x"), "the manifest: there is no field metadata.label"),
        (
            labels("{'two words': x}"),
            "spec.triggerTemplate.metadata.labels: the API server refuses \"two words\"",
        ),
        (
            labels("{team: 'two words'}"),
            "spec.triggerTemplate.metadata.labels: the API server refuses \"team\"",
        ),
        (refused(&HOUR, &format!("{MANIFEST}---\n{MANIFEST}")), "the manifest has several documents"),
        (child("fireOn: Request"), "spec.triggerTemplate.spec.fireOn: a child fires once"),
        (child("suspend: true"), "spec.triggerTemplate.spec.suspend: suspend the schedule itself"),
        (child("ttlAfterFinished: 1h"), "spec.triggerTemplate.spec.ttlAfterFinished: "),
        (child("timeout: soon"), "spec.triggerTemplate.spec.timeout: "),
        (child("variables: [{name: 'A B', value: x}]"), "spec.triggerTemplate.spec.variable"),
        (
            refused(
                &HOUR,
                &MANIFEST.replace("Queue", "Replace").replace("accessTokenRef", "triggerTokenRef"),
            ),
            "spec.concurrencyPolicy: Replace cancels pipelines",
        ),
        (
            refused(&HOUR, &MANIFEST.replace("nightly", &"n".repeat(53))),
            "metadata.name: at most 52 characters",
        ),
    ] {
        assert!(said.starts_with(begins), "{said}");
    }
}

#[test]
fn simulate_says_what_is_wrong() {
    let with = |from: &str, to: &str| refused(&HOUR, &MANIFEST.replace(from, to));
    assert_eq!(with("*/10 ", "61 "), "spec.schedule: 61 in the minute field: 0-59");
    assert_eq!(
        with("concurrencyPolicy", "concurencyPolicy"),
        "the manifest: there is no field spec.concurencyPolicy"
    );
    assert!(with("Queue", "Whenever").starts_with("spec.concurrencyPolicy: unknown variant `Whenever`"));
    assert!(with("kind: PipelineSchedule", "kind: CronJob").contains("no PipelineSchedule"));
    assert!(refused(&[&HOUR[..], &["--down", "x"]].concat(), MANIFEST).ends_with("write FROM..TO"));
    let backwards =
        ["simulate", "-f", "x", "--from", "2026-11-02T10:00:00Z", "--until", "2026-11-02T09:00:00Z"];
    assert_eq!(refused(&backwards, MANIFEST), "--until: write an instant later than --from");
}

const PAGES: [&str; 2] =
    [include_str!("../../docs/schedules.md"), include_str!("../../docs/pipelineschedule.md")];

/// The words of a command as a shell would split it: quotes of both kinds, no expansion.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// What a page says somebody would see, as (command, output).
fn shown_on(page: &str) -> Vec<(String, String)> {
    let mut shown: Vec<(String, String)> = Vec::new();
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap().replace("\\\n", " ");
        for line in block.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => shown.push((command.to_owned(), String::new())),
                None => {
                    let (_, output) = shown.last_mut().unwrap();
                    output.push_str(line);
                    output.push('\n');
                }
            }
        }
    }
    shown
}

#[test]
fn every_example_of_the_pages_answers_what_they_say() {
    let mut manifest = String::new();
    let mut answered = 0;
    for (command, output) in PAGES.into_iter().flat_map(shown_on) {
        if command.starts_with("cat ") {
            manifest = output;
            continue;
        }
        // Those need a cluster.
        if command.starts_with("kubectl ") {
            continue;
        }
        let (command, refused) = match command.split_once("; echo") {
            Some((command, _)) => (command, true),
            None => (command.as_str(), false),
        };
        let words = words(command.strip_prefix("pipekick ").unwrap());
        let line: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = match answer(&line, &manifest) {
            Err(error) => {
                assert!(refused, "{command}: {error}");
                format!("pipekick: {error}\nexit code 2\n")
            }
            Ok(said) => said,
        };
        assert_eq!(said, output, "{command}");
        answered += 1;
    }
    assert!(answered >= 9, "the pages lost their examples: {answered}");
}

#[test]
fn every_command_in_the_pages_tables_can_be_run_as_it_stands() {
    let mut run = 0;
    for command in
        PAGES.iter().flat_map(|page| page.split('`')).filter_map(|text| text.strip_prefix("pipekick next "))
    {
        let mut words = words(command);
        words.insert(0, "next".into());
        let line: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Err(error) = answer(&line, "") {
            assert!(error.0.contains("never fires"), "{command}: {error}");
        }
        run += 1;
    }
    assert!(run >= 5, "the pages lost their commands: {run}");
}

/// The sources in which tests of schedules stand.
fn sources(directory: &std::path::Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &std::fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn every_rule_of_schedules_names_tests_that_there_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for directory in ["core/src", "core/tests", "src", "tests"] {
        sources(&root.join(directory), &mut text);
    }
    let page = std::fs::read_to_string(root.join("docs/schedule-rules.md")).unwrap();
    let mut rules = 0;
    for (rule, tests) in page.lines().filter_map(|line| line.strip_prefix("| ")?.rsplit_once(" | ")) {
        if rule == "rule" || rule == "---" {
            continue;
        }
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test holds: {rule}");
        for name in named {
            assert!(text.contains(&format!("fn {name}(")), "{rule}: there is no test {name}");
        }
        rules += 1;
    }
    assert!(rules >= 40, "the page lost its rules: {rules}");
}
