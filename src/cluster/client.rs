//! The connection to the API server.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::limit::GlobalConcurrencyLimitLayer;

/// Longest a request may take; kube itself has no read timeout.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Requests to the API server at the same time. kube speaks HTTP/1.1, so each needs a connection of its own with
/// its TLS buffers; a burst of triggers must not leave hundreds of them behind. Watches do not count: their place is
/// free again once they have begun.
const REQUESTS: usize = 24;

/// Connects as `KUBECONFIG` (or `~/.kube/config`) says, or as a pod's service account.
///
/// # Errors
/// When neither is there, or when no CA certificates can be loaded.
pub async fn connect() -> anyhow::Result<Client> {
    connect_as(None).await
}

/// The same; whatever is asked is asked in the name of `user`, for those who may do so.
///
/// # Errors
/// As [`connect`].
pub async fn connect_as(user: Option<&str>) -> anyhow::Result<Client> {
    let mut config = Config::infer().await?;
    config.auth_info.impersonate = user.map(str::to_owned);
    // By default kube sends any request again after 429, 503 and 504. A guarded write that took effect before
    // a 504 would then conflict with itself.
    config.default_retry = false;
    // kube finds HTTPS_PROXY but not NO_PROXY, and cannot speak to a proxy in this build. The API server is a
    // neighbour; only GitLab is reached through proxies.
    config.proxy_url = None;
    Ok(ClientBuilder::try_from(config)?.with_layer(&GlobalConcurrencyLimitLayer::new(REQUESTS)).build())
}
