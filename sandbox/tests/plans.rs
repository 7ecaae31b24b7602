//! The plans of three typical sandboxes as text, which is what `--dry-run` prints: no privilege is needed to see what the
//! kernel would be asked.

use rbuild_sandbox::{
    CapabilitySet, Confinement, Handle, IdMap, MountSource, MountSpec, NetworkSpec, ProcessSpec,
    SandboxSpec, SetupPlan, UserSpec,
};

/// A build step with the build's network.
fn build_step() -> SandboxSpec {
    SandboxSpec {
        ids: IdMap::shifted(65536, 65536).unwrap(),
        root: Handle(0),
        read_only_root: false,
        mounts: Vec::new(),
        network: NetworkSpec::Shared(Handle(4)),
        hostname: "build".to_owned(),
        confinement: Confinement {
            capabilities: CapabilitySet::podman_default(),
            ambient: false,
            no_new_privileges: false,
            seccomp: true,
            mask_paths: true,
        },
        limits: rbuild_sandbox::Limits::default(),
        process: ProcessSpec {
            argv: ["/bin/sh", "-c", "make install"]
                .map(str::to_owned)
                .to_vec(),
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            cwd: "/src".to_owned(),
            user: UserSpec::default(),
            stdio: [Handle(1), Handle(2), Handle(3)],
            terminal: None,
            init: false,
        },
        supervisor: None,
        namespaces: None,
    }
}

/// A distroless container without a network.
fn container() -> SandboxSpec {
    let step = build_step();
    let mount = |target: &str, source, read_only| MountSpec {
        target: target.to_owned(),
        source,
        read_only,
    };
    SandboxSpec {
        read_only_root: true,
        network: NetworkSpec::None,
        mounts: vec![
            mount(
                "/data",
                MountSource::Tree {
                    handle: Handle(4),
                    directory: true,
                },
                false,
            ),
            mount(
                "/etc/resolv.conf",
                MountSource::Tree {
                    handle: Handle(5),
                    directory: false,
                },
                true,
            ),
            mount(
                "/tmp",
                MountSource::Tmpfs {
                    size: Some(1 << 20),
                    mode: 0o1777,
                },
                false,
            ),
        ],
        confinement: Confinement {
            capabilities: CapabilitySet::EMPTY,
            no_new_privileges: true,
            ..step.confinement
        },
        limits: rbuild_sandbox::Limits::default(),
        process: ProcessSpec {
            argv: vec!["/app".to_owned()],
            user: UserSpec {
                uid: 65532,
                gid: 65532,
                groups: Vec::new(),
            },
            ..step.process
        },
        ..step
    }
}

/// A build step in a session of one id, with the host's network and as few protections as can be.
fn unprotected() -> SandboxSpec {
    let step = build_step();
    SandboxSpec {
        ids: IdMap::one_id(),
        network: NetworkSpec::Host,
        confinement: Confinement {
            seccomp: false,
            mask_paths: false,
            ..step.confinement
        },
        ..step
    }
}

