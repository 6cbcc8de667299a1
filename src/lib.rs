//! Pipekick.
