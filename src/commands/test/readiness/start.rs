//! Does it start, and as whom? The invariant: what could not be seen is not said.

use sandbox::trial::Ended;

use super::{First, Subject, last_words, outcome, works};
use crate::commands::test::report::{Check, Verdict};

/// Whether the program works as it is.
pub(super) fn check(subject: &Subject<'_>, first: &First) -> Check {
    let plain = first.without.as_ref().unwrap_or(&first.record);
    let done = &plain.done[1];
    let verdict = match (works(plain), works(&first.record), plain.identity.uid) {
        (true, ..) => Verdict::Passed,
        // Podman gives these to root inside, and to nobody else.
        (false, true, 0) => Verdict::Warned,
        _ => Verdict::Failed,
    };
    let program = subject.argv.join(" ");
    let check = Check::new("start", format!("starts: {program}"), verdict)
        .says(outcome(done))
        .took(done.millis);
    if verdict == Verdict::Passed {
        return check;
    }
    let check = match plain.program.as_ref().and_then(last_words) {
        Some(said) => check.says(said),
        None => check,
    };
    let check = match done.ended {
        // The loader's own words are in the checks of the image's files.
        Ended::NotStarted(_) => check.says("see `missing` for what its file needs"),
        _ => check,
    };
    subject.explain(check, plain)
}

/// What it looked for and did not get, where it works all the same.
pub(super) fn looked_for(subject: &Subject<'_>, first: &First) -> Check {
    let new = |verdict| Check::new("observed", "what it looked for", verdict);
    if let Some(why) = &first.record.blind {
        return new(Verdict::Skipped).says(format!("it could not be observed: {why}"));
    }
    let found: Vec<_> = subject
        .reasons(&first.record)
        .into_iter()
        .filter(|reason| !reason.vague)
        .collect();
    if found.is_empty() {
        return new(Verdict::Passed).says("it got all that it asked for, as far as is known");
    }
    subject.told(new(Verdict::Warned), found)
}

/// Who it is, inside and outside.
pub(super) fn user(subject: &Subject<'_>, first: &First) -> Check {
    let identity = &first.record.identity;
    let (uid, gid) = (identity.uid, identity.gid);
    let outside = session_id(&identity.maps[0], uid).and_then(|id| subject.outside(id));
    let host = match outside {
        Some(id) if id == subject.here.uid => format!("on this machine as you ({id})"),
        Some(id) => format!("on this machine as user {id}"),
        None => "on this machine as a user that is not known".to_owned(),
    };
    let home = match identity.home_writable {
        Some(true) => "its home directory can be written",
        Some(false) => "its home directory cannot be written",
        None => "it has no HOME",
    };
    let groups = identity.groups.iter().filter(|group| **group != gid);
    let groups: Vec<String> = groups.map(ToString::to_string).collect();
    let groups = match groups.is_empty() {
        true => String::new(),
        false => format!(", with the groups {}", groups.join(", ")),
    };
    let said = format!("runs as {uid}:{gid}{groups}, {host}; {home}");
    let declared = &subject.opened.image.config().config.user;
    let numeric = declared.split(':').all(|part| part.parse::<u32>().is_ok());
    let check = |verdict| Check::new("user", "user", verdict).says(said.clone());
    match (uid, numeric) {
        (0, _) => check(Verdict::Warned)
            .says("it is root inside")
            .remedy("USER 65532:65532"),
        (_, false) => check(Verdict::Warned)
            .says(format!(
                "USER {declared} is a name: nothing can check that it is not root"
            ))
            .remedy(format!("USER {uid}:{gid}")),
        _ => check(Verdict::Passed),
    }
}

/// What the session calls an id, from lines of `INSIDE OUTSIDE COUNT`.
fn session_id(map: &str, id: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let place = id.checked_sub(inside)?;
        (place < count).then(|| outside + place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_the_kernels_maps() {
        let map = "         0          1      65532\n     65532          0          1\n";
        assert_eq!(session_id(map, 65532), Some(0));
        assert_eq!(session_id(map, 7), Some(8));
        assert_eq!(session_id(map, 65533), None);
    }
}
