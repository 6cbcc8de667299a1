//! What Pipekick decides: values ([`domain`]) and decisions ([`decide`]); and
//! [`simulation`], which shows what the decisions about a schedule come to.
//!
//! No I/O, no clock, no client: the time is an argument, so every rule can be tested by a table.
#![warn(missing_docs)]

pub mod decide;
pub mod domain;
pub mod simulation;
