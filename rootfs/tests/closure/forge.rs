//! ELF files that no compiler here would make: of other machines, of another C library, and wrong ones.

/// What an ELF file says.
#[derive(Clone)]
pub(crate) struct Forge {
    pub(crate) machine: u16,
    pub(crate) wide: bool,
    pub(crate) big: bool,
    /// ET_EXEC 2, ET_DYN 3.
    pub(crate) kind: u16,
    pub(crate) interpreter: Option<String>,
    pub(crate) dynamic: bool,
    pub(crate) needed: Vec<String>,
    /// Tags and names.
    pub(crate) filters: Vec<(u64, String)>,
    pub(crate) soname: Option<String>,
    pub(crate) rpath: Option<String>,
    pub(crate) runpath: Option<String>,
    pub(crate) flags_1: u64,
    /// File and version.
    pub(crate) requires: Vec<(String, String)>,
    pub(crate) defines: Vec<String>,
    /// The JSON of a `.note.dlopen`.
    pub(crate) dlopen: Option<String>,
    /// Texts in it, each with a NUL on both sides.
    pub(crate) texts: Vec<String>,
}

pub(crate) const AMD64: u16 = 62;
pub(crate) const ARM64: u16 = 183;
pub(crate) const I386: u16 = 3;
pub(crate) const S390X: u16 = 22;

impl Forge {
    pub(crate) fn library(needed: &[&str]) -> Self {
        Self {
            machine: AMD64,
            wide: true,
            big: false,
            kind: 3,
            interpreter: None,
            dynamic: true,
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
            filters: Vec::new(),
            soname: None,
            rpath: None,
            runpath: None,
            flags_1: 0,
            requires: Vec::new(),
            defines: Vec::new(),
            dlopen: None,
            texts: Vec::new(),
        }
    }

    pub(crate) fn program(interpreter: &str, needed: &[&str]) -> Self {
        Self {
            interpreter: Some(interpreter.to_owned()),
            ..Self::library(needed)
        }
    }

    pub(crate) fn machine(mut self, machine: u16, wide: bool, big: bool) -> Self {
        (self.machine, self.wide, self.big) = (machine, wide, big);
        self
    }

    pub(crate) fn soname(mut self, name: &str) -> Self {
        self.soname = Some(name.to_owned());
        self
    }

    pub(crate) fn rpath(mut self, path: &str) -> Self {
        self.rpath = Some(path.to_owned());
        self
    }

    pub(crate) fn runpath(mut self, path: &str) -> Self {
        self.runpath = Some(path.to_owned());
        self
    }

    fn put(&self, out: &mut Vec<u8>, width: usize, number: u64) {
        match self.big {
            true => out.extend(&number.to_be_bytes()[8 - width..]),
            false => out.extend(&number.to_le_bytes()[..width]),
        }
    }

    fn native(&self, out: &mut Vec<u8>, number: u64) {
        self.put(out, if self.wide { 8 } else { 4 }, number);
    }

    /// The file. Addresses in it are offsets.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let (header, entry) = if self.wide { (64, 56) } else { (52, 32) };
        let count = 1
            + usize::from(self.dynamic)
            + usize::from(self.interpreter.is_some())
            + usize::from(self.dlopen.is_some());
        let mut body = Vec::new();
        let start = (header + entry * count) as u64;
        let here = |body: &Vec<u8>| start + body.len() as u64;
        let align = |body: &mut Vec<u8>| body.resize(body.len().next_multiple_of(8), 0);
        let mut segments = Vec::new();

