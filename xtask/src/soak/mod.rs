//! `cargo xtask soak`: operators that are killed all the time, under a load that never ends, before a GitLab that
//! answers badly; and then the question whether anything was fired twice, or not at all. See `docs/soak.md`.
//!
//! ```text
//! build → control plane, simulator → operators, users, faults, signals (minutes)
//!       → faults off, users gone, operators left alone until nothing is under way → verdict by the ledger
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "measures and waits in real time, as its operators do; decides nothing of theirs"
)]

mod dice;
mod load;
mod operators;
mod passages;
mod scene;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use clap::Args;
use kube::Client;
use kube::api::{DynamicObject, ListParams};
use pipekick_sandbox::gitlab::{GitlabSim, Handle};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use dice::Dice;
use load::{FIRE, Users, all_triggers, within};
use operators::{Mood, Setup, Tally};
use passages::{Witness, status};
use verdict::Verdict;

const LINE_EVERY: Duration = Duration::from_secs(10);
/// All operators in the storm, then one of them, each time another, left alone: an orphaned intent is given up only
/// by a process that has seen it for 12 s, and sent again only 8 s after that.
const STORM: Duration = Duration::from_secs(45);
const LULL: Duration = Duration::from_secs(30);
/// From an orphaned intent to its end, several times over.
const QUIET_WITHIN: Duration = Duration::from_secs(240);
/// A pipeline too many would come late: longer than anything that is still under way.
const SETTLE: Duration = Duration::from_secs(15);

/// Kill operators over and over, and count what was fired.
#[derive(Debug, Args)]
pub struct Soak {
    /// How long operators are killed.
    #[arg(long, default_value = "10")]
    minutes: u64,
    /// Operators at the same time, without a leader: the protocol alone keeps them apart.
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u8).range(1..=8))]
    operators: u8,
    /// Triggers at the same time.
    #[arg(long, default_value = "40")]
    triggers: u16,
    /// Of all choices; the processes still take the time they take.
    #[arg(long, default_value = "1")]
    seed: u64,
}

/// From nothing to the verdict; an error if anything was fired twice or lost.
pub fn run(soak: &Soak) -> anyhow::Result<()> {
    ensure!(soak.minutes > 0 && soak.triggers > 0, "nothing to do: --minutes and --triggers begin at 1");
    eprintln!("building the operator");
    let binary = crate::demo::operator::build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(soak.play(&binary))
}

impl Soak {
    async fn play(&self, binary: &Path) -> anyhow::Result<()> {
        let (plane, kubeconfig) = crate::controlplane::start().await?;
        scene::furnish(&plane).await?;
        let gitlab = GitlabSim::start(scene::seed())?;
        let client = plane.admin().client().await?;
        let logs = tempfile::Builder::new().prefix("pipekick-soak-").tempdir()?;
        let setup = Arc::new(Setup {
            binary: binary.to_owned(),
            kubeconfig: kubeconfig.path().to_owned(),
            gitlab_url: gitlab.url().to_owned(),
            dir: logs.path().to_owned(),
        });
        let course = Course {
            began: Instant::now(),
            users: Users::default(),
            witness: Witness::default(),
            tally: Arc::default(),
            gitlab,
            client,
        };
        let outcome = course.run(self, setup).await;
        if outcome.is_err() {
            eprintln!("the operators' logs are kept: {}", logs.keep().display());
        }
        drop(course);
        plane.stop().await;
        outcome
    }
}

/// A soak under way.
struct Course {
    began: Instant,
    users: Users,
    witness: Witness,
    tally: Arc<Tally>,
    gitlab: Handle,
    client: Client,
}

impl Course {
    async fn run(&self, soak: &Soak, setup: Arc<Setup>) -> anyhow::Result<()> {
        let mut dice = Dice::new(soak.seed);
        let watching = tokio::spawn(self.witness.clone().watch(self.client.clone()));
        let mut lanes = JoinSet::new();
        let mut moods = Vec::new();
        for number in 1..=usize::from(soak.operators) {
            let (mood, mooded) = watch::channel(Mood::Storm);
            moods.push(mood);
            lanes.spawn(operators::lane(
                number,
                Arc::clone(&setup),
                Arc::clone(&self.tally),
                mooded,
                dice.split(),
            ));
        }
        scene::spoil(&self.gitlab)?;
        let lasts = Duration::from_secs(soak.minutes * 60);
        let torment = async {
            tokio::select! {
                () = storms(&moods) => Ok(()),
                ended = self.users.act(self.client.clone(), soak.triggers.into(), lasts, dice.split()) => ended,
            }
        };
        let quiet = async {
            torment.await?;
            println!("{} faults off, operators left alone", self.clock());
            self.gitlab.clear_faults();
            for mood in &moods {
                mood.send_replace(Mood::Calm);
            }
            self.until_quiet().await
        };
        let objects = tokio::select! {
            quiet = quiet => quiet?,
            () = self.lines() => bail!("the lines ended"),
            Some(ended) = lanes.join_next() => { ended??; bail!("a lane of operators ended") }
        };
        lanes.shutdown().await;
        watching.abort();
        self.conclude(soak, &setup, &objects)
    }

