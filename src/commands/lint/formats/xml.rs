//! Checkstyle's and JUnit's XML. The invariant: the document is well-formed whatever the text holds (XML 1.0, section 2.2).

use std::fmt::Write as _;

use super::super::Examined;

/// Checkstyle 8's report.
pub(super) fn checkstyle(examined: &[Examined]) -> String {
    let mut xml =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<checkstyle version=\"8.0\">\n".to_owned();
    for one in examined {
        let _ = writeln!(xml, "  <file name=\"{}\">", attribute(one.source.name()));
        for found in &one.report.findings {
            let (from, _) = super::range(&one.source, found.span);
            let _ = writeln!(
                xml,
                "    <error line=\"{}\" column=\"{}\" severity=\"{}\" message=\"{}\" source=\"rbuild.{}\"/>",
                from.line,
                from.column,
                super::word(found.severity),
                attribute(&super::said(found)),
                super::rule(found)
            );
        }
        xml.push_str("  </file>\n");
    }
    xml.push_str("</checkstyle>\n");
    xml
}

/// One test case for each finding, which fails, and one for each file without any: readers take no more than one failure of a
/// test case (windyroad's JUnit.xsd, Jenkins, GitLab).
pub(super) fn junit(examined: &[Examined]) -> String {
    let failures: usize = examined.iter().map(|one| one.report.findings.len()).sum();
    let clean = examined.iter().filter(|one| one.report.findings.is_empty());
    let tests = failures + clean.count();
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\"");
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"rbuild lint\" {counts} skipped=\"0\">\n"
    );
    for one in examined {
        let file = attribute(one.source.name());
        if one.report.findings.is_empty() {
            let _ = writeln!(
                xml,
                "    <testcase classname=\"rbuild lint\" name=\"{file}\" time=\"0\"/>"
            );
        }
        for found in &one.report.findings {
            let (from, _) = super::range(&one.source, found.span);
            let (rule, word) = (super::rule(found), super::word(found.severity));
            let place = format!("{file}:{}:{}", from.line, from.column);
            let message = attribute(&super::said(found));
            let _ = write!(
                xml,
                "    <testcase classname=\"rbuild lint\" name=\"{place} {rule}\" time=\"0\">\n      <failure type=\"{rule}\" message=\"{word}: {message}\">{place}</failure>\n    </testcase>\n"
            );
        }
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

/// Text between double quotes; characters that XML cannot hold are shown as Rust writes them.
pub(in crate::commands) fn attribute(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\n' => xml.push_str("&#10;"),
            '\t' => xml.push_str("&#9;"),
            _ if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                xml.extend(c.escape_default())
            }
            _ => xml.push(c),
        }
    }
    xml
}
