//! `cargo xtask controlplane`: an empty cluster to play with.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig, Options, Printer};

/// The repository's root, wherever the command was typed.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a member of the workspace")
}

/// Starts a control plane that knows Pipekick's kinds, and the operator's own kubeconfig for it.
pub async fn start() -> anyhow::Result<(ControlPlane, Kubeconfig)> {
    let plane = ControlPlane::start(Options::from_env(Printer::verbose())?).await?;
    for crd in crds()? {
        plane.apply(&read(&crd)?).await?;
    }
    let operator = plane.operator_kubeconfig(&read(&root().join("deploy/rbac.yaml"))?).await?;
    Ok((plane, operator))
}

fn crds() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir(root().join("crds"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

/// A file's text; an error names the file.
pub fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub async fn run() -> anyhow::Result<()> {
    let (plane, operator) = start().await?;
    println!("ready after {:.1} s. From another terminal:", plane.started_in().as_secs_f64());
    println!("  export KUBECONFIG={}", plane.admin().path().display());
    println!("The operator's own: {}", operator.path().display());
    tokio::signal::ctrl_c().await?;
    plane.stop().await;
    Ok(())
}
