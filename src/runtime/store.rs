//! What is known of every object, and no more of it than is needed.
//!
//! An entry is [`Body::Whole`] until a worker says that this version is settled; then the record is dropped,
//! since the next watch event brings the object whole again.
//!
//! Events are applied in the order of their resourceVersions (Kubernetes documents them as comparable from
//! 1.35 on, and etcd's have been numbers all along), so that an own write put in from its response is
//! not undone by the older event that was under way. Where one is no number, the newest event wins.
//!
//! A list is a round: what it names gets the round's number, and what has none when the list is over is gone. Each
//! watched namespace has rounds of its own. At no moment is the store empty because of it. It does no I/O and tells nobody: the caller acts on
//! what [`Store::apply`] returns.

use std::{collections::HashMap, fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pipekick_core::domain::ObjectKey;

/// A resourceVersion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version(Option<u64>);

impl Version {
    /// Reads `metadata.resourceVersion`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.parse().ok())
    }

    /// The number, if it is one.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        self.0
    }

    /// Whether both are numbers and this one is the greater. Says `false` of what cannot be compared.
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        matches!((self.0, other.0), (Some(this), Some(other)) if this > other)
    }

    /// Whether it is new beside `stored`: what cannot be compared is.
    fn supersedes(self, stored: Self) -> bool {
        match (self.0, stored.0) {
            (Some(this), Some(stored)) => this > stored,
            (None, _) | (_, None) => true,
        }
    }
}

/// An object as it came in: from the watch, or in the response to an own write.
#[derive(Debug)]
pub struct Sighted<R> {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub version: Version,
    /// What is kept of it.
    pub record: Arc<R>,
}

impl<R> Sighted<R> {
    /// `None` without a name or a uid; the API server serves no such object.
    #[must_use]
    pub fn new(meta: &ObjectMeta, record: R) -> Option<Self> {
        let (key, uid, version) = identity(meta)?;
        Some(Self { key, uid, version, record: Arc::new(record) })
    }
}

/// Key, uid and version from an object's metadata.
#[must_use]
pub fn identity(meta: &ObjectMeta) -> Option<(ObjectKey, Arc<str>, Version)> {
    let key = ObjectKey { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone()? };
    let version = Version::parse(meta.resource_version.as_deref().unwrap_or_default());
    Some((key, meta.uid.as_deref()?.into(), version))
}

/// What a worker is given.
#[derive(Debug)]
pub struct Entry<R> {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// The version the body had, or has.
    pub version: Version,
    /// The object, or that it is settled.
    pub body: Body<R>,
}

/// How much of an object is kept.
#[derive(Debug)]
pub enum Body<R> {
    /// The record.
    Whole(Arc<R>),
    /// Nothing: at this version there was nothing left to do.
    Settled,
}

impl<R> Clone for Entry<R> {
    fn clone(&self) -> Self {
        Self { uid: self.uid.clone(), version: self.version, body: self.body.clone() }
    }
}

impl<R> Clone for Body<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(record) => Self::Whole(record.clone()),
            Self::Settled => Self::Settled,
        }
    }
}

/// What an event did.
#[derive(Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing: it says what is known, or what was before that.
    Stale,
    /// The object is new, or changed.
    Changed(Arc<ObjectKey>),
    /// Another object of that name (the one with this uid) is gone.
    Replaced(Arc<ObjectKey>, Arc<str>),
}

/// What one watch covers. Several that feed one store cover no object together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    All,
    /// One of them.
    Namespace(Arc<str>),
}

