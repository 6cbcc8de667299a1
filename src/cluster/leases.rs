//! The Lease by which several operators agree on a leader: read, and written guarded by its version.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use pipekick_core::decide::lease::Record;

use crate::clock;
use crate::cluster::causes::causes;

/// One Lease.
#[derive(Debug)]
pub struct Leases {
    api: Api<Lease>,
    name: String,
    /// As it was last read or written: what we write changes as little of it as possible.
    last: Option<Lease>,
}

/// Why a Lease was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another wrote it meanwhile.
    #[error("another operator wrote it first")]
    Conflict,
    /// The API server said no, or nothing that could be understood.
    #[error("{}", causes(.0))]
    Kube(#[from] kube::Error),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Deadline(Duration),
}

impl Leases {
    /// The Lease of this name; without a namespace, in the one that this process runs in.
    #[must_use]
    pub fn new(cluster: &Client, namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.unwrap_or_else(|| cluster.default_namespace());
        Self { api: Api::namespaced(cluster.clone(), namespace), name: name.to_owned(), last: None }
    }

    /// Reads it; `None` if there is none.
    ///
    /// # Errors
    /// It could not be read within `deadline`.
    pub async fn read(&mut self, deadline: Duration) -> Result<Option<Record>, LeaseError> {
        self.last = limited(deadline, self.api.get_opt(&self.name)).await?;
        Ok(self.last.as_ref().map(record))
    }

    /// Writes `holder` into the version that was seen last, or creates it if there was none.
    ///
    /// # Errors
    /// It was not written, or nobody knows whether it was.
    pub async fn write(
        &mut self,
        holder: Option<&str>,
        duration: Duration,
        deadline: Duration,
    ) -> Result<Record, LeaseError> {
        let now = MicroTime(clock::now());
        let before = self.last.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let same = before.holder_identity.as_deref() == holder;
        let spec = LeaseSpec {
            holder_identity: Some(holder.unwrap_or_default().to_owned()),
            lease_duration_seconds: Some(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)),
            renew_time: Some(now.clone()),
            acquire_time: if same { before.acquire_time } else { Some(now) },
            lease_transitions: Some(
                before.lease_transitions.unwrap_or_default()
                    + i32::from(self.last.is_some() && !same && holder.is_some()),
            ),
            ..before
        };
        let params = PostParams::default();
        let written = if let Some(last) = &self.last {
            let lease = Lease { metadata: last.metadata.clone(), spec: Some(spec) };
            limited(deadline, self.api.replace(&self.name, &params, &lease)).await
        } else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            limited(deadline, self.api.create(&params, &Lease { metadata, spec: Some(spec) })).await
        };
        match written {
            Ok(lease) => Ok(record(self.last.insert(lease))),
            Err(LeaseError::Kube(kube::Error::Api(status))) if status.code == 409 => {
                Err(LeaseError::Conflict)
            }
            Err(error) => Err(error),
        }
    }
}

async fn limited<T>(
    deadline: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, LeaseError> {
    let answer = tokio::time::timeout(deadline, request).await;
    Ok(answer.map_err(|_| LeaseError::Deadline(deadline))??)
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(
            spec.lease_duration_seconds.unwrap_or_default().max(0).unsigned_abs().into(),
        ),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}
