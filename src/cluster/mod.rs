//! What the operator does to the cluster, each call with a deadline of its own: statuses are written
//! guarded, Secrets read one by one, Events told when there is time.

pub mod client;
pub mod events;
mod reads;
pub mod secrets;
pub mod status;
