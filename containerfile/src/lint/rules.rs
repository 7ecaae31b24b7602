//! The rules, one file for each. A new one is a file here, its name in the two lists below, its cases in `tests/lint/`, and
//! `RBUILD_BLESS=1 cargo test -p rbuild-containerfile --test lint` for its page.
//!
//! Invariant: the list is the only table of rules; ids are unique, and no alias is two rules'.

use super::rule::{Rule, UnitCheck};

/// An image by name and digest, for examples.
macro_rules! pinned {
    () => {
        "docker.io/library/debian:13@sha256:01a723bf5bfb21b9dda0c9a33e0538106e4d02cce8f557e118dd61259553d598"
    };
}

/// An example about a stage that only builds.
macro_rules! in_build {
    ($lines:expr) => {
        concat!(
            "FROM ",
            pinned!(),
            " AS build\n",
            $lines,
            "\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n"
        )
    };
}

/// An example about a distribution as the final image.
macro_rules! on_debian {
    ($lines:expr) => {
        concat!(
            "# rbuild ignore=RB201 the example is about something else\nFROM ",
            pinned!(),
            "\n",
            $lines,
            "\n"
        )
    };
}

/// An example about an image that is started.
macro_rules! service {
    ($lines:expr) => {
        concat!(
            "FROM scratch\nCOPY --chmod=555 app /app\nCOPY passwd /etc/passwd\nCOPY tmp /tmp\nUSER 65532:65532\n",
            $lines,
            "\n"
        )
    };
}

/// An example about a unit.
macro_rules! unit {
    ($lines:expr) => {
        concat!(
            "[Container]\nImage=registry.example/team/app:1\n",
            $lines,
            "\nNoNewPrivileges=true\nDropCapability=all\nReadOnly=true\n\n[Install]\nWantedBy=default.target\n"
        )
    };
}

/// What nearly every rule needs.
mod prelude {
    pub(super) use super::super::rule::{Findings, Rule};
    pub(super) use super::super::shell::ShellWord;
    pub(super) use super::super::view::{Certainty, Root, Step, View};
    pub(super) use super::{UNREADABLE, UNREASONED, UNUSED};
    pub(super) use crate::ast::InstructionKind;
    pub(super) use crate::diagnostics::Severity;
}

mod consistent_instruction_casing;
mod copy_ignored_file;
mod dl3003;
mod dl3009;
mod dl3010;
mod dl3014;
mod dl3015;
mod dl3019;
mod dl3020;
mod dl3021;
mod dl3022;
mod dl3023;
mod dl3026;
mod dl3027;
mod dl3040;
mod dl3042;
mod dl3044;
mod dl3045;
mod dl3046;
mod dl3048;
mod dl3049;
mod dl3050;
mod dl3051;
mod dl3052;
mod dl3060;
mod dl4005;
mod dl4006;
mod duplicate_stage_name;
mod empty_command;
mod expose_invalid_format;
mod expose_proto_casing;
mod from_as_casing;
mod from_platform_flag_const_disallowed;
mod invalid_default_arg_in_from;
mod invalid_definition_description;
mod json_args_recommended;
mod legacy_key_value_format;
mod maintainer_deprecated;
mod malformed_json_args;
mod multiple_instructions_disallowed;
mod no_empty_continuation;
mod rb000;
mod rb001;
mod rb002;
mod rb101;
mod rb102;
mod rb103;
mod rb104;
mod rb105;
mod rb106;
mod rb107;
mod rb108;
mod rb109;
mod rb110;
mod rb111;
mod rb112;
mod rb113;
mod rb201;
mod rb202;
mod rb203;
mod rb204;
mod rb205;
mod rb206;
mod rb207;
mod rb208;
mod rb209;
mod rb210;
mod rb211;
mod rb212;
mod rb301;
mod rb302;
mod rb303;
mod rb304;
mod rb401;
mod rb402;
mod rb403;
mod rb501;
mod rb502;
mod rb503;
mod rb504;
mod rb505;
mod rb601;
mod rb602;
mod rb603;
mod rb604;
mod rb605;
mod rb606;
mod rb607;
mod rb608;
mod rb609;
mod rb610;
mod rb701;
mod rb702;
mod rb703;
mod rb704;
mod rb705;
mod rb706;
mod rb707;
mod rb708;
mod rb709;
mod rb710;
mod rb801;
mod rb802;
mod rb803;
mod rb901;
mod rb902;
mod rb903;
mod rb904;
mod rb905;
mod redundant_target_platform;
mod reserved_stage_name;
mod stage_name_casing;
mod undefined_arg_in_from;
mod undefined_var;
mod workdir_relative_path;

macro_rules! rules {
    ($($rule:ident)*) => {
        /// Every rule; one that is missing here is dead code, which the compiler tells.
        pub(super) const ALL: &[&Rule] = &[$(&$rule::RULE),*];
    };
}

/// The rules that look at units of Quadlet.
pub(super) const OF_UNITS: &[(&Rule, UnitCheck)] = &[
    (&rb604::RULE, rb604::check_unit),
    (&rb901::RULE, rb901::check_unit),
    (&rb902::RULE, rb902::check_unit),
    (&rb903::RULE, rb903::check_unit),
    (&rb904::RULE, rb904::check_unit),
    (&rb905::RULE, rb905::check_unit),
];

/// What the parser cannot read.
pub(super) const UNREADABLE: &str = "RB000";

/// A comment that ignores nothing because of how it is written.
pub(super) const UNREASONED: &str = "RB001";

/// A comment that ignores nothing because there is nothing to ignore.
pub(super) const UNUSED: &str = "RB002";

rules! {
    rb000 rb001 rb002
    rb101 rb102 rb103 rb104 rb105 rb106 rb107 rb108 rb109 rb110 rb111 rb112 rb113
    rb201 rb202 rb203 rb204 rb205 rb206 rb207 rb208 rb209 rb210 rb211 rb212
    rb301 rb302 rb303 rb304
    rb401 rb402 rb403
    rb501 rb502 rb503 rb504 rb505
    rb601 rb602 rb603 rb604 rb605 rb606 rb607 rb608 rb609 rb610
    rb701 rb702 rb703 rb704 rb705 rb706 rb707 rb708 rb709 rb710
    rb801 rb802 rb803
    rb901 rb902 rb903 rb904 rb905
    stage_name_casing from_as_casing no_empty_continuation consistent_instruction_casing duplicate_stage_name reserved_stage_name
    json_args_recommended maintainer_deprecated undefined_arg_in_from workdir_relative_path undefined_var
    multiple_instructions_disallowed legacy_key_value_format redundant_target_platform invalid_default_arg_in_from
    from_platform_flag_const_disallowed copy_ignored_file invalid_definition_description expose_proto_casing
    expose_invalid_format malformed_json_args empty_command
    dl3003 dl3009 dl3010 dl3014 dl3015 dl3019 dl3020 dl3021 dl3022 dl3023 dl3026 dl3027 dl3040 dl3042 dl3044 dl3045 dl3046
    dl3048 dl3049 dl3050 dl3051 dl3052 dl3060 dl4005 dl4006
}
