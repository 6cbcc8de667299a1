//! Operators that are killed, stopped and asked to end at random, and started again at once.
//!
//! ```text
//! start ─▶ works for a moment ─┬─ SIGKILL ────────────────▶ start …
//!             ▲                ├─ SIGTERM, its end ───────▶ start …
//!             └── SIGCONT ◀────┴─ SIGSTOP, 0.1 s to 15 s, most times less than 1 s
//! ```

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use pipekick_sandbox::controlplane::Guarded;
use tokio::sync::watch;
use tokio::time::sleep;

use super::dice::Dice;
use super::scene;

/// Between two signals to one operator: the least, so that one that was stopped in the middle of sending has sent
/// before it is stopped again, and on average so much more, so that work gets done in between.
const LEAST: Duration = Duration::from_millis(200);
const MEAN: Duration = Duration::from_millis(300);
/// How long one is stopped; one time in [`LONG_STOP`] so long that others go on with its work.
const STOPPED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
const STOPPED_LONG: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
const LONG_STOP: usize = 4;
/// A pod's grace period.
const GRACE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// Writes down its process id, which is the operator's in a moment: the guard's own is of no use for signals.
const SCRIPT: &str = "echo $$ >\"$0\"; exec \"$@\"";

/// Whether an operator is tormented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Storm,
    Calm,
}

/// What was done to the operators.
#[derive(Debug, Default)]
pub struct Tally {
    pub killed: AtomicU64,
    pub terminated: AtomicU64,
    pub stopped: AtomicU64,
    pub started: AtomicU64,
}

/// What all operators are started with.
pub struct Setup {
    pub binary: PathBuf,
    pub kubeconfig: PathBuf,
    pub gitlab_url: String,
    pub dir: PathBuf,
}

/// One operator after the other, for ever; an error if one ends that was not told to.
pub async fn lane(
    number: usize,
    setup: Arc<Setup>,
    tally: Arc<Tally>,
    mut mood: watch::Receiver<Mood>,
    mut dice: Dice,
) -> anyhow::Result<()> {
    loop {
        let mut operator = Operator::start(number, &setup)?;
        tally.started.fetch_add(1, Ordering::Relaxed);
        while operator.live(&mut mood, &tally, &mut dice).await? {}
    }
}

struct Operator {
    guarded: Guarded,
    pid: PathBuf,
    log: PathBuf,
}

impl Operator {
    fn start(number: usize, setup: &Setup) -> anyhow::Result<Self> {
        let scratch = setup.dir.join(format!("operator-{number}"));
        fs::create_dir_all(&scratch)?;
        let (pid, log) = (scratch.join("pid"), log_of(&setup.dir, number));
        if let Err(error) = fs::remove_file(&pid) {
            ensure!(error.kind() == std::io::ErrorKind::NotFound, "cannot remove {}: {error}", pid.display());
        }
        let output = OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = Guarded::command(Path::new("/bin/sh"), &scratch);
        command.args(["-c", SCRIPT]).arg(&pid).arg(&setup.binary);
        command.args(["run", "--allow-http", "--gitlab-url", &setup.gitlab_url]);
        command.args(["--health-addr", "127.0.0.1:0", "--metrics-addr", "127.0.0.1:0"]);
        command.args(["--follow-interval", "1s", "--log-level", "info"]);
        command.args(["--request-deadline", &format!("{}s", scene::REQUEST_DEADLINE.as_secs())]);
        // Together with the deadline it is the resolution delay.
        let limit = scene::RESOLUTION_DELAY - scene::REQUEST_DEADLINE;
        command.args(["--gitlab-request-limit", &format!("{}s", limit.as_secs())]);
        command.env_clear().env("KUBECONFIG", &setup.kubeconfig).env("RUST_BACKTRACE", "1");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdout(output.try_clone()?).stderr(output);
        let guarded = Guarded::spawn(&mut command).context("cannot start an operator")?;
        Ok(Self { guarded, pid, log })
    }

    /// Lets it work for a moment, and then torments it. `false` when it has ended by that.
    async fn live(
        &mut self,
        mood: &mut watch::Receiver<Mood>,
        tally: &Tally,
        dice: &mut Dice,
    ) -> anyhow::Result<bool> {
        let works = LEAST + dice.wait(MEAN);
        tokio::select! {
            () = sleep(works) => {}
            changed = mood.changed() => changed?,
        }
        if let Some(status) = self.guarded.ended()? {
            bail!("an operator ended by itself: {status}. The end of its log:\n{}", tail(&self.log));
        }
        if *mood.borrow_and_update() == Mood::Calm {
            return Ok(true);
        }
        match dice.below(12) {
            0..6 => {
                tally.killed.fetch_add(1, Ordering::Relaxed);
                self.signal("KILL").await?;
                self.end().await?;
                Ok(false)
            }
            6..9 => {
                tally.terminated.fetch_add(1, Ordering::Relaxed);
                self.signal("TERM").await?;
                self.end().await?;
                Ok(false)
            }
            _ => {
                tally.stopped.fetch_add(1, Ordering::Relaxed);
                self.signal("STOP").await?;
                let (least, most) = if dice.below(LONG_STOP) == 0 { STOPPED_LONG } else { STOPPED };
                tokio::select! {
                    () = sleep(dice.spread(least, most)) => {}
                    // Whatever happens, it goes on.
                    _ = mood.changed() => {}
                }
                self.signal("CONT").await?;
                Ok(true)
            }
        }
    }

    async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let pid = loop {
            match fs::read_to_string(&self.pid) {
                Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
                // The shell has not come so far.
                Ok(_) | Err(_) => sleep(POLL).await,
            }
        };
        // The shell's own `kill`: a machine may have no other.
        let sent = Command::new("/bin/sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status()?;
        ensure!(sent.success(), "cannot send SIG{name} to process {pid}");
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let asked = Instant::now();
        while self.guarded.ended()?.is_none() {
            ensure!(
                asked.elapsed() < GRACE,
                "an operator did not end within {GRACE:?}:\n{}",
                tail(&self.log)
            );
            sleep(POLL).await;
        }
        Ok(())
    }
}

pub fn log_of(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("operator-{number}.log"))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
