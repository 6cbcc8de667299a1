//! A real etcd and kube-apiserver on loopback: what the demo runs on and what the stories are tested against.
//!
//! ```text
//! locate binaries → certificates → etcd + kube-apiserver → /readyz → ControlPlane
//! ```
//!
//! RBAC is enforced, CRDs and CEL rules work, server-side apply and watches are the real ones. There is no
//! scheduler, no kubelet and, unless [asked for](ControlPlane::start_controller_manager), no controller: nothing
//! runs pods, collects garbage or empties a deleted namespace. Any number of control planes run side by side, and
//! none outlives its process, however that ends (`guard.rs`).

#![allow(
    clippy::disallowed_methods,
    reason = "waits for processes on the wall clock and measures them; decides nothing that a user sees"
)]

mod apply;
pub mod archive;
mod binaries;
pub(crate) mod certs;
pub mod download;
mod error;
mod golang;
mod guard;
mod install;
mod kubeconfig;
mod operator;
mod progress;
mod servers;

use std::fmt;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Request;
use tempfile::TempDir;
use tokio::time::sleep;

pub use binaries::{Source, Sources};
pub use error::Error;
pub use guard::Guarded;
pub use kubeconfig::Kubeconfig;
pub use progress::{Printer, Progress, Quiet};

use binaries::{Binary, locate};
use certs::Certificates;
use kubeconfig::User;
use servers::Server;

/// Usually 4 s; a loaded CI machine takes its time.
const READY_WITHIN: Duration = Duration::from_secs(90);
const READY_POLL: Duration = Duration::from_millis(50);
/// kube-apiserver may accept a connection long before it answers.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// A port may be taken between its choice and its use; thrice in a row it is something else.
const MOST_STARTS: usize = 3;
/// Of a log, in an error.
const TAIL_LINES: usize = 12;

/// How to start a control plane.
#[derive(Clone)]
pub struct Options {
    /// Who is told what is going on.
    pub progress: Arc<dyn Progress>,
    /// Where binaries may come from.
    pub sources: Sources,
}

impl Options {
    /// Binaries as the environment says ([`Sources::from_env`]).
    pub fn from_env(progress: impl Progress + 'static) -> Result<Self, Error> {
        Ok(Self { progress: Arc::new(progress), sources: Sources::from_env()? })
    }
}

