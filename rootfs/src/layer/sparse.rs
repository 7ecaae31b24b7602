//! Sparse maps: which bytes of a file its archive holds.
//!
//! Invariant: the regions that come out are in order, disjoint, inside the file, and sum up to the stored bytes.

/// One stored region of a sparse file: where it belongs, and how long it is.
pub(crate) type Region = (u64, u64);

/// Checks regions against the file's length and the bytes stored for it; empty regions are dropped.
pub(crate) fn checked(
    regions: impl Iterator<Item = Region>,
    size: u64,
    stored: u64,
) -> Result<Vec<Region>, &'static str> {
    let mut end = 0_u64;
    let mut total = 0_u64;
    let mut kept = Vec::new();
    for (offset, length) in regions {
        let next = offset
            .checked_add(length)
            .ok_or("a sparse region overflows")?;
        if offset < end || next > size {
            return Err("sparse regions overlap or leave the file");
        }
        end = next;
        total += length;
        if length > 0 {
            kept.push((offset, length));
        }
    }
    if total != stored {
        Err("sparse regions and stored bytes disagree")
    } else {
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_must_be_in_order_inside_and_complete() {
        assert_eq!(
            checked([(0, 5), (10, 5), (15, 0)].into_iter(), 20, 10),
            Ok(vec![(0, 5), (10, 5)])
        );
        for (regions, size, stored) in [
            (vec![(5, 5), (0, 5)], 20, 10),
            (vec![(0, 30)], 20, 30),
            (vec![(0, 5)], 20, 6),
            (vec![(u64::MAX, 5)], u64::MAX, 5),
        ] {
            assert!(checked(regions.into_iter(), size, stored).is_err());
        }
    }
}
