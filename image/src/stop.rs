//! Asking long work to end early.
//!
//! Invariant: once it was asked for, every transfer into a store, out of it and from a registry fails at its next piece.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A switch that is thrown once; clones are the same switch.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// What stopped work fails with.
#[derive(Debug, thiserror::Error)]
#[error("it was asked to stop")]
pub struct Stopped;

impl Stop {
    /// Throws the switch.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the switch was thrown.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// For loops over pieces of something long.
    ///
    /// # Errors
    /// [`Stopped`] once the switch was thrown. It is not of the kind `Interrupted`, which copying functions take as "try again".
    pub fn check(&self) -> io::Result<()> {
        if self.is_asked() {
            Err(io::Error::other(Stopped))
        } else {
            Ok(())
        }
    }
}
