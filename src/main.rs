//! The binary: reads what was typed and hands it on.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use pipekick::cli::{Cli, Command};
use pipekick::{api, app, cli, config, log};

fn main() -> ExitCode {
    // kube and reqwest share one TLS stack; rustls panics later if nobody chose its crypto.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("pipekick: a TLS crypto provider was already installed");
        return ExitCode::FAILURE;
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pipekick: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Run(flags) => operate(&flags),
        Command::Crds(flags) => print_crds(&flags),
        Command::Reasons => {
            print!("{}", api::reasons_table());
            Ok(())
        }
    }
}

fn operate(flags: &cli::Run) -> anyhow::Result<()> {
    log::init(&flags.log_level, flags.log_format)?;
    let config = config::Config::new(flags, app::writer_name())?;
    // One thread: the operator waits for the network, and a second one costs a megabyte.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(app::run(config))
}

fn print_crds(flags: &cli::Crds) -> anyhow::Result<()> {
    for (file, crd) in api::crd::crds() {
        let yaml = format!("# Printed by `pipekick crds`.\n---\n{}", serde_saphyr::to_string(&crd)?);
        let yaml = if yaml.ends_with('\n') { yaml } else { yaml + "\n" };
        match &flags.output_dir {
            None => print!("{yaml}"),
            Some(dir) => {
                let path = dir.join(file);
                std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(())
}
