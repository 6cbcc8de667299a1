//! `cargo demo`: the product's first minute.
//!
//! ```text
//! build the operator → control plane → GitLab simulator → operator → examples → table, until Ctrl-C
//! ```
//!
//! With `--once` it ends as soon as every example has reached its end, by its status and by the simulator's
//! ledger, and fails if one has not. Nothing that it starts outlives it.

#![allow(
    clippy::disallowed_methods,
    reason = "shows how long things take to a person who waits; decides nothing of the operator's"
)]

mod course;
mod examples;
pub mod operator;
mod schedules;
mod screen;
mod stage;
mod table;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use course::{Course, End, Sight};
use examples::{EXAMPLES, Verdict};
use operator::Operator;
use schedules::{Meant, SCHEDULES};
use screen::Screen;
use stage::{NAMESPACE, Seen, Stage};
use table::{Mark, Row, Summary};

const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub struct Demo {
    /// End with success when every example has reached its end, and with an error when one has not.
    #[arg(long)]
    once: bool,
}

/// From nothing to the end of the demo.
pub fn run(demo: &Demo) -> anyhow::Result<()> {
    eprintln!("Pipekick's demo: a Kubernetes API, a simulated GitLab and the operator, all on loopback.");
    eprintln!("building the operator");
    // Before anybody listens for signals: the terminal's Ctrl-C ends cargo and this.
    let binary = operator::build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ends = Ends::listen()?;
        tokio::select! {
            ended = play(demo, &binary) => ended,
            () = ends.come() => {
                eprintln!("the demo was stopped; nothing of it is left");
                if demo.once { bail!("stopped before every example was at its end") }
                Ok(())
            }
        }
    })
}

async fn play(demo: &Demo, binary: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let stage = Stage::build().await?;
    let mut operator =
        Operator::start(binary, stage.operator().path(), stage.gitlab().url(), stage.plane().dir())?;
    eprintln!("operator started as a process of its own, with the rights of deploy/rbac.yaml");
    stage.apply_examples().await?;
    eprintln!("examples/ applied after {:.1} s", began.elapsed().as_secs_f32());

    let outcome = match follow(demo, &stage, &mut operator, &ticks(binary)?).await {
        Ok(End::Reached(_)) => Ok(()),
        Ok(End::Failed(why)) => Err(anyhow::Error::msg(why)),
        Err(error) => Err(error),
    };
    let outcome = outcome.map_err(|error| match operator.keep_log() {
        Ok(path) => anyhow::anyhow!("{error:#}\nThe operator's log is kept: {}", path.display()),
        Err(_) => error,
    });
    drop(operator);
    stage.clear().await;
    outcome
}

