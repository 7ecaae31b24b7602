//! `rbuild logs`. The invariant: what the container wrote comes out byte for byte, each stream on its own.

use std::collections::VecDeque;
use std::io::{self, Write as _};

use runner::service::{Containers, LogEntry, LogReader, LogStream, Progress};

use super::service::{clean, containers, failure, lost};
use crate::args::containers::LogsArgs;
use crate::failure::{Failure, Kind};
use crate::surroundings::Surroundings;

/// Shows what a container wrote.
pub(super) fn logs(args: &LogsArgs, here: &Surroundings) -> Result<(), Failure> {
    let containers = containers(here)?;
    let shown = show(args, &containers);
    // Last: what is left of one whose supervisor was killed can still be read.
    clean(&containers, here)?;
    shown
}

fn show(args: &LogsArgs, containers: &Containers) -> Result<(), Failure> {
    let container = containers.find(&args.container).map_err(failure)?;
    let mut log = container.log().map_err(failure)?;
    let mut written = Written {
        timestamps: args.timestamps,
        in_line: false,
    };
    let connection = match args.follow && container.lives {
        true => Some(container.connect().map_err(failure)?),
        false => None,
    };
    match args.tail {
        None => copy(&mut log, &mut written)?,
        Some(lines) => {
            for entry in last(&mut log, lines).map_err(unreadable)? {
                written.write(&entry).map_err(unwritable)?;
            }
        }
    }
    let Some(connection) = connection else {
        return Ok(());
    };
    let mut seen = 0;
    loop {
        let progress = match connection.next(seen) {
            // Its supervisor was killed: what it wrote is all that there will be.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Progress::Ended(0),
            other => other.map_err(|error| lost(&container, error))?,
        };
        copy(&mut log, &mut written)?;
        match progress {
            Progress::Wrote(count) => seen = count,
            Progress::Ended(_) => return Ok(()),
        }
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(
        Kind::Code(125),
        anyhow::Error::new(error).context("read the container's log"),
    )
}

/// A reader that went away has all it wants.
fn unwritable(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::silent(0),
        _ => Failure::new(
            Kind::Failed,
            anyhow::Error::new(error).context("write the log"),
        ),
    }
}

/// Writes everything that is there.
pub(super) fn copy(log: &mut LogReader, written: &mut Written) -> Result<(), Failure> {
    let mut refused = None;
    let read = log.read(&mut |entry| {
        written.write(&entry).map_err(|error| {
            let kind = error.kind();
            refused = Some(error);
            kind.into()
        })
    });
    match refused {
        Some(error) => Err(unwritable(error)),
        None => read.map_err(unreadable),
    }
}

/// The last lines; each may have come in several pieces.
fn last(log: &mut LogReader, lines: usize) -> io::Result<VecDeque<LogEntry>> {
    let mut kept: VecDeque<LogEntry> = VecDeque::new();
    let mut ends = 0;
    log.read(&mut |entry| {
        ends += usize::from(entry.ends);
        kept.push_back(entry);
        // The piece of a line that is not at its end counts as one.
        let open = usize::from(kept.back().is_some_and(|entry| !entry.ends));
        while ends + open > lines {
            match kept.pop_front() {
                Some(entry) => ends -= usize::from(entry.ends),
                None => break,
            }
            if ends == 0 && lines == 0 {
                kept.clear();
                break;
            }
        }
        Ok(())
    })?;
    Ok(kept)
}

/// What was written so far.
#[derive(Default)]
pub(super) struct Written {
    pub(super) timestamps: bool,
    /// Whether the last line goes on.
    in_line: bool,
}

impl Written {
    fn write(&mut self, entry: &LogEntry) -> io::Result<()> {
        let mut text = Vec::with_capacity(entry.text.len() + 40);
        if self.timestamps && !self.in_line {
            text.extend_from_slice(entry.time.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(&entry.text);
        if entry.ends {
            text.push(b'\n');
        }
        self.in_line = !entry.ends;
        match entry.stream {
            LogStream::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&text).and_then(|()| out.flush())
            }
            LogStream::Stderr => io::stderr().lock().write_all(&text),
        }
    }
}
