//! Who a `USER` or `--chown` means, according to the image's own passwd and group files.
//!
//! Invariant: a number is exactly that number or an error, and only `0` or a name that the image maps to 0 gives uid 0 (S43).
//! The files are opened inside the tree, must be regular and small (S42).

use std::io::Read as _;

use thiserror::Error;

use crate::ownership::OwnerId;
use crate::path::{TreePath, escape};
use crate::tree::{Tree, TreeError};

/// Larger account files are refused.
const FILE_MAX: u64 = 1 << 20;

/// Why a user or group is not known.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The tree could not be looked at.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Too large to be an account file.
    #[error("read '{path}': it is larger than 1 MiB")]
    TooLarge {
        /// The file.
        path: TreePath,
    },
    /// The file stopped in the middle.
    #[error("read '{path}'")]
    Read {
        /// The file.
        path: TreePath,
        /// Why.
        source: std::io::Error,
    },
    /// Not `user[:group]` with names or decimal numbers.
    #[error("understand the user '{text}': {problem}")]
    Malformed {
        /// What was given.
        text: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No such line.
    #[error("find the {what} '{name}' in {file} of the image; use its number instead")]
    Unknown {
        /// User or group.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
}

/// A line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    name: Vec<u8>,
    uid: OwnerId,
    gid: OwnerId,
    home: Vec<u8>,
}

/// A line of group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    gid: OwnerId,
    members: Vec<Vec<u8>>,
}

/// The accounts of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

/// What a user specification means in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: OwnerId,
    /// Primary group.
    pub gid: OwnerId,
    /// Supplementary groups, the primary one among them; sorted (S44).
    pub groups: Vec<OwnerId>,
    /// Home directory, when passwd has one.
    pub home: Option<Vec<u8>>,
    /// The user's name, when passwd has one.
    pub name: Option<Vec<u8>>,
}

impl Accounts {
    /// Reads /etc/passwd and /etc/group; a file that is missing has no accounts.
    pub fn of(tree: &dyn Tree) -> Result<Self, AccountError> {
        let users = read(tree, "etc/passwd")?;
        let groups = read(tree, "etc/group")?;
        Ok(Self {
            users: lines(&users).filter_map(user).collect(),
            groups: lines(&groups).filter_map(group).collect(),
        })
    }

    /// The lines of /etc/passwd: name, user id, group id.
    pub fn users(&self) -> impl Iterator<Item = (&[u8], OwnerId, OwnerId)> {
        let users = self.users.iter();
        users.map(|user| (user.name.as_slice(), user.uid, user.gid))
    }

    /// `user` or `user:group`, each a name or a number. A number needs no line; its group is then the line's, else 0.
    pub fn resolve_user(&self, text: &str) -> Result<Account, AccountError> {
        let (user, group) = split(text)?;
        let line = self.user(user, text)?;
        let (uid, line) = (line.0, line.1);
        let gid = match group {
            Some(group) => self.group(group, text)?,
            None => line.map_or(0, |line| line.gid),
        };
        let mut groups = vec![gid];
        // As Docker: a group that is given replaces the supplementary ones.
        if let (None, Some(line)) = (group, line) {
            groups.extend(
                self.groups
                    .iter()
                    .filter(|group| group.members.contains(&line.name))
                    .map(|group| group.gid),
            );
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Account {
            uid,
            gid,
            groups,
            home: line.map(|line| line.home.clone()),
            name: line.map(|line| line.name.clone()),
        })
    }

    /// A group's id, by its name or number.
    pub fn resolve_group(&self, text: &str) -> Result<OwnerId, AccountError> {
        let (group, more) = split(text)?;
        match more {
            None => self.group(group, text),
            Some(_) => Err(AccountError::Malformed {
                text: escape(text.as_bytes()),
                problem: "a group has no ':'",
            }),
        }
    }

    /// The highest id that any account has but `nobody`, whose number is chosen to be out of the way.
    pub fn highest(&self) -> OwnerId {
        let users = self.users.iter().filter(|user| user.name != b"nobody");
        let ids = users.flat_map(|user| [user.uid, user.gid]);
        let outcasts: [&[u8]; 2] = [b"nobody", b"nogroup"];
        let groups = self.groups.iter();
        let groups = groups.filter(|group| !outcasts.contains(&group.name.as_slice()));
        ids.chain(groups.map(|group| group.gid)).max().unwrap_or(0)
    }

