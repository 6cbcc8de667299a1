//! Crash anywhere: for every story and every effect of it (a write to Kubernetes, a request to GitLab), the
//! operator dies (a) just before and (b) just after that effect, is started again, and reaches the same end.
//!
//! ```text
//! undisturbed:  story, its effects logged and counted → end state, the ledger's pipelines
//! each case:    story, PIPEKICK_CRASH_AT=k:side → died → started again, unarmed → the same end and pipelines
//! ```
//!
//! Where the story's credential cannot look, `Held` for `Undecided` is an end too, with no pipeline too many.

mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pipekick_sandbox::gitlab::{Ledger, MergeRequestState, PipelineRecord, Schedule, Seed};

use crate::FLAGS;
use crate::harness::gitlab::{GITOPS, PROJECT};
use crate::harness::{Seen, Story, story};
use crate::plan::{Sample, Tale, is_wanted, side_by_side};
use scripts::STORIES;

/// Cases of each story in the ordinary test command.
const FEW: usize = 2;
/// After the end: whatever was still to come may come.
const AFTERMATH: Duration = Duration::from_millis(1500);

/// A story to crash in.
struct CrashStory {
    /// The start of its namespaces' names.
    name: &'static str,
    seed: fn() -> Seed,
    /// Beside [`FLAGS`].
    flags: &'static [&'static str],
    sight: Sight,
    tale: Tale,
}

/// Whether the story's credential can find the pipeline of a lost request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Looks,
    Blind,
}

/// Where the operator dies.
#[derive(Debug, Clone)]
struct Case {
    /// Of the effect, from 1.
    number: usize,
    effect: String,
    side: &'static str,
}

/// How a story ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    /// Name → phase, reason of Ready, number of the last run.
    objects: BTreeMap<String, (String, String, i64)>,
    /// What was fired: ref and variables, without our mark.
    pipelines: Vec<(String, BTreeMap<String, String>)>,
    /// What GitLab was left to run by itself: cron, whether it is active, variables.
    schedules: Vec<(String, bool, BTreeMap<String, String>)>,
    /// What was committed, by git: first lines and differences, the newest first; on all branches.
    commits: String,
    /// Merge requests: title, and how each stands.
    requests: Vec<(String, MergeRequestState)>,
}

/// One play of a story.
struct Played {
    end: End,
    deaths: usize,
    took: Duration,
}

#[test]
fn a_crash_at_any_effect_of_any_story_changes_neither_its_end_nor_its_pipelines() {
    campaign(STORIES);
}

fn campaign(stories: &'static [CrashStory]) {
    let began = Instant::now();
    let sample = Sample::from_env(FEW);
    let wanted: Vec<&CrashStory> = stories.iter().filter(|story| is_wanted(story.name)).collect();
    let mut failures = Vec::new();
    let mut cases = Vec::new();
    let mut table = Table::default();

    let undisturbed = side_by_side(&wanted, |story| format!("{}-whole", story.name), |story| whole(story));
    for (at, (story, played)) in wanted.iter().zip(undisturbed).enumerate() {
        match played {
            Ok((end, effects)) => {
                cases
                    .extend(choose(at, &effects, sample).into_iter().map(|case| (*story, end.clone(), case)));
                table.0.push(Row { story: story.name, ..Row::default() });
            }
            Err(words) => failures.push(format!("{}, undisturbed: {words}", story.name)),
        }
    }

    let name =
        |(story, _, case): &(&CrashStory, _, Case)| format!("{}-{}-{}", story.name, case.number, case.side);
    let played = side_by_side(&cases, name, |(story, end, case)| {
        let played = play(story, &[("PIPEKICK_CRASH_AT", format!("{}:{}", case.number, case.side))]);
        let verdict = judge(end, &played.end, story.sight);
        assert!(verdict != Verdict::Other, "ended otherwise: {:#?}, not as {end:#?}", played.end);
        (verdict, played.deaths, played.took)
    });
    for ((story, _, case), played) in cases.iter().zip(played) {
        match played {
            Ok((verdict, deaths, took)) => table.count(story.name, case.number, verdict, (deaths, took)),
            Err(words) => {
                let Case { number, effect, side } = case;
                failures.push(format!("{}, {side} effect {number} ({effect}): {words}", story.name));
            }
        }
    }
    table.print(began.elapsed());
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n\n"));
}

/// The undisturbed end of a story, and its effects by number.
fn whole(crash: &CrashStory) -> (End, Vec<(usize, String)>) {
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("effects-{}.log", crash.name));
    let _ = std::fs::remove_file(&log);
    let played = play(crash, &[("PIPEKICK_CRASH_LOG", log.display().to_string())]);
    (played.end, effects(&log))
}

fn effects(log: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let parse = |line: &str| {
        let (number, name) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), name.to_owned())
    };
    text.lines().map(parse).collect()
}

/// Just after the first POST it matters most, so that case comes first; of the others, another part in each story.
fn choose(story: usize, effects: &[(usize, String)], sample: Sample) -> Vec<Case> {
    let first_post = effects.iter().position(|(_, name)| name == "gitlab");
    let (mut interesting, mut rest) = (Vec::new(), Vec::new());
    for (index, (number, effect)) in effects.iter().enumerate() {
        for side in ["after", "before"] {
            let case = Case { number: *number, effect: effect.clone(), side };
            let matters = Some(index) == first_post && side == "after";
            if matters { interesting.push(case) } else { rest.push(case) }
        }
    }
    let turn = (5 * story) % rest.len().max(1);
    rest.rotate_left(turn);
    sample.of(interesting, rest)
}

