//! What the linter wants to know of an image in the store. Invariant: nothing is unpacked and nothing executed; layers are read
//! through their indexes, and of files only what headers say and what stands in libraries that speak TLS.

mod files;
mod modules;
mod programs;

use containerfile::lint::{Account, ImageFacts};
use image::{DiffId, Image, Store};
use rootfs::accounts::Accounts;
use rootfs::trees::TreesError;
use rootfs::{TreeError, TreePath};

/// Why an image cannot be looked into.
#[derive(Debug, thiserror::Error)]
#[error("look into the image {name}")]
pub struct FactsError {
    name: String,
    source: FactsProblem,
}

#[derive(Debug, thiserror::Error)]
enum FactsProblem {
    #[error(transparent)]
    Trees(#[from] TreesError),
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The configuration and the files.
    Files,
    /// The programs in it, too.
    Programs,
}

/// Looks into an image, which findings call `name`.
///
/// # Errors
/// When a layer is missing or damaged.
pub fn image_facts(
    store: &Store,
    image: &Image,
    name: &str,
    depth: Depth,
) -> Result<ImageFacts, FactsError> {
    look(store, image, name, depth).map_err(|source| FactsError {
        name: name.to_owned(),
        source,
    })
}

fn look(
    store: &Store,
    image: &Image,
    name: &str,
    depth: Depth,
) -> Result<ImageFacts, FactsProblem> {
    let diff_ids: Vec<DiffId> = image.layers().iter().map(|layer| layer.diff_id).collect();
    let view = rootfs::trees::readable_view_of(store, &diff_ids)?;
    let mut facts = configured(image, name);
    // A passwd file that is none knows nobody.
    let accounts = Accounts::of(&view).unwrap_or_default();
    facts.account = account(&accounts, &facts.user);
    let users = accounts.users();
    facts.users = users
        .map(|(name, uid, gid)| (String::from_utf8_lossy(name).into_owned(), uid, gid))
        .collect();
    facts.files = files::of_tree(&view)?;
    if depth == Depth::Programs {
        (facts.layers, facts.replaced_links) = files::of_layers(store, &diff_ids)?;
        let resolver = programs::resolver(&view, &facts);
        facts.programs = programs::of(&view, &resolver, &facts);
        facts.modules = modules::of(&resolver, &facts);
    }
    Ok(facts)
}

/// What the configuration says.
fn configured(image: &Image, name: &str) -> ImageFacts {
    let platform = image.config().platform();
    let config = &image.config().config;
    let env = config
        .env
        .iter()
        .filter_map(|variable| variable.split_once('='));
    let check = config.healthcheck.as_ref();
    ImageFacts {
        name: name.to_owned(),
        architecture: platform.architecture,
        user: config.user.clone(),
        env: env
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        cmd: config.cmd.clone().unwrap_or_default(),
        working_dir: config.working_dir.clone(),
        ports: config.exposed_ports.keys().cloned().collect(),
        volumes: config.volumes.keys().cloned().collect(),
        has_triggers: !config.on_build.is_empty(),
        healthcheck: check.map(|check| check.test.clone()).unwrap_or_default(),
        ..ImageFacts::default()
    }
}

/// Who the user is.
fn account(accounts: &Accounts, user: &str) -> Option<Account> {
    let user = if user.is_empty() { "0" } else { user };
    let found = accounts.resolve_user(user).ok()?;
    let mut groups = found.groups;
    // The primary one first: it is what USER names.
    groups.retain(|group| *group != found.gid);
    groups.insert(0, found.gid);
    let home = found
        .home
        .map(|home| String::from_utf8_lossy(&home).into_owned());
    let uid = found.uid;
    Some(Account { uid, groups, home })
}

/// A path as facts have it.
fn shown(path: &TreePath) -> String {
    path.to_string()
}
