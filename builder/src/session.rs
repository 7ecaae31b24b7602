//! The executor in a session. The invariant: the session gets one job and sends events and one result; when its caller hangs
//! up, by intent or by dying, it cancels the build, cleans up and ends. What it made is held by one of the two at any time:
//! the session lives until its caller, who holds the result's blobs then, has hung up.

use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock, PoisonError};

use image::{DiffId, Store};
use rootfs::Ownership;
use rootfs::trees::{Trees, WorkArea};
use sandbox::{Emulators, Ground, Session, SessionContext, SessionPlan, StepForge};
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, StepLayer};
use crate::cancel::Cancel;
use crate::depot::Depot;
use crate::event::BuildEvent;
use crate::execute::{Arrived, Chores, SessionTools, Workshop, ids_of_steps, run_all};
use crate::foreign::unregistered;
use crate::job::{Executed, Job, StepFailure};
use crate::memos::Memos;

/// The name of the entry for [`sandbox::divert`].
pub const ENTRY: &str = "build";

#[derive(Serialize, Deserialize)]
enum Message {
    Event(BuildEvent),
    /// These layers are needed; the answer is one line, of [`Supplied`].
    Wanted(Vec<DiffId>),
    Done(Result<Executed, StepFailure>),
}

/// Whether layers that were wanted are in the store now, and why not.
type Supplied = Result<(), String>;

