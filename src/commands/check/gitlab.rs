//! Whether GitLab answers, and what kinds of token a Secret holds.

use std::time::Duration;

use anyhow::ensure;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use pipekick_core::domain::{CredentialUse, GitLabUrl, ProjectRef, Reason, SecretKeyRef};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::{Check, Report};
use crate::cli::BadInput;
use crate::cluster::causes::causes;
use crate::cluster::client::DEADLINE;
use crate::cluster::secrets::Secrets;
use crate::gitlab::{self, Endpoint, Options, ReadKind, Trust};

/// A person waits for it.
const PATIENCE: Duration = Duration::from_secs(15);
/// What GitLab begins trigger tokens with, maybe behind a prefix of the instance.
const TRIGGER_PREFIX: &str = "glptt-";
/// What GitLab begins access tokens with, unless its administrator chose otherwise.
const ACCESS_PREFIX: &str = "glpat-";

/// What is asked about GitLab, parsed.
pub(super) struct Asked {
    url: GitLabUrl,
    allow_http: bool,
    tokens: Option<Tokens>,
}

struct Tokens {
    namespace: String,
    secret: String,
    project: ProjectRef,
}

impl Asked {
    pub(super) fn new(typed: &Check) -> anyhow::Result<Self> {
        let bad = |flag: &str, why: String| BadInput(format!("{flag}: {why}"));
        let url: GitLabUrl =
            typed.gitlab_url.parse().map_err(|error| bad("--gitlab-url", format!("{error}")))?;
        ensure!(
            typed.allow_http || url.is_https(),
            bad(
                "--gitlab-url",
                format!(
                    "{url} is plain http, which would send tokens unencrypted; use https, or --allow-http in a sandbox"
                )
            )
        );
        let tokens = match (&typed.secret, &typed.project) {
            (Some(secret), Some(project)) => {
                let (namespace, name) = secret
                    .split_once('/')
                    .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
                    .ok_or_else(|| bad("--secret", format!("{secret:?}: write NAMESPACE/NAME")))?;
                Some(Tokens {
                    namespace: namespace.to_owned(),
                    secret: name.to_owned(),
                    project: project.parse().map_err(|error| bad("--project", format!("{error}")))?,
                })
            }
            // clap lets neither come alone.
            (Some(_) | None, None) | (None, Some(_)) => None,
        };
        Ok(Self { url, allow_http: typed.allow_http, tokens })
    }
}

pub(super) async fn check(
    report: &mut Report,
    asked: &Asked,
    cluster: Option<&Client>,
) -> anyhow::Result<()> {
    let Asked { url, allow_http, tokens } = asked;
    let client = match gitlab::Client::new(Options { allow_http: *allow_http, deadline: PATIENCE }) {
        Ok(client) => client,
        Err(error) => return report.bad(&format!("{url}: {error}")),
    };
    match client.reach(url, &Trust::System).await {
        Ok(()) => report.good(&format!("{url} answers as a GitLab does"))?,
        Err(error) => report.bad(&format!("{url}: {error}"))?,
    }
    match (tokens, cluster) {
        (Some(tokens), Some(cluster)) => check_tokens(report, &client, url, tokens, cluster).await,
        (Some(tokens), None) => {
            report.bad(&format!("Secret {}: there is no API server to read it from", tokens.secret))
        }
        (None, _) => Ok(()),
    }
}

async fn check_tokens(
    report: &mut Report,
    client: &gitlab::Client,
    url: &GitLabUrl,
    tokens: &Tokens,
    cluster: &Client,
) -> anyhow::Result<()> {
    let Tokens { namespace, secret, project } = tokens;
    let keys = match keys(cluster, namespace, secret).await {
        Ok(keys) => keys,
        Err(why) => return report.bad(&format!("Secret {namespace}/{secret}: {why}")),
    };
    let secrets = Secrets::new(cluster.clone());
    let at = Endpoint { url: url.clone(), project: project.clone(), trust: Trust::System };
    for key in keys {
        let named = format!("key {key} of Secret {namespace}/{secret}");
        let wanted = SecretKeyRef { name: secret.clone(), key };
        let to = CredentialUse { url, default_url: url, project };
        match secrets.token(namespace, &wanted, to).await {
            Ok(token) => check_token(report, client, &at, &named, &token).await?,
            // A Secret may hold other things beside tokens.
            Err(why) if why.reason == Reason::SecretUnusable => report.note(&why.message)?,
            Err(why) => report.bad(&format!("{named}: {}", why.message))?,
        }
    }
    Ok(())
}

async fn keys(cluster: &Client, namespace: &str, name: &str) -> Result<Vec<String>, String> {
    let api: Api<Secret> = Api::namespaced(cluster.clone(), namespace);
    match timeout(DEADLINE, api.get_opt(name)).await {
        Ok(Ok(Some(secret))) => Ok(secret.data.unwrap_or_default().into_keys().collect()),
        Ok(Ok(None)) => Err("is not there".into()),
        Ok(Err(error)) => Err(causes(&error)),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

async fn check_token(
    report: &mut Report,
    client: &gitlab::Client,
    at: &Endpoint,
    named: &str,
    token: &SecretString,
) -> anyhow::Result<()> {
    if token.expose_secret().contains(TRIGGER_PREFIX) {
        return report.note(&format!(
            "{named}: a trigger token, by its prefix; whether GitLab accepts it shows only when it fires"
        ));
    }
    let whose = match client.user(at, token).await {
        Ok(user) => format!("an access token of {}", user.username),
        // A token that may not look at its user may still be one for the project.
        Err(error) if error.kind == ReadKind::Forbidden => "an access token".into(),
        Err(error)
            if error.kind == ReadKind::Unauthorized && !token.expose_secret().starts_with(ACCESS_PREFIX) =>
        {
            return report.note(&format!(
                "{named}: no access token; if it is a trigger token, whether GitLab accepts it shows only when it fires"
            ));
        }
        Err(error) => return report.bad(&format!("{named}: {error}")),
    };
    match client.project(at, token).await {
        Ok(_) => report.good(&format!("{named}: {whose}, which sees project {}", at.project)),
        Err(error) => report.bad(&format!("{named}: {whose}, and {error}")),
    }
}
