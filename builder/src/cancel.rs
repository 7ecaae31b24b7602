//! Ending a build early. The invariant: after [`Cancel::cancel`] no new step starts, and every running one is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

type Stop = Box<dyn Fn() + Send>;

/// The switch that ends a build.
#[derive(Default)]
pub struct Cancel {
    cancelled: AtomicBool,
    running: Mutex<Vec<(u64, Stop)>>,
}

impl std::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

impl Cancel {
    /// Ends the build.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        for (_, stop) in self.lock().iter() {
            stop();
        }
    }

    /// Whether the build is to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Registers how something that runs is stopped; the returned guard takes it out again.
    pub(crate) fn watch(&self, stop: impl Fn() + Send + 'static) -> Watched<'_> {
        let mut running = self.lock();
        let id = running.last().map_or(0, |(id, _)| id + 1);
        // Under the lock: a cancellation either sees the entry in the list or is seen here.
        if self.is_cancelled() {
            stop();
        }
        running.push((id, Box::new(stop)));
        Watched { cancel: self, id }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u64, Stop)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something registered.
#[derive(Debug)]
pub(crate) struct Watched<'c> {
    cancel: &'c Cancel,
    id: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.cancel.lock().retain(|(id, _)| *id != self.id);
    }
}