fn play(crash: &CrashStory, env: &[(&'static str, String)]) -> Played {
    let mut played = None;
    story((crash.seed)(), async |story| {
        let began = Instant::now();
        for (name, value) in env {
            story.arm(name, value.clone());
        }
        story.operator(&[&FLAGS, crash.flags].concat());
        (crash.tale)(story).await;
        story.rest(AFTERMATH).await;
        let end = end_of(story).await;
        played = Some(Played { end, deaths: story.deaths(), took: began.elapsed() });
    });
    played.unwrap()
}

async fn end_of(story: &Story) -> End {
    let objects = story.all().await;
    let said = |seen: &Seen| {
        let end = (seen.phase().to_owned(), seen.reason().to_owned(), seen.number("status.run.seq"));
        (name_of(seen), end)
    };
    let requests = story.gitlab.merge_requests(GITOPS);
    End {
        objects: objects.iter().map(said).collect(),
        pipelines: contents(&story.ledger()),
        schedules: story.gitlab.schedules(PROJECT).iter().map(held).collect(),
        commits: story
            .gitlab
            .repository(GITOPS)
            .map(|repository| committed(&repository))
            .unwrap_or_default()
            // It stands in the names of branches.
            .replace(&story.namespace, "shop"),
        requests: requests.into_iter().map(|request| (request.title, request.state)).collect(),
    }
}

fn committed(repository: &Path) -> String {
    let log = ["log", "--patch", "--format=%s", "--branches"];
    let output = Command::new("git").current_dir(repository).args(log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn held(schedule: &Schedule) -> (String, bool, BTreeMap<String, String>) {
    let variables = schedule.variables.iter().map(|variable| (variable.key.clone(), variable.value.clone()));
    (schedule.cron.clone(), schedule.active, variables.collect())
}

/// The name of an object; of a schedule's child, which is named by time and uid, whose and what for.
fn name_of(seen: &Seen) -> String {
    match seen.at("metadata.labels")["pipekick.dev/schedule"].as_str() {
        None => seen.text("metadata.name").to_owned(),
        Some(schedule) => {
            let tick = &seen.at("metadata.annotations")["pipekick.dev/scheduled-time"];
            format!("{schedule} {}", if tick.is_null() { "as asked" } else { "by tick" })
        }
    }
}

/// What was fired, whatever its order. A fire id with two pipelines fails every story at its end.
fn contents(ledger: &Ledger) -> Vec<(String, BTreeMap<String, String>)> {
    let content = |pipeline: &PipelineRecord| {
        let ours = |key: &str| ["PIPEKICK_FIRE_ID", "TRIGGER_PAYLOAD"].contains(&key);
        let variables = pipeline.variables.iter().filter(|variable| !ours(&variable.key));
        let variables = variables.map(|variable| (variable.key.clone(), variable.value.clone())).collect();
        (pipeline.git_ref.clone(), variables)
    };
    let mut all: Vec<_> = ledger.pipelines.iter().map(content).collect();
    all.sort();
    all
}

/// What a disturbed end is, compared with the undisturbed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Same,
    /// Nobody can tell, and the operator says so; no pipeline too many.
    Undecided,
    Other,
}

fn judge(undisturbed: &End, end: &End, sight: Sight) -> Verdict {
    if end == undisturbed {
        return Verdict::Same;
    }
    let mut undecided = false;
    let fits = end.objects.iter().all(|(name, (phase, reason, run))| {
        let held = sight == Sight::Blind && phase == "Held" && reason == "Undecided";
        undecided |= held;
        let expected = undisturbed.objects.get(name);
        held && expected.is_some_and(|(_, _, last)| run <= last)
            || expected == Some(&(phase.clone(), reason.clone(), *run))
    });
    // Both are sorted.
    let mut expected = undisturbed.pipelines.iter();
    let none_too_many = end.pipelines.iter().all(|pipeline| expected.any(|known| known == pipeline));
    let same_schedules = end.schedules == undisturbed.schedules;
    let same_commits = (&end.commits, &end.requests) == (&undisturbed.commits, &undisturbed.requests);
    if fits && undecided && none_too_many && same_schedules && same_commits {
        Verdict::Undecided
    } else {
        Verdict::Other
    }
}

/// The figures.
#[derive(Default)]
struct Table(Vec<Row>);

#[derive(Default)]
struct Row {
    story: &'static str,
    /// At which the operator died, on one side or both.
    points: BTreeSet<usize>,
    same: usize,
    undecided: usize,
    /// Cases in which it lived on, for there was no such effect this time: how often a pipeline is looked at is a
    /// matter of time. They show nothing, and are counted nowhere else.
    alive: usize,
    longest: Duration,
}

impl Table {
    fn count(&mut self, story: &str, point: usize, verdict: Verdict, (deaths, took): (usize, Duration)) {
        let Some(row) = self.0.iter_mut().find(|row| row.story == story) else { return };
        row.longest = row.longest.max(took);
        if deaths == 0 {
            row.alive += 1;
            return;
        }
        row.points.insert(point);
        row.same += usize::from(verdict == Verdict::Same);
        row.undecided += usize::from(verdict == Verdict::Undecided);
    }

    fn print(&self, took: Duration) {
        let mut total = [0; 5];
        println!("| story | points | crashes | same end | undecided | not reached | longest |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        for Row { story, points, same, undecided, alive, longest } in &self.0 {
            let row = [points.len(), same + undecided, *same, *undecided, *alive];
            total = std::array::from_fn(|column| total[column] + row[column]);
            let cells = row.map(|number| number.to_string()).join(" | ");
            println!("| {story} | {cells} | {:.0} s |", longest.as_secs_f32());
        }
        println!("| total | {} | {:.0} s |", total.map(|n| n.to_string()).join(" | "), took.as_secs_f32());
    }
}
