//! Which ids a user namespace has, from the text of its uid_map or gid_map (user_namespaces(7)). Invariant: ids are those
//! seen from inside.

use super::SubIdRange;
use super::entries::joined;

/// The ids that exist in the user namespace whose `/proc/self/uid_map` (or gid_map) is `map`, as seen from inside it.
pub fn ids_of_namespace(map: &str) -> Vec<SubIdRange> {
    joined(
        map.lines()
            .filter_map(extent)
            .map(|(inside, _, count)| SubIdRange {
                start: inside,
                count,
            })
            .collect(),
    )
}

/// Whether `map` is the map of the initial user namespace: everything onto itself.
pub fn is_initial_namespace(map: &str) -> bool {
    map.lines().filter_map(extent).eq([(0, 0, u32::MAX)])
}

fn extent(line: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = line.split_whitespace().map(str::parse);
    match (
        numbers.next(),
        numbers.next(),
        numbers.next(),
        numbers.next(),
    ) {
        (Some(Ok(inside)), Some(Ok(outside)), Some(Ok(count)), None) => {
            Some((inside, outside, count))
        }
        _ => None,
    }
}
