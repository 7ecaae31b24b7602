//! The texts of an image's history, after BuildKit's. Invariant: they are only shown; nothing is decided by them.

/// `ENV` and `LABEL`.
pub(super) fn pairs(keyword: &str, values: &[(String, String)], legacy: bool) -> String {
    let between = if legacy { ' ' } else { '=' };
    let shown: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("{name}{between}{value}"))
        .collect();
    format!("{keyword} {}", shown.join(" "))
}

/// An entry of `ARG`.
pub(super) fn argument(name: &str, value: Option<&str>) -> String {
    value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"))
}

/// `RUN`: the arguments in effect, counted, in front of the command.
pub(super) fn run(args: &[(String, String)], command: &[String]) -> String {
    let mut words = vec!["RUN".to_owned()];
    if !args.is_empty() {
        words.push(format!("|{}", args.len()));
        words.extend(args.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend_from_slice(command);
    words.join(" ")
}

/// `CMD` and `ENTRYPOINT`: Go's `%q` of a list.
pub(super) fn command(keyword: &str, words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    format!("{keyword} [{}]", quoted.join(" "))
}

/// `VOLUME`, `EXPOSE` and `SHELL`: Go's `%v` of a list.
pub(super) fn list(keyword: &str, words: &[String]) -> String {
    format!("{keyword} [{}]", words.join(" "))
}
