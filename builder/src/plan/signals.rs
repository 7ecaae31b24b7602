//! The signals of Linux by name. Invariant: what is accepted here, moby's `signal.ParseSignal` accepts too.

/// signal(7), with the synonyms that moby/sys/signal knows.
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Whether a text names a signal: 1 to 64, or a name with or without `SIG`, in any case; `RTMIN+1` to `RTMAX-1` too.
pub(super) fn is_signal(text: &str) -> bool {
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return text
            .parse()
            .is_ok_and(|number: u8| (1..=64).contains(&number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |rest: &str, limit: u8| {
        let plain = rest.bytes().all(|byte| byte.is_ascii_digit()) && !rest.starts_with('0');
        plain
            && rest
                .parse()
                .is_ok_and(|number: u8| (1..=limit).contains(&number))
    };
    if let Some(rest) = name.strip_prefix("RTMIN+") {
        return offset(rest, 15);
    }
    if let Some(rest) = name.strip_prefix("RTMAX-") {
        return offset(rest, 14);
    }
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn signals_are_names_or_numbers() {
        for good in [
            "TERM",
            "SIGQUIT",
            "sigterm",
            "15",
            "1",
            "64",
            "RTMIN",
            "SIGRTMIN+15",
            "RTMAX-14",
            "SIGRTMAX",
        ] {
            assert!(is_signal(good), "{good}");
        }
        for bad in [
            "",
            "0",
            "65",
            "-9",
            "SIG",
            "SIGFOO",
            "9x",
            "RTMIN+16",
            "RTMIN+",
            "RTMAX-15",
            "TERM ",
            "SIGSIGTERM",
        ] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
