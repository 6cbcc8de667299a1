//! Pipekick kicks off GitLab CI pipelines: once, on time, and it tells you how it went.
//!
//! | module | what stands there |
//! | --- | --- |
//! | [`api`] | the kinds that users write, and their CRDs |
//! | [`controllers`] | what is done about each kind, as `pipekick_core::decide` says |
//! | [`runtime`] | watch → store → queue → worker, the same for every kind |
//! | [`gitlab`] | the client, and what GitLab's answers mean |
//! | [`cluster`] | guarded statuses, Secrets, Events |
//! | [`otlp`] | spans of runs, told to a collector |
//! | [`server`] | health and metrics |
//! | [`commands`] | `pipekick check`, `wait` and `release` |
//! | [`preview`] | `pipekick next` and `pipekick simulate` |
//! | [`cli`], [`config_file`], [`config`], [`app`], [`log`] | from what was typed to a running operator |
//! | [`clock`] | the only place that asks what time it is |

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod config_file;
pub mod controllers;
mod crash;
pub mod gitlab;
pub mod log;
pub mod otlp;
pub mod preview;
pub mod runtime;
pub mod server;
