//! Which words about licences are SPDX licence expressions (SPDX 2.3, annex D).
//!
//! Invariant: what is not surely one counts as none; then the words are told as words.

/// The identifiers of the SPDX licence list that package databases use most. A rarer one is told as words, which is less, not wrong.
const KNOWN: [&str; 83] = [
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0-Perl",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-2-Clause-Patent",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSD-4-Clause-UC",
    "BSD-Source-Code",
    "BSL-1.0",
    "bzip2-1.0.6",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDDL-1.0",
    "CDDL-1.1",
    "CECILL-2.1",
    "CPL-1.0",
    "curl",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.2",
    "FSFAP",
    "FSFUL",
    "FSFULLR",
    "FTL",
    "GFDL-1.1-or-later",
    "GFDL-1.2-or-later",
    "GFDL-1.3-only",
    "GFDL-1.3-or-later",
    "GPL-1.0-only",
    "GPL-1.0-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "IJG",
    "ISC",
    "JSON",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "Libpng",
    "libtiff",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-1.1",
    "MPL-2.0",
    "MS-PL",
    "NCSA",
    "NTP",
    "OFL-1.1",
    "OLDAP-2.8",
    "OpenSSL",
    "PHP-3.01",
    "PostgreSQL",
    "PSF-2.0",
    "Python-2.0",
    "Ruby",
    "SSH-OpenSSH",
    "TCL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Vim",
    "X11",
    "Zlib",
    "ZPL-2.1",
];

const EXCEPTIONS: [&str; 9] = [
    "Autoconf-exception-3.0",
    "Bison-exception-2.2",
    "Classpath-exception-2.0",
    "Font-exception-2.0",
    "GCC-exception-3.1",
    "Libtool-exception",
    "Linux-syscall-note",
    "LLVM-exception",
    "OpenSSL-exception",
];

/// What a word of an expression can be followed by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Licence,
    Exception,
    Operator,
}

/// Whether a text is an expression of known licences.
pub(super) fn is_expression(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut awaited, mut depth) = (Awaited::Licence, 0_u32);
    for word in spaced.split_whitespace() {
        awaited = match (awaited, word) {
            (Awaited::Licence, "(") => {
                depth += 1;
                Awaited::Licence
            }
            (Awaited::Operator, ")") if depth > 0 => {
                depth -= 1;
                Awaited::Operator
            }
            (Awaited::Operator, "AND" | "OR") => Awaited::Licence,
            (Awaited::Operator, "WITH") => Awaited::Exception,
            (Awaited::Licence, word) if KNOWN.contains(&word) => Awaited::Operator,
            (Awaited::Exception, word) if EXCEPTIONS.contains(&word) => Awaited::Operator,
            _ => return false,
        };
    }
    awaited == Awaited::Operator && depth == 0
}

#[cfg(test)]
mod tests {
    use super::is_expression;

    #[test]
    fn only_expressions_of_known_licences_are_expressions() {
        for text in [
            "MIT",
            "GPL-2.0-only AND (MIT OR BSD-3-Clause)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_expression(text), "{text}");
        }
        for text in [
            "",
            "GPLv2+",
            "MIT custom",
            "MIT AND",
            "(MIT",
            "MIT)",
            "MIT WITH MIT",
            "OR MIT",
        ] {
            assert!(!is_expression(text), "{text}");
        }
    }
}
