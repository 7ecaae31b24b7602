//! Which loader a program has, and what was compiled into it.
//!
//! Invariant: the file that the program names is asked, by the texts in it, and never its name alone: `/opt/x/ld.so` may be
//! either, and every distribution builds its own directories into it.

use super::ld_cache::LdCache;
use super::machine::Machine;

/// A loader is 200 KB (glibc) to 900 KB (musl, which is the C library too).
pub(super) const LARGEST: u64 = 8 << 20;

/// The loader of a program.
#[derive(Debug)]
pub(super) enum Loader {
    Glibc(Glibc),
    Musl(Musl),
}

/// What glibc's ld.so knows.
#[derive(Debug)]
pub(super) struct Glibc {
    /// `system_dirs`: where it looks last, each with a slash at its end.
    pub(super) system_dirs: Vec<Vec<u8>>,
    /// What `$LIB` stands for.
    pub(super) lib: Option<Vec<u8>>,
    /// `/etc/ld.so.cache` of the tree.
    pub(super) cache: Option<LdCache>,
}

/// What musl's loader knows.
#[derive(Debug)]
pub(super) struct Musl {
    /// Where it looks last.
    pub(super) directories: Vec<Vec<u8>>,
    /// The file which says so; `None` when there is none and they are the built-in ones.
    pub(super) path_file: Option<Vec<u8>>,
}

/// The texts that make the difference.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// The architecture in `/etc/ld-musl-ARCH.path`: it is musl's.
    pub(super) musl: Option<Vec<u8>>,
    pub(super) system_dirs: Vec<Vec<u8>>,
    pub(super) lib: Option<Vec<u8>>,
}

impl Texts {
    /// Finds them in the bytes of a loader.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut texts = Self::default();
        let (mut run, mut relative): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        for text in bytes.split(|byte| *byte == 0) {
            if is_directory(text) {
                run.push(text);
                continue;
            }
            if run.len() > texts.system_dirs.len() {
                texts.system_dirs = run.iter().map(|text| text.to_vec()).collect();
            }
            run.clear();
            if text.starts_with(b"lib") && text.len() < 100 {
                relative.push(text);
            }
            if let Some(architecture) = musl_architecture(text) {
                texts.musl = Some(architecture.to_vec());
            }
        }
        // DL_DST_LIB is one of the directories, without the slashes around it (elf/Makefile, slibdir).
        texts.lib = relative
            .into_iter()
            .find(|text| {
                let directory = [b"/", *text, b"/"].concat();
                texts.system_dirs.contains(&directory)
            })
            .map(<[u8]>::to_vec);
        texts
    }

    /// A glibc's, or what one of this kind of machine usually has.
    pub(super) fn glibc(self, machine: Machine, cache: Option<LdCache>) -> Glibc {
        let usual = machine.usual_dirs();
        let (system_dirs, lib) = match self.system_dirs.is_empty() {
            false => (self.system_dirs, self.lib),
            true => {
                let first = usual[0].strip_prefix(b"/").unwrap_or(&usual[0]);
                let lib = first.strip_suffix(b"/").unwrap_or(first).to_vec();
                (usual, Some(lib))
            }
        };
        Glibc {
            system_dirs,
            lib,
            cache,
        }
    }
}

/// An entry of `system_dirs`: absolute, with a slash at its end, of a library directory.
fn is_directory(text: &[u8]) -> bool {
    let ends = text.len() > 2 && text.starts_with(b"/") && text.ends_with(b"/");
    ends && text.len() < 4096
        && text.iter().all(u8::is_ascii_graphic)
        && text
            .split(|byte| *byte == b'/')
            .any(|name| name.starts_with(b"lib"))
}

/// musl, ldso/dynlink.c: `"%.*s/etc/ld-musl-" LDSO_ARCH ".path"`.
fn musl_architecture(text: &[u8]) -> Option<&[u8]> {
    const MARK: &[u8] = b"/etc/ld-musl-";
    if text.len() > 100 {
        return None;
    }
    let at = text.windows(MARK.len()).position(|bytes| bytes == MARK)?;
    text[at + MARK.len()..].strip_suffix(b".path")
}

impl Glibc {
    /// `$LIB`, when it is known.
    pub(super) fn lib(&self) -> Option<&[u8]> {
        self.lib.as_deref()
    }
}

impl Musl {
    /// From the loader's own name as programs name it: its path file lies beside the directory that it is in.
    pub(super) fn path_file(interpreter: &[u8], architecture: &[u8]) -> Vec<u8> {
        let mut slashes = interpreter
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .rev();
        let prefix = slashes.nth(1).map_or(0, |(slash, _)| slash);
        [
            &interpreter[..prefix],
            b"/etc/ld-musl-",
            architecture,
            b".path",
        ]
        .concat()
    }

    /// Directories in the text of a path file, or those of musl without one.
    pub(super) fn new(path_file: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        let (file, text) = match path_file {
            Some((file, text)) => (Some(file), text),
            None => (None, b"/lib:/usr/local/lib:/usr/lib".to_vec()),
        };
        let directories = text.split(|byte| matches!(byte, b':' | b'\n'));
        let directories = directories.filter(|directory| !directory.is_empty());
        Self {
            directories: directories.map(<[u8]>::to_vec).collect(),
            path_file: file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_tells_its_directories() {
        let bytes = b"\x7fELF\0/etc/\0LIB\0lib/x86_64-linux-gnu\0/lib/\0x\0/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0\0\x01";
        let texts = Texts::of(bytes);
        assert_eq!(texts.system_dirs.len(), 4);
        assert_eq!(texts.lib.as_deref(), Some(&b"lib/x86_64-linux-gnu"[..]));
        assert_eq!(texts.musl, None);
    }

    #[test]
    fn musl_tells_its_architecture() {
        let texts = Texts::of(b"\0%.*s/etc/ld-musl-aarch64.path\0/lib:/usr/local/lib:/usr/lib\0");
        assert_eq!(texts.musl.as_deref(), Some(&b"aarch64"[..]));
        assert_eq!(
            Musl::path_file(b"/lib/ld-musl-a.so.1", b"a"),
            b"/etc/ld-musl-a.path"
        );
        assert_eq!(
            Musl::path_file(b"/opt/x/lib/ld.so", b"a"),
            b"/opt/x/etc/ld-musl-a.path"
        );
    }
}
