//! The command lines of etcd, kube-apiserver and kube-controller-manager: on loopback, quick to start, strict about
//! rights, careless about data.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::binaries::{Binary, Found};
use super::certs::Files;
use super::error::Error;
use super::guard::Guarded;
use super::log_tail;

/// A server of the control plane, and its log.
#[derive(Debug)]
pub(crate) struct Server {
    binary: Binary,
    guarded: Guarded,
    log: PathBuf,
}

impl Server {
    /// Starts it with its log beside its data in `dir`, which does not outlive it.
    pub(crate) fn spawn(binary: Binary, found: &Found, dir: &Path, flags: &[Flag]) -> Result<Self, Error> {
        let name = binary.name();
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).map_err(Error::io("create", &log))?;
        let errors = output.try_clone().map_err(Error::io("open", &log))?;
        let path = found.path(binary);
        let mut command = Guarded::command(&path, dir);
        command.args(flags.iter().map(Flag::argument)).stdout(output).stderr(errors).current_dir(dir);
        // etcd reads ETCD_*, all read *_PROXY: what the user has set is meant for others. The guard needs PATH.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        let guarded = Guarded::spawn(&mut command).map_err(Error::io("start", &path))?;
        Ok(Self { binary, guarded, log })
    }

    /// An error, if it is no longer running.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        let ended = self.guarded.ended().map_err(Error::io("look after", &self.log))?;
        ended.map_or(Ok(()), |status: ExitStatus| {
            let status = status.to_string();
            Err(Error::Ended { server: self.binary.name(), status, log: log_tail(&self.log) })
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.binary.name()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn let_go(&mut self) {
        self.guarded.let_go();
    }
}

/// `--name=value`.
#[derive(Clone, Debug)]
pub(crate) struct Flag(&'static str, OsString);

impl Flag {
    fn argument(&self) -> OsString {
        let Self(name, value) = self;
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(value);
        argument
    }
}

fn flag(name: &'static str, value: impl Into<OsString>) -> Flag {
    Flag(name, value.into())
}

/// Two different ports that nobody listens on now. Somebody may take one before the servers do; then they say so
/// ([`port_was_taken`]).
pub(crate) fn free_ports() -> Result<[u16; 2], Error> {
    let failed = || Error::io("find a free port on", Path::new("loopback"));
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners = [listen().map_err(failed())?, listen().map_err(failed())?];
    let mut ports = [0; 2];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr().map_err(failed())?.port();
    }
    Ok(ports)
}

pub(crate) fn port_was_taken(error: &Error) -> bool {
    matches!(error, Error::Ended { log, .. } if log.contains("address already in use"))
}

pub(crate) fn etcd(port: u16, dir: &Path, files: &Files) -> Vec<Flag> {
    let url = format!("https://127.0.0.1:{port}");
    vec![
        flag("data-dir", dir.join("etcd")),
        flag("listen-client-urls", &url),
        flag("advertise-client-urls", &url),
        // There is no peer, but there is no etcd without a peer port either.
        flag("listen-peer-urls", "https://127.0.0.1:0"),
        flag("trusted-ca-file", &files.authority),
        flag("cert-file", &files.certificate),
        flag("key-file", &files.key),
        flag("client-cert-auth", "true"),
        flag("peer-trusted-ca-file", &files.authority),
        flag("peer-cert-file", &files.certificate),
        flag("peer-key-file", &files.key),
        flag("peer-client-cert-auth", "true"),
        flag("enable-grpc-gateway", "false"),
        // The data does not outlive the process, so it need not reach the disk.
        flag("unsafe-no-fsync", "true"),
        // The only member wins every election; by default it first waits a second for others to stand.
        flag("heartbeat-interval", "20"),
        flag("election-timeout", "100"),
        flag("log-level", "warn"),
    ]
}

pub(crate) fn apiserver(port: u16, etcd_port: u16, dir: &Path, files: &Files) -> Vec<Flag> {
    vec![
        flag("bind-address", "127.0.0.1"),
        flag("advertise-address", "127.0.0.1"),
        flag("secure-port", port.to_string()),
        flag("etcd-servers", format!("https://127.0.0.1:{etcd_port}")),
        flag("etcd-cafile", &files.authority),
        flag("etcd-certfile", &files.certificate),
        flag("etcd-keyfile", &files.key),
        flag("cert-dir", dir),
        flag("tls-cert-file", &files.certificate),
        flag("tls-private-key-file", &files.key),
        flag("client-ca-file", &files.authority),
        flag("anonymous-auth", "false"),
        flag("authorization-mode", "RBAC"),
        flag("service-account-issuer", "https://kubernetes.default.svc"),
        flag("service-account-key-file", &files.account_public_key),
        flag("service-account-signing-key-file", &files.account_key),
        flag("service-cluster-ip-range", "10.0.0.0/24"),
        // Nothing runs pods here, so nobody makes the `default` ServiceAccounts that this one waits for.
        flag("disable-admission-plugins", "ServiceAccount"),
        // On in OpenShift and in hardened clusters: an owner reference that blocks deletion needs the right to
        // update the owner's finalizers. Who only tests without it learns that from a user.
        flag("enable-admission-plugins", "OwnerReferencesPermissionEnforcement"),
        // The `kubernetes` Service needs endpoints that are not on loopback.
        flag("endpoint-reconciler-type", "none"),
        // Far above what a test sends; fairness among clients is not what is tested here.
        flag("max-requests-inflight", "2000"),
        flag("max-mutating-requests-inflight", "1000"),
        flag("v", "0"),
    ]
}

/// kube-controller-manager tells when its controllers work in its log, and nowhere else.
pub(crate) fn controllers_work(log: &Path) -> bool {
    let log = fs::read_to_string(log).unwrap_or_default();
    ["Starting cronjob controller", "Proceeding to collect garbage"].iter().all(|line| log.contains(line))
}

pub(crate) fn controller_manager(kubeconfig: &Path, dir: &Path) -> Vec<Flag> {
    vec![
        flag("kubeconfig", kubeconfig),
        flag("controllers", "garbage-collector-controller,cronjob-controller"),
        flag("leader-elect", "false"),
        // Its own health and metrics: nobody asks.
        flag("secure-port", "0"),
        flag("cert-dir", dir),
        flag("v", "0"),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::super::binaries::{Sources, locate};
    use super::super::certs::Certificates;
    use super::super::progress::Printer;
    use super::*;

    #[tokio::test]
    async fn a_port_that_was_taken_meanwhile_is_recognized_in_either_log() {
        let sources = Sources::from_env().unwrap();
        let wanted = [Binary::Etcd, Binary::ApiServer];
        let found = locate(&wanted, &sources, &Printer::installs_only()).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let files = Certificates::make(dir.path()).unwrap().files;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();

        let flags = [etcd(taken, dir.path(), &files), apiserver(taken, taken, dir.path(), &files)];
        for (binary, flags) in wanted.into_iter().zip(flags) {
            let mut server = Server::spawn(binary, &found, dir.path(), &flags).unwrap();
            let mut ended = Ok(());
            for _ in 0..200 {
                ended = server.check();
                if ended.is_err() {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
            let error = ended.unwrap_err();
            assert!(port_was_taken(&error), "{error}");
        }
    }
}