/// A running control plane. It ends, and its data with it, when this is dropped, or when the process ends in any
/// other way. The drop takes some milliseconds and blocks.
pub struct ControlPlane {
    // Before `dir`: fields drop in order, and the servers must be gone when their directory goes.
    servers: Vec<Server>,
    dir: TempDir,
    url: String,
    authority: String,
    admin: Kubeconfig,
    started_in: Duration,
    options: Options,
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, dir, .. } = self;
        f.debug_struct("ControlPlane").field("url", url).field("dir", dir).finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// Starts one, and returns when it is ready. Installs the binaries first if this machine has none, which takes
    /// minutes and is told to [`Options::progress`].
    pub async fn start(options: Options) -> Result<Self, Error> {
        install_crypto();
        let wanted = [Binary::Etcd, Binary::ApiServer];
        let found = locate(&wanted, &options.sources, &*options.progress).await?;
        let from = found.dir().display();
        options.progress.starting(&format!("starting etcd and kube-apiserver from {from}, usually 4 s"));
        let mut starts = 1;
        let plane = loop {
            match Self::start_once(&found, &options).await {
                Err(error) if servers::port_was_taken(&error) && starts < MOST_STARTS => starts += 1,
                ended => break ended?,
            }
        };
        let seconds = plane.started_in.as_secs_f32();
        options.progress.starting(&format!("Kubernetes API ready at {} after {seconds:.1} s", plane.url));
        Ok(plane)
    }

    async fn start_once(found: &binaries::Found, options: &Options) -> Result<Self, Error> {
        let began = Instant::now();
        let dir = tempfile::Builder::new()
            .prefix("pipekick-controlplane-")
            // Whoever reads these keys is administrator of the cluster.
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(Error::io("create a directory in", &std::env::temp_dir()))?;
        let certificates = Certificates::make(dir.path())?;
        let files = &certificates.files;
        let [etcd_port, port] = servers::free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let user = User::Certificate(&certificates.admin);
        let admin =
            Kubeconfig::write(dir.path().join("admin.kubeconfig"), &url, &certificates.authority, &user)?;
        let etcd = servers::etcd(etcd_port, dir.path(), files);
        let apiserver = servers::apiserver(port, etcd_port, dir.path(), files);
        let servers = vec![
            Server::spawn(Binary::Etcd, found, dir.path(), &etcd)?,
            Server::spawn(Binary::ApiServer, found, dir.path(), &apiserver)?,
        ];
        let authority = certificates.authority;
        let (started_in, options) = (Duration::ZERO, options.clone());
        let mut plane = Self { servers, dir, url, authority, admin, started_in, options };
        plane.ready(began).await?;
        plane.started_in = began.elapsed();
        Ok(plane)
    }

    async fn ready(&mut self, began: Instant) -> Result<(), Error> {
        let client = self.admin.client().await?;
        while began.elapsed() < READY_WITHIN {
            self.servers.iter_mut().try_for_each(Server::check)?;
            let request = Request::get("/readyz").body(Vec::new()).expect("a constant path");
            let answer = tokio::time::timeout(PROBE_TIMEOUT, client.request_text(request)).await;
            if matches!(answer, Ok(Ok(text)) if text == "ok") {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
        let log = log_tail(self.servers[1].log());
        Err(Error::NotReady { server: Binary::ApiServer.name(), within: READY_WITHIN, log })
    }

    /// From nothing to `/readyz`; without the installation of binaries.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The API server's address, on loopback.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Data, certificates, kubeconfigs and the servers' logs (`etcd.log`, `kube-apiserver.log`). Gone with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A member of `system:masters`.
    pub fn admin(&self) -> &Kubeconfig {
        &self.admin
    }

    /// The operator's kubeconfig: the ServiceAccount `pipekick` in namespace `pipekick-system`, with a token from
    /// the TokenRequest API, after `rbac` was applied. What `rbac` does not allow is refused. When this returns, its
    /// rights are in effect. `rbac` is the multi-document manifest that users install.
    pub async fn operator_kubeconfig(&self, rbac: &str) -> Result<Kubeconfig, Error> {
        let client = self.admin.client().await?;
        let path = self.dir.path().join("operator.kubeconfig");
        operator::kubeconfig(&client, rbac, path, &self.url, &self.authority).await
    }

    /// Applies the documents of a manifest in order by server-side apply, as admin. Returns when each CRD among
    /// them is established. Objects without a namespace go to `default`; with `generateName`, they are created.
    pub async fn apply(&self, yaml: &str) -> Result<(), Error> {
        apply::apply(&self.admin.client().await?, yaml).await
    }

    /// Waits until a CRD that somebody else applies is served (`pipelinetriggers.pipekick.dev`), at most 30 s.
    pub async fn crd_established(&self, name: &str) -> Result<(), Error> {
        apply::established(&self.admin.client().await?, name).await
    }

    /// Adds a kube-controller-manager with the garbage collector and the CronJob controller, and nothing else.
    /// envtest has none, so the first call on a machine builds it with Go. Returns when both controllers work.
    /// The garbage collector looks for new kinds every 30 s: apply CRDs first.
    pub async fn start_controller_manager(&mut self) -> Result<(), Error> {
        let progress = Arc::clone(&self.options.progress);
        let found = locate(&[Binary::ControllerManager], &self.options.sources, &*progress).await?;
        let flags = servers::controller_manager(self.admin.path(), self.dir.path());
        let began = Instant::now();
        let server = Server::spawn(Binary::ControllerManager, &found, self.dir.path(), &flags)?;
        let server = self.servers.push_mut(server);
        while began.elapsed() < READY_WITHIN {
            server.check()?;
            if servers::controllers_work(server.log()) {
                return Ok(());
            }
            sleep(READY_POLL).await;
        }
        Err(Error::NotReady { server: server.name(), within: READY_WITHIN, log: log_tail(server.log()) })
    }

    /// Ends it, without blocking the runtime. Dropping does the same, and blocks.
    pub async fn stop(self) {
        // A panic in there has nobody to go to; the guards do their work regardless.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // All at once; each is then waited for as the fields drop.
        self.servers.iter_mut().for_each(Server::let_go);
    }
}

/// Both kube's and reqwest's TLS need a provider; the first to install one wins, and they are all ring here.
fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn log_tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
