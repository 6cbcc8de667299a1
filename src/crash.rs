//! Crash points: with the feature `crash-points`, every Kubernetes write and every GitLab request has a
//! number, and the process can be made to die just before or just after one. Without the feature, nothing.
//!
//! | environment | effect |
//! | --- | --- |
//! | `PIPEKICK_CRASH_AT=7:before`, `7:after` | abort at the 7th point |
//! | `PIPEKICK_CRASH_LOG=FILE` | append a line `7 PUT status` for each point that is reached |
//! | `PIPEKICK_PANIC_ON=ns/name` | panic in each turn of work on that object |

/// Runs one effect between its two points.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) async fn point<T>(_name: &'static str, effect: impl Future<Output = T>) -> T {
    effect.await
}

/// Panics if the object was named for it.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub(crate) fn panic_on(_object: &pipekick_core::domain::ObjectKey) {}

#[cfg(feature = "crash-points")]
pub(crate) use armed::{panic_on, point};

#[cfg(feature = "crash-points")]
mod armed {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicU64, Ordering};

    use pipekick_core::domain::ObjectKey;

    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// Runs one effect between its two points.
    pub(crate) async fn point<T>(name: &'static str, effect: impl Future<Output = T>) -> T {
        let number = REACHED.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok(path) = std::env::var("PIPEKICK_CRASH_LOG")
            && let Ok(mut file) = std::fs::File::options().append(true).create(true).open(path)
        {
            let _ = writeln!(file, "{number} {name}");
        }
        let crash_at = std::env::var("PIPEKICK_CRASH_AT").unwrap_or_default();
        if crash_at == format!("{number}:before") {
            std::process::abort();
        }
        let done = effect.await;
        if crash_at == format!("{number}:after") {
            std::process::abort();
        }
        done
    }

    /// Panics if the object was named for it.
    pub(crate) fn panic_on(object: &ObjectKey) {
        if std::env::var("PIPEKICK_PANIC_ON").is_ok_and(|named| named == object.to_string()) {
            panic!("asked to by PIPEKICK_PANIC_ON");
        }
    }
}
