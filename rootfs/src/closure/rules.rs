//! What programs open by themselves, as data: which programs, which files, and why. `rules/*.rule` are built in; users have their own.
//!
//! ```text
//! rule NAME
//! why  TEXT                           one line
//! when file GLOB                      something that is copied or needed is there
//! when library GLOB                   a library of this file name is needed
//! when imports SYMBOL...              a program or library uses one of these functions
//! when program imports SYMBOL...      a program that is copied does
//! when env NAME                       the variable is set: its value is {arg}
//! unless file GLOB                    and nothing that is copied is there
//! add GLOB                            these files, with what they need; ** at the end is everything below
//! load NAME                           this library, as the loader finds it
//! nss FILE                            the file, and the modules that it names
//! locale NAME                         the directory of this locale
//! ```
//!
//! Invariant: a rule is read whole or refused with its line; one without `when` is for those who name it. Of rules with one name the
//! last counts.

use std::collections::BTreeSet;

use crate::path::TreePath;

const BUILT_IN: [&str; 23] = [
    include_str!("rules/fonts.rule"),
    include_str!("rules/gcc.rule"),
    include_str!("rules/gconv.rule"),
    include_str!("rules/git.rule"),
    include_str!("rules/gnupg.rule"),
    include_str!("rules/graphics.rule"),
    include_str!("rules/locale.rule"),
    include_str!("rules/lua.rule"),
    include_str!("rules/nginx.rule"),
    include_str!("rules/node.rule"),
    include_str!("rules/nss.rule"),
    include_str!("rules/openssl.rule"),
    include_str!("rules/pam.rule"),
    include_str!("rules/perl.rule"),
    include_str!("rules/php.rule"),
    include_str!("rules/plugins.rule"),
    include_str!("rules/python.rule"),
    include_str!("rules/ruby.rule"),
    include_str!("rules/servers.rule"),
    include_str!("rules/ssh.rule"),
    include_str!("rules/terminfo.rule"),
    include_str!("rules/tzdata.rule"),
    include_str!("rules/zsh.rule"),
];

/// When a rule is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    File(String),
    Library(String),
    Imports(Vec<Vec<u8>>),
    ProgramImports(Vec<Vec<u8>>),
    Variable(String),
}

/// What a rule adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Addition {
    Files(String),
    Library(String),
    Nss(String),
    Locale(String),
}

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) why: String,
    pub(super) when: Vec<Trigger>,
    pub(super) unless: Vec<String>,
    pub(super) adds: Vec<Addition>,
}

/// A line of a rule file that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read rules: line {line}: {problem}")]
pub struct RuleError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

/// Rules, each with its own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    pub(super) rules: Vec<Rule>,
}

impl RuleSet {
    /// Those of rbuild.
    pub fn built_in() -> Self {
        let mut set = Self::default();
        for text in BUILT_IN {
            // A test reads all of them.
            let _ = set.add(text);
        }
        set
    }

    /// The text of all built-in rules, by which a change of them shows.
    pub fn built_in_text() -> String {
        BUILT_IN.concat()
    }

    /// Adds the rules of a text; one with a name that is known replaces that.
    ///
    /// # Errors
    /// The first line that cannot be understood. Nothing is added then.
    pub fn add(&mut self, text: &str) -> Result<(), RuleError> {
        for rule in read(text)? {
            self.rules.retain(|known| known.name != rule.name);
            self.rules.push(rule);
        }
        Ok(())
    }

    /// Whether there is a rule of this name; what stands behind a `:` is its argument.
    pub fn knows(&self, name: &str) -> bool {
        let name = name.split(':').next().unwrap_or_default();
        self.rules.iter().any(|rule| rule.name == name)
    }