/// Why the session gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] sandbox::SessionError),
    /// It is gone.
    #[error("hear from the build session, which ended early")]
    Lost(#[source] std::io::Error),
    /// A step failed.
    #[error("build")]
    Step(StepFailure),
    /// What it made could not be kept from being pruned.
    #[error("hold the layers of the build")]
    Hold(#[source] image::StoreError),
}

/// Runs a job in a new session. The result's blobs are held by `store` from then on.
pub(crate) fn run_remotely(
    job: &Job,
    (store, depot): (&Store, &Depot),
    plan: &SessionPlan,
    cancel: &Cancel,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Executed, RemoteError> {
    let mut session = Session::start(ENTRY, plan, Ground::Background)?;
    let mut text = serde_json::to_vec(job).map_err(|error| RemoteError::Lost(error.into()))?;
    text.push(b'\n');
    let hang_up = session.socket().try_clone().map_err(RemoteError::Lost)?;
    session
        .socket()
        .write_all(&text)
        .map_err(RemoteError::Lost)?;
    let _watched = cancel.watch(move || {
        // Only the sending half: the result is still wanted.
        let _ = hang_up.shutdown(std::net::Shutdown::Write);
    });
    let socket = session.socket();
    let result = std::thread::scope(|scope| {
        for line in BufReader::new(socket).lines() {
            match serde_json::from_str(&line?)? {
                Message::Event(event) => events(event),
                // Other stages go on meanwhile.
                Message::Wanted(layers) => {
                    let supply = move || {
                        let fetched = depot.fetch(store, &layers, events);
                        let supplied: Supplied = fetched.map_err(|error| error.to_string());
                        answer(socket, &supplied)
                    };
                    std::thread::Builder::new().spawn_scoped(scope, supply)?;
                }
                Message::Done(done) => return Ok(Some(done)),
            }
        }
        Ok(None)
    });
    let result = result.map_err(RemoteError::Lost)?;
    let held = match &result {
        Some(Ok(executed)) => hold(store, executed),
        _ => Ok(()),
    };
    // The session's own lease ends with it, so not before.
    let _ = session.socket().shutdown(std::net::Shutdown::Write);
    let _ = session.wait();
    held?;
    match result {
        Some(Ok(executed)) => Ok(executed),
        Some(Err(failure)) => Err(RemoteError::Step(failure)),
        None => Err(RemoteError::Lost(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// A session that is gone needs no answer.
fn answer(mut socket: &UnixStream, supplied: &Supplied) {
    if let Ok(mut text) = serde_json::to_vec(supplied) {
        text.push(b'\n');
        let _ = socket.write_all(&text);
    }
}

fn hold(store: &Store, executed: &Executed) -> Result<(), RemoteError> {
    let stages = executed.chain.iter().chain(&executed.all);
    let layers = stages.flat_map(|stage| &stage.steps);
    for (layer, _) in layers {
        if let StepLayer::Blob { diff_id, .. } = layer {
            store.hold(diff_id.digest()).map_err(RemoteError::Hold)?;
        }
    }
    Ok(())
}

/// The entry function of a build's session, for [`sandbox::divert`].
pub fn session_entry(context: SessionContext) -> ExitCode {
    let Ok(output) = context.socket.try_clone() else {
        return ExitCode::FAILURE;
    };
    let output = Mutex::new(output);
    let mut input = BufReader::new(&context.socket);
    let mut line = String::new();
    let job = match input
        .read_line(&mut line)
        .map(|_| serde_json::from_str::<Job>(&line))
    {
        Ok(Ok(job)) => job,
        _ => return ExitCode::FAILURE,
    };
    let cancel = Cancel::default();
    let result = std::thread::scope(|scope| {
        let Ok(ears) = context.socket.try_clone() else {
            return Err(StepFailure::cancelled());
        };
        let cancel = &cancel;
        let (answers, answered) = channel();
        let listen = move || {
            // Only answers are sent; the end of the stream means that the caller wants no result or is gone.
            for line in BufReader::new(ears).lines().map_while(Result::ok) {
                if let Ok(supplied) = serde_json::from_str::<Supplied>(&line) {
                    let _ = answers.send(supplied);
                }
            }
            cancel.cancel();
        };
        let listener = match std::thread::Builder::new().spawn_scoped(scope, listen) {
            Ok(listener) => listener,
            Err(error) => {
                let failure = StepFailure::of_build(&error);
                tell(&output, &Message::Done(Err(failure.clone())));
                return Err(failure);
            }
        };
        let events = |event| tell(&output, &Message::Event(event));
        let answered = Mutex::new(answered);
        let supply = |layers: &[DiffId]| {
            // One question at a time, so that each gets its own answer.
            let answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
            tell(&output, &Message::Wanted(layers.to_vec()));
            match answered.recv() {
                Ok(supplied) => supplied.map_err(StepFailure::saying),
                Err(_) => Err(StepFailure::cancelled()),
            }
        };
        let caller = Caller {
            cancel,
            events: &events,
            supply: &supply,
        };
        let store = Store::open(&job.store).map_err(|error| StepFailure::of_build(&error));
        let told = Cell::new(false);
        let done = |result: &Result<Executed, StepFailure>| {
            if !told.replace(true) {
                tell(&output, &Message::Done(result.clone()));
            }
        };
        let result = store
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|store| execute(&context, &job, store, &caller, &done));
        done(&result);
        // Until the caller hangs up.
        let _ = listener.join();
        result
    });
    if result.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(output: &Mutex<UnixStream>, message: &Message) {
    let Ok(mut text) = serde_json::to_vec(message) else {
        return;
    };
    text.push(b'\n');
    // A caller that is gone is noticed by the listener.
    let _ = output
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(&text);
}

/// The process that wants the result.
struct Caller<'c> {
    cancel: &'c Cancel,
    events: &'c (dyn Fn(BuildEvent) + Sync),
    supply: &'c (dyn Fn(&[DiffId]) -> Result<(), StepFailure> + Sync),
}

fn execute(
    context: &SessionContext,
    job: &Job,
    store: &Store,
    caller: &Caller<'_>,
    done: &dyn Fn(&Result<Executed, StepFailure>),
) -> Result<Executed, StepFailure> {
    let (single_id, image_ids) = (context.is_single_id(), context.image_ids());
    let ownership = Ownership::of_session(single_id, image_ids);
    let (ids, kept) = ids_of_steps(job, single_id, image_ids)?;
    let stop = store.stop().clone();
    let _stops = caller.cancel.watch(move || stop.ask());
    // They execute the steps' programs for as long as this lives.
    let _emulators = Emulators::register(&job.emulators).map_err(|error| unregistered(&error))?;
    // It starts on another core while this one prepares.
    let forge =
        StepForge::start(&context.executable).map_err(|error| StepFailure::of_build(&error))?;
    let work = WorkArea::create(store).map_err(|error| StepFailure::of_build(&error))?;
    let session = SessionTools {
        trees: Trees::of(store, ownership),
        work,
        ids,
        kept,
        forge: &forge,
        network: OnceLock::new(),
        chores: Chores::default(),
        arrived: Arrived::default(),
    };
    let workshop = Workshop {
        job,
        store,
        cache: Cache::new(store),
        memos: Memos::new(store),
        cancel: caller.cancel,
        events: caller.events,
        forecast: false,
        unpacker: None,
        supply: caller.supply,
        session: Some(session),
    };
    let result = run_all(&workshop);
    workshop.memos.save(result.is_ok());
    // The caller makes the image while the work area is removed.
    done(&result);
    result
}
