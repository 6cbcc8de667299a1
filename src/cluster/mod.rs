//! What the operator does to the cluster, each call with a deadline of its own: statuses are written
//! guarded, Secrets and ConfigMaps read one by one, Events told when there is time.

mod bundles;
pub mod causes;
pub mod client;
pub mod events;
pub mod identity;
pub mod leases;
mod reads;
mod refusals;
pub mod secrets;
pub mod status;
mod stored;
mod values;
