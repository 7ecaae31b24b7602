//! Numbers and bytes one after the other, for files that only this program reads.
//!
//! Invariant: a decoder never panics and never allocates more than it was given; what it cannot read is `None`.

use crate::entry::{Device, Entry, Kind, Time, Xattrs};
use crate::path::TreePath;

#[derive(Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    /// Seven bits a byte, least significant first (LEB128).
    pub(crate) fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push((number as u8 & 0x7f) | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// All of an entry but its path.
    pub(crate) fn described(&mut self, entry: &Entry) {
        self.kind(&entry.kind);
        for number in [entry.mode, entry.uid, entry.gid, entry.mtime.nanos] {
            self.number(number.into());
        }
        self.number(entry.mtime.secs.cast_unsigned());
        self.number(entry.xattrs.len() as u64);
        for (name, value) in &entry.xattrs {
            self.bytes(name);
            self.bytes(value);
        }
    }

    fn kind(&mut self, kind: &Kind) {
        match kind {
            Kind::File { size } => {
                self.0.push(0);
                self.number(*size);
            }
            Kind::Dir => self.0.push(1),
            Kind::Symlink(target) => {
                self.0.push(2);
                self.bytes(target);
            }
            Kind::Hardlink(target) => {
                self.0.push(3);
                self.bytes(target.as_bytes());
            }
            Kind::Fifo => self.0.push(4),
            Kind::Char(device) => self.device(5, *device),
            Kind::Block(device) => self.device(6, *device),
            Kind::Whiteout => self.0.push(7),
            Kind::Opaque => self.0.push(8),
        }
    }

    fn device(&mut self, tag: u8, device: Device) {
        self.0.push(tag);
        self.number(device.major.into());
        self.number(device.minor.into());
    }
}

pub(crate) struct Decoder<'d> {
    pub(crate) rest: &'d [u8],
}

impl<'d> Decoder<'d> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn bytes(&mut self) -> Option<&'d [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    pub(crate) fn path(&mut self) -> Option<TreePath> {
        TreePath::scoped(self.bytes()?).ok()
    }

    /// What [`Encoder::described`] wrote, for the entry at `path`.
    pub(crate) fn entry(&mut self, path: TreePath) -> Option<Entry> {
        let kind = self.kind()?;
        let (mode, uid, gid, nanos) = (self.small()?, self.small()?, self.small()?, self.small()?);
        let mtime = Time {
            secs: self.number()?.cast_signed(),
            nanos,
        };
        let mut xattrs = Xattrs::new();
        for _ in 0..self.number()? {
            xattrs.insert(self.bytes()?.to_vec(), self.bytes()?.to_vec());
        }
        Some(Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        })
    }

    fn kind(&mut self) -> Option<Kind> {
        Some(match self.byte()? {
            0 => Kind::File {
                size: self.number()?,
            },
            1 => Kind::Dir,
            2 => Kind::Symlink(self.bytes()?.to_vec()),
            3 => Kind::Hardlink(self.path()?),
            4 => Kind::Fifo,
            5 => Kind::Char(self.device()?),
            6 => Kind::Block(self.device()?),
            7 => Kind::Whiteout,
            8 => Kind::Opaque,
            _ => return None,
        })
    }

    fn device(&mut self) -> Option<Device> {
        Some(Device {
            major: self.small()?,
            minor: self.small()?,
        })
    }
}
