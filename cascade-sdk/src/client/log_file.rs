//! The file of a decision log: rows go into a bounded buffer that one thread writes out, so that logging neither blocks a
//! call nor fails one.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Rows that wait to be written.
const BUFFERED_ROWS: usize = 4_096;

/// Rows are written once they are this many bytes, or once none is waiting.
const BATCH_BYTES: usize = 64 << 10;

/// Between two batches, so that a busy client pays for a write and a wake-up once a batch rather than once a row.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the last owner waits for the rest to be written.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// When a file is renamed and begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    /// Largest file in bytes.
    pub(super) bytes: u64,
    /// How many old files are kept.
    pub(super) files: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: 64 << 20, files: 8 }
    }
}

/// A file that rows are appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    finished: Mutex<Receiver<()>>,
}

enum Message {
    Row(Vec<u8>),
    Flush(oneshot::Sender<()>),
    /// Everything before it is to be written, and no more.
    End,
}

impl LogFile {
    /// Opens the file, which must be writable, and starts its thread.
    pub(super) fn open(path: &Path, rotation: Rotation) -> Result<Self, String> {
        let cannot = |error: std::io::Error| {
            format!("the decision log `{}` cannot be written: {error}", path.display())
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(cannot)?;
        }
        let file = append(path).map_err(cannot)?;
        let size = file.metadata().map_err(cannot)?.len();
        let (queue, rows) = sync_channel(BUFFERED_ROWS);
        let (done, finished) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            path: path.to_owned(),
            rotation,
            file: Some(file),
            size,
            batch: Vec::new(),
            rows_in_batch: 0,
            dropped: Arc::clone(&dropped),
        };
        std::thread::Builder::new()
            .name("cascade-decisions".to_owned())
            .spawn(move || {
                writer.run(&rows);
                // Nobody may be left to hear it.
                let _ = done.send(());
            })
            .map_err(cannot)?;
        Ok(Self { queue, dropped, finished: Mutex::new(finished) })
    }

    /// Hands a row over, or counts it as dropped.
    pub(super) fn write(&self, mut row: Vec<u8>) {
        row.push(b'\n');
        if self.queue.try_send(Message::Row(row)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything so far is in the file.
    pub(super) async fn flush(&self) {
        let (done, wait) = oneshot::channel();
        let mut message = Message::Flush(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) => message = back,
                Err(TrySendError::Disconnected(_)) => return,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // A thread that died has nothing more to write.
        let _ = wait.await;
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // With a full buffer the rows are lost that do not fit: a bounded wait is all that is promised.
        if self.queue.try_send(Message::End).is_ok() {
            let finished = self.finished.get_mut().unwrap_or_else(PoisonError::into_inner);
            let _ = finished.recv_timeout(LAST_WAIT);
        }
    }
}

struct Writer {
    path: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    /// Of the file, once the batch is written too.
    size: u64,
    /// Whole rows that go out in one write.
    batch: Vec<u8>,
    rows_in_batch: u64,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, rows: &Receiver<Message>) {
        while let Ok(first) = rows.recv() {
            let mut waiting = Some(first);
            while let Some(message) = waiting {
                match message {
                    Message::Row(row) => self.append(&row),
                    Message::Flush(done) => {
                        self.write_out();
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                    Message::End => {
                        self.write_out();
                        return;
                    }
                }
                waiting = rows.try_recv().ok();
            }
            self.write_out();
            std::thread::sleep(PAUSE);
        }
        self.write_out();
    }

    /// Writes the batch, and says how many rows were lost before.
    fn write_out(&mut self) {
        let lost = self.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(target: "cascade_sdk", rows = lost, "rows of the decision log were dropped");
            // If the note is lost, it stands for the rows that it counts.
            self.rows_in_batch += lost - 1;
            self.append(&super::record::dropped(lost));
        }
        self.write_batch();
    }

    fn append(&mut self, row: &[u8]) {
        if self.size > 0 && self.size.saturating_add(row.len() as u64) > self.rotation.bytes {
            self.write_batch();
            self.rotate();
        }
        self.batch.extend_from_slice(row);
        self.rows_in_batch += 1;
        self.size = self.size.saturating_add(row.len() as u64);
        if self.batch.len() >= BATCH_BYTES {
            self.write_batch();
        }
    }

    fn write_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.file.is_none() {
            self.file = append(&self.path).ok();
        }
        if self.file.as_mut().is_none_or(|file| file.write_all(&self.batch).is_err()) {
            // Opened anew for the next rows.
            self.file = None;
            self.dropped.fetch_add(self.rows_in_batch, Ordering::Relaxed);
        }
        self.batch.clear();
        self.rows_in_batch = 0;
    }

    fn rotate(&mut self) {
        self.file = None;
        for old in (1..self.rotation.files).rev() {
            // The oldest are missing until there are as many.
            let _ = std::fs::rename(numbered(&self.path, old), numbered(&self.path, old + 1));
        }
        let moved = if self.rotation.files == 0 {
            std::fs::remove_file(&self.path)
        } else {
            std::fs::rename(&self.path, numbered(&self.path, 1))
        };
        if let Err(error) = moved {
            tracing::warn!(target: "cascade_sdk", %error, "the decision log cannot be rotated");
        }
        // A file that could not be moved is tried again a whole size later.
        self.size = 0;
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// `decisions.jsonl.3`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn rows_are_whole_and_files_rotate() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/d.jsonl");
        let log = LogFile::open(&path, Rotation { bytes: 20, files: 2 }).unwrap();
        for row in 0..7 {
            log.write(format!("row-{row:04}").into_bytes());
            log.flush().await;
        }
        assert_eq!(lines(&path), ["row-0006"]);
        assert_eq!(lines(&numbered(&path, 1)), ["row-0004", "row-0005"]);
        assert_eq!(lines(&numbered(&path, 2)), ["row-0002", "row-0003"]);
        assert!(!numbered(&path, 3).exists());
    }

    #[test]
    fn the_last_owner_waits_for_what_is_buffered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("d.jsonl");
        let log = LogFile::open(&path, Rotation::default()).unwrap();
        for _ in 0..1_000 {
            log.write(b"{}".to_vec());
        }
        drop(log);
        assert_eq!(lines(&path).len(), 1_000);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error_at_start() {
        let directory = tempfile::tempdir().unwrap();
        assert!(LogFile::open(directory.path(), Rotation::default()).is_err());
    }
}
