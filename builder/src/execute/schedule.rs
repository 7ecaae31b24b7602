//! Stages in parallel. The invariant: one lock owns the state; a worker takes a stage whose needs are finished, works on it
//! without the lock, and returns its result under the lock; the first failure keeps new stages from starting.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::chores::Chore;
use super::{StageState, Workshop, lookup};
use crate::graph::{PlannedStage, StageId};
use crate::job::{Executed, StepFailure};

struct Board {
    waiting: Vec<StageId>,
    finished: BTreeMap<StageId, StageState>,
    /// What unfinished stages got done before they failed; it is published too.
    partial: Vec<(StageId, StageState)>,
    running: usize,
    failure: Option<StepFailure>,
}

/// Runs every stage of the job and packs the target's layers.
pub(crate) fn run_all(workshop: &Workshop<'_>) -> Result<Executed, StepFailure> {
    let waiting: Vec<StageId> = workshop.job.stages.iter().map(|stage| stage.id).collect();
    let workers = match workshop.job.jobs {
        0 => waiting.len(),
        jobs => jobs.min(waiting.len()),
    };
    let board = Mutex::new(Board {
        waiting,
        finished: BTreeMap::new(),
        partial: Vec::new(),
        running: 0,
        failure: None,
    });
    let changed = Condvar::new();
    with_chores(workshop, || {
        std::thread::scope(|scope| {
            for _ in 1..workers {
                // Without a thread more, the others do its work.
                let _ = std::thread::Builder::new()
                    .spawn_scoped(scope, || work(workshop, &board, &changed));
            }
            work(workshop, &board, &changed);
        });
    });
    let Board {
        mut finished,
        partial,
        failure,
        ..
    } = board.into_inner().unwrap_or_else(PoisonError::into_inner);
    let leaves = |id: &StageId| workshop.job.every_layer || *id == workshop.job.target;
    let packed = match &failure {
        None => finished
            .iter_mut()
            .filter(|(id, _)| leaves(id))
            .try_for_each(|(_, state)| workshop.pack(state)),
        Some(_) => Ok(()),
    };
    let packed = packed.and_then(|()| match &failure {
        None => workshop.make_shareable(&mut finished),
        Some(_) => Ok(()),
    });
    let all = match workshop.job.every_layer {
        true => finished
            .iter()
            .map(|(id, state)| state.made_by(*id))
            .collect(),
        false => Vec::new(),
    };
    let shared = workshop.shared_steps(&finished);
    let target = finished.get(&workshop.job.target).cloned();
    let mut states: Vec<(StageId, StageState)> = partial.into_iter().chain(finished).collect();
    // The target comes first: its results know the layers that packing made.
    states.sort_by_key(|(id, _)| *id != workshop.job.target);
    let published = workshop.publish(&mut states);
    match failure {
        Some(failure) => Err(failure),
        None => {
            packed?;
            published?;
            let target = target.ok_or_else(StepFailure::cancelled)?;
            if workshop.job.publish {
                workshop.adopt(&target)?;
            }
            Ok(Executed {
                all,
                shared,
                ..workshop.executed(&target)
            })
        }
    }
}

/// Has chores done beside `act`, and those that are left by two after it.
fn with_chores(workshop: &Workshop<'_>, act: impl FnOnce()) {
    let Some(session) = &workshop.session else {
        return act();
    };
    let chores = &session.chores;
    std::thread::scope(|scope| {
        // Without a thread more, all are done after the stages.
        let _ = std::thread::Builder::new().spawn_scoped(scope, || chores.attend(workshop));
        act();
        chores.close();
        chores.attend(workshop);
    });
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(workshop: &Workshop<'_>, board: &Mutex<Board>, changed: &Condvar) {
    let mut state = lock(board);
    loop {
        if state.failure.is_some() || state.waiting.is_empty() {
            break;
        }
        let ready = state.waiting.iter().position(|id| {
            let needs = workshop
                .job
                .stage(*id)
                .map(PlannedStage::needs)
                .unwrap_or_default();
            needs.iter().all(|need| state.finished.contains_key(need))
        });
        let Some(position) = ready else {
            if state.running == 0 {
                // The plan is acyclic, so this cannot be; waiting for nobody would never end.
                state.failure = Some(StepFailure::cancelled());
                break;
            }
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let id = state.waiting.remove(position);
        let finished = state.finished.clone();
        state.running += 1;
        drop(state);
        let (result, progress) = run_stage(workshop, id, &finished);
        state = lock(board);
        state.running -= 1;
        match result {
            Ok(()) => {
                state
                    .finished
                    .extend(progress.map(|progress| (id, progress)));
            }
            Err(failure) => {
                state
                    .partial
                    .extend(progress.map(|progress| (id, progress)));
                // A step that dies of the cancellation is not the reason for it.
                if state
                    .failure
                    .as_ref()
                    .is_none_or(|known| known.cancelled && !failure.cancelled)
                {
                    state.failure = Some(failure);
                }
                workshop.cancel.cancel();
            }
        }
        changed.notify_all();
    }
    changed.notify_all();
}

fn run_stage(
    workshop: &Workshop<'_>,
    id: StageId,
    finished: &BTreeMap<StageId, StageState>,
) -> (Result<(), StepFailure>, Option<StageState>) {
    let Some(stage) = workshop.job.stage(id) else {
        return (Err(StepFailure::cancelled()), None);
    };
    workshop.tell(crate::event::BuildEvent::StageStarted { stage: id });
    let base = StageState::of_base(workshop.job, stage, &|id| finished.get(&id).cloned());
    let mut state = match base {
        Ok(state) => state,
        Err(failure) => return (Err(failure.at(stage, Some(&stage.from_label))), None),
    };
    let spare = std::cell::Cell::new(None);
    for (index, planned) in stage.steps.iter().enumerate() {
        if workshop.cancel.is_cancelled() {
            return (
                Err(StepFailure::cancelled().at(stage, Some(&planned.label))),
                Some(state),
            );
        }
        let place = lookup::Place {
            stage,
            index,
            planned,
            finished,
            spare: &spare,
        };
        match workshop.step(&place, &state) {
            Ok(result) => {
                state.key = result.key;
                if result.record.layer.is_none() && workshop.in_target_chain(id) {
                    workshop.leave(Chore::Pack(Box::new(result.clone())));
                }
                let fresh = !result.cached;
                state.results.push(result);
                if fresh {
                    workshop.unpack(id, &state, None);
                }
            }
            Err(failure) => {
                let mut failure = failure.at(stage, Some(&planned.label));
                failure.cancelled |= workshop.cancel.is_cancelled();
                return (Err(failure), Some(state));
            }
        }
    }
    (Ok(()), Some(state))
}