#[test]
fn a_build_step_joins_the_network_and_drops_its_power_last() {
    insta::assert_snapshot!(SetupPlan::of(&build_step()), @r"
    join the build's network namespace
    create a user namespace (uids 0 1 65536)
    fork into a pid and a mount namespace
    create ipc, uts and cgroup namespaces
    become the namespace's root
    forbid nested user namespaces
    set the host name to build
    start a new session with an empty keyring
    bound capabilities to CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT
    mount an empty file system to prepare in
    mount proc at /proc
    mount tmpfs at /dev
    bind the device /dev/null
    bind the device /dev/zero
    bind the device /dev/full
    bind the device /dev/random
    bind the device /dev/urandom
    bind the device /dev/tty
    mount devpts at /dev/pts
    mount tmpfs at /dev/shm
    mount mqueue at /dev/mqueue
    link /dev/fd to /proc/self/fd
    link /dev/stdin to /proc/self/fd/0
    link /dev/stdout to /proc/self/fd/1
    link /dev/stderr to /proc/self/fd/2
    link /dev/ptmx to pts/ptmx
    bind /sys read-only
    mask /proc/acpi
    mask /proc/interrupts
    mask /proc/kcore
    mask /proc/keys
    mask /proc/latency_stats
    mask /proc/sched_debug
    mask /proc/scsi
    mask /proc/timer_list
    mask /proc/timer_stats
    mask /sys/dev/block
    mask /sys/devices/virtual/powercap
    mask /sys/firmware
    mask /sys/fs/selinux
    make /proc/asound read-only
    make /proc/bus read-only
    make /proc/fs read-only
    make /proc/irq read-only
    make /proc/sys read-only
    make /proc/sysrq-trigger read-only
    attach the root file system
    move /proc into the root
    move /sys into the root
    move /dev into the root
    pivot into the root file system
    take standard input, output and error
    enter /src
    install the system call filter
    become user 0:0
    set capabilities to CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT
    execute /bin/sh
    ");
}

#[test]
fn a_container_has_its_own_network_and_a_read_only_root() {
    insta::assert_snapshot!(SetupPlan::of(&container()), @r"
    create a user namespace (uids 0 1 65536)
    fork into a pid and a mount namespace
    begin to make a network namespace
    create ipc, uts and cgroup namespaces
    become the namespace's root
    forbid nested user namespaces
    set the host name to build
    start a new session with an empty keyring
    bound capabilities to none
    mount an empty file system to prepare in
    mount proc at /proc
    mount tmpfs at /dev
    bind the device /dev/null
    bind the device /dev/zero
    bind the device /dev/full
    bind the device /dev/random
    bind the device /dev/urandom
    bind the device /dev/tty
    mount devpts at /dev/pts
    mount tmpfs at /dev/shm
    mount mqueue at /dev/mqueue
    link /dev/fd to /proc/self/fd
    link /dev/stdin to /proc/self/fd/0
    link /dev/stdout to /proc/self/fd/1
    link /dev/stderr to /proc/self/fd/2
    link /dev/ptmx to pts/ptmx
    join the network namespace
    mount sysfs at /sys
    mask /proc/acpi
    mask /proc/interrupts
    mask /proc/kcore
    mask /proc/keys
    mask /proc/latency_stats
    mask /proc/sched_debug
    mask /proc/scsi
    mask /proc/timer_list
    mask /proc/timer_stats
    mask /sys/dev/block
    mask /sys/devices/virtual/powercap
    mask /sys/firmware
    mask /sys/fs/selinux
    make /proc/asound read-only
    make /proc/bus read-only
    make /proc/fs read-only
    make /proc/irq read-only
    make /proc/sys read-only
    make /proc/sysrq-trigger read-only
    attach the root file system
    move /proc into the root
    move /sys into the root
    move /dev into the root
    attach a tree at /data
    attach a tree at /etc/resolv.conf read-only
    mount tmpfs at /tmp
    mask /proc/acpi
    mask /proc/interrupts
    mask /proc/kcore
    mask /proc/keys
    mask /proc/latency_stats
    mask /proc/sched_debug
    mask /proc/scsi
    mask /proc/timer_list
    mask /proc/timer_stats
    mask /sys/dev/block
    mask /sys/devices/virtual/powercap
    mask /sys/firmware
    mask /sys/fs/selinux
    make /proc/asound read-only
    make /proc/bus read-only
    make /proc/fs read-only
    make /proc/irq read-only
    make /proc/sys read-only
    make /proc/sysrq-trigger read-only
    pivot into the root file system, read-only
    take standard input, output and error
    enter /src
    install the system call filter
    become user 65532:65532
    set capabilities to none
    set no_new_privs
    execute /app
    ");
}

#[test]
fn switched_off_protections_are_absent_from_the_plan() {
    insta::assert_snapshot!(SetupPlan::of(&unprotected()), @r"
    create a user namespace (uids 0 0 1)
    fork into a pid and a mount namespace
    create ipc, uts and cgroup namespaces
    become the namespace's root
    forbid nested user namespaces
    set the host name to build
    start a new session with an empty keyring
    bound capabilities to CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT
    mount an empty file system to prepare in
    mount proc at /proc
    mount tmpfs at /dev
    bind the device /dev/null
    bind the device /dev/zero
    bind the device /dev/full
    bind the device /dev/random
    bind the device /dev/urandom
    bind the device /dev/tty
    mount devpts at /dev/pts
    mount tmpfs at /dev/shm
    mount mqueue at /dev/mqueue
    link /dev/fd to /proc/self/fd
    link /dev/stdin to /proc/self/fd/0
    link /dev/stdout to /proc/self/fd/1
    link /dev/stderr to /proc/self/fd/2
    link /dev/ptmx to pts/ptmx
    bind /sys read-only
    attach the root file system
    move /proc into the root
    move /sys into the root
    move /dev into the root
    pivot into the root file system
    take standard input, output and error
    enter /src
    become user 0:0
    set capabilities to CHOWN,DAC_OVERRIDE,FOWNER,FSETID,KILL,NET_BIND_SERVICE,SETFCAP,SETGID,SETPCAP,SETUID,SYS_CHROOT
    execute /bin/sh
    ");
}

#[test]
fn a_step_is_in_its_cgroup_before_it_makes_a_cgroup_namespace() {
    let mut step = build_step();
    step.limits.cgroup = Some(Handle(5));
    let plan = SetupPlan::of(&step).to_string();
    let first: Vec<&str> = plan.lines().take(5).collect();
    assert_eq!(
        first[2..],
        [
            "fork into a pid and a mount namespace",
            "enter the step's cgroup",
            "create ipc, uts and cgroup namespaces"
        ]
    );
}

#[test]
fn a_plan_is_the_same_after_its_way_through_a_socket() {
    let plan = SetupPlan::of(&container());
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<SetupPlan>(&text).unwrap(), plan);
}

#[test]
fn who_joins_a_container_hides_first_and_is_confined_as_the_container() {
    let handles = [4, 5, 6, 7, 8, 9, 10].map(Handle);
    insta::assert_snapshot!(SetupPlan::joining(&container(), handles), @r"
    hide from processes inside
    join the net namespace
    join the user namespace
    join the pid namespace
    join the ipc namespace
    join the uts namespace
    join the cgroup namespace
    join the mnt namespace
    become the namespace's root
    start a new session with an empty keyring
    bound capabilities to none
    take standard input, output and error
    enter /src
    install the system call filter
    become user 65532:65532
    set capabilities to none
    set no_new_privs
    execute /app
    ");
}
