//! The GitLab simulator on its own, to point curl, python-gitlab or an operator at.

use std::io::{self, Write};
use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};
use pipekick_sandbox::gitlab::{GitlabSim, Mark, Row, Seed, rows};

#[derive(Parser)]
#[command(version, about = "A GitLab to make mistakes with", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// What there is at the start, as YAML or JSON; see sandbox/seeds/example.yaml.
    #[arg(long, value_name = "FILE", required = true)]
    seed: Option<PathBuf>,
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8929")]
    listen: SocketAddr,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the answers the simulator knows, the unverified ones last.
    Rows,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Cli { command, seed, listen } = Cli::parse();
    match (command, seed) {
        (Some(Command::Rows), _) => match print_rows(&mut io::stdout().lock()) {
            // Whoever reads may have read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            printed => printed?,
        },
        (None, Some(path)) => {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let seed = Seed::from_yaml(&text).with_context(|| format!("bad seed {}", path.display()))?;
            let simulator = GitlabSim::start_at(listen, seed)?;
            println!(
                "gitlab-sim listens on {}, its ledger is at /-/sim/ledger; Ctrl-C ends it",
                simulator.url()
            );
            tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
        }
        (None, None) => anyhow::bail!("--seed FILE is missing"),
    }
    Ok(())
}

fn print_rows(to: &mut impl Write) -> io::Result<()> {
    let (unverified, known): (Vec<&Row>, Vec<&Row>) =
        rows::ALL.iter().copied().partition(|row| row.mark == Mark::K);
    for (title, rows) in [("known", known), ("unverified", unverified)] {
        writeln!(to, "{title}: {}", rows.len())?;
        for row in rows {
            writeln!(
                to,
                "  {} {:?} {}: {} (facts: {}) {}",
                row.status, row.mark, row.route, row.condition, row.facts, row.name
            )?;
        }
    }
    Ok(())
}