    /// Waits until nothing is under way, for long enough that nothing more can come.
    async fn until_quiet(&self) -> anyhow::Result<Vec<DynamicObject>> {
        let (asked, mut since) = (Instant::now(), None);
        loop {
            let objects = within(all_triggers(&self.client).list(&ListParams::default())).await?.items;
            let busy: Vec<&DynamicObject> = objects.iter().filter(|object| !is_quiet(object)).collect();
            if busy.is_empty() {
                if since.get_or_insert_with(Instant::now).elapsed() >= SETTLE {
                    return Ok(objects);
                }
            } else {
                since = None;
                if asked.elapsed() >= QUIET_WITHIN {
                    for object in &busy {
                        println!("{}", serde_json::to_string_pretty(object)?);
                    }
                    bail!("{} triggers are still under way after {QUIET_WITHIN:?}", busy.len());
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn lines(&self) {
        loop {
            sleep(LINE_EVERY).await;
            let listed = within(all_triggers(&self.client).list(&ListParams::default())).await;
            let phases = listed.map(|list| phases(&list.items)).unwrap_or_default();
            let (pipelines, twice) =
                self.gitlab.read_ledger(|ledger| (ledger.pipelines.len(), ledger.duplicate_fire_ids().len()));
            println!(
                "{} {pipelines} pipelines, {twice} duplicates | {} | {phases}",
                self.clock(),
                self.signals()
            );
        }
    }

    fn clock(&self) -> String {
        let seconds = self.began.elapsed().as_secs();
        format!("{:>3}:{:02}", seconds / 60, seconds % 60)
    }

    fn signals(&self) -> String {
        let Tally { killed, terminated, stopped, started } = &*self.tally;
        let [killed, terminated, stopped, started] =
            [killed, terminated, stopped, started].map(|count| count.load(Ordering::Relaxed));
        format!("{killed} SIGKILL, {terminated} SIGTERM, {stopped} SIGSTOP, {started} starts")
    }

    fn conclude(&self, soak: &Soak, setup: &Setup, objects: &[DynamicObject]) -> anyhow::Result<()> {
        let ledger = self.gitlab.ledger();
        let book = self.users.book();
        let verdict = Verdict::reach(&book, objects, &ledger);
        let (done, saw) = (book.done, self.witness.saw());
        let spoilt = ledger.calls.iter().filter(|call| call.fault.is_some()).count();
        println!("---");
        println!(
            "users       {} created, {} edited, {} asked, {} deleted",
            done.created, done.edited, done.asked, done.deleted
        );
        println!("operators   {}", self.signals());
        println!("GitLab      {} calls, {spoilt} of them spoilt", ledger.calls.len());
        println!("pipelines   {}", verdict.pipelines);
        println!(
            "unknown     {}: {} found, {} proven absent, {} held, {} superseded",
            saw.unknown, saw.found, saw.proven_absent, saw.held, saw.superseded
        );
        println!(
            "at the end  {} standing causes answered, told otherwise: {:?}",
            verdict.answered, verdict.honest
        );
        println!("duplicates  {}", verdict.duplicates.len());
        println!("excess      {}", verdict.excess.len());
        println!("lost        {}", verdict.lost.len());
        for text in verdict.duplicates.iter().chain(&verdict.excess).chain(&verdict.lost) {
            println!("{text}");
        }
        for number in 1..=usize::from(soak.operators) {
            let log = std::fs::read_to_string(operators::log_of(&setup.dir, number))?;
            ensure!(!log.contains("panicked"), "an operator panicked");
        }
        ensure!(verdict.is_good(), "fired twice or lost; the evidence is above");
        Ok(())
    }
}

/// Storms and lulls, in turns.
async fn storms(moods: &[watch::Sender<Mood>]) {
    for mood in moods.iter().cycle() {
        sleep(STORM).await;
        mood.send_replace(Mood::Calm);
        sleep(LULL).await;
        mood.send_replace(Mood::Storm);
    }
}

/// Whether everything that this object's user wants was looked at, and nothing is under way.
fn is_quiet(object: &DynamicObject) -> bool {
    let Some(status) = status(object) else { return false };
    let asked = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(FIRE));
    let handled = status.last_handled.fire.as_ref().map(|handled| &handled.value);
    status.observed_generation == object.metadata.generation
        && status.active_run().is_none()
        && asked == handled
}

fn phases(objects: &[DynamicObject]) -> String {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for object in objects {
        let phase = status(object).and_then(|status| status.phase);
        *count.entry(phase.map_or_else(|| "new".to_owned(), |phase| format!("{phase:?}"))).or_default() += 1;
    }
    count.into_iter().map(|(phase, count)| format!("{count} {phase}")).collect::<Vec<_>>().join(", ")
}
