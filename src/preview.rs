//! `pipekick next` and `pipekick simulate`: what a schedule will do, from the very code that the operator runs, without
//! a cluster.

mod next;
mod simulate;

pub use next::next;
pub use simulate::simulate;

use jiff::Timestamp;

use crate::cli::BadInput;

fn bad(what: &str, error: &impl std::fmt::Display) -> BadInput {
    BadInput(format!("{what}: {error}"))
}

/// An instant as it was typed: RFC 3339 with `Z` or an offset.
fn instant(flag: &str, text: &str) -> Result<Timestamp, BadInput> {
    text.parse().map_err(|_| BadInput(format!("{flag} {text:?}: write an instant with its offset, such as 2026-03-29T00:00:00Z or 2026-03-29T01:00:00+01:00")))
}

#[cfg(test)]
mod tests;
