//! What a container in the background wrote: lines in the format of Podman's `k8s-file` driver, `TIME STREAM F|P TEXT`, where P says
//! that the line goes on. The invariant: the log never holds more than two files of [`MOST`] bytes, and bytes are kept as they are.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The size at which a file becomes the older one. It lies in memory where `XDG_RUNTIME_DIR` does.
const MOST: u64 = 4 << 20;

const NEWER: &str = "log";
const OLDER: &str = "log.1";

/// Where something was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The side that writes.
#[derive(Debug)]
pub(crate) struct LogWriter {
    home: PathBuf,
    file: File,
    size: u64,
    most: u64,
}

impl LogWriter {
    pub(crate) fn create(home: &Path) -> io::Result<Self> {
        Ok(Self {
            home: home.to_owned(),
            file: File::create(home.join(NEWER))?,
            size: 0,
            most: MOST,
        })
    }

    /// Notes what was written now.
    pub(crate) fn write(
        &mut self,
        stream: LogStream,
        now: SystemTime,
        bytes: &[u8],
    ) -> io::Result<()> {
        let time = rfc3339(now);
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (tag, line) = match line.strip_suffix(b"\n") {
                Some(line) => ('F', line),
                None => ('P', line),
            };
            write!(text, "{time} {} {tag} ", stream.word())?;
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        if self.size + text.len() as u64 > self.most {
            std::fs::rename(self.home.join(NEWER), self.home.join(OLDER))?;
            self.file = File::create(self.home.join(NEWER))?;
            self.size = 0;
        }
        self.file.write_all(&text)?;
        self.size += text.len() as u64;
        Ok(())
    }
}

/// One line, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When, as RFC 3339.
    pub time: String,
    /// Where.
    pub stream: LogStream,
    /// What, without the end of the line.
    pub text: Vec<u8>,
    /// Whether the line ends here.
    pub ends: bool,
}

impl LogEntry {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let mut word = || parts.next();
        let time = String::from_utf8(word()?.to_vec()).ok()?;
        let stream = match word()? {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            _ => return None,
        };
        let ends = word()? == b"F";
        let text = word()?.to_vec();
        Some(Self {
            time,
            stream,
            text,
            ends,
        })
    }
}

/// The side that reads. What it has begun to read stays readable when the container's files are gone.
#[derive(Debug)]
pub struct LogReader {
    home: PathBuf,
    file: File,
    /// The beginning of a line whose end was not there yet.
    rest: Vec<u8>,
    /// The newer file, while the older one is read.
    next: Option<File>,
}

impl LogReader {
    /// Reads from the oldest line that there is.
    ///
    /// # Errors
    /// When there is no log.
    pub fn open(home: &Path) -> io::Result<Self> {
        let newer = File::open(home.join(NEWER))?;
        let (file, next) = match File::open(home.join(OLDER)) {
            Ok(older) => (older, Some(newer)),
            Err(_) => (newer, None),
        };
        Ok(Self {
            home: home.to_owned(),
            file,
            rest: Vec::new(),
            next,
        })
    }

    /// Reads only what is written from now on.
    ///
    /// # Errors
    /// When there is no log.
    pub fn from_now_on(home: &Path) -> io::Result<Self> {
        let mut file = File::open(home.join(NEWER))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            home: home.to_owned(),
            file,
            rest: Vec::new(),
            next: None,
        })
    }

    /// Gives every entry that is there to `take`.
    ///
    /// # Errors
    /// When the log cannot be read, or the first of `take`.
    pub fn read(&mut self, take: &mut dyn FnMut(LogEntry) -> io::Result<()>) -> io::Result<()> {
        let mut piece = vec![0; 64 << 10];
        loop {
            match self.file.read(&mut piece)? {
                0 => match self.following()? {
                    Some(next) => self.file = next,
                    None => return Ok(()),
                },
                length => self.take(&piece[..length], take)?,
            }
        }
    }

    fn take(
        &mut self,
        piece: &[u8],
        take: &mut dyn FnMut(LogEntry) -> io::Result<()>,
    ) -> io::Result<()> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if self.rest.pop_if(|byte| *byte == b'\n').is_some() {
                let line = std::mem::take(&mut self.rest);
                LogEntry::parse(&line).map_or(Ok(()), &mut *take)?;
            }
        }
        Ok(())
    }

    /// The file after this one, which is read to its end.
    fn following(&mut self) -> io::Result<Option<File>> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        // Its directory goes when the container has ended.
        let Ok(newer) = File::open(self.home.join(NEWER)) else {
            return Ok(None);
        };
        let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino()));
        Ok((identity(&newer)? != identity(&self.file)?).then_some(newer))
    }
}