/// Shows what happens, and asks where an example says so. Ends only with `--once`, or with an error.
async fn follow(demo: &Demo, stage: &Stage, operator: &mut Operator, ticks: &str) -> anyhow::Result<End> {
    let mut screen = Screen::open(intro(stage, operator, ticks));
    let mut course = Course::new(Instant::now());
    let mut asked = Vec::new();
    let mut shown = false;
    loop {
        operator.check()?;
        let seen = stage.look().await?;
        let mut verdicts: Vec<(&'static str, Verdict)> = EXAMPLES
            .iter()
            .map(|example| (example.name, example.judge(seen.status(example.name), &seen.made)))
            .collect();
        verdicts.extend(SCHEDULES.iter().map(|schedule| {
            let (status, children) = (seen.schedule(schedule.name), seen.children(schedule.name));
            (schedule.name, schedule.judge(status, &children, &seen.made))
        }));
        for (name, verdict) in &mut verdicts {
            if seen.is_touched(name) {
                *verdict = Verdict::Yours;
            }
        }
        let twice: Vec<&str> = seen.fired_twice.iter().map(String::as_str).collect();
        course.observe(&Sight { verdicts: &verdicts, fired_twice: &twice }, Instant::now());
        let summary = Summary {
            end: course.end(),
            reached: verdicts
                .iter()
                .filter(|(_, verdict)| matches!(verdict, Verdict::Reached | Verdict::Yours))
                .count(),
            examples: verdicts.len(),
            pipelines: seen.made.len(),
            fired_twice: twice.len(),
            elapsed: course.began().elapsed(),
            hint: if demo.once { "" } else { " | Ctrl-C ends" },
        };
        screen.show(&rows(&seen, &verdicts, course.end()), &summary);
        for (name, value) in due(&seen, &asked) {
            stage.ask(name, value).await?;
            screen.note(&format!(
                "asked again: kubectl annotate ptrig {name} -n {NAMESPACE} pipekick.dev/fire={value}"
            ));
            asked.push(name);
        }
        for (name, value) in SCHEDULES
            .iter()
            .filter_map(|schedule| Some((schedule.name, schedule.due(seen.schedule(schedule.name))?)))
        {
            if !asked.contains(&name) {
                stage.ask_schedule(name, value).await?;
                screen.note(&format!(
                    "asked: kubectl annotate psched {name} -n {NAMESPACE} pipekick.dev/fire={value}"
                ));
                asked.push(name);
            }
        }
        if matches!(course.end(), Some(End::Reached(_))) && !shown {
            screen.note(&stage.commit()?);
            shown = true;
        }
        match course.end() {
            Some(end) if demo.once => return Ok(end.clone()),
            Some(_) | None => sleep(POLL).await,
        }
    }
}

/// The examples to be asked now: once, after their first success.
fn due(seen: &Seen, asked: &[&str]) -> Vec<(&'static str, &'static str)> {
    let due = EXAMPLES.iter().filter_map(|example| Some((example, example.asked?)));
    due.filter(|(example, _)| !asked.contains(&example.name))
        .filter(|(example, _)| {
            seen.status(example.name).is_some_and(|status| status.phase == Some(example.phase))
        })
        .map(|(example, value)| (example.name, value))
        .collect()
}

/// The examples in their order, then whatever else somebody has applied.
fn rows(seen: &Seen, verdicts: &[(&'static str, Verdict)], end: Option<&End>) -> Vec<Row> {
    let now = Timestamp::now();
    let examples = verdicts.iter().map(|(name, verdict)| {
        // What a person does with an example afterwards is no failure of it.
        let mark = if matches!(end, Some(End::Reached(_))) { Mark::Reached } else { verdict.into() };
        if SCHEDULES.iter().any(|schedule| schedule.name == *name) {
            let newest = seen.children(name).last().copied();
            Row::of_schedule(mark, name, seen.schedule(name), newest, now)
        } else {
            Row::new(mark, name, seen.status(name), now)
        }
    });
    let others = seen.others().map(|(name, status)| Row::new(Mark::None, name, status, now));
    examples.chain(others).collect()
}

/// When the schedules tick that nobody waits for, by the operator's own `next`.
fn ticks(binary: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    for schedule in SCHEDULES {
        let Meant::Asked { schedule: pattern, zone, .. } = schedule.meant else { continue };
        let mut command = std::process::Command::new(binary);
        let output = command.args(["next", pattern, "--time-zone", zone, "--count", "4"]).output();
        let output = output.context("cannot run pipekick next")?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text += &format!("\n{} by pipekick next '{pattern}' --time-zone {zone} --count 4:\n", schedule.name);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            text += &format!("  {line}\n");
        }
    }
    Ok(text)
}

fn intro(stage: &Stage, operator: &Operator, ticks: &str) -> String {
    let ledger = format!("{}/-/sim/ledger", stage.gitlab().url());
    format!(
        "
  operator's log   {}
  GitLab's ledger  {ledger}
{ticks}
From another terminal:
  export KUBECONFIG={}
  kubectl get ptrig,psched
  kubectl annotate ptrig succeeds pipekick.dev/fire=$(date +%s) --overwrite
  kubectl describe ptrig wrong-token
",
        operator.log().display(),
        stage.plane().admin().path().display(),
    )
}

/// Ctrl-C, a polite kill, or a terminal that was closed.
struct Ends([Signal; 3]);

impl Ends {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn come(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
