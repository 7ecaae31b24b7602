//! `--check-reproducible`: the build once more, with everything changed that must not matter. The invariant: the second build
//! takes nothing from the first but the images that both start from, and leaves nothing.
//!
//! What RUN finds otherwise is in `builder/src/execute/disturbed.rs`. What cannot be another one in the second build: the user,
//! since an ordinary one has no other, and the machine. Nothing of rbuild's own environment reaches a step but proxies.

use std::time::Duration;

use builder::{
    Attestations, BuildRequest, Built, Caches, Cancel, Comparison, Difference, first_difference,
};
use containerfile::Span;
use image::Store;
use rustix::fs::Mode;
use rustix::process::umask;

use super::{Build, Outcome};
use crate::failure::{Failure, Kind};
use crate::show::{self, Progress};

/// Times of files have seconds in layers: what reads the clock shows then.
const ANOTHER_SECOND: Duration = Duration::from_millis(1100);

impl Build<'_> {
    /// Builds again and compares.
    pub(super) fn check_reproducible(
        &self,
        request: &BuildRequest,
        store: &Store,
        cancel: &Cancel,
        first: &Built,
    ) -> Result<(), Failure> {
        std::thread::sleep(ANOTHER_SECOND);
        let again = BuildRequest {
            comparison: Comparison::Second,
            // One after another, or all at once.
            jobs: if request.jobs == 1 { 4 } else { 1 },
            tags: Vec::new(),
            outputs: Vec::new(),
            attestations: Attestations::default(),
            caches: Caches::default(),
            ..request.clone()
        };
        self.notice(format!(
            "building again: --jobs {}, and another umask, time, time zone, language, host name and order of files",
            again.jobs
        ));
        let callers = umask(Mode::from_raw_mode(0o077));
        let second = self.call(&again, store, cancel);
        umask(callers);
        let Outcome::Built(second) = second? else {
            return Ok(());
        };
        let found = first_difference(store, first, &second)
            .map_err(|error| Failure::new(Kind::Failed, error))?;
        match found {
            None => {
                self.notice(format!("reproducible: both builds gave {}", first.digest()));
                Ok(())
            }
            Some(difference) => Err(self.not_reproducible(request, &difference)),
        }
    }

    fn not_reproducible(&self, request: &BuildRequest, difference: &Difference) -> Failure {
        let what = show::escape(&difference.what);
        let Some(step) = &difference.step else {
            return Failure::failed(format!("build the same image twice: {what}"));
        };
        let hints = [
            "files made of random numbers, the time, or what the network gives at the moment differ; SOURCE_DATE_EPOCH, where a program heeds it, is `ARG SOURCE_DATE_EPOCH`"
                .to_owned(),
        ];
        let message = format!("stage {}: not reproducible: {what}", step.stage);
        let failure = Failure::silent(Kind::Failed.code());
        match step.label.span {
            Some((start, end)) if self.progress() != Progress::Quiet => {
                failure.excerpt(show::located(
                    &request.containerfile,
                    Span::new(start, end),
                    &message,
                    &hints,
                    self.here.colour(),
                ))
            }
            _ => failure.excerpt(format!(
                "error: {message}: {}",
                show::escape(&step.label.text)
            )),
        }
    }
}
