//! The protocol, told by tables: a case's name is a sentence, and reading them in order is reading the rules.

mod answers;
mod cancelling;
mod causes;
mod concurrency;
mod duplicates;
mod following;
mod history;
mod leaving;
mod looked_into;
mod nonsense;
mod rejected;
mod requests;
mod retrying;
mod scene;
mod stopped;
mod tidying;
mod tracing;
mod unknown;
mod unknown_version;
mod updating;
mod waiting;
mod walk;
