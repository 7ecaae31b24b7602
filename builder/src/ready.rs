//! Layers that are made without a session are unpacked in one, beside the rest of the build, so that the first start of their image
//! is as quick as every later one. The invariant: the image does not depend on it; what fails here costs the first start time.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use image::{DiffId, Store};
use rootfs::Ownership;
use rootfs::trees::Trees;
use sandbox::{Ground, Session, SessionContext};
use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::event::BuildEvent;
use crate::host::Host;
use crate::job::chain;

/// The name of the entry for [`sandbox::divert`].
pub const UNPACK_ENTRY: &str = "unpack";

/// What the session is told, a line each.
#[derive(Serialize, Deserialize)]
enum Order {
    /// The first: where the store is.
    Store(PathBuf),
    /// Unpack these layers, lowest first.
    Unpack(Vec<DiffId>),
    /// There is no more. Without it, the caller wants nothing any more or is gone.
    End,
}

/// Takes layers to be unpacked while the build goes on.
pub(crate) struct Unpacker(Mutex<Sender<Vec<DiffId>>>);

impl Unpacker {
    /// Has the topmost of these layers, lowest first, unpacked, and those below that are not yet.
    pub(crate) fn add(&self, layers: Vec<DiffId>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nobody unpacks, the first start does.
        let _ = sender.send(layers);
    }
}

/// Does something beside which layers are unpacked, and waits for both. What failed is not waited for.
pub(crate) fn beside<T, E>(
    host: &Host<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
    act: impl FnOnce(&Unpacker) -> Result<T, E>,
) -> Result<T, E> {
    let (store, plan) = (host.store, host.unpacking);
    let (sender, layers) = channel();
    let abandoned = std::sync::Arc::new(Cancel::default());
    let passed_on = std::sync::Arc::clone(&abandoned);
    let _passed_on = host.cancel.watch(move || passed_on.cancel());
    std::thread::scope(|scope| {
        let abandoned = &abandoned;
        let attend = move || {
            let Err(error) = attend(store, plan, &layers, abandoned) else {
                return;
            };
            if !abandoned.is_cancelled() {
                let message = format!("the image is unpacked at its first start: {error}");
                events(BuildEvent::Notice { message });
            }
        };
        // Without a thread more, the first start does it.
        let _ = std::thread::Builder::new().spawn_scoped(scope, attend);
        let result = act(&Unpacker(Mutex::new(sender)));
        if result.is_err() {
            abandoned.cancel();
        }
        result
    })
}

/// Starts a session at the first layers and has it unpack all that come.
fn attend(
    store: &Store,
    plan: &crate::host::FindUnpacking<'_>,
    layers: &Receiver<Vec<DiffId>>,
    abandoned: &Cancel,
) -> io::Result<()> {
    let Ok(first) = layers.recv() else {
        return Ok(());
    };
    // Where there are no sessions nothing is ever started.
    let Some(plan) = plan() else {
        return Ok(());
    };
    let mut session =
        Session::start(UNPACK_ENTRY, &plan, Ground::Background).map_err(io::Error::other)?;
    let hang_up = session.socket().try_clone()?;
    let _watched = abandoned.watch(move || {
        let _ = hang_up.shutdown(std::net::Shutdown::Both);
    });
    let told = tell(session.socket(), &Order::Store(store.path().to_owned())).and_then(|()| {
        let mut all = std::iter::once(first).chain(layers.iter());
        all.try_for_each(|layers| tell(session.socket(), &Order::Unpack(layers)))?;
        tell(session.socket(), &Order::End)
    });
    let mut said = String::new();
    let heard = session.socket().read_to_string(&mut said);
    let status = session.wait()?;
    match said.is_empty() {
        false => Err(io::Error::other(said)),
        true if status.success() => told.and(heard.map(drop)),
        true => Err(io::Error::other(status.to_string())),
    }
}

fn tell(mut socket: &UnixStream, order: &Order) -> io::Result<()> {
    let mut text = serde_json::to_vec(order)?;
    text.push(b'\n');
    socket.write_all(&text)
}

/// The entry function of the session that unpacks, for [`sandbox::divert`].
pub fn unpack_entry(context: SessionContext) -> ExitCode {
    match unpack_all(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // A caller that is gone need not know.
            let _ = (&context.socket).write_all(why.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn unpack_all(context: &SessionContext) -> Result<(), String> {
    let mut orders = BufReader::new(&context.socket).lines();
    let mut next = move || {
        let line = orders.next()?.ok()?;
        serde_json::from_str::<Order>(&line).ok()
    };
    let Some(Order::Store(path)) = next() else {
        return Ok(());
    };
    let store = Store::open(path).map_err(|error| chain(&error))?;
    let ownership = Ownership::of_session(context.is_single_id(), context.image_ids());
    let trees = Trees::of(&store, ownership);
    let (sender, layers) = channel();
    std::thread::scope(|scope| {
        let stop = store.stop().clone();
        let listen = move || {
            loop {
                match next() {
                    // What failed takes no more.
                    Some(Order::Unpack(layers)) => drop(sender.send(layers)),
                    Some(Order::End) => return,
                    Some(Order::Store(_)) | None => return stop.ask(),
                }
            }
        };
        std::thread::Builder::new()
            .spawn_scoped(scope, listen)
            .map_err(|error| chain(&error))?;
        let unpack = |layers: Vec<DiffId>| trees.layers(&store, &layers).map(drop);
        layers.iter().try_for_each(unpack).map_err(|error| {
            // Else the listener would wait for orders that nobody follows.
            let _ = context.socket.shutdown(std::net::Shutdown::Read);
            chain(&error)
        })
    })
}