impl Scope {
    fn covers(&self, key: &ObjectKey) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => **namespace == *key.namespace,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all namespaces"),
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub struct Store<R> {
    slots: HashMap<Arc<ObjectKey>, Slot<R>>,
    /// Of each watch, as soon as it lists: one, or as many as there are namespaces to watch.
    rounds: Vec<(Scope, Round)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Round {
    number: u32,
    rewound: bool,
    listing: bool,
}

#[derive(Debug)]
struct Slot<R> {
    entry: Entry<R>,
    round: u32,
}

impl<R> Default for Store<R> {
    fn default() -> Self {
        Self { slots: HashMap::new(), rounds: Vec::new() }
    }
}

impl<R> Store<R> {
    /// Takes in what the watch or a list says.
    pub fn apply(&mut self, seen: Sighted<R>) -> Applied {
        let Sighted { key, uid, version, record } = seen;
        let entry = Entry { uid, version, body: Body::Whole(record) };
        let round = self.rounds.iter().find(|(scope, _)| scope.covers(&key));
        let round = round.map_or_else(Round::default, |(_, round)| *round);
        let Some(slot) = self.slots.get_mut(&key) else {
            let key = Arc::new(key);
            self.slots.insert(key.clone(), Slot { entry, round: round.number });
            return Applied::Changed(key);
        };
        slot.round = round.number;
        let (same, known) = (slot.entry.uid == entry.uid, slot.entry.version);
        // After a restore of etcd lower numbers are the newer ones; only an equal one is still the same.
        let rewound = round.listing && round.rewound && !(same && version == known && version.0.is_some());
        if !rewound && !version.supersedes(known) {
            return Applied::Stale;
        }
        let old = std::mem::replace(&mut slot.entry, entry);
        let Some((key, _)) = self.slots.get_key_value(&key) else { return Applied::Stale };
        if same { Applied::Changed(key.clone()) } else { Applied::Replaced(key.clone(), old.uid) }
    }

    /// Takes in the response to an own write, if the object is still that one and nothing newer is known.
    pub fn put_own(&mut self, seen: Sighted<R>) -> bool {
        let Sighted { key, uid, version, record } = seen;
        match self.slots.get_mut(&key) {
            Some(slot) if slot.entry.uid == uid && version.supersedes(slot.entry.version) => {
                slot.entry = Entry { uid, version, body: Body::Whole(record) };
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes out the object with this uid; another one of that name stays.
    pub fn remove(&mut self, key: &ObjectKey, uid: &str) -> Option<Arc<ObjectKey>> {
        if *self.slots.get(key)?.entry.uid != *uid {
            return None;
        }
        self.slots.remove_entry(key).map(|(key, _)| key)
    }

    /// Drops the record, if `version` is (a number and) the one that is kept.
    pub fn settle(&mut self, key: &ObjectKey, version: Version) -> bool {
        match self.slots.get_mut(key) {
            Some(slot) if slot.entry.version == version && version.0.is_some() => {
                slot.entry.body = Body::Settled;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A list of `scope` begins. `rewound`: it is older than what was known before it was asked for, which
    /// happens when etcd was restored from a backup; then it is right and the store is wrong.
    pub fn begin_list(&mut self, scope: &Scope, rewound: bool) {
        let round = match self.rounds.iter().position(|(known, _)| known == scope) {
            Some(at) => &mut self.rounds[at].1,
            None => &mut self.rounds.push_mut((scope.clone(), Round::default())).1,
        };
        *round = Round { number: round.number.wrapping_add(1), rewound, listing: true };
    }

    /// The list of `scope`, taken at `version`, is complete: takes out what it did not name, and returns it.
    pub fn end_list(&mut self, scope: &Scope, version: Version) -> Vec<(Arc<ObjectKey>, Arc<str>)> {
        let Some((_, round)) = self.rounds.iter_mut().find(|(known, _)| known == scope) else {
            return Vec::new();
        };
        round.listing = false;
        let Round { number, rewound, listing: _ } = *round;
        self.slots
            .extract_if(|key, slot| {
                let unnamed = slot.round != number && scope.covers(key);
                unnamed && (rewound || !slot.entry.version.is_after(version))
            })
            .map(|(key, slot)| (key, slot.entry.uid))
            .collect()
    }

    /// What is known of an object.
    #[must_use]
    pub fn entry(&self, key: &ObjectKey) -> Option<(&Arc<ObjectKey>, &Entry<R>)> {
        self.slots.get_key_value(key).map(|(key, slot)| (key, &slot.entry))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<ObjectKey>, &Entry<R>)> {
        self.slots.iter().map(|(key, slot)| (key, &slot.entry))
    }

    /// How many objects are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "ns".into(), name: name.into() }
    }

    fn seen(name: &str, uid: &str, version: &str) -> Sighted<String> {
        let record = Arc::new(version.to_owned());
        Sighted { key: key(name), uid: uid.into(), version: Version::parse(version), record }
    }

    fn whole(store: &Store<String>, name: &str) -> Option<String> {
        match &store.entry(&key(name))?.1.body {
            Body::Whole(record) => Some(record.as_ref().clone()),
            Body::Settled => Some("settled".into()),
        }
    }

    #[test]
    fn an_older_or_equal_event_changes_nothing() {
        let mut store = Store::default();
        assert_eq!(store.apply(seen("x", "u", "5")), Applied::Changed(Arc::new(key("x"))));
        assert!(store.put_own(seen("x", "u", "9")));
        for version in ["4", "5", "8", "9"] {
            assert_eq!(store.apply(seen("x", "u", version)), Applied::Stale, "{version}");
        }
        assert_eq!(whole(&store, "x").as_deref(), Some("9"));
        assert_eq!(store.apply(seen("x", "u", "10")), Applied::Changed(Arc::new(key("x"))));
    }

    #[test]
    fn without_numbers_the_newest_event_wins_and_nothing_settles() {
        let mut store = Store::default();
        for version in ["b", "a", "7", "c"] {
            assert!(matches!(store.apply(seen("x", "u", version)), Applied::Changed(_)), "{version}");
        }
        assert!(!store.settle(&key("x"), Version::parse("c")));
        assert_eq!(whole(&store, "x").as_deref(), Some("c"));
    }

    #[test]
    fn an_object_of_the_same_name_replaces_the_old_one() {
        let mut store = Store::default();
        store.apply(seen("x", "old", "5"));
        assert_eq!(store.apply(seen("x", "new", "7")), Applied::Replaced(Arc::new(key("x")), "old".into()));
        assert!(
            !store.put_own(seen("x", "old", "9")),
            "a write to the old object says nothing of the new one"
        );
        assert_eq!(store.remove(&key("x"), "old"), None);
        assert_eq!(store.remove(&key("x"), "new"), Some(Arc::new(key("x"))));
        assert!(!store.put_own(seen("x", "new", "10")), "a late response does not raise the dead");
        assert!(store.is_empty());
    }

    #[test]
    fn only_the_version_that_was_worked_on_settles() {
        let mut store = Store::default();
        store.apply(seen("x", "u", "5"));
        store.apply(seen("x", "u", "6"));
        assert!(!store.settle(&key("x"), Version::parse("5")));
        assert!(store.settle(&key("x"), Version::parse("6")));
        assert_eq!(whole(&store, "x").as_deref(), Some("settled"));
        assert_eq!(store.apply(seen("x", "u", "6")), Applied::Stale);
        store.apply(seen("x", "u", "7"));
        assert_eq!(whole(&store, "x").as_deref(), Some("7"));
    }

    #[test]
    fn a_list_takes_out_what_it_does_not_name_but_not_what_is_newer() {
        let mut store = Store::default();
        for name in ["kept", "gone"] {
            store.apply(seen(name, name, "5"));
        }
        store.apply(seen("newer", "newer", "30"));
        store.begin_list(&Scope::All, false);
        assert_eq!(store.len(), 3);
        assert_eq!(store.apply(seen("kept", "kept", "5")), Applied::Stale);
        assert_eq!(
            store.end_list(&Scope::All, Version::parse("20")),
            [(Arc::new(key("gone")), "gone".into())]
        );
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn a_list_that_broke_off_takes_nothing_out() {
        let mut store = Store::default();
        store.apply(seen("a", "a", "1"));
        store.apply(seen("b", "b", "2"));
        store.begin_list(&Scope::All, false);
        store.apply(seen("a", "a", "1"));
        store.begin_list(&Scope::All, false);
        store.apply(seen("b", "b", "2"));
        assert_eq!(store.end_list(&Scope::All, Version::parse("9")), [(Arc::new(key("a")), "a".into())]);
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_another() {
        let scope = |name: &str| Scope::Namespace(name.into());
        let of = |namespace: &str, version| {
            let seen = seen("x", namespace, version);
            Sighted { key: ObjectKey { namespace: namespace.into(), name: "x".into() }, ..seen }
        };
        let mut store = Store::default();
        for namespace in ["one", "two"] {
            store.begin_list(&scope(namespace), false);
            store.apply(of(namespace, "5"));
            assert_eq!(store.end_list(&scope(namespace), Version::parse("5")), []);
        }
        // The one is rewound, empty now; the other goes on as it was.
        store.begin_list(&scope("one"), true);
        assert_eq!(store.apply(of("two", "4")), Applied::Stale);
        let gone = store.end_list(&scope("one"), Version::parse("3"));
        assert_eq!(gone.iter().map(|(key, _)| &*key.namespace).collect::<Vec<_>>(), ["one"]);
        assert_eq!(store.len(), 1);
        store.begin_list(&scope("two"), false);
        assert_eq!(store.end_list(&scope("two"), Version::parse("9")).len(), 1);
    }

    #[test]
    fn after_a_restore_the_list_is_right_whatever_the_numbers_say() {
        let mut store = Store::default();
        store.apply(seen("x", "u", "50"));
        store.apply(seen("same", "s", "3"));
        store.apply(seen("lost", "l", "60"));
        store.begin_list(&Scope::All, true);
        assert_eq!(store.apply(seen("x", "u", "7")), Applied::Changed(Arc::new(key("x"))));
        assert_eq!(store.apply(seen("same", "s", "3")), Applied::Stale);
        assert_eq!(store.end_list(&Scope::All, Version::parse("8")), [(Arc::new(key("lost")), "l".into())]);
        assert_eq!(whole(&store, "x").as_deref(), Some("7"));
        assert_eq!(store.apply(seen("x", "u", "6")), Applied::Stale);
    }

    proptest! {
        /// However own writes and the events of a watch interleave, the store ends at the newest.
        #[test]
        fn the_newest_version_stays(versions in prop::collection::vec((1_u64..100, any::<bool>()), 1..60)) {
            let mut store = Store::default();
            let mut newest = 1;
            store.apply(seen("x", "u", "1"));
            for (version, own) in versions {
                let fresh = if own {
                    store.put_own(seen("x", "u", &version.to_string()))
                } else {
                    store.apply(seen("x", "u", &version.to_string())) != Applied::Stale
                };
                prop_assert_eq!(fresh, version > newest);
                newest = newest.max(version);
            }
            prop_assert_eq!(whole(&store, "x"), Some(newest.to_string()));
        }
    }
}
