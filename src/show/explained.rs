//! What the cache had for a step, in words. The invariant: a verdict is one line, and control characters in names are shown, not
//! obeyed.

use builder::{Cause, Change, Reason, Verdict, rfc3339};

/// How many characters of a key are shown.
const KEY: usize = 19;

/// A verdict as one line.
pub(super) fn line(verdict: &Verdict) -> String {
    let text = match verdict {
        Verdict::Hit { key, built, from } => {
            let when = built.map(|time| format!(", built {}", rfc3339(time)));
            let place = from.as_ref().map(|cache| format!(", from {cache}"));
            let key = key.get(..KEY).unwrap_or(key);
            let (when, place) = (when.unwrap_or_default(), place.unwrap_or_default());
            format!("cache hit: {key}{when}{place}")
        }
        Verdict::Miss { reasons } => {
            let reasons: Vec<String> = reasons.iter().map(reason).collect();
            format!("cache miss: {}", reasons.join("; "))
        }
        Verdict::Unknown { why } => format!("cache unknown: {why}"),
    };
    super::escape(&text).replace('\n', "\\n")
}

fn reason(reason: &Reason) -> String {
    let Reason {
        cause,
        name,
        change,
        old,
        new,
    } = reason;
    let subject = match cause {
        Cause::NoCache => return "--no-cache".to_owned(),
        Cause::NoCacheFilter => return "--no-cache-filter".to_owned(),
        Cause::CheckReproducible => return "--check-reproducible".to_owned(),
        Cause::NeverBuilt => return "never built here".to_owned(),
        Cause::Gone => return "its result was removed from the store".to_owned(),
        Cause::LayerOnly => {
            return "its result is there as a layer only, and the stage runs something now"
                .to_owned();
        }
        Cause::Parent if name.is_empty() => return "it is the first step now".to_owned(),
        Cause::Parent => return format!("the step before it differs: {name}"),
        Cause::MoreFiles => return format!("and {name} files more"),
        Cause::Other => return "something about the step changed".to_owned(),
        Cause::Base => "the base image".to_owned(),
        Cause::Owners => "how owners are stored (with or without subordinate ids)".to_owned(),
        Cause::Times => "the epoch (of a flag, SOURCE_DATE_EPOCH or the commit)".to_owned(),
        Cause::Command => "the command".to_owned(),
        Cause::Shell => "SHELL".to_owned(),
        Cause::Network => "--network".to_owned(),
        Cause::User => "the user".to_owned(),
        Cause::Workdir => "the working directory".to_owned(),
        Cause::Env => format!("the variable {name}"),
        Cause::Arg => format!("the build argument {name}"),
        Cause::Mount => format!("the mount at {name}"),
        Cause::SecretVariable => format!("the secret variable {name}"),
        Cause::Flag => name.clone(),
        Cause::Sources => "the source or destination paths".to_owned(),
        Cause::Inline => format!("the heredoc {name}"),
        Cause::Fetched => format!("source {name}, which is fetched,"),
        Cause::Image => "the image that files are taken from".to_owned(),
        Cause::Stage => format!("the stage {name}"),
        Cause::File if name.is_empty() => "a file".to_owned(),
        Cause::File => format!("file {name}"),
    };
    let how = match change {
        Change::Added => "was added",
        Change::Removed => "was removed",
        Change::Changed => "changed",
        Change::Time => "has another time",
    };
    match (old, new) {
        (Some(old), Some(new)) => format!("{subject} {how} ({old} -> {new})"),
        _ => format!("{subject} {how}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cause: Cause, name: &str, change: Change) -> String {
        reason(&Reason {
            cause,
            name: name.into(),
            change,
            old: None,
            new: None,
        })
    }

    #[test]
    fn a_verdict_is_one_line() {
        let key = format!("sha256:{}", "ab".repeat(32));
        let hit = Verdict::Hit {
            key,
            built: Some(0),
            from: None,
        };
        assert_eq!(
            line(&hit),
            "cache hit: sha256:abababababab, built 1970-01-01T00:00:00Z"
        );
        let file = |name: &str| Reason {
            cause: Cause::File,
            name: name.into(),
            change: Change::Added,
            old: None,
            new: None,
        };
        let reasons = vec![file("a\n\u{1b}[2J"), file("b")];
        assert_eq!(
            line(&Verdict::Miss { reasons }),
            "cache miss: file a\\n\\u{1b}[2J was added; file b was added"
        );
    }

    #[test]
    fn reasons_name_their_subject() {
        assert_eq!(
            told(Cause::Env, "A", Change::Changed),
            "the variable A changed"
        );
        assert_eq!(
            told(Cause::File, "src/a", Change::Time),
            "file src/a has another time"
        );
        assert_eq!(
            told(Cause::Flag, "--chown", Change::Changed),
            "--chown changed"
        );
        let base = Reason {
            cause: Cause::Base,
            name: String::new(),
            change: Change::Changed,
            old: Some("x@sha256:1".into()),
            new: Some("x@sha256:2".into()),
        };
        assert_eq!(
            reason(&base),
            "the base image changed (x@sha256:1 -> x@sha256:2)"
        );
    }
}
