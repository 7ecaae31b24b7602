//! SPDX 2.3 as JSON (spdx.github.io/spdx-spec/v2.3, and its JSON schema). Invariant: every element is reached from the document by
//! relationships: the document describes the image, which contains packages and files.

use std::fmt::Write as _;

use rootfs::inventory::{File, Package, PackageKind};
use serde::Serialize;
use sha1::Digest as _;

use super::{Bill, TOOL, licences};

const NOASSERTION: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-Image";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    packages: Vec<SpdxPackage>,
    files: Vec<SpdxFile>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_info: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<String>,
    download_location: &'static str,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_verification_code: Option<VerificationCode>,
    license_concluded: &'static str,
    license_declared: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    license_comments: Option<String>,
    copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_info: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_refs: Vec<ExternalRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_package_purpose: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationCode {
    package_verification_code_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpdxFile {
    #[serde(rename = "SPDXID")]
    id: String,
    file_name: String,
    checksums: [Checksum; 2],
    license_concluded: &'static str,
    copyright_text: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

pub(super) fn document(bill: &Bill) -> Document {
    let packages = &bill.inventory.packages;
    let owned = bill.by_owner();
    let code = |owner: Option<usize>| {
        let files = owned.get(&owner).into_iter().flatten();
        verification_code(files.map(|at| &bill.inventory.files[*at]))
    };
    let mut all = vec![image(bill, code(None))];
    let packages = packages.iter().enumerate();
    all.extend(packages.map(|(at, package)| of_package(bill, at, package, code(Some(at)))));
    let hex = bill.id.digest().hex();
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: "SPDXRef-DOCUMENT",
        name: bill.name.clone(),
        document_namespace: format!(
            "https://spdx.org/spdxdocs/rbuild/{}-{hex}",
            rootfs::inventory::encode(&bill.name)
        ),
        creation_info: CreationInfo {
            created: bill.created.clone(),
            creators: [format!("Tool: {TOOL}")],
        },
        comment: bill.inventory.unread.join("\n"),
        packages: all,
        files: bill
            .inventory
            .files
            .iter()
            .enumerate()
            .map(of_file)
            .collect(),
        relationships: relationships(bill),
    }
}

fn image(bill: &Bill, code: Option<VerificationCode>) -> SpdxPackage {
    SpdxPackage {
        id: IMAGE.to_owned(),
        name: bill.name.clone(),
        version_info: Some(bill.id.to_string()),
        source_info: Some(format!("container image for {}", bill.platform)),
        primary_package_purpose: Some("CONTAINER"),
        ..fresh(code)
    }
}

fn fresh(code: Option<VerificationCode>) -> SpdxPackage {
    SpdxPackage {
        download_location: NOASSERTION,
        files_analyzed: code.is_some(),
        package_verification_code: code,
        license_concluded: NOASSERTION,
        license_declared: NOASSERTION.to_owned(),
        copyright_text: NOASSERTION,
        ..SpdxPackage::default()
    }
}

fn of_package(
    bill: &Bill,
    at: usize,
    package: &Package,
    code: Option<VerificationCode>,
) -> SpdxPackage {
    let licence = package.licence.as_deref();
    let declared = licence.filter(|text| licences::is_expression(text));
    let words = licence.filter(|_| declared.is_none());
    let source = match (&package.program, package.kind) {
        (Some(program), _) => format!("compiled into {program}"),
        (None, PackageKind::Deb) => "dpkg's database".to_owned(),
        (None, PackageKind::Apk) => "apk's database".to_owned(),
        (None, _) => "rpm's database".to_owned(),
    };
    SpdxPackage {
        id: package_id(at, package),
        name: package.name.clone(),
        version_info: Some(package.version.clone()).filter(|version| !version.is_empty()),
        supplier: package
            .supplier
            .as_deref()
            .map(|who| format!("Organization: {}", one_line(who))),
        license_declared: declared.unwrap_or(NOASSERTION).to_owned(),
        license_comments: words.map(|words| format!("The package's own words: {words}")),
        source_info: Some(source),
        external_refs: vec![ExternalRef {
            reference_category: "PACKAGE-MANAGER",
            reference_type: "purl",
            reference_locator: package.purl(bill.inventory.distribution.as_ref()),
        }],
        ..fresh(code)
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn of_file((at, file): (usize, &File)) -> SpdxFile {
    SpdxFile {
        id: file_id(at),
        // Names are relative to the root of the package, clause 8.1.
        file_name: format!(".{}", file.path),
        checksums: [
            Checksum {
                algorithm: "SHA1",
                checksum_value: file.sha1.clone(),
            },
            Checksum {
                algorithm: "SHA256",
                checksum_value: file.sha256.hex(),
            },
        ],
        license_concluded: NOASSERTION,
        copyright_text: NOASSERTION,
    }
}

/// Clause 7.9: the SHA-1 of the sorted SHA-1s of all files; none without files.
fn verification_code<'f>(files: impl Iterator<Item = &'f File>) -> Option<VerificationCode> {
    let mut sums: Vec<&str> = files.map(|file| file.sha1.as_str()).collect();
    if sums.is_empty() {
        return None;
    }
    sums.sort_unstable();
    let mut code = String::new();
    for byte in sha1::Sha1::digest(sums.concat()) {
        // Writing to a String cannot fail.
        let _ = write!(code, "{byte:02x}");
    }
    Some(VerificationCode {
        package_verification_code_value: code,
    })
}

fn relationships(bill: &Bill) -> Vec<Relationship> {
    let of = |from: String, relationship_type, to: String| Relationship {
        spdx_element_id: from,
        relationship_type,
        related_spdx_element: to,
    };
    let packages = &bill.inventory.packages;
    let files = &bill.inventory.files;
    let mut all = vec![of(
        "SPDXRef-DOCUMENT".to_owned(),
        "DESCRIBES",
        IMAGE.to_owned(),
    )];
    for (at, package) in packages.iter().enumerate() {
        let id = package_id(at, package);
        all.push(of(IMAGE.to_owned(), "CONTAINS", id.clone()));
        let program = package.program.as_ref();
        let program =
            program.and_then(|path| files.binary_search_by(|file| file.path.cmp(path)).ok());
        if let Some(file) = program {
            let kind = match package.is_main {
                true => "GENERATED_FROM",
                false => "STATIC_LINK",
            };
            all.push(of(file_id(file), kind, id));
        }
    }
    for (at, file) in files.iter().enumerate() {
        let owner = file
            .owner
            .map_or_else(|| IMAGE.to_owned(), |at| package_id(at, &packages[at]));
        all.push(of(owner, "CONTAINS", file_id(at)));
    }
    all
}

/// Letters, digits, `.` and `-` alone; the number makes it the only one.
fn package_id(at: usize, package: &Package) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let name: String = package.name.chars().map(allowed).collect();
    format!("SPDXRef-Package-{at}-{name}")
}

fn file_id(at: usize) -> String {
    format!("SPDXRef-File-{at}")
}
