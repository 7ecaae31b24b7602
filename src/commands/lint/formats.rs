//! Findings as text for people and for programs. The invariant: every format has every finding, in the same order; nothing that a
//! file holds is obeyed by a terminal or breaks the syntax of a format.

mod github;
mod issues;
mod json;
mod sarif;
mod xml;

pub(in crate::commands) use github::{data, property};
pub(in crate::commands) use xml::attribute;

use std::fmt::Write as _;

use containerfile::{Diagnostic, LineCol, Severity, Source, Span};

use super::Examined;
use crate::args::lint::LintFormat;
use crate::show::{self, escape};

/// Writes all findings.
pub(super) fn render(format: LintFormat, examined: &[Examined], colour: bool) -> String {
    match format {
        LintFormat::Tty => tty(examined, colour),
        LintFormat::Plain => lines(examined, plain),
        LintFormat::Gnu => lines(examined, gnu),
        LintFormat::Github => lines(examined, github::command),
        LintFormat::Json => json::object(examined),
        LintFormat::Sarif => sarif::log(examined),
        LintFormat::Checkstyle => xml::checkstyle(examined),
        LintFormat::Junit => xml::junit(examined),
        LintFormat::Codeclimate => issues::codeclimate(examined),
        LintFormat::Gitlab => issues::gitlab(examined),
    }
}

/// The word for a severity.
pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

fn tty(examined: &[Examined], colour: bool) -> String {
    let all = examined.iter();
    all.map(|one| show::diagnostics(&one.source, &one.report.findings, colour))
        .collect()
}

/// A line for each finding.
fn lines(examined: &[Examined], line: fn(&Source, &Diagnostic) -> String) -> String {
    let mut text = String::new();
    for one in examined {
        for found in &one.report.findings {
            let _ = writeln!(text, "{}", line(&one.source, found));
        }
    }
    text
}

fn plain(source: &Source, found: &Diagnostic) -> String {
    let (from, _) = range(source, found.span);
    format!(
        "{}:{}:{} {} {} {}",
        one_line(source.name()),
        from.line,
        from.column,
        word(found.severity),
        rule(found),
        one_line(&said(found))
    )
}

/// GNU Coding Standards, "Formatting Error Messages".
fn gnu(source: &Source, found: &Diagnostic) -> String {
    let (from, _) = range(source, found.span);
    format!(
        "{}:{}:{}: {}: {} [{}]",
        one_line(source.name()),
        from.line,
        from.column,
        word(found.severity),
        one_line(&found.message),
        rule(found)
    )
}

fn one_line(text: &str) -> String {
    escape(text).replace('\n', "\\n")
}

/// The rule's id.
pub(super) fn rule(found: &Diagnostic) -> &'static str {
    found.rule.unwrap_or("RB000")
}

/// The message and what to do.
fn said(found: &Diagnostic) -> String {
    match &found.help {
        Some(help) => format!("{} ({help})", found.message),
        None => found.message.clone(),
    }
}

/// Where a finding begins, and one past its last character.
fn range(source: &Source, span: Span) -> (LineCol, LineCol) {
    // A line's end belongs to nobody's mistake.
    let length = source.slice(span).trim_end().len();
    (
        source.line_col(span.start()),
        source.line_col(span.start() + length),
    )
}

#[cfg(test)]
mod tests {
    use containerfile::lint::{Options, lint};

    use super::super::baseline::Fingerprints;
    use super::*;

    fn examined() -> Vec<Examined> {
        let text = "FROM scratch\nCOPY ß x /data\nEXPOSE 8080/TCP\nUSER app:app\n";
        let source = Source::new("a b&\"<>/Containerfile", text);
        let report = lint(&source, &Options::default());
        vec![
            Examined { source, report },
            Examined {
                source: Source::new("clean", ""),
                report: Default::default(),
            },
        ]
    }

    fn shown(format: LintFormat) -> String {
        render(format, &examined(), false)
    }

    fn pretty(value: &serde_json::Value) -> String {
        serde_json::to_string_pretty(value).unwrap()
    }