    /// The variables of the environment that rules ask for, in order.
    pub fn variables(&self) -> BTreeSet<&str> {
        let triggers = self.rules.iter().flat_map(|rule| &rule.when);
        let names = triggers.filter_map(|trigger| match trigger {
            Trigger::Variable(name) => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }

    /// The names of the rules and what each is for.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let rules = self.rules.iter();
        rules.map(|rule| (rule.name.as_str(), rule.why.as_str()))
    }
}

fn read(text: &str) -> Result<Vec<Rule>, RuleError> {
    let mut rules: Vec<Rule> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        line_of(line, &mut rules).map_err(|problem| RuleError {
            line: number + 1,
            problem,
        })?;
    }
    let incomplete = rules
        .iter()
        .find(|rule| rule.why.is_empty() || rule.adds.is_empty());
    match incomplete {
        Some(rule) => Err(RuleError {
            line: text.lines().count(),
            problem: format!("rule {} has no `why`, or adds nothing", rule.name),
        }),
        None => Ok(rules),
    }
}

fn line_of(line: &str, rules: &mut Vec<Rule>) -> Result<(), String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    if rest.is_empty() {
        return Err(format!("nothing follows {word:?}"));
    }
    if word == "rule" {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !rest.bytes().all(fits) {
            return Err(format!("{rest:?} is no name"));
        }
        rules.push(Rule {
            name: rest.to_owned(),
            ..Rule::default()
        });
        return Ok(());
    }
    let rule = rules.last_mut().ok_or("no `rule` is above it")?;
    match word {
        "why" => rule.why = rest.to_owned(),
        "when" => rule.when.push(trigger(rest)?),
        "unless" => match rest.strip_prefix("file ") {
            Some(glob) => rule.unless.push(checked(glob.trim())?),
            None => return Err("`unless` is followed by `file GLOB`".to_owned()),
        },
        "add" => rule.adds.push(Addition::Files(absolute(rest)?)),
        "load" => rule.adds.push(Addition::Library(rest.to_owned())),
        "nss" => rule.adds.push(Addition::Nss(absolute(rest)?)),
        "locale" => rule.adds.push(Addition::Locale(rest.to_owned())),
        other => return Err(format!("{other:?} means nothing")),
    }
    Ok(())
}

fn trigger(text: &str) -> Result<Trigger, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let symbols = |text: &str| {
        let words = text.split_whitespace();
        words.map(|word| word.as_bytes().to_vec()).collect()
    };
    match (word, rest.trim()) {
        (_, "") => Err(format!("nothing follows {word:?}")),
        ("file", glob) => Ok(Trigger::File(checked(glob)?)),
        ("library", glob) => Ok(Trigger::Library(glob.to_owned())),
        ("imports", names) => Ok(Trigger::Imports(symbols(names))),
        ("program", names) => match names.strip_prefix("imports ") {
            Some(names) => Ok(Trigger::ProgramImports(symbols(names))),
            None => Err("`program` is followed by `imports`".to_owned()),
        },
        ("env", name) => Ok(Trigger::Variable(name.to_owned())),
        _ => Err(format!("there is no {word:?} to wait for")),
    }
}

fn checked(glob: &str) -> Result<String, String> {
    match glob.starts_with('/') || glob.starts_with("**/") {
        true => Ok(glob.to_owned()),
        false => Err(format!("{glob:?} begins neither with / nor with **/")),
    }
}

fn absolute(glob: &str) -> Result<String, String> {
    match glob.starts_with('/') {
        true => Ok(glob.to_owned()),
        false => Err(format!("{glob:?} does not begin with /")),
    }
}

/// Whether a path fits: `*` and `?` inside of a name, `**/` in front of any directories, `/**` at the end for all below.
pub(super) fn fits(glob: &str, path: &TreePath) -> bool {
    let names: Vec<&[u8]> = path.components().collect();
    if let Some(rest) = glob.strip_prefix("**/") {
        let parts: Vec<&str> = rest.split('/').collect();
        return parts.len() <= names.len()
            && names_fit(&parts, &names[names.len() - parts.len()..]);
    }
    let parts: Vec<&str> = glob.split('/').filter(|part| !part.is_empty()).collect();
    match parts.split_last() {
        Some((&"**", parts)) => {
            names.len() > parts.len() && names_fit(parts, &names[..parts.len()])
        }
        _ => parts.len() == names.len() && names_fit(&parts, &names),
    }
}