    /// `--chown`: as [`resolve_user`](Self::resolve_user), but without a group it is the same number as the user.
    pub fn resolve_owner(&self, text: &str) -> Result<(OwnerId, OwnerId), AccountError> {
        let (user, group) = split(text)?;
        let (uid, line) = self.user(user, text)?;
        let gid = match (group, number(user, text)?) {
            (Some(group), _) => self.group(group, text)?,
            (None, Some(number)) => number,
            (None, None) => line.map_or(uid, |line| line.gid),
        };
        Ok((uid, gid))
    }

    /// Whether a user has this id.
    pub fn has_user(&self, uid: OwnerId) -> bool {
        self.users.iter().any(|user| user.uid == uid)
    }

    /// Whether a user is called so.
    pub fn has_user_named(&self, name: &str) -> bool {
        self.users.iter().any(|user| user.name == name.as_bytes())
    }

    /// Whether a group has this id.
    pub fn has_group(&self, gid: OwnerId) -> bool {
        self.groups.iter().any(|group| group.gid == gid)
    }

    /// Whether a group is called so.
    pub fn has_group_named(&self, name: &str) -> bool {
        self.groups
            .iter()
            .any(|group| group.name == name.as_bytes())
    }

    /// Whether useradd(8) would take this for a name: at most 32 small letters, digits, `_` and `-`, a letter or `_` first.
    pub fn is_name(name: &str) -> bool {
        let first = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'_';
        let other = |byte: u8| first(&byte) || byte.is_ascii_digit() || byte == b'-';
        name.len() <= 32 && name.as_bytes().first().is_some_and(first) && name.bytes().all(other)
    }

    fn user(&self, user: &str, text: &str) -> Result<(OwnerId, Option<&User>), AccountError> {
        if let Some(uid) = number(user, text)? {
            return Ok((uid, self.users.iter().find(|line| line.uid == uid)));
        }
        match self.users.iter().find(|line| line.name == user.as_bytes()) {
            Some(line) => Ok((line.uid, Some(line))),
            // root is 0 in every image, even in one without files.
            None if user == "root" => Ok((0, None)),
            None => Err(AccountError::Unknown {
                what: "user",
                name: user.to_owned(),
                file: "/etc/passwd",
            }),
        }
    }

    fn group(&self, group: &str, text: &str) -> Result<OwnerId, AccountError> {
        if let Some(gid) = number(group, text)? {
            return Ok(gid);
        }
        match self
            .groups
            .iter()
            .find(|line| line.name == group.as_bytes())
        {
            Some(line) => Ok(line.gid),
            None if group == "root" => Ok(0),
            None => Err(AccountError::Unknown {
                what: "group",
                name: group.to_owned(),
                file: "/etc/group",
            }),
        }
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), AccountError> {
    let malformed = |problem| AccountError::Malformed {
        text: escape(text.as_bytes()),
        problem,
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() || group == Some("") {
        return Err(malformed("a name is empty"));
    }
    if group.is_some_and(|group| group.contains(':')) {
        return Err(malformed("more than one ':'"));
    }
    if text
        .chars()
        .any(|character| character.is_control() || character.is_whitespace())
    {
        return Err(malformed("blanks or control characters in a name"));
    }
    Ok((user, group))
}

/// A decimal id; a text that only looks like one is neither number nor name.
fn number(part: &str, text: &str) -> Result<Option<OwnerId>, AccountError> {
    let malformed = |problem| {
        Err(AccountError::Malformed {
            text: escape(text.as_bytes()),
            problem,
        })
    };
    if part.bytes().all(|byte| byte.is_ascii_digit()) {
        // 4294967295 is (uid_t)-1, which chown(2) and setresuid(2) understand as "leave it".
        return match part.parse::<u32>() {
            Ok(u32::MAX) | Err(_) => malformed("the number is no id (0 to 4294967294)"),
            Ok(id) if id.to_string() == part => Ok(Some(id)),
            Ok(_) => malformed("the number has leading zeros"),
        };
    }
    match part.as_bytes() {
        [b'0'..=b'9' | b'+' | b'-', ..] => malformed("it begins like a number but is none"),
        _ => Ok(None),
    }
}

fn read(tree: &dyn Tree, path: &str) -> Result<Vec<u8>, AccountError> {
    let named = TreePath::scoped(path).map_err(TreeError::from)?;
    let Some((real, meta)) = tree.lookup(&named)? else {
        return Ok(Vec::new());
    };
    if meta.size > FILE_MAX {
        return Err(AccountError::TooLarge { path: named });
    }
    let mut data = Vec::new();
    let file = tree.open(&real)?;
    file.content
        .take(FILE_MAX + 1)
        .read_to_end(&mut data)
        .map_err(|source| AccountError::Read {
            path: named.clone(),
            source,
        })?;
    if data.len() as u64 > FILE_MAX {
        Err(AccountError::TooLarge { path: named })
    } else {
        Ok(data)
    }
}

fn lines(data: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    data.split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == b':').collect())
}

