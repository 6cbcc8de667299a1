//! A reverse proxy on loopback in front of a kube-apiserver that spoils calls on request: what an API server that
//! is far away, overloaded, restarted or restored does to its clients. Tests believe its record of calls.
//!
//! ```text
//! operator ── http ──▶ serve ── rules: does a fault strike? ──▶ forward ── https, the cluster's CA ──▶ kube-apiserver
//!                        └─ record                                └─ watches: flowing, frozen, cut
//! ```
//!
//! | file | noun |
//! | --- | --- |
//! | `call` | one call, read from its request line; a pattern of calls; the record |
//! | `fault` | what goes wrong, and which calls it strikes |
//! | `watch` | the body of a watch, which can be frozen or cut while it flows |
//! | `serve` | the listener, the connections, the way to the API server and back |
//!
//! It speaks plain http: it is reached on loopback only, and the caller's bearer token passes through as it is. It
//! knows nothing of what it carries, and decides nothing by itself.

#![allow(
    clippy::disallowed_methods,
    reason = "records when calls came, for tests to read; decides nothing that a user sees"
)]

mod call;
mod fault;
mod serve;
mod watch;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch as signal;

pub use call::{CallRecord, Calls, Verb};
pub use fault::{Fault, Strike};

use fault::Rules;
use serve::Listed;
use watch::Lines;

/// A running proxy. Dropping it closes its connections and removes its kubeconfig.
pub struct ApiProxy {
    url: String,
    kubeconfig: PathBuf,
    shared: Shared,
    steer: signal::Sender<Mode>,
    thread: Option<thread::JoinHandle<()>>,
    _dir: TempDir,
}

/// What the proxy's thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Up,
    /// Connections are closed and refused.
    Down,
    End,
}

/// What handlers and the steering side share.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rules: Rules,
    calls: Vec<CallRecord>,
    /// Answers to lists, by path and in order of time.
    lists: HashMap<String, Vec<Listed>>,
    lines: Lines,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in another call does not make the record less true.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiProxy {
    /// Starts a proxy on a free port, in front of the API server that this kubeconfig file names.
    ///
    /// # Errors
    /// The file cannot be used, or nothing can be listened on.
    pub async fn start(kubeconfig: &Path) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let text =
            fs::read_to_string(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
        let upstream = upstream(&text).await?;
        let (shared, (steer, mode)) = (Shared::default(), signal::channel(Mode::Up));
        let (address, thread) = spawn(upstream, shared.clone(), mode)?;
        let url = format!("http://{address}");
        let dir = tempfile::Builder::new().prefix("pipekick-apiproxy-").tempdir()?;
        let path = dir.path().join("kubeconfig");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(redirected(&text, &url)?.as_bytes())?;
        Ok(Self { url, kubeconfig: path, shared, steer, thread: Some(thread), _dir: dir })
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The kubeconfig it was started with, with the proxy as its server. The file goes with the proxy.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Spoils calls that are to come. Of several rules that strike one call, the first put wins; all count it.
    pub fn fault(&self, calls: Calls, strike: Strike, fault: Fault) {
        self.shared.lock().rules.put(calls, strike, fault);
    }

    /// Takes back every rule. What was answered with [`Fault::ApplyLater`] still comes.
    pub fn clear(&self) {
        self.shared.lock().rules.clear();
    }

    /// From now on connections are refused, and those that are open are closed.
    pub fn down(&self) {
        self.steer.send_replace(Mode::Down);
    }

    /// Ends [`ApiProxy::down`].
    pub fn up(&self) {
        self.steer.send_replace(Mode::Up);
    }

    /// [`ApiProxy::down`] for so long.
    pub async fn down_for(&self, lasts: Duration) {
        self.down();
        tokio::time::sleep(lasts).await;
        self.up();
    }

    /// Watches of this path (a pattern as in [`Calls::to`]) that flow now keep their connections and bring nothing
    /// any more. Later ones flow; [`Fault::FrozenWatch`] freezes those. Tells how many there were.
    pub fn freeze_watches(&self, path: &str) -> usize {
        self.shared.lock().lines.freeze(path)
    }

    /// Closes the connections of the watches of this path, frozen ones too. Tells how many there were.
    pub fn cut_watches(&self, path: &str) -> usize {
        self.shared.lock().lines.cut(path)
    }

    /// Every call so far, in order of arrival.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.shared.lock().calls.clone()
    }

    /// How many of them were like this. While connections are refused nothing is seen, and so nothing counted.
    pub fn count(&self, calls: &Calls) -> usize {
        self.shared.lock().calls.iter().filter(|record| calls.covers(record)).count()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.steer.send_replace(Mode::End);
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by the hook.
            drop(thread.join());
        }
    }
}

/// The way to the API server, without the credentials: each caller brings its own.
async fn upstream(kubeconfig: &str) -> anyhow::Result<Config> {
    let parsed = Kubeconfig::from_yaml(kubeconfig)?;
    let named = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await?;
    let mut config = Config::new(named.cluster_url);
    config.root_cert = named.root_cert;
    // What a call did to the API server is the proxy's whole business: each is sent once.
    config.default_retry = false;
    Ok(config)
}

/// The same kubeconfig, with another server.
fn redirected(kubeconfig: &str, url: &str) -> anyhow::Result<String> {
    let mut config: Value = serde_saphyr::from_str(kubeconfig)?;
    let cluster = config.pointer_mut("/clusters/0/cluster").context("the kubeconfig names no cluster")?;
    *cluster = json!({"server": url});
    Ok(config.to_string())
}

/// Serves on a thread of its own, so that a test may block its own.
fn spawn(
    upstream: Config,
    shared: Shared,
    mode: signal::Receiver<Mode>,
) -> anyhow::Result<(SocketAddr, thread::JoinHandle<()>)> {
    let (send, started) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = thread::Builder::new().name("apiproxy".into()).spawn(move || {
        runtime.block_on(async {
            let listening = serve::listen(SocketAddr::from(([127, 0, 0, 1], 0)))
                .and_then(|listener| Ok((listener.local_addr()?, listener)));
            let client = kube::Client::try_from(upstream).map_err(io::Error::other);
            match listening.and_then(|listening| Ok((listening, client?))) {
                Ok(((address, listener), client)) => {
                    drop(send.send(Ok(address)));
                    serve::run(listener, address, client, shared, mode).await;
                }
                Err(error) => drop(send.send(Err(error))),
            }
        });
    })?;
    let address = started.recv().context("the proxy's thread ended at once")??;
    Ok((address, thread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_names_the_proxy_and_keeps_the_user() {
        let before = "{clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: eA==}}],
                      users: [{name: u, user: {token: t}}]}";
        let after: Value = serde_json::from_str(&redirected(before, "http://127.0.0.1:2").unwrap()).unwrap();
        assert_eq!(after["clusters"][0]["cluster"], json!({"server": "http://127.0.0.1:2"}));
        assert_eq!(after["users"][0]["user"]["token"], "t");
        assert!(redirected("{}", "http://127.0.0.1:2").is_err());
    }
}
