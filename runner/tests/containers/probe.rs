//! What runs inside the containers: one small act for each question. The invariant: it prints what it sees and judges
//! nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

pub(crate) fn main(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match act(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            println!("error {:?}", error.raw_os_error());
            ExitCode::from(1)
        }
    }
}

fn act(words: &[&str]) -> io::Result<u8> {
    match words {
        ["exit", code] => return Ok(code.parse().unwrap_or(255)),
        ["cat", path] => print!("{}", fs::read_to_string(path)?),
        ["read", path] => println!("{} bytes", fs::read(path)?.len()),
        ["write", path, text] => fs::write(path, text)?,
        ["append", path, text] => OpenOptions::new()
            .append(true)
            .open(path)?
            .write_all(text.as_bytes())?,
        ["stat", paths @ ..] => paths.iter().try_for_each(|path| stat(path))?,
        ["same", one, other] => {
            let inode = |path| fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
            println!("{}", inode(one)? == inode(other)?);
        }
        ["mark", path] => mark(path)?,
        ["marks", path] => marks(path)?,
        ["env"] => std::env::vars().for_each(|(key, value)| println!("{key}={value}")),
        ["cwd"] => println!("{}", std::env::current_dir()?.display()),
        ["names", directory] => names(directory)?,
        ["descriptors"] => descriptors()?,
        ["reopen", path, text] => {
            // As a shell's `echo > /dev/stdout`.
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)?;
            file.write_all(text.as_bytes())?;
        }
        ["stdin"] => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            println!("read {text:?}");
        }
        ["pour", count] => {
            let line = [b'x'; 1024];
            for _ in 0..count.parse().unwrap_or(0) {
                io::stdout().write_all(&line)?;
            }
        }
        ["own-program"] => own_program(),
        ["await-signal", ready] => return await_signal(ready),
        other => println!("unknown act {other:?}"),
    }
    Ok(0)
}

/// Changes whatever can be changed of a directory without putting anything into it.
fn mark(path: &str) -> io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, "user.mark", b"1", flags)?;
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    fs::File::open(path)?.set_modified(long_ago)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

fn marks(path: &str) -> io::Result<()> {
    let attribute = rustix::fs::getxattr(path, "user.mark", &mut [0; 8]);
    let meta = fs::symlink_metadata(path)?;
    println!(
        "{attribute:?} {:o} {}",
        meta.mode() & 0o7777,
        meta.mtime() == 1
    );
    Ok(())
}

fn stat(path: &str) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    println!(
        "{path} {}:{} {:o} {}",
        meta.uid(),
        meta.gid(),
        meta.mode() & 0o7777,
        meta.len()
    );
    Ok(())
}

fn names(directory: &str) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(directory)?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    names.iter().for_each(|name| println!("{}", name.display()));
    Ok(())
}

fn descriptors() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        // The directory handle of this very listing.
        if !target.starts_with("/proc/") {
            println!("{} {}", entry.file_name().display(), target.display());
        }
    }
    Ok(())
}

/// Every way to a file that rbuild may be running from.
fn own_program() {
    for path in ["/proc/self/exe", "/proc/1/exe", "/proc/2/exe"] {
        // To truncate it, since then a read-only mount shows before that the file is busy.
        let mut options = OpenOptions::new();
        let result = options.write(true).truncate(true).open(path).map(drop);
        println!("{path} {:?}", result.map_err(|error| error.raw_os_error()));
    }
    println!(
        "{}",
        fs::read_link("/proc/1/exe").unwrap_or_default().display()
    );
}

fn await_signal(ready: &str) -> io::Result<u8> {
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&seen))?;
    fs::write(ready, "")?;
    for _ in 0..1000 {
        if seen.load(Ordering::SeqCst) {
            return Ok(42);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(3)
}
