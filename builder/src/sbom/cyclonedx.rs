//! CycloneDX 1.6 as JSON (cyclonedx.org/docs/1.6/json). Invariant: the image is the document's subject and depends on all that it has;
//! files are parts of the package that owns them.

use std::collections::BTreeMap;

use rootfs::TreePath;
use rootfs::inventory::{File, Package};
use serde::Serialize;

use super::{Bill, licences};

const IMAGE: &str = "image";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Tools {
    components: [Component; 1],
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bom_ref: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Supplier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    licenses: Option<[Licence; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<[Hash; 1]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Supplier {
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Licence {
    Expression(String),
    License { name: String },
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    r#ref: String,
    depends_on: Vec<String>,
}

pub(super) fn document(bill: &Bill) -> Document {
    let inventory = &bill.inventory;
    let owned = bill.by_owner();
    let own = |owner: Option<usize>| {
        let files = owned.get(&owner).into_iter().flatten();
        files.map(|at| of_file(*at, &inventory.files[*at]))
    };
    let mut components: Vec<Component> = inventory
        .packages
        .iter()
        .enumerate()
        .map(|(at, package)| of_package(bill, at, package, own(Some(at)).collect()))
        .collect();
    components.extend(own(None));
    if let Some(of) = &inventory.distribution {
        components.push(Component {
            r#type: "operating-system",
            bom_ref: Some("distribution".to_owned()),
            name: of.id.clone(),
            version: Some(of.version.clone()).filter(|version| !version.is_empty()),
            ..Component::default()
        });
    }
    Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: serial_number(bill),
        version: 1,
        metadata: metadata(bill),
        dependencies: dependencies(bill),
        components,
    }
}

fn metadata(bill: &Bill) -> Metadata {
    let unread = bill.inventory.unread.iter().map(|text| Property {
        name: "rbuild:unread",
        value: text.clone(),
    });
    Metadata {
        timestamp: bill.created.clone(),
        tools: Tools {
            components: [Component {
                r#type: "application",
                name: "rbuild".to_owned(),
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                ..Component::default()
            }],
        },
        component: Component {
            r#type: "container",
            bom_ref: Some(IMAGE.to_owned()),
            name: bill.name.clone(),
            version: Some(bill.id.to_string()),
            properties: vec![Property {
                name: "rbuild:platform",
                value: bill.platform.to_string(),
            }],
            ..Component::default()
        },
        properties: unread.collect(),
    }
}

fn of_package(bill: &Bill, at: usize, package: &Package, files: Vec<Component>) -> Component {
    let licence = package
        .licence
        .clone()
        .map(|text| match licences::is_expression(&text) {
            true => Licence::Expression(text),
            false => Licence::License { name: text },
        });
    let program = package.program.as_ref().map(|path| Property {
        name: "rbuild:program",
        value: path.to_string(),
    });
    Component {
        r#type: "library",
        bom_ref: Some(package_ref(at)),
        name: package.name.clone(),
        version: Some(package.version.clone()).filter(|version| !version.is_empty()),
        supplier: package.supplier.clone().map(|name| Supplier { name }),
        licenses: licence.map(|licence| [licence]),
        purl: Some(package.purl(bill.inventory.distribution.as_ref())),
        properties: program.into_iter().collect(),
        components: files,
        ..Component::default()
    }
}

fn of_file(at: usize, file: &File) -> Component {
    Component {
        r#type: "file",
        bom_ref: Some(file_ref(at)),
        name: file.path.to_string(),
        hashes: Some([Hash {
            alg: "SHA-256",
            content: file.sha256.hex(),
        }]),
        ..Component::default()
    }
}

/// The image depends on its packages, a program on its modules.
fn dependencies(bill: &Bill) -> Vec<Dependency> {
    let (packages, files) = (&bill.inventory.packages, &bill.inventory.files);
    let all = packages.iter().enumerate().map(|(at, _)| package_ref(at));
    let mut found = vec![Dependency {
        r#ref: IMAGE.to_owned(),
        depends_on: all.collect(),
    }];
    let mut programs: BTreeMap<&TreePath, Vec<String>> = BTreeMap::new();
    for (at, package) in packages.iter().enumerate() {
        if let Some(program) = &package.program {
            programs.entry(program).or_default().push(package_ref(at));
        }
    }
    for (program, modules) in programs {
        if let Ok(at) = files.binary_search_by(|file| file.path.cmp(program)) {
            found.push(Dependency {
                r#ref: file_ref(at),
                depends_on: modules,
            });
        }
    }
    found
}

/// RFC 9562, version 8: of the image's id and name, so that the same document has the same number.
fn serial_number(bill: &Bill) -> String {
    let mut hex = image::Digest::of(format!("{}\n{}", bill.id, bill.name)).hex();
    hex.replace_range(12..13, "8");
    hex.replace_range(16..17, "8");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32],
    ];
    format!("urn:uuid:{}", parts.join("-"))
}

fn package_ref(at: usize) -> String {
    format!("package-{at}")
}

fn file_ref(at: usize) -> String {
    format!("file-{at}")
}