/// A line that does not parse is no account, as in glibc.
fn user(fields: Vec<&[u8]>) -> Option<User> {
    match fields.as_slice() {
        [name, _, uid, gid, _, home, ..] if !name.is_empty() => Some(User {
            name: name.to_vec(),
            uid: id(uid)?,
            gid: id(gid)?,
            home: home.to_vec(),
        }),
        _ => None,
    }
}

fn group(fields: Vec<&[u8]>) -> Option<Group> {
    match fields.as_slice() {
        [name, _, gid, members, ..] if !name.is_empty() => {
            let members = members
                .split(|byte| *byte == b',')
                .filter(|name| !name.is_empty())
                .map(<[u8]>::to_vec)
                .collect();
            Some(Group {
                name: name.to_vec(),
                gid: id(gid)?,
                members,
            })
        }
        _ => None,
    }
}

fn id(field: &[u8]) -> Option<OwnerId> {
    let text = std::str::from_utf8(field)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n1000:x:0:0::/evil:/bin/sh\nbroken:x:-1:0::/:\n";
        let group = b"root:x:0:\napp:x:1001:\naudio:x:29:app,other\nvideo:x:44:app\n";
        Accounts {
            users: lines(passwd).filter_map(user).collect(),
            groups: lines(group).filter_map(self::group).collect(),
        }
    }

    #[test]
    fn s44_groups_are_the_images_and_the_primary_one() {
        let account = accounts().resolve_user("app").expect("known");
        assert_eq!(
            (account.uid, account.gid, account.groups),
            (1000, 1001, vec![29, 44, 1001])
        );
        assert_eq!(account.home, Some(b"/home/app".to_vec()));
        assert_eq!(
            accounts().resolve_user("app:audio").expect("known").groups,
            [29]
        );
        assert_eq!(
            accounts().resolve_user("4242").expect("a number").groups,
            [0]
        );
    }

    #[test]
    fn s43_odd_users_are_exact_or_refused_and_never_root() {
        for text in [
            "4294967295",
            "4294967296",
            "-1",
            "0x0",
            "+0",
            " 0",
            "0 ",
            "1000:",
            ":0",
            "00",
            "1:2:3",
            "",
            "a\nb",
            "broken",
        ] {
            assert!(accounts().resolve_user(text).is_err(), "{text:?}");
        }
        assert_eq!(
            accounts().resolve_user("2147483648:0").expect("exact").uid,
            2_147_483_648
        );
        assert_eq!(
            accounts()
                .resolve_user("1000")
                .expect("the number, not the name")
                .uid,
            1000
        );
        assert_eq!(accounts().resolve_user("root").expect("known").uid, 0);
        assert_eq!(
            Accounts::default()
                .resolve_user("root")
                .expect("everywhere")
                .uid,
            0
        );
    }

    #[test]
    fn an_owner_without_a_group_has_its_own_number() {
        assert_eq!(
            accounts().resolve_owner("65532").expect("number"),
            (65_532, 65_532)
        );
        assert_eq!(accounts().resolve_owner("app").expect("name"), (1000, 1001));
        assert_eq!(accounts().resolve_owner("app:0").expect("both"), (1000, 0));
        let error = accounts()
            .resolve_owner("nobody")
            .expect_err("unknown")
            .to_string();
        assert!(error.contains("/etc/passwd"), "{error}");
    }
}