        if let Some(name) = &self.interpreter {
            segments.push((3, here(&body), name.len() as u64 + 1));
            body.extend(name.as_bytes());
            body.push(0);
            align(&mut body);
        }
        if let Some(text) = &self.dlopen {
            let at = here(&body);
            for number in [4, text.len() as u64 + 1, 0x407c_0c0a] {
                self.put(&mut body, 4, number);
            }
            body.extend(b"FDO\0");
            body.extend(text.as_bytes());
            body.push(0);
            body.resize(body.len().next_multiple_of(4), 0);
            segments.push((4, at, here(&body) - at));
            align(&mut body);
        }
        body.push(0);
        for text in &self.texts {
            body.extend(text.as_bytes());
            body.push(0);
        }
        align(&mut body);
        if self.dynamic {
            segments.push(self.dynamic_part(&mut body, start));
        }
        let size = here(&body);
        self.assemble(&segments, size, body)
    }

    fn dynamic_part(&self, body: &mut Vec<u8>, start: u64) -> (u32, u64, u64) {
        let here = |body: &Vec<u8>| start + body.len() as u64;
        let names_at = here(body);
        let mut names = vec![0];
        let mut name = |text: &str| {
            let at = names.len() as u64;
            names.extend(text.as_bytes());
            names.push(0);
            at
        };
        let mut entries: Vec<(u64, u64)> = self.needed.iter().map(|text| (1, name(text))).collect();
        entries.extend(self.filters.iter().map(|(tag, text)| (*tag, name(text))));
        let lists = [(14, &self.soname), (15, &self.rpath), (29, &self.runpath)];
        entries.extend(
            lists
                .iter()
                .filter_map(|(tag, text)| Some((*tag, name(text.as_ref()?)))),
        );
        let requires: Vec<_> = self
            .requires
            .iter()
            .map(|(file, version)| (name(file), name(version)))
            .collect();
        let defines: Vec<_> = self.defines.iter().map(|version| name(version)).collect();
        entries.push((5, names_at));
        entries.push((0x6fff_fffb, self.flags_1));
        body.extend(&names);
        body.resize(body.len().next_multiple_of(8), 0);
        if !requires.is_empty() {
            entries.push((0x6fff_fffe, here(body)));
            for (number, (file, version)) in requires.iter().enumerate() {
                let next = if number + 1 == requires.len() { 0 } else { 32 };
                for (width, value) in [(2, 1), (2, 1), (4, *file), (4, 16), (4, next)] {
                    self.put(body, width, value);
                }
                for (width, value) in [(4, 0), (2, 0), (2, 2), (4, *version), (4, 0)] {
                    self.put(body, width, value);
                }
            }
        }
        if !defines.is_empty() {
            entries.push((0x6fff_fffc, here(body)));
            for (number, version) in defines.iter().enumerate() {
                let next = if number + 1 == defines.len() { 0 } else { 28 };
                let fields = [
                    (2, 1),
                    (2, 0),
                    (2, 2),
                    (2, 1),
                    (4, 0),
                    (4, 20),
                    (4, next),
                    (4, *version),
                    (4, 0),
                ];
                for (width, value) in fields {
                    self.put(body, width, value);
                }
            }
        }
        body.resize(body.len().next_multiple_of(8), 0);
        let at = here(body);
        for (tag, value) in entries.into_iter().chain([(0, 0)]) {
            self.native(body, tag);
            self.native(body, value);
        }
        (2, at, here(body) - at)
    }

    fn assemble(&self, segments: &[(u32, u64, u64)], size: u64, body: Vec<u8>) -> Vec<u8> {
        let (header, entry) = if self.wide { (64, 56) } else { (52, 32) };
        let mut out = b"\x7fELF".to_vec();
        out.extend([1 + u8::from(self.wide), 1 + u8::from(self.big), 1]);
        out.resize(16, 0);
        self.put(&mut out, 2, self.kind.into());
        self.put(&mut out, 2, self.machine.into());
        self.put(&mut out, 4, 1);
        self.native(&mut out, 0);
        self.native(&mut out, header);
        self.native(&mut out, 0);
        self.put(&mut out, 4, 0);
        for number in [header, entry, segments.len() as u64 + 1, 0, 0, 0] {
            self.put(&mut out, 2, number);
        }
        for (kind, at, length) in [(1, 0, size)].iter().chain(segments) {
            self.put(&mut out, 4, u64::from(*kind));
            if self.wide {
                self.put(&mut out, 4, 5);
            }
            for number in [*at, *at, *at, *length, *length] {
                self.native(&mut out, number);
            }
            if !self.wide {
                self.put(&mut out, 4, 5);
            }
            self.native(&mut out, 8);
        }
        out.extend(body);
        assert_eq!(out.len() as u64, size);
        out
    }
}
