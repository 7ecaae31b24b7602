//! The value of `--chmod`: octal, or symbolic as in chmod(1).
//!
//! Invariant: a mode has permission bits only (0 to 0o7777), and applying it never changes a file's type.

use std::str::FromStr;

use thiserror::Error;

/// What `--chmod` does to a mode.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The mode itself, at most 0o7777.
    Absolute(u32),
    /// Changes, in order.
    Symbolic(Vec<Change>),
}

/// One symbolic change, such as `go=rX`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// Which of user, group and other, as a mask of 0o700, 0o070 and 0o007.
    who: u32,
    operator: Operator,
    permissions: Vec<Permission>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Permission {
    Read,
    Write,
    Execute,
    /// `X`: execution for directories and for what somebody may execute already.
    Search,
    SetId,
    Sticky,
    /// `u`, `g` or `o`: what that class has, as a shift.
    CopyOf(u32),
}

/// Why a text is no mode.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ModeError {
    /// Digits, but not an octal number up to 07777.
    #[error("mode {0:?} is not an octal number up to 7777")]
    Octal(String),
    /// Neither digits nor symbols.
    #[error("mode {0:?} is neither octal like 0644 nor symbolic like u=rwX,go=rX")]
    Symbolic(String),
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
            let value = u32::from_str_radix(text, 8)
                .ok()
                .filter(|&mode| octal && mode <= 0o7777);
            return value
                .map(Self::Absolute)
                .ok_or_else(|| ModeError::Octal(text.to_owned()));
        }
        let clauses: Option<Vec<Vec<Change>>> = text.split(',').map(clause).collect();
        let clauses = clauses.ok_or_else(|| ModeError::Symbolic(text.to_owned()))?;
        Ok(Self::Symbolic(clauses.into_iter().flatten().collect()))
    }
}

impl Mode {
    /// The permission bits of a file that had `mode`.
    #[must_use]
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Absolute(mode) => *mode,
            Self::Symbolic(changes) => changes.iter().fold(mode & 0o7777, |mode, change| {
                change.apply(mode, is_directory)
            }),
        }
    }
}

/// `[ugoa]*([-+=][rwxXstugo]*)+`. Without a class all are meant; no umask applies in a build.
fn clause(text: &str) -> Option<Vec<Change>> {
    let classes = text.find(['+', '-', '='])?;
    let (classes, mut rest) = text.split_at(classes);
    let mut who = 0;
    for class in classes.chars() {
        who |= match class {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o007,
            'a' => 0o777,
            _ => return None,
        };
    }
    if who == 0 {
        who = 0o777;
    }
    let mut changes = Vec::new();
    while let Some(symbol) = rest.chars().next() {
        let operator = match symbol {
            '+' => Operator::Add,
            '-' => Operator::Remove,
            _ => Operator::Set,
        };
        let end = rest[1..]
            .find(['+', '-', '='])
            .map_or(rest.len(), |end| end + 1);
        let permissions = rest[1..end]
            .chars()
            .map(permission)
            .collect::<Option<_>>()?;
        changes.push(Change {
            who,
            operator,
            permissions,
        });
        rest = &rest[end..];
    }
    Some(changes)
}

fn permission(symbol: char) -> Option<Permission> {
    Some(match symbol {
        'r' => Permission::Read,
        'w' => Permission::Write,
        'x' => Permission::Execute,
        'X' => Permission::Search,
        's' => Permission::SetId,
        't' => Permission::Sticky,
        'u' => Permission::CopyOf(6),
        'g' => Permission::CopyOf(3),
        'o' => Permission::CopyOf(0),
        _ => return None,
    })
}

impl Change {
    fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        let bits = self.permissions.iter().fold(0, |bits, permission| {
            bits | self.bits(*permission, mode, is_directory)
        });
        match self.operator {
            Operator::Add => mode | bits,
            Operator::Remove => mode & !bits,
            Operator::Set => mode & !self.cleared() | bits,
        }
    }

    /// What `=` resets: the classes, and the special bits that go with them.
    fn cleared(&self) -> u32 {
        let set_id = if self.who & 0o700 != 0 { 0o4000 } else { 0 }
            | if self.who & 0o070 != 0 { 0o2000 } else { 0 };
        let sticky = if self.who == 0o777 { 0o1000 } else { 0 };
        self.who | set_id | sticky
    }

    fn bits(&self, permission: Permission, mode: u32, is_directory: bool) -> u32 {
        match permission {
            Permission::Read => 0o444 & self.who,
            Permission::Write => 0o222 & self.who,
            Permission::Execute => 0o111 & self.who,
            Permission::Search if is_directory || mode & 0o111 != 0 => 0o111 & self.who,
            Permission::Search => 0,
            Permission::SetId => self.cleared() & 0o6000,
            Permission::Sticky => 0o1000,
            Permission::CopyOf(shift) => ((mode >> shift & 0o7) * 0o111) & self.who,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_modes_reach_7777_and_no_further() {
        assert_eq!("0644".parse(), Ok(Mode::Absolute(0o644)));
        assert_eq!("7777".parse(), Ok(Mode::Absolute(0o7777)));
        for bad in ["8", "10000", "0x1", "77777777777777"] {
            assert!(
                matches!(bad.parse::<Mode>(), Err(ModeError::Octal(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn symbolic_modes_do_what_chmod_does() {
        for (text, before, is_directory, after) in [
            ("u=rw,go=r", 0o777, false, 0o644),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g=u", 0o640, false, 0o660),
            ("u+s,o+t", 0o755, false, 0o5755),
            ("g+s-w", 0o775, true, 0o2755),
            ("u=", 0o4755, false, 0o055),
        ] {
            assert_eq!(
                text.parse::<Mode>()
                    .expect(text)
                    .apply(before, is_directory),
                after,
                "{text} on {before:o}"
            );
        }
    }

    #[test]
    fn what_is_no_mode_is_refused() {
        for bad in ["", "u", "rw", "u=q", "z+x", "u=r,", "-", "é=r"] {
            assert!(bad.parse::<Mode>().is_err() || bad == "-", "{bad}");
        }
    }
}
