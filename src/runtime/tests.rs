//! The runtime as a whole, with a worker of the test's and time that is wound by hand.

use std::{
    collections::HashMap,
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{oneshot, watch::Sender},
    task::JoinHandle,
    time::sleep,
};

use super::*;

/// What the fake worker does with a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Play {
    /// Takes this many milliseconds.
    Take(u64),
    /// Panics.
    Panic,
    /// Panics where it must not: in `classify`.
    PanicInClassify,
    /// Asks to be woken after this many seconds.
    Wake(u64),
}

struct Fake {
    handle: Handle<Play>,
    log: Mutex<Vec<String>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
    overlaps: AtomicUsize,
    busy: Mutex<HashMap<ObjectKey, ()>>,
    put_off: Mutex<Vec<ObjectKey>>,
}

impl Fake {
    fn count(&self, line: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|logged| *logged == line).count()
    }
}

impl Worker for Fake {
    type Record = Play;

    fn classify(&self, record: &Play) -> Rank {
        assert_ne!(*record, Play::PanicInClassify, "classify");
        Rank::Firing
    }

    async fn work(&self, key: &ObjectKey, entry: Entry<Play>) -> Outcome {
        let Body::Whole(play) = entry.body else { return Outcome::done() };
        self.log.lock().unwrap().push(key.to_string());
        if self.busy.lock().unwrap().insert(key.clone(), ()).is_some() {
            self.overlaps.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        if let Play::Take(millis) = *play {
            sleep(Duration::from_millis(millis)).await;
        }
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.busy.lock().unwrap().remove(key);
        match *play {
            Play::Panic => panic!("this object is poison"),
            Play::Wake(seconds) => Outcome::done().wake_in(Duration::from_secs(seconds), Rank::Following),
            Play::Take(_) | Play::PanicInClassify => Outcome::done(),
        }
    }

    fn panicked(&self, key: &ObjectKey, message: &str) {
        self.log.lock().unwrap().push(format!("{key} panicked: {message}"));
        panic!("and so is this");
    }

    fn closing(&self) -> Vec<ObjectKey> {
        std::mem::take(&mut self.put_off.lock().unwrap())
    }

    fn gone(&self, key: &ObjectKey, uid: &str) {
        self.log.lock().unwrap().push(format!("{key} gone: {uid}"));
    }
}

struct Running {
    worker: Arc<Fake>,
    feed: Feed<Fake>,
    stop: Sender<bool>,
    task: JoinHandle<Result<usize, WatchEnded>>,
}

fn start(concurrency: usize) -> Running {
    let handle = Handle::new();
    let worker = Arc::new(Fake {
        handle: handle.clone(),
        log: Mutex::default(),
        in_flight: AtomicUsize::default(),
        most: AtomicUsize::default(),
        overlaps: AtomicUsize::default(),
        busy: Mutex::default(),
        put_off: Mutex::default(),
    });
    let concurrency = NonZeroUsize::new(concurrency).unwrap();
    let runtime = Runtime::new(handle, worker.clone(), Options { concurrency, ..Options::default() });
    let feed = runtime.feed(Scope::All);
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(runtime.run(pending(), async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    Running { worker, feed, stop, task }
}

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { namespace: namespace.into(), name: name.into() }
}

fn seen(key: ObjectKey, version: u64, play: Play) -> Sighted<Play> {
    Sighted { key, uid: "u".into(), version: Version::parse(&version.to_string()), record: play.into() }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_one_objects_trouble_and_does_not_spin() {
    let Running { worker, feed, stop, task } = start(8);
    feed.seen(seen(key("ns", "bad"), 1, Play::Panic));
    feed.seen(seen(key("ns", "odd"), 2, Play::PanicInClassify));
    for n in 0..20 {
        feed.seen(seen(key("ns", &format!("good-{n}")), 3, Play::Take(10)));
    }
    for turn in 0..60 {
        feed.seen(seen(key("ns", "bad"), 10 + turn, Play::Panic));
        worker.handle.poke(&key("ns", "bad"), Rank::Firing);
        sleep(Duration::from_secs(1)).await;
    }
    // At 0, 5, 15 and 35 s.
    assert_eq!(worker.count("ns/bad"), 4);
    assert_eq!(worker.count("ns/bad panicked: this object is poison"), 4);
    assert!((0..20).all(|n| worker.count(&format!("ns/good-{n}")) == 1));
    assert_eq!(worker.count("ns/odd"), 1);
    assert_eq!(
        worker.handle.stats().panics,
        9,
        "each panic of work, the one each in `panicked`, one in `classify`"
    );
    stop.send_replace(true);
    assert_eq!(task.await.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_of_a_small_namespace_does_not_wait_for_five_thousand() {
    let Running { worker, feed, stop: _stop, .. } = start(64);
    for n in 0..5_000 {
        feed.seen(seen(key("big", &n.to_string()), 1, Play::Take(100)));
    }
    feed.seen(seen(key("small", "x"), 2, Play::Take(100)));
    sleep(Duration::from_millis(50)).await;
    assert_eq!(worker.count("small/x"), 1, "in the first round");
    assert_eq!(worker.most.load(Ordering::Relaxed), 64);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(worker.log.lock().unwrap().len(), 5_001);
    assert_eq!(worker.handle.stats(), Stats { objects: 5_001, ..Stats::default() });
}

#[tokio::test(start_paused = true)]
async fn a_change_during_work_is_worked_on_after_it() {
    let Running { worker, feed, stop: _stop, .. } = start(8);
    for version in 1..=5 {
        feed.seen(seen(key("ns", "x"), version, Play::Take(100)));
        sleep(Duration::from_millis(15)).await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(worker.count("ns/x"), 2);
    assert_eq!(worker.overlaps.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn timers_and_pokes_bring_a_key_back_and_deletion_ends_it() {
    let Running { worker, feed, stop: _stop, .. } = start(8);
    feed.seen(seen(key("ns", "x"), 1, Play::Wake(60)));
    sleep(Duration::from_secs(200)).await;
    assert_eq!(worker.count("ns/x"), 4);
    assert!(worker.handle.poke(&key("ns", "x"), Rank::Following));
    assert!(!worker.handle.poke(&key("ns", "unknown"), Rank::Following));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(worker.count("ns/x"), 5);
    feed.deleted(&key("ns", "x"), "u".into());
    sleep(Duration::from_secs(200)).await;
    assert_eq!((worker.count("ns/x"), worker.count("ns/x gone: u")), (5, 1));
    assert_eq!(worker.handle.stats().timers, 0);
    feed.contact();
    assert!(worker.handle.vitals().live(clock::instant()).is_ok(), "an idle runtime has a heartbeat");
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_is_in_flight_but_not_for_ever() {
    let Running { worker, feed, stop, task } = start(2);
    feed.seen(seen(key("ns", "short"), 1, Play::Take(5_000)));
    feed.seen(seen(key("ns", "long"), 2, Play::Take(60_000)));
    feed.seen(seen(key("ns", "waiting"), 3, Play::Take(1)));
    sleep(Duration::from_secs(1)).await;
    let begin = clock::instant();
    stop.send_replace(true);
    assert_eq!(task.await.unwrap().unwrap(), 1);
    assert_eq!(clock::instant().duration_since(begin).as_secs(), 9);
    assert_eq!(worker.count("ns/waiting"), 0);
    assert_eq!(worker.busy.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_put_off_has_its_turn_at_a_shutdown_after_what_is_in_flight_and_within_its_grace() {
    let Running { worker, feed, stop, task } = start(2);
    for (name, version, millis) in [("a", 1, 1), ("b", 2, 2_000), ("c", 3, 2_000), ("d", 4, 60_000)] {
        feed.seen(seen(key("ns", name), version, Play::Take(millis)));
    }
    sleep(Duration::from_secs(1)).await;
    // `b` and `c` are in flight; `gone` is not there any more.
    worker.put_off.lock().unwrap().extend(["gone", "a", "b", "d"].map(|name| key("ns", name)));
    stop.send_replace(true);
    assert_eq!(task.await.unwrap().unwrap(), 1, "one did not end in time");
    let counts = ["a", "b", "c", "d"].map(|name| worker.count(&format!("ns/{name}")));
    assert_eq!((counts, worker.overlaps.load(Ordering::Relaxed)), ([2, 2, 1, 1], 0));
    assert!(worker.most.load(Ordering::Relaxed) <= 2, "as many at a time as ever");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_dies_ends_the_runtime() {
    let (handle, (break_it, broken)) = (start(1).worker.handle.clone(), oneshot::channel::<()>());
    let worker = start(1).worker;
    let watch = async move {
        let _ = broken.await;
        panic!("a bug in the watch")
    };
    let task = tokio::spawn(Runtime::new(handle, worker, Options::default()).run(watch, pending()));
    drop(break_it);
    assert!(task.await.unwrap().is_err());
}

#[test]
fn a_runtime_with_many_threads_never_overlaps_work_on_one_key() {
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    threads.block_on(async {
        let Running { worker, feed, stop, task } = start(16);
        for round in 0..200 {
            for n in 0..20 {
                feed.seen(seen(key("ns", &n.to_string()), 1 + round, Play::Take(0)));
            }
            yield_now().await;
        }
        sleep(Duration::from_millis(100)).await;
        stop.send_replace(true);
        assert_eq!(task.await.unwrap().unwrap(), 0);
        assert_eq!(worker.overlaps.load(Ordering::Relaxed), 0);
        assert!((0..20).all(|n| worker.count(&format!("ns/{n}")) >= 1));
    });
}
