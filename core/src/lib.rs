//! What Pipekick decides: values ([`domain`]) and decisions ([`decide`]).
//!
//! No I/O, no clock, no client: the time is an argument, so every rule can be tested by a table.
#![warn(missing_docs)]

pub mod decide;
pub mod domain;
