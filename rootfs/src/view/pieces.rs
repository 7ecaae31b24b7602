//! The content of one file of a layer.
//!
//! Invariant: a content that is not the one of which the layer's index was made ends with an error (F14).

use std::collections::VecDeque;
use std::io::{self, Read};

use flate2::Crc;

use super::{LayerContents, Node};
use crate::layer::Extent;

/// A file's stored pieces with zeros between them.
pub(super) struct Pieces<'v> {
    contents: &'v dyn LayerContents,
    layer: usize,
    extents: VecDeque<Extent>,
    at: u64,
    size: u64,
    open: Option<Box<dyn Read + 'v>>,
    sum: Crc,
    expected: u32,
}

impl<'v> Pieces<'v> {
    pub(super) fn of(node: &Node, extents: Vec<Extent>, contents: &'v dyn LayerContents) -> Self {
        Self {
            contents,
            layer: node.content_layer,
            extents: extents.into(),
            at: 0,
            size: node.meta.size,
            open: None,
            sum: Crc::new(),
            expected: node.sum,
        }
    }

    fn rotten(&self) -> io::Error {
        let meaning = self.contents.reject(self.layer);
        io::Error::new(io::ErrorKind::InvalidData, meaning)
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (until, hole) = match self.extents.front() {
            Some(extent) if self.at >= extent.at => (extent.at + extent.len, false),
            Some(extent) => (extent.at, true),
            None => (self.size, true),
        };
        let wanted = usize::try_from(until - self.at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let length = if hole {
            buffer[..wanted].fill(0);
            wanted
        } else {
            let extent = self.extents[0];
            let stream = match &mut self.open {
                Some(stream) => stream,
                none => none.insert(self.contents.open(
                    self.layer,
                    extent.stored_at,
                    extent.len,
                )?),
            };
            let length = stream.read(&mut buffer[..wanted])?;
            self.sum.update(&buffer[..length]);
            length
        };
        self.at += length as u64;
        if length == 0 || (self.at == self.size && self.sum.sum() != self.expected) {
            return Err(self.rotten());
        }
        if !hole && self.at == until {
            self.extents.pop_front();
            self.open = None;
        }
        Ok(length)
    }
}
