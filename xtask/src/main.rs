//! The project's own commands. `cargo xtask --help` lists them; `cargo demo` is one of them.

mod argocd;
mod breaks;
mod chart;
mod ci;
mod ci_steps;
mod controlplane;
mod crash;
mod demo;
#[cfg(test)]
mod documents;
mod generated;
mod helm;
mod measure;
mod measure_floor;
mod measure_handover;
mod measure_operator;
mod measure_schedules;
mod soak;
mod static_binary;
mod test;
mod version;

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
    /// Run every test; arguments go to `cargo test`.
    Test {
        /// As for `cargo test`: a name, `-p PACKAGE`, `--test stories`, `-- --nocapture`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
    /// Kill the operator just before and just after each effect of each story, and compare the ends.
    Crash(crash::Crash),
    /// Take each rule out of the code on purpose, and see that its check fails.
    Breaks(breaks::Breaks),
    /// Check all that a change must pass.
    Ci,
    /// Write what the code generates: crds/, tables in docs/, parts of the chart.
    Generated {
        /// Write nothing; fail if something differs.
        #[arg(long)]
        check: bool,
    },
    /// Check the Helm chart on a real API server with a real Helm (built with Go once, unless HELM names one).
    Chart {
        /// Write deploy/install.yaml as the chart renders it, before it is checked.
        #[arg(long)]
        write: bool,
    },
    /// Build the binary as the image carries it, weigh it, and start it in an empty root.
    Static,
    /// Check that everything names this version, and print what the changelog tells of it.
    Version {
        /// Such as 1.2.3.
        version: String,
    },
    /// Measure the operator: latency, memory, writes, rate. Builds for release first.
    Measure {
        /// A tenth of everything: to try the tool, not to quote it.
        #[arg(long)]
        quick: bool,
        /// Schedules instead: 1,000 on one instant, and 10,000 over ten minutes. Half an hour.
        #[arg(long, conflicts_with = "handover")]
        schedules: bool,
        /// Operators instead that take over from each other: when the leader is told to stop, and when it is killed. 6 minutes.
        #[arg(long)]
        handover: bool,
    },
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
        Command::Test { args } => test::test(args),
        Command::Crash(wanted) => crash::crash(&wanted),
        Command::Breaks(wanted) => breaks::breaks(&wanted),
        Command::Ci => ci::ci(),
        Command::Generated { check } => generated::generated(check),
        Command::Chart { write } => chart::chart(write),
        Command::Static => static_binary::static_binary(),
        Command::Version { version } => version::version(&version),
        Command::Measure { quick, schedules, handover } => {
            let what = match (schedules, handover) {
                (true, _) => measure::What::Schedules,
                (false, true) => measure::What::Handover,
                (false, false) => measure::What::Triggers,
            };
            measure::measure(quick, what)
        }
        Command::Soak(soak) => soak::run(&soak),
    }
}
