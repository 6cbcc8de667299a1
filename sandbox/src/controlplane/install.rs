//! How binaries get into the cache: whole or not at all, and by one process at a time.

use std::fs::{self, File, Permissions, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;

use super::binaries::Binary;
use super::error::Error;
use super::progress::Progress;

const POLL: Duration = Duration::from_millis(200);
const PARTIAL: &str = "partial-";

/// The right to install into a cache, held by at most one process. The kernel gives it back when the holder dies.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Polls instead of blocking, so that Ctrl-C does not wait for somebody else's build.
    pub(crate) async fn acquire(cache: &Path, progress: &dyn Progress) -> Result<Self, Error> {
        fs::create_dir_all(cache).map_err(Error::io("create", cache))?;
        let path = cache.join("lock");
        let file = File::create(&path).map_err(Error::io("create", &path))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) => {
                    if waited.is_zero() {
                        progress
                            .installing("another process is installing the control plane; waiting for it");
                    }
                    progress.so_far(&format!("{} s", waited.as_secs()));
                    sleep(POLL).await;
                    waited += POLL;
                }
                Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
            }
        }
    }
}

/// A directory beside the one to fill, so that publishing is a rename. Removed with all that was not published.
#[derive(Debug)]
pub(crate) struct Staging {
    dir: TempDir,
    into: PathBuf,
}

impl Staging {
    /// The holder of the [`Lock`] is alone: what an earlier one left behind when it was killed is removed first.
    pub(crate) fn beside(into: &Path) -> Result<Self, Error> {
        let root = into.parent().unwrap_or(into);
        let entries = fs::read_dir(root).map_err(Error::io("read", root))?;
        for stale in
            entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL))
        {
            let _ = fs::remove_dir_all(stale.path());
        }
        let dir = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(root)
            .map_err(Error::io("create a directory in", root))?;
        Ok(Self { dir, into: into.to_owned() })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Moves finished binaries to where they are looked for. Whoever sees one sees all of it.
    pub(crate) fn publish(self, binaries: &[Binary]) -> Result<(), Error> {
        fs::create_dir_all(&self.into).map_err(Error::io("create", &self.into))?;
        for binary in binaries {
            let from = self.dir.path().join(binary.name());
            fs::set_permissions(&from, Permissions::from_mode(0o755))
                .map_err(Error::io("make executable", &from))?;
            // A rename may reach the disk before the data does, and a power cut would then leave a broken binary.
            File::open(&from).and_then(|file| file.sync_all()).map_err(Error::io("sync", &from))?;
            let to = self.into.join(binary.name());
            fs::rename(&from, &to).map_err(Error::io("install", &to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::Quiet;
    use super::*;

    #[tokio::test]
    async fn the_second_to_come_waits_for_the_first() {
        let cache = tempfile::tempdir().unwrap();
        let first = Lock::acquire(cache.path(), &Quiet).await.unwrap();
        let soon = Duration::from_millis(300);
        assert!(tokio::time::timeout(soon, Lock::acquire(cache.path(), &Quiet)).await.is_err());
        drop(first);
        Lock::acquire(cache.path(), &Quiet).await.unwrap();
    }

    #[test]
    fn what_was_not_published_is_gone_and_what_was_killed_is_cleaned_up() {
        let root = tempfile::tempdir().unwrap();
        let killed = root.path().join("partial-killed");
        fs::create_dir(&killed).unwrap();
        let into = root.path().join("go-v1");

        let staging = Staging::beside(&into).unwrap();
        assert!(!killed.exists());
        fs::write(staging.path().join("etcd"), "binary").unwrap();
        fs::write(staging.path().join("rubbish"), "").unwrap();
        staging.publish(&[Binary::Etcd]).unwrap();

        let names: Vec<_> =
            fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["go-v1"]);
        assert_eq!(fs::metadata(into.join("etcd")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(!into.join("rubbish").exists());
    }
}
