//! A kubeconfig of one control plane, as a file for `kubectl` and as a client for us.

use std::fmt;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use kube::config::{KubeConfigOptions, KubeconfigError};
use kube::{Client, Config};

use super::certs::Identity;
use super::error::Error;

/// Who talks to the API server.
pub(crate) enum User<'a> {
    Certificate(&'a Identity),
    Token(&'a str),
}

/// A written kubeconfig. Its `Debug` shows no credentials.
#[derive(Clone)]
pub struct Kubeconfig {
    path: PathBuf,
    yaml: String,
}

impl Kubeconfig {
    /// Writes it as `path`, readable by this user only, over what may be there.
    pub(crate) fn write(path: PathBuf, url: &str, authority: &str, user: &User<'_>) -> Result<Self, Error> {
        let base64 = |pem: &str| BASE64.encode(pem.as_bytes());
        let credential = match user {
            User::Certificate(Identity { certificate, key }) => format!(
                "{{client-certificate-data: {}, client-key-data: {}}}",
                base64(certificate),
                base64(key)
            ),
            User::Token(token) => format!("{{token: {token}}}"),
        };
        let yaml = format!(
            "apiVersion: v1
kind: Config
current-context: pipekick
contexts:
- name: pipekick
  context: {{cluster: pipekick, user: pipekick, namespace: default}}
clusters:
- name: pipekick
  cluster: {{server: \"{url}\", certificate-authority-data: {}}}
users:
- name: pipekick
  user: {credential}
",
            base64(authority)
        );
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(yaml.as_bytes())).map_err(Error::io("write", &path))?;
        Ok(Self { path, yaml })
    }

    /// Makes the file name this namespace where `kubectl` is told none.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn set_namespace(&self, namespace: &str) -> Result<(), Error> {
        let yaml = self.yaml.replace("namespace: default", &format!("namespace: {namespace}"));
        // Written over, so that it stays readable by this user only.
        fs::write(&self.path, yaml).map_err(Error::io("write", &self.path))
    }

    /// The file; it goes when the control plane stops.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in the file.
    pub fn yaml(&self) -> &str {
        &self.yaml
    }

    /// For kube, without any proxy: the API server is on loopback, whatever `HTTPS_PROXY` says.
    pub async fn config(&self) -> Result<Config, Error> {
        let config = async {
            let parsed = kube::config::Kubeconfig::from_yaml(&self.yaml)?;
            Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await
        };
        let invalid = |error: KubeconfigError| Error::Api {
            doing: format!("read {}", self.path.display()),
            source: Box::new(kube::Error::InferKubeconfig(error)),
        };
        let mut config = config.await.map_err(invalid)?;
        config.proxy_url = None;
        config.connect_timeout = Some(Duration::from_secs(5));
        Ok(config)
    }

    /// A new client. It lives on the current runtime, so a control plane that tests share hands out one to each.
    pub async fn client(&self) -> Result<Client, Error> {
        super::install_crypto();
        Client::try_from(self.config().await?).map_err(Error::api("make a client"))
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kubeconfig").field(&self.path).finish()
    }
}
