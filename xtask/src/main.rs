//! The project's own commands. `cargo xtask --help` lists them; `cargo demo` is one of them.

mod controlplane;
mod demo;
mod soak;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a control plane with Pipekick's CRDs and RBAC, and keep it until Ctrl-C.
    Controlplane,
    /// Show Pipekick at work on this machine, until Ctrl-C: `cargo demo`.
    Demo(demo::Demo),
    /// Kill operators over and over under load, and judge by GitLab's ledger: nothing twice, nothing lost.
    Soak(soak::Soak),
}

fn main() -> ExitCode {
    // Everything here that speaks TLS uses ring.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Controlplane => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(controlplane::run())
        }
        Command::Demo(demo) => demo::run(&demo),
        Command::Soak(soak) => soak::run(&soak),
    }
}