    #[test]
    fn lines_are_for_people_and_compilers() {
        insta::assert_snapshot!(shown(LintFormat::Plain), @r#"
        a b&"<>/Containerfile:2:10 error DL3021 with several sources the destination is a directory, and ends with a slash (write: /data/)
        a b&"<>/Containerfile:3:13 warning ExposeProtoCasing the protocol "TCP" should be in lower case
        a b&"<>/Containerfile:4:6 error RB103 USER "app:app" is a name: what starts the image cannot check that it is not root (write its numbers: USER UID:GID)
        "#);
        insta::assert_snapshot!(shown(LintFormat::Gnu), @r#"
        a b&"<>/Containerfile:2:10: error: with several sources the destination is a directory, and ends with a slash [DL3021]
        a b&"<>/Containerfile:3:13: warning: the protocol "TCP" should be in lower case [ExposeProtoCasing]
        a b&"<>/Containerfile:4:6: error: USER "app:app" is a name: what starts the image cannot check that it is not root [RB103]
        "#);
    }

    #[test]
    fn github_gets_commands() {
        insta::assert_snapshot!(shown(LintFormat::Github), @r#"
        ::error file=a b&"<>/Containerfile,line=2,endLine=2,col=10,endColumn=15,title=DL3021::with several sources the destination is a directory, and ends with a slash (write: /data/)
        ::warning file=a b&"<>/Containerfile,line=3,endLine=3,col=13,endColumn=16,title=ExposeProtoCasing::the protocol "TCP" should be in lower case
        ::error file=a b&"<>/Containerfile,line=4,endLine=4,col=6,endColumn=13,title=RB103::USER "app:app" is a name: what starts the image cannot check that it is not root (write its numbers: USER UID:GID)
        "#);
    }

    #[test]
    fn xml_is_well_formed_whatever_the_text() {
        insta::assert_snapshot!(shown(LintFormat::Checkstyle), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <checkstyle version="8.0">
          <file name="a b&amp;&quot;&lt;&gt;/Containerfile">
            <error line="2" column="10" severity="error" message="with several sources the destination is a directory, and ends with a slash (write: /data/)" source="rbuild.DL3021"/>
            <error line="3" column="13" severity="warning" message="the protocol &quot;TCP&quot; should be in lower case" source="rbuild.ExposeProtoCasing"/>
            <error line="4" column="6" severity="error" message="USER &quot;app:app&quot; is a name: what starts the image cannot check that it is not root (write its numbers: USER UID:GID)" source="rbuild.RB103"/>
          </file>
          <file name="clean">
          </file>
        </checkstyle>
        "#);
        insta::assert_snapshot!(shown(LintFormat::Junit), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites tests="4" failures="3" errors="0">
          <testsuite name="rbuild lint" tests="4" failures="3" errors="0" skipped="0">
            <testcase classname="rbuild lint" name="a b&amp;&quot;&lt;&gt;/Containerfile:2:10 DL3021" time="0">
              <failure type="DL3021" message="error: with several sources the destination is a directory, and ends with a slash (write: /data/)">a b&amp;&quot;&lt;&gt;/Containerfile:2:10</failure>
            </testcase>
            <testcase classname="rbuild lint" name="a b&amp;&quot;&lt;&gt;/Containerfile:3:13 ExposeProtoCasing" time="0">
              <failure type="ExposeProtoCasing" message="warning: the protocol &quot;TCP&quot; should be in lower case">a b&amp;&quot;&lt;&gt;/Containerfile:3:13</failure>
            </testcase>
            <testcase classname="rbuild lint" name="a b&amp;&quot;&lt;&gt;/Containerfile:4:6 RB103" time="0">
              <failure type="RB103" message="error: USER &quot;app:app&quot; is a name: what starts the image cannot check that it is not root (write its numbers: USER UID:GID)">a b&amp;&quot;&lt;&gt;/Containerfile:4:6</failure>
            </testcase>
            <testcase classname="rbuild lint" name="clean" time="0"/>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn json_has_every_finding_with_its_place_and_its_fix() {
        let json: serde_json::Value = serde_json::from_str(&shown(LintFormat::Json)).unwrap();
        insta::assert_snapshot!(pretty(&json["findings"][1]), @r#"
        {
          "fix": {
            "replacement": "tcp",
            "span": {
              "end": 44,
              "start": 41
            }
          },
          "message": "the protocol \"TCP\" should be in lower case",
          "place": {
            "file": "a b&\"<>/Containerfile",
            "from": {
              "column": 13,
              "line": 3
            },
            "span": {
              "end": 44,
              "start": 41
            },
            "to": {
              "column": 16,
              "line": 3
            }
          },
          "rule": "ExposeProtoCasing",
          "severity": "warning"
        }
        "#);
        assert_eq!(json["findings"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["files"], 2);
    }

    #[test]
    fn sarif_has_rules_results_and_fixes() {
        let log: serde_json::Value = serde_json::from_str(&shown(LintFormat::Sarif)).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 3);
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(
                run["tool"]["driver"]["rules"][index]["id"],
                result["ruleId"]
            );
        }
        let mut fixed = results[1].clone();
        fixed["ruleIndex"].take();
        insta::assert_snapshot!(pretty(&fixed), @r#"
        {
          "fixes": [
            {
              "artifactChanges": [
                {
                  "artifactLocation": {
                    "uri": "a%20b%26%22%3C%3E/Containerfile"
                  },
                  "replacements": [
                    {
                      "deletedRegion": {
                        "byteLength": 3,
                        "byteOffset": 41,
                        "endColumn": 16,
                        "endLine": 3,
                        "startColumn": 13,
                        "startLine": 3
                      },
                      "insertedContent": {
                        "text": "tcp"
                      }
                    }
                  ]
                }
              ],
              "description": {
                "text": "the protocol \"TCP\" should be in lower case"
              }
            }
          ],
          "level": "warning",
          "locations": [
            {
              "physicalLocation": {
                "artifactLocation": {
                  "uri": "a%20b%26%22%3C%3E/Containerfile"
                },
                "region": {
                  "byteLength": 3,
                  "byteOffset": 41,
                  "endColumn": 16,
                  "endLine": 3,
                  "startColumn": 13,
                  "startLine": 3
                }
              }
            }
          ],
          "message": {
            "text": "the protocol \"TCP\" should be in lower case"
          },
          "ruleId": "ExposeProtoCasing",
          "ruleIndex": null
        }
        "#);
    }

    #[test]
    fn issues_have_fingerprints_that_stay_when_lines_move() {
        let gitlab: Vec<serde_json::Value> =
            serde_json::from_str(&shown(LintFormat::Gitlab)).unwrap();
        assert_eq!(gitlab.len(), 3);
        let mut first = gitlab[0].clone();
        let page = first["content"]["body"].take();
        assert!(page.as_str().is_some_and(|page| page.contains("DL3021")));
        insta::assert_snapshot!(pretty(&first), @r#"
        {
          "categories": [
            "Bug Risk"
          ],
          "check_name": "DL3021",
          "content": {
            "body": null
          },
          "description": "with several sources the destination is a directory, and ends with a slash (write: /data/)",
          "fingerprint": "c575d9d3e6fb033b",
          "location": {
            "lines": {
              "begin": 2,
              "end": 2
            },
            "path": "a b&\"<>/Containerfile",
            "positions": {
              "begin": {
                "column": 10,
                "line": 2
              },
              "end": {
                "column": 15,
                "line": 2
              }
            }
          },
          "severity": "major",
          "type": "issue"
        }
        "#);
        let climate = shown(LintFormat::Codeclimate);
        assert_eq!(climate.split_terminator('\0').count(), 3);
        let print = |before: &str| {
            let text = format!("{before}FROM scratch\nUSER app:app\n");
            let source = Source::new("x", text);
            let report = lint(&source, &Options::default());
            Fingerprints::default().next(&source, &report.findings[0])
        };
        assert_eq!(print(""), print("# one more line\n"));
    }
}