/// `2026-11-28T01:02:03.000000004Z`.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The date of a day after 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, 5)
    }

    fn entries(reader: &mut LogReader) -> Vec<LogEntry> {
        let mut all = Vec::new();
        let mut take = |entry| {
            all.push(entry);
            Ok(())
        };
        reader.read(&mut take).unwrap();
        all
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(rfc3339(at(951_827_696)), "2000-02-29T12:34:56.000000005Z");
        assert_eq!(rfc3339(at(1_795_824_000)), "2026-11-28T00:00:00.000000005Z");
    }

    #[test]
    fn bytes_come_back_as_they_were_with_their_stream() {
        let home = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(home.path()).unwrap();
        let mut reader = LogReader::open(home.path()).unwrap();
        log.write(LogStream::Stdout, at(1), b"a b\n\xff\x1b[0m\npart")
            .unwrap();
        log.write(LogStream::Stderr, at(2), b"\n").unwrap();
        let found = entries(&mut reader);
        let texts: Vec<_> = found.iter().map(|e| (e.text.as_slice(), e.ends)).collect();
        let expected: [(&[u8], bool); 4] = [
            (b"a b", true),
            (b"\xff\x1b[0m", true),
            (b"part", false),
            (b"", true),
        ];
        assert_eq!(texts, expected);
        assert_eq!(found[3].stream, LogStream::Stderr);
        assert!(entries(&mut reader).is_empty());
        log.write(LogStream::Stdout, at(3), b"more\n").unwrap();
        assert_eq!(entries(&mut reader)[0].text, b"more");
    }

    #[test]
    fn a_log_is_bounded_and_a_reader_follows_it_into_the_next_file() {
        let home = tempfile::tempdir().unwrap();
        let mut log = LogWriter::create(home.path()).unwrap();
        log.most = 1000;
        let mut reader = LogReader::open(home.path()).unwrap();
        let mut seen = Vec::new();
        for count in 0..100 {
            log.write(
                LogStream::Stdout,
                at(count),
                format!("{count}\n").as_bytes(),
            )
            .unwrap();
            seen.extend(entries(&mut reader));
        }
        let numbers: Vec<_> = seen
            .iter()
            .map(|e| String::from_utf8_lossy(&e.text).parse())
            .collect();
        assert_eq!(numbers, (0..100).map(Ok::<u64, _>).collect::<Vec<_>>());
        let size = |name| std::fs::metadata(home.path().join(name)).unwrap().len();
        assert!(size(NEWER) <= 1000 && size(OLDER) <= 1000);
        let late = entries(&mut LogReader::open(home.path()).unwrap());
        assert!(late.len() > 15 && late.len() < 60, "{}", late.len());
        assert_eq!(late.last().unwrap().text, b"99");
    }

    #[test]
    fn what_is_no_entry_is_left_out() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(
            home.path().join(NEWER),
            b"\n\nx\n1 stdout F kept\n2 stdin F no\n3 stdout F half",
        )
        .unwrap();
        let found = entries(&mut LogReader::open(home.path()).unwrap());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].text, b"kept");
    }
}
