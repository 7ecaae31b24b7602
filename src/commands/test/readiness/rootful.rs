//! What changes from rootful Docker. The invariant: facts about this image; what does not concern it is not said.

use super::Subject;

/// Sentences.
pub(super) fn changes(subject: &Subject<'_>) -> Vec<String> {
    let config = &subject.opened.image.config().config;
    let mut changes = Vec::new();
    for port in subject.exposed().into_iter().filter(|port| *port < 1024) {
        changes.push(format!(
            "port {port} of this machine cannot be published: ports below net.ipv4.ip_unprivileged_port_start (1024) belong to root; \
             publish another: -p {}:{port}",
            8000 + u32::from(port)
        ));
    }
    changes.push(
        "ping works only where net.ipv4.ping_group_range has the container's group: there is no NET_RAW".to_owned(),
    );
    changes.push(
        "Docker gives MKNOD, NET_RAW and AUDIT_WRITE, Podman does not; rbuild run gives none of the other eleven either, unless \
         --cap-add says so"
            .to_owned(),
    );
    let outside = |id: u32| match subject.outside(id + 1) {
        Some(id) => format!("user {id} of this machine"),
        None => "nobody that this machine gives".to_owned(),
    };
    let user = subject
        .facts
        .account
        .as_ref()
        .map_or(0, |account| account.uid);
    if !config.volumes.is_empty() {
        let volumes: Vec<&str> = config.volumes.keys().map(String::as_str).collect();
        changes.push(format!(
            "files that user {user} writes to {} belong to {} without keep-id, and to you with --userns keep-id:uid={user},gid=GID",
            volumes.join(", "),
            outside(user)
        ));
    }
    changes.push(format!(
        "root inside is {}, never root of this machine",
        outside(0)
    ));
    changes.push("limits of memory and processes need a delegated cgroup v2: `rbuild doctor` says whether there is one".to_owned());
    changes
}
