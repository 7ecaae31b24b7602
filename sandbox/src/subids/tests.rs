//! Edited copies of the account files, and what is made of them (F35 of the failure list).

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use super::*;

const ALICE: u32 = 1000;
const INITIAL: &str = "         0          0 4294967295\n";

struct Etc(TempDir);

impl Etc {
    fn new(subuid: &str, subgid: &str) -> Self {
        let etc = Self(TempDir::new().unwrap());
        etc.write("passwd", "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001:::\n");
        etc.write("subuid", subuid);
        etc.write("subgid", subgid);
        etc
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn sources(&self) -> SubIdSources {
        SubIdSources::in_etc(self.0.path(), &[self.0.path().join("bin")])
    }

    /// A program for the search path. Another process writes it: a descriptor of this one could be open for writing in a
    /// child that a parallel test is just forking, and executing the file would be ETXTBSY.
    fn program(&self, name: &str, script: &str) {
        let bin = self.0.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let file = bin.join(name);
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let status = Command::new("sh")
            .args(["-c", write, "sh", script])
            .arg(&file)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

fn alice(subuid: &str) -> Result<SubIds, SubIdError> {
    Etc::new(subuid, "alice:100000:65536\n")
        .sources()
        .look_up(ALICE)
}

fn range(start: u32, count: u32) -> SubIdRange {
    SubIdRange { start, count }
}

/// The message without the temporary directory.
fn message(error: &SubIdError) -> String {
    let text = error.to_string();
    text.split(' ')
        .map(|word| {
            if word.contains("/tmp") {
                word.rsplit('/').next().unwrap()
            } else {
                word
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn entries_by_name_and_by_uid_count_and_others_do_not() {
    let text = "# ids\n\nbob:1000:5\nalice:200000:10\n1000:100000:65536\n  alice:300000:1 \n";
    let expected = vec![
        range(100_000, 65_536),
        range(200_000, 10),
        range(300_000, 1),
    ];
    assert_eq!(ranges_for("alice", ALICE, text), expected);
}

#[test]
fn overlapping_and_adjacent_ranges_of_one_account_are_joined() {
    let text =
        "alice:100000:100\nalice:100050:100\nalice:100150:50\nalice:100400:1\nalice:100010:5\n";
    assert_eq!(
        ranges_for("alice", ALICE, text),
        vec![range(100_000, 200), range(100_400, 1)]
    );
}

#[test]
fn malformed_lines_are_named_and_skipped() {
    let text = "alice\nalice:1\nalice:x:1\nalice:1:0\nalice:4294967290:6\n:1:2\nalice:1:99999999999\nalice:1:2:3\n";
    let flaws: Vec<(usize, Flaw)> = entries(text)
        .map(|line| line.unwrap_err())
        .map(|bad| (bad.line, bad.flaw))
        .collect();
    let expected = [
        (1, Flaw::NotThreeFields),
        (2, Flaw::NotThreeFields),
        (3, Flaw::NotANumber),
        (4, Flaw::Empty),
        (5, Flaw::BeyondLastId),
        (6, Flaw::NotThreeFields),
        (7, Flaw::BeyondLastId),
        (8, Flaw::NotThreeFields),
    ];
    assert_eq!(flaws, expected);
    assert_eq!(ranges_for("alice", ALICE, text), vec![]);
}

#[test]
fn the_last_possible_range_ends_before_the_id_that_means_none() {
    assert_eq!(
        SubIdRange::new(4_294_967_294, 1).unwrap().last(),
        4_294_967_294
    );
    assert_eq!(SubIdRange::new(4_294_967_295, 1), Err(Flaw::BeyondLastId));
}

#[test]
fn the_first_free_range_avoids_entries_and_used_ids() {
    assert_eq!(first_free("", &[]), Some(range(100_000, NEEDED)));
    assert_eq!(
        first_free("a:100000:65536\nb:231072:65536\n", &[]),
        Some(range(165_536, NEEDED))
    );
    assert_eq!(
        first_free("b:150000:1\na:100000:10\n", &[150_005]),
        Some(range(150_006, NEEDED))
    );
    assert_eq!(first_free("a:1:4294967293\n", &[]), None);
}

#[test]
fn f35_a_sufficient_range_is_found() {
    let ids = alice("bob:165536:65536\nalice:100000:65536\n").unwrap();
    assert_eq!(
        ids,
        SubIds {
            uids: vec![range(100_000, 65_536)],
            gids: vec![range(100_000, 65_536)]
        }
    );
}

#[test]
fn f35_several_small_ranges_suffice_together() {
    assert_eq!(
        total(
            &alice("alice:100000:65000\nalice:200000:536\n")
                .unwrap()
                .uids
        ),
        65_536
    );
}

#[test]
fn f35_a_range_that_is_too_small_names_the_first_unmappable_id_and_a_free_line() {
    let error = alice("alice:100000:1000\nbob:101000:65536\n").unwrap_err();
    insta::assert_snapshot!(message(&error), @r"map image ids 0 to 65535: subuid gives alice only 1000 ids, so that uid 1000 is the first that cannot exist; add the line `alice:166536:65536`");
    assert_eq!(
        error.remedy().unwrap(),
        "sudo usermod --add-subuids 166536-232071 alice"
    );
}

#[test]
fn f35_no_range_names_the_file_and_the_line_to_add() {
    let error = alice("bob:100000:65536\n").unwrap_err();
    insta::assert_snapshot!(message(&error), @r"find a range for alice (uid 1000) in subuid; add the line `alice:165536:65536`");
    assert_eq!(
        error.remedy().unwrap(),
        "sudo usermod --add-subuids 165536-231071 alice"
    );
}

#[test]
fn f35_a_missing_file_grants_nothing() {
    let etc = Etc::new("", "alice:100000:65536\n");
    fs::remove_file(etc.0.path().join("subuid")).unwrap();
    assert!(matches!(
        etc.sources().look_up(ALICE),
        Err(SubIdError::NoRange { .. })
    ));
}

#[test]
fn f35_a_missing_subgid_entry_is_told_apart_from_subuid() {
    let error = Etc::new("alice:100000:65536\n", "")
        .sources()
        .look_up(ALICE)
        .unwrap_err();
    assert_eq!(
        error.remedy().unwrap(),
        "sudo usermod --add-subgids 100000-165535 alice"
    );
}

#[test]
fn f35_overlap_with_another_account_names_both_lines() {
    let error = alice("bob:100000:65536\nalice:165000:65536\n").unwrap_err();
    insta::assert_snapshot!(message(&error), @r"use line 2 of subuid: alice's ids 165000 to 230535 overlap with those of bob on line 1; replace it by `alice:230536:65536`");
    let remedy = error.remedy().unwrap();
    assert!(
        remedy.starts_with("sudo sed -i 2d ")
            && remedy.ends_with("--add-subuids 230536-296071 alice"),
        "{remedy}"
    );
}

#[test]
fn f35_another_name_of_the_same_uid_is_no_other_account() {
    let etc = Etc::new(
        "alice:100000:65536\nally:100000:65536\n1000:100000:65536\n",
        "alice:100000:65536\n",
    );
    etc.write("passwd", "alice:x:1000:1000:::\nally:x:1000:1000:::\n");
    assert!(etc.sources().look_up(ALICE).is_ok());
}

#[test]
fn f35_a_wrong_owner_that_resembles_the_account_is_pointed_out() {
    for owner in ["Alice", "alice@example.org", r"EXAMPLE\alice"] {
        let error = alice(&format!("bob:1:2\n{owner}:100000:65536\n")).unwrap_err();
        let expected = format!("(line 2 belongs to `{owner}`, not to `alice`)");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

#[test]
fn f35_a_numeric_owner_is_found_by_uid() {
    assert_eq!(
        alice("1000:100000:65536\n").unwrap().uids,
        vec![range(100_000, 65_536)]
    );
    assert!(matches!(
        alice("1001:100000:65536\n"),
        Err(SubIdError::NoRange { .. })
    ));
}

#[test]
fn f35_the_accounts_own_malformed_line_is_the_error() {
    let error = alice("bob:100000\nalice:100000:\n").unwrap_err();
    insta::assert_snapshot!(message(&error), @r"use line 2 of subuid, `alice:100000:`: start and count must be decimal numbers");
}

#[test]
fn f35_ranges_over_root_or_the_caller_are_refused() {
    for (text, flaw) in [
        ("alice:0:65536\n", Flaw::CoversRoot),
        ("alice:500:65536\n", Flaw::CoversCaller),
    ] {
        assert!(
            matches!(alice(text), Err(SubIdError::Malformed { flaw: found, .. }) if found == flaw),
            "{text}"
        );
    }
}

#[test]
fn a_file_without_final_newline_is_mended_by_a_line_of_its_own() {
    let remedy = alice("bob:100000:65536").unwrap_err().remedy().unwrap();
    assert!(
        remedy.starts_with("{ echo; echo alice:165536:65536; } | sudo tee -a "),
        "{remedy}"
    );
}

#[test]
fn an_account_that_only_nss_knows_is_asked_from_getent_and_mended_without_usermod() {
    let etc = Etc::new("", "");
    etc.program(
        "getent",
        r#"[ "$*" = "passwd 70001" ] && echo 'carol@corp:x:70001:70001::/home/carol:/bin/sh'"#,
    );
    let error = etc.sources().look_up(70_001).unwrap_err();
    let remedy = error.remedy().unwrap();
    assert!(
        remedy.starts_with("echo carol@corp:100000:65536 | sudo tee -a "),
        "{remedy}"
    );
}

#[test]
fn a_uid_without_a_name_is_an_error_of_its_own() {
    let etc = Etc::new("70001:100000:65536\n", "");
    assert!(matches!(
        etc.sources().look_up(70_001),
        Err(SubIdError::UnknownUser { uid: 70_001, .. })
    ));
}

#[test]
fn ranges_that_only_nss_knows_are_asked_from_getsubids() {
    let etc = Etc::new("", "");
    etc.program(
        "getsubids",
        "case $1 in -g) echo '0: alice 300000 65536';; *) echo '0: alice 200000 65536';; esac",
    );
    let ids = etc.sources().look_up(ALICE).unwrap();
    assert_eq!(
        ids,
        SubIds {
            uids: vec![range(200_000, 65_536)],
            gids: vec![range(300_000, 65_536)]
        }
    );
}

#[test]
fn nsswitch_decides_that_the_files_do_not_count() {
    let etc = Etc::new("alice:100000:65536\n", "alice:100000:65536\n");
    etc.write("nsswitch.conf", "passwd: files sss\nsubid: sss # IPA\n");
    let error = etc.sources().look_up(ALICE).unwrap_err();
    assert_eq!(error.remedy().unwrap(), "ipa subid-generate --owner=alice");
    etc.program("getsubids", "echo '0: alice 2147483648 65536'");
    assert_eq!(
        etc.sources().look_up(ALICE).unwrap().uids,
        vec![range(2_147_483_648, 65_536)]
    );
}

#[test]
fn root_of_the_machine_takes_the_range_of_root_or_containers_or_the_fixed_one() {
    let ranges = |subuid: &str| {
        Etc::new(subuid, "")
            .sources()
            .for_root(INITIAL, INITIAL)
            .unwrap()
            .uids
    };
    assert_eq!(
        ranges("containers:2147483647:2147483648\nroot:100000:65536\n"),
        vec![range(100_000, 65_536)]
    );
    assert_eq!(
        ranges("containers:2147483647:2147483648\n"),
        vec![range(2_147_483_647, 2_147_483_648)]
    );
    assert_eq!(
        ranges("alice:100000:65536\n0:1:65536\n"),
        vec![ROOT_FALLBACK]
    );
}

#[test]
fn root_of_a_container_takes_the_ids_of_its_namespace() {
    let map = "0 1000 1\n1 100000 65535\n";
    let ids = Etc::new("", "")
        .sources()
        .for_root(map, "0 1000 1\n")
        .unwrap();
    assert_eq!(
        ids,
        SubIds {
            uids: vec![range(1, 65_535)],
            gids: vec![]
        }
    );
}
