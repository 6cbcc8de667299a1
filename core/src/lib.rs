//! What Pipekick decides: values ([`domain`]), decisions ([`decide`]) and exact edits of files ([`yaml`]); and
//! [`simulation`], which shows what the decisions about a schedule come to.
//!
//! No I/O, no clock, no client: the time is an argument, so every rule can be tested by a table.
#![warn(missing_docs)]

pub mod decide;
pub mod domain;
pub mod simulation;
pub mod yaml;
