//! What tells this cluster from others: `--cluster-id`, or the uid of namespace kube-system, which nobody deletes.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use pipekick_core::domain::schedule::ClusterId;
use tokio::sync::OnceCell;

use super::client::DEADLINE;

const NAMESPACE: &str = "kube-system";

/// The cluster's id, read when it is first needed.
pub struct Identity {
    client: Client,
    known: OnceCell<ClusterId>,
}

impl Identity {
    /// The id that was given, or else one to be read.
    #[must_use]
    pub fn new(client: Client, given: Option<ClusterId>) -> Self {
        Self { client, known: OnceCell::new_with(given) }
    }

    /// The id.
    ///
    /// # Errors
    /// When it must be read and cannot be.
    pub async fn cluster_id(&self) -> Result<ClusterId, String> {
        self.known.get_or_try_init(|| self.read()).await.cloned()
    }

    async fn read(&self) -> Result<ClusterId, String> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let why = match tokio::time::timeout(DEADLINE, api.get_metadata(NAMESPACE)).await {
            Ok(Ok(namespace)) => {
                let uid = namespace.metadata.uid.unwrap_or_default();
                match uid.parse() {
                    Ok(id) => return Ok(id),
                    Err(error) => format!("its uid {uid:?} is no cluster id: {error}"),
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        };
        Err(format!(
            "the uid of namespace {NAMESPACE} could not be read, which tells this cluster from others: {why}. Give the operator that right, or start it with --cluster-id"
        ))
    }
}
