//! RB901: keep-id for a user whom the image does not have.

use super::prelude::*;
use crate::ast::Span;
use crate::lint::Options;
use crate::lint::quadlet::Unit;
use crate::lint::view::View as Image;
use crate::parse::parse;
use crate::source::Source;
use crate::user::Id;

pub(super) const RULE: Rule = Rule {
    id: "RB901",
    aliases: &[],
    severity: Severity::Warning,
    title: "UserNS=keep-id without uid= for an image with a USER of its own",
    why: "keep-id alone gives you, in the container, the number that you have outside. A process with another one, by `User=`, is a subordinate \
id and cannot read your directories; and where podman starts the image as you instead of as its USER, the files of the image are another user's. \
`keep-id:uid=U,gid=G` makes you the image's own user. The USER is read from a Containerfile beside the unit, if there is one.",
    bad: unit!("UserNS=keep-id\nUser=65532\nGroup=65532"),
    good: unit!("UserNS=keep-id:uid=65532,gid=65532\nUser=65532\nGroup=65532"),
    check: None,
};

/// Numbers from here on people have; smaller ones services (login.defs(5)), and those from 60000 on nobody.
const PEOPLE: std::ops::Range<u32> = 1000..60000;

pub(super) fn check_unit(unit: &Unit<'_>, found: &mut Findings) {
    let Some(entry) = unit.last(unit.kind, "UserNS") else {
        return;
    };
    let value = entry.value();
    let (mode, options) = value.split_once(':').unwrap_or((&value, ""));
    if mode != "keep-id" || options.contains("uid=") {
        return;
    }
    let set = unit.last(unit.kind, "User").map(|user| user.value());
    let group = unit.last(unit.kind, "Group").map(|group| group.value());
    if let Some(user) = set {
        let (user, own_group) = match user.split_once(':') {
            Some((user, group)) => (user.to_owned(), Some(group.to_owned())),
            None => (user, None),
        };
        let Id::Number(number @ 1..) = Id::parse(&user) else {
            return;
        };
        let group = own_group.or(group).unwrap_or_else(|| user.clone());
        if !PEOPLE.contains(&number) {
            let message =
                format!("User={user} is a subordinate id here, and cannot read what is yours");
            let right = format!("keep-id:uid={user},gid={group}");
            found
                .add(entry.value_span(), message)
                .help(format!("write UserNS={right}"))
                .fix(entry.value_span(), right);
        }
        return;
    }
    user_beside(unit.options, entry.value_span(), found);
}

/// The USER that a Containerfile beside the unit ends with.
fn user_beside(options: &Options, span: Span, found: &mut Findings) {
    let beside = options
        .neighbours
        .iter()
        .find(|file| matches!(file.file_name(), "Containerfile" | "Dockerfile"));
    let Some(file) = beside else {
        return;
    };
    let source = Source::new(file.name.as_str(), &*file.text);
    let parsed = parse(&source);
    let none = Options::default();
    let image = Image::of(&source, &parsed.file, &none);
    let Some(user) = image.known_final_user() else {
        return;
    };
    let (name, group) = user.parts();
    if let Id::Number(1..) = Id::parse(name) {
        let group = group.unwrap_or(name);
        let message = format!(
            "the image of {} has USER {}, and keep-id alone gives you another number",
            file.name, user.value.text
        );
        found
            .add(span, message)
            .help(format!("write UserNS=keep-id:uid={name},gid={group}"));
    }
}
