//! What users do all the time: create, edit, ask, delete, create again. What they wish for is written down before
//! it is done, for the verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::dice::Dice;
use super::scene;

/// The variable that tells which edit of which object a pipeline was fired for.
pub const REVISION: &str = "SOAK_REVISION";
pub const FIRE: &str = "pipekick.dev/fire";
/// Each trigger has something done to it this often, on average.
const TOUCHED_EVERY: Duration = Duration::from_secs(10);
/// Each request to the API server; kube itself waits for ever.
const REQUEST: Duration = Duration::from_secs(10);

/// How a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By trigger token, and followed.
    Followed,
    /// By trigger token, and nobody can look.
    FireOnly,
    /// By access token.
    Access,
    /// Only when asked.
    Request,
}

impl Kind {
    fn of(slot: usize) -> Self {
        match slot % 10 {
            0 => Self::FireOnly,
            1 | 2 => Self::Access,
            3 | 4 => Self::Request,
            _ => Self::Followed,
        }
    }
}

/// An object that exists, as its user wants it.
#[derive(Debug, Clone)]
pub struct Wish {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
    /// Of its spec as it stands.
    pub revision: u64,
    /// What was asked last.
    pub asked: Option<String>,
}

/// One spec of one object: how many pipelines it may have.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    pub pipelines: usize,
}

/// All that users wished for.
#[derive(Debug, Default)]
pub struct Book {
    /// By slot; none while the object does not exist.
    pub standing: BTreeMap<usize, Wish>,
    pub revisions: BTreeMap<u64, Allowance>,
    pub done: Done,
}

/// How often each thing was done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Done {
    pub created: u64,
    pub edited: u64,
    pub asked: u64,
    pub deleted: u64,
}

#[derive(Clone, Default)]
pub struct Users(Arc<Mutex<Book>>);

impl Users {
    pub fn book(&self) -> MutexGuard<'_, Book> {
        // Every entry is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on for so long. What is written down is done: do not drop it in the middle.
    pub async fn act(
        &self,
        client: Client,
        triggers: usize,
        lasts: Duration,
        mut dice: Dice,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        let pause = TOUCHED_EVERY.div_f64(triggers as f64);
        for slot in 0..triggers {
            self.apply(&client, slot, &mut dice).await?;
        }
        while began.elapsed() < lasts {
            sleep(dice.wait(pause)).await;
            let slot = dice.below(triggers);
            let standing = self.book().standing.contains_key(&slot);
            match dice.below(100) {
                _ if !standing => self.apply(&client, slot, &mut dice).await?,
                0..45 => self.apply(&client, slot, &mut dice).await?,
                45..88 => self.ask(&client, slot).await?,
                _ => self.delete(&client, slot).await?,
            }
        }
        Ok(())
    }

    /// Creates the object of this slot, or changes its firing fields.
    async fn apply(&self, client: &Client, slot: usize, dice: &mut Dice) -> anyhow::Result<()> {
        let (wish, manifest) = {
            let mut book = self.book();
            let revision = book.revisions.len() as u64 + 1;
            let kind = Kind::of(slot);
            // A request that still waits when the spec changes is answered by a run of the new spec.
            book.revisions.insert(revision, Allowance { pipelines: 1 });
            let wish = match book.standing.remove(&slot) {
                Some(wish) => {
                    book.done.edited += 1;
                    Wish { revision, ..wish }
                }
                None => {
                    book.done.created += 1;
                    let namespace = scene::namespace(slot % scene::NAMESPACES);
                    Wish { kind, namespace, name: format!("t{slot}"), revision, asked: None }
                }
            };
            book.standing.insert(slot, wish.clone());
            let manifest = manifest(&wish, slot, dice);
            (wish, manifest)
        };
        let params = PatchParams::apply("soak").force();
        let api = triggers(client, &wish.namespace);
        within(api.patch(&wish.name, &params, &Patch::Apply(&manifest))).await.map(drop)
    }

    async fn ask(&self, client: &Client, slot: usize) -> anyhow::Result<()> {
        let (wish, value) = {
            let mut book = self.book();
            book.done.asked += 1;
            let value = format!("ask-{}", book.done.asked);
            let Some(wish) = book.standing.get_mut(&slot) else { return Ok(()) };
            wish.asked = Some(value.clone());
            let wish = wish.clone();
            if let Some(allowance) = book.revisions.get_mut(&wish.revision) {
                allowance.pipelines += 1;
            }
            (wish, value)
        };
        let patch = json!({"metadata": {"annotations": {FIRE: value}}});
        let api = triggers(client, &wish.namespace);
        within(api.patch(&wish.name, &PatchParams::default(), &Patch::Merge(patch))).await.map(drop)
    }

    async fn delete(&self, client: &Client, slot: usize) -> anyhow::Result<()> {
        let removed = {
            let mut book = self.book();
            book.done.deleted += 1;
            book.standing.remove(&slot)
        };
        let Some(wish) = removed else { return Ok(()) };
        let api = triggers(client, &wish.namespace);
        within(api.delete(&wish.name, &DeleteParams::default())).await.map(drop)
    }
}

fn manifest(wish: &Wish, slot: usize, dice: &mut Dice) -> Value {
    let mut gitlab = json!({"project": scene::project(slot % scene::PROJECTS)});
    if wish.kind != Kind::Access {
        gitlab["triggerTokenRef"] = json!({"name": "gitlab", "key": "trigger-token"});
    }
    if wish.kind != Kind::FireOnly {
        gitlab["accessTokenRef"] = json!({"name": "gitlab", "key": "access-token"});
    }
    json!({
        "apiVersion": "pipekick.dev/v1alpha1",
        "kind": "PipelineTrigger",
        "metadata": {"name": wish.name, "namespace": wish.namespace},
        "spec": {
            "gitlab": gitlab,
            "ref": scene::REFS[dice.below(scene::REFS.len())],
            "variables": [
                {"name": REVISION, "value": wish.revision.to_string()},
                {"name": scene::PLAY, "value": scene::PLAYS[dice.below(scene::PLAYS.len())]},
            ],
            "fireOn": if wish.kind == Kind::Request { "Request" } else { "Apply" },
            "historyLimit": 20,
        },
    })
}

pub fn triggers(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource())
}

pub fn all_triggers(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &resource())
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("pipekick.dev", "v1alpha1", "PipelineTrigger");
    ApiResource::from_gvk_with_plural(&kind, "pipelinetriggers")
}

pub async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
    timeout(REQUEST, call).await.context("the API server does not answer")?.context("the API server refused")
}
