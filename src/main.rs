//! The binary: reads what was typed and hands it on.

use std::process::ExitCode;

use anyhow::Context as _;
use pipekick::cli::{BadInput, Cli, Command};
use pipekick::cluster::causes::causes;
use pipekick::commands::{self, say};
use pipekick::{api, app, cli, clock, config, config_file, gitlab, log, preview, server};

fn main() -> ExitCode {
    // kube and reqwest share one TLS stack; rustls panics later if nobody chose its crypto.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("pipekick: a TLS crypto provider was already installed");
        return ExitCode::FAILURE;
    }
    match config_file::parse().map_err(anyhow::Error::from).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pipekick: {}", causes(error.as_ref()));
            // As clap does for what it refuses itself.
            if error.is::<BadInput>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(flags) => operate(&flags)?,
        Command::Crds(flags) => print_crds(&flags)?,
        Command::Reasons => say(&api::reasons_table())?,
        Command::Metrics => say(&server::metrics_table())?,
        Command::Troubleshooting => say(&gitlab::troubleshooting())?,
        Command::Next(typed) => say(&preview::next(&typed, clock::now())?)?,
        Command::Simulate(typed) => {
            let manifest = read(&typed.file).map_err(|error| BadInput(format!("{error:#}")))?;
            say(&preview::simulate(&typed, &manifest)?)?;
        }
        Command::Check(typed) => return commands::run(commands::check::check(&typed)),
        Command::Wait(typed) => return commands::run(async { Ok(commands::wait::wait(&typed).await?) }),
        Command::Release(typed) => return commands::run(commands::release::release(&typed)),
    }
    Ok(ExitCode::SUCCESS)
}

fn operate(flags: &cli::Run) -> anyhow::Result<()> {
    let typed = |error: anyhow::Error| BadInput(format!("{error:#}"));
    log::init(&flags.log_level, flags.log_format).map_err(typed)?;
    let config = config::Config::new(flags, app::writer_name()).map_err(typed)?;
    // One thread: the operator waits for the network, and a second one costs a megabyte.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(app::run(config))
}

fn print_crds(flags: &cli::Crds) -> anyhow::Result<()> {
    for (file, crd) in api::crd::crds() {
        let yaml = format!("# Printed by `pipekick crds`.\n---\n{}", serde_saphyr::to_string(&crd)?);
        let yaml = if yaml.ends_with('\n') { yaml } else { yaml + "\n" };
        match &flags.output_dir {
            None => say(&yaml)?,
            Some(dir) => {
                let path = dir.join(file);
                std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn read(file: &std::path::Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        return std::io::read_to_string(std::io::stdin()).context("cannot read the standard input");
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
