//! The names in a directory, however many they are.
//!
//! Invariant: a name takes its bytes and eight more: directories of a million files have to fit into memory.

/// Names in order, given one after the other.
#[derive(Clone, Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    /// Where each begins and how long it is.
    places: Vec<(u32, u32)>,
    next: usize,
}

impl Names {
    /// Adds a name behind the others; of more than 4 GiB of names those that do not fit are an error of the caller.
    pub fn push(&mut self, name: &[u8]) {
        let small = |number: usize| {
            u32::try_from(number).expect("a directory has less than 4 GiB of names")
        };
        self.places
            .push((small(self.bytes.len()), small(name.len())));
        self.bytes.extend_from_slice(name);
    }

    /// Puts them in the order of their bytes.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        self.places
            .sort_unstable_by(|left, right| slice(bytes, *left).cmp(slice(bytes, *right)));
    }

    /// The name that comes next.
    pub fn advance(&mut self) -> Option<&[u8]> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        Some(slice(&self.bytes, place))
    }
}

fn slice(bytes: &[u8], (start, length): (u32, u32)) -> &[u8] {
    &bytes[start as usize..][..length as usize]
}

impl Iterator for Names {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.advance().map(<[u8]>::to_vec)
    }
}

impl<'n> FromIterator<&'n [u8]> for Names {
    fn from_iter<I: IntoIterator<Item = &'n [u8]>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.push(name));
        all
    }
}
