//! The cgroup of a RUN. The invariant: a step has one exactly where the command line limits steps, and for itself alone.

use std::os::fd::OwnedFd;

use sandbox::StepCgroup;

use super::Workshop;
use super::lookup::Place;
use crate::job::StepFailure;

impl Workshop<'_> {
    /// The step's cgroup, where there are limits, and the descriptor through which it is entered.
    pub(super) fn cgroup_of(
        &self,
        place: &Place<'_>,
    ) -> Result<Option<(StepCgroup, OwnedFd)>, StepFailure> {
        let Some(cgroups) = &self.job.cgroups else {
            return Ok(None);
        };
        let name = format!("step-{}-{}", place.stage.id.0, place.index);
        let made = StepCgroup::create(&cgroups.place, &name, &cgroups.limits);
        let opened = made.and_then(|cgroup| Ok((cgroup.door()?, cgroup)));
        opened
            .map(|(door, cgroup)| Some((cgroup, door)))
            .map_err(|error| StepFailure::of_build(&error))
    }
}

/// Adds what the cgroup knows of a failure: a program often says no more than "Killed".
pub(super) fn explain(mut failure: StepFailure, cgroup: &StepCgroup) -> StepFailure {
    let killed = match cgroup.oom_kills() {
        0 => return failure,
        1 => "a process".to_owned(),
        many => format!("{many} processes"),
    };
    failure.message.push_str(&format!(
        ", and the kernel killed {killed} of it when it had used up its memory"
    ));
    failure.hint("--memory says how much each RUN may use")
}
