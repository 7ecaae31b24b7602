//! Sessions that cannot start: every cause has its own words, and nothing is left of the attempt.

use std::path::PathBuf;

use sandbox::{Confinement, MapWriter, SessionPlan};

use crate::host;
use crate::stage::{Job, failure_to_start, run_step};
use crate::trial::{Verdict, trials};

trials![
    f36_a_missing_or_failing_id_map_program_is_named,
    f35_ids_that_are_not_the_callers_are_refused_by_the_program,
    f37_without_user_namespaces_the_kernels_reason_is_told,
];

fn with_helpers(newuidmap: &str, newgidmap: &str) -> SessionPlan {
    let [newuidmap, newgidmap] = [newuidmap, newgidmap].map(PathBuf::from);
    SessionPlan {
        writer: MapWriter::Helpers {
            newuidmap,
            newgidmap,
        },
        ..host::single()
    }
}

fn f36_a_missing_or_failing_id_map_program_is_named() -> Verdict {
    let rows = [
        (
            "/nowhere/newuidmap",
            "/bin/true",
            "map ids with /nowhere/newuidmap: No such file or directory (os error 2)",
        ),
        (
            "/bin/false",
            "/bin/true",
            "map ids with /bin/false: exit status: 1",
        ),
        (
            "/bin/true",
            "/bin/false",
            "map ids with /bin/false: exit status: 1",
        ),
    ];
    for (newuidmap, newgidmap, message) in rows {
        assert_eq!(
            failure_to_start(&with_helpers(newuidmap, newgidmap)),
            message
        );
    }
    Ok(())
}

fn f35_ids_that_are_not_the_callers_are_refused_by_the_program() -> Verdict {
    let newuidmap = host::program("newuidmap")?.display().to_string();
    let newgidmap = host::program("newgidmap")?.display().to_string();
    let foreign = sandbox::ExtentMap::single(0, 4_000_000_000, 65536).expect("it is a map");
    let plan = SessionPlan {
        uids: foreign,
        ..with_helpers(&newuidmap, &newgidmap)
    };
    let message = failure_to_start(&plan);
    assert!(
        message.starts_with(&format!("map ids with {newuidmap}: ")),
        "{message}"
    );
    assert!(message.contains("4000000000"), "{message}");
    Ok(())
}

fn f37_without_user_namespaces_the_kernels_reason_is_told() -> Verdict {
    let rows = [
        (false, "No space left on device"),
        (true, "Operation not permitted"),
    ];
    for (seccomp, reason) in rows {
        let confinement = Confinement {
            seccomp,
            ..run_step()
        };
        let report = Job {
            confinement,
            ..Job::drill(&["nest"])
        }
        .run_one(&host::single());
        let expected =
            format!("set up the session's namespaces: create a user namespace: {reason}\n");
        assert_eq!(report.printed(), expected);
    }
    Ok(())
}
