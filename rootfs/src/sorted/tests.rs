//! What a map that is partly on the disk must do like one in memory.

use std::collections::BTreeMap;

use super::*;

fn scratch() -> (tempfile::TempDir, Scratch) {
    let directory = tempfile::tempdir().expect("a directory");
    let scratch = Scratch::below(directory.path());
    (directory, scratch)
}

/// Numbers in no order, each once.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| number.wrapping_mul(7_919) % count)
}

#[test]
fn it_says_what_a_map_in_memory_would_however_much_it_holds() {
    let (directory, scratch) = scratch();
    let count = 4 * ENTRIES as u64 + 7;
    let (mut map, mut plain) = (SortedMap::new(&scratch), BTreeMap::new());
    for round in 0..2 {
        // The second time some get another value.
        for number in shuffled(count).filter(|number| round == 0 || number % 5 == 0) {
            let key = format!("d{}/f{number}", number % 9);
            map.insert(key.as_bytes(), Some(number + round))
                .expect("inserted");
            plain.insert(key.into_bytes(), Some(number + round));
        }
    }
    assert!(map.runs.len() >= 4 && map.recent.len() < ENTRIES);
    let all: BTreeMap<_, _> = map.iter().collect::<Result<_, _>>().expect("read");
    assert!(all == plain, "{} of {}", all.len(), plain.len());
    assert!(map.iter().map(|entry| entry.expect("read").0).is_sorted());
    let start = b"d3/f5".as_slice();
    let behind = map.from(start).map(|entry| entry.expect("read").0);
    let expected = plain.range::<[u8], _>((Bound::Included(start), Bound::Unbounded));
    assert!(behind.eq(expected.map(|(key, _)| key.clone())));
    for number in (0..count).step_by(101) {
        let key = format!("d{}/f{number}", number % 9).into_bytes();
        assert_eq!(map.get(&key).expect("read"), plain.get(&key).copied());
        assert_eq!(map.get(&[&key[..], b"x"].concat()).expect("read"), None);
    }
    // Nothing is left where the files were.
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("listed").count(),
        0
    );
}

#[test]
fn two_that_were_one_do_not_meet_again() {
    let (_directory, scratch) = scratch();
    let mut map = SortedMap::new(&scratch);
    let fill = |map: &mut SortedMap<Option<u64>>, value| {
        for number in 0..ENTRIES as u64 + 1 {
            map.insert(&number.to_be_bytes(), Some(value))
                .expect("inserted");
        }
    };
    fill(&mut map, 1);
    let mut other = map.clone();
    fill(&mut other, 2);
    fill(&mut map, 3);
    let values = |map: &SortedMap<Option<u64>>| -> Vec<Option<u64>> {
        map.iter().map(|entry| entry.expect("read").1).collect()
    };
    assert!(values(&map).iter().all(|value| *value == Some(3)));
    assert!(values(&other).iter().all(|value| *value == Some(2)));
}

#[test]
fn without_a_place_all_stays_in_memory() {
    let mut map = SortedMap::default();
    for number in 0..ENTRIES as u64 * 2 {
        map.insert(&number.to_be_bytes(), ()).expect("inserted");
    }
    assert!(map.runs.is_empty());
    assert_eq!(map.iter().count(), ENTRIES * 2);
}

#[test]
fn a_reversed_key_comes_before_what_it_begins_with() {
    let mut keys = [&b"a"[..], b"a/b", b"a.b", b"", b"b"].map(reversed);
    keys.sort();
    let order = keys.map(|key| String::from_utf8(unreversed(&key)).expect("text"));
    assert_eq!(order, ["b", "a/b", "a.b", "a", ""]);
}