fn names_fit(parts: &[&str], names: &[&[u8]]) -> bool {
    let mut pairs = parts.iter().zip(names);
    pairs.all(|(part, name)| name_fits(part.as_bytes(), name))
}

/// One name; a star is tried at the latest one only, so that no pattern takes more than the product of the two lengths.
pub(super) fn name_fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                Some((place, tried)) => {
                    star = Some((place, tried + 1));
                    at = place + 1;
                    in_name = tried + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_rule_can_be_read_and_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for text in BUILT_IN {
            names.extend(read(text).expect("rules").into_iter().map(|rule| rule.name));
        }
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(RuleSet::built_in().rules.len(), all);
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/closure/rules");
        let files = std::fs::read_dir(directory).expect("the rules").count();
        assert_eq!(files, BUILT_IN.len(), "a rule file is not built in");
    }

    #[test]
    fn every_rule_is_in_the_documentation_with_its_reason() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/closure.md");
        let page = std::fs::read_to_string(page).expect("the page");
        for (name, why) in RuleSet::built_in().names() {
            let row = format!("| `{name}` | {why} |");
            assert!(page.contains(&row), "docs/closure.md lacks {row}");
        }
    }

    #[test]
    fn a_line_that_means_nothing_is_refused_with_its_number() {
        for (text, line, problem) in [
            ("why x", 1, "no `rule` is above it"),
            ("rule a b", 1, "\"a b\" is no name"),
            (
                "rule a\n\nwhen moon full",
                3,
                "there is no \"moon\" to wait for",
            ),
            ("rule a\nadd usr/x", 2, "\"usr/x\" does not begin with /"),
            (
                "rule a\nwhen file x",
                2,
                "\"x\" begins neither with / nor with **/",
            ),
            ("rule a\nad /x", 2, "\"ad\" means nothing"),
            ("rule a\nadd", 2, "nothing follows \"add\""),
            ("rule a\nadd /x", 2, "rule a has no `why`, or adds nothing"),
        ] {
            let problem = problem.to_owned();
            assert_eq!(read(text), Err(RuleError { line, problem }), "{text}");
        }
    }

    #[test]
    fn a_later_rule_replaces_an_earlier_one_of_its_name() {
        let mut set = RuleSet::built_in();
        let before = set.rules.len();
        set.add("rule git\nwhy mine\nadd /x\n").expect("a rule");
        set.add("rule mine\nwhy mine\nadd /x\n").expect("a rule");
        assert_eq!(set.rules.len(), before + 1);
        assert!(set.knows("mine") && set.knows("locale:de_DE") && !set.knows("gitt"));
        assert!(
            set.names()
                .any(|(name, why)| (name, why) == ("git", "mine"))
        );
    }

    #[test]
    fn globs_fit_whole_paths() {
        let path = |text: &str| TreePath::clamped(text).expect("a path");
        for (glob, fitting, others) in [
            ("**/bin/git", "/usr/bin/git", "/usr/bin/git-lfs"),
            ("**/bin/python3*", "/opt/bin/python3.11", "/opt/python3"),
            (
                "/usr/lib/*/gconv/**",
                "/usr/lib/x/gconv/a/b",
                "/usr/lib/x/gconv",
            ),
            ("/a/?c*d", "/a/bcxd", "/a/bxd"),
            ("/a/**", "/a/b", "/ab"),
        ] {
            assert!(fits(glob, &path(fitting)), "{glob} {fitting}");
            assert!(!fits(glob, &path(others)), "{glob} {others}");
        }
        assert!(!name_fits(b"*a*a*a*a*a*b", &[b'a'; 4096]));
    }
}
