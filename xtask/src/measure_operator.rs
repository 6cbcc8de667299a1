//! The operator as the image carries it, as a process of its own, and what the system says of it.

#![allow(clippy::disallowed_methods, reason = "waits for a process; decides nothing that a user sees")]

use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use pipekick_sandbox::controlplane::{ControlPlane, Kubeconfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::measure::PATIENCE;
use crate::static_binary::for_people;

/// It at work.
pub struct Operator {
    name: String,
    process: Child,
    log: std::path::PathBuf,
}

impl Operator {
    /// Starts it and waits until it is ready.
    pub async fn start(plane: &ControlPlane, kubeconfig: &Kubeconfig, gitlab: &str) -> anyhow::Result<Self> {
        Self::start_as("pipekick", plane, kubeconfig, gitlab, &[]).await
    }

    /// The same with a name of its own, which begins what it signs, and with more flags.
    pub async fn start_as(
        name: &str,
        plane: &ControlPlane,
        kubeconfig: &Kubeconfig,
        gitlab: &str,
        flags: &[&str],
    ) -> anyhow::Result<Self> {
        let log = plane.dir().join(format!("{name}.log"));
        let health = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let binary = for_people()?;
        let mut command = Command::new(&binary);
        command
            .args(["run", "--allow-http", "--metrics-addr", "127.0.0.1:0", "--gitlab-url", gitlab])
            .args(["--health-addr", &health.to_string()])
            .args(flags)
            .env("KUBECONFIG", kubeconfig.path())
            .env("HOSTNAME", name)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        let operator = Self { name: name.into(), process, log };
        let began = Instant::now();
        while !ready(health).await {
            ensure!(
                began.elapsed() < PATIENCE,
                "the operator is not ready; its log:\n{}",
                operator.log_tail()
            );
            sleep(Duration::from_millis(50)).await;
        }
        eprintln!("operator ready after {:.2} s", began.elapsed().as_secs_f64());
        Ok(operator)
    }

    /// As it was started.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends it a signal, such as `TERM`.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.process.id().context("the operator ended before")?.to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().await?;
        ensure!(sent.success(), "kill -s {signal} {pid}: {sent}");
        Ok(())
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        let ended = tokio::time::timeout(PATIENCE, self.process.wait()).await;
        ended.with_context(|| format!("the operator goes on; its log:\n{}", self.log_tail()))??;
        Ok(())
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> Option<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// CPU time used so far; Linux counts it in hundredths of a second.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()?)).ok()?;
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some((user + system) / 100.0)
    }

    /// Ends it; an error if it had ended before.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        ensure!(self.process.try_wait()?.is_none(), "the operator ended; its log:\n{}", self.log_tail());
        Ok(self.process.kill().await?)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

async fn ready(address: std::net::SocketAddr) -> bool {
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    ask.await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
