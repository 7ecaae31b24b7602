//! Values that are lists of `key=value`, as one record of RFC 4180: a field in quotes may hold commas. The invariant: what
//! cannot be read is an error, never a shorter list.

/// The fields in order; one without an equals sign has the value `true`.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let fields = fields(text)?;
    let pair = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.to_ascii_lowercase(), value.to_owned()),
        None => (field.to_ascii_lowercase(), "true".to_owned()),
    };
    Ok(fields.into_iter().map(pair).collect())
}

fn fields(text: &str) -> Result<Vec<String>, String> {
    let misquoted = || "a quote is misplaced or never closed".to_owned();
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut quoted, mut start) = (false, true);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' if quoted && rest.peek() == Some(&'"') => {
                rest.next();
                field.push('"');
            }
            '"' if quoted => {
                quoted = false;
                if rest.peek().is_some_and(|next| *next != ',') {
                    return Err(misquoted());
                }
            }
            '"' if start => quoted = true,
            '"' => return Err(misquoted()),
            ',' if !quoted => {
                fields.push(std::mem::take(&mut field));
                start = true;
                continue;
            }
            c => field.push(c),
        }
        start = false;
    }
    if quoted {
        return Err(misquoted());
    }
    fields.push(field);
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn fields_in_quotes_may_hold_commas_and_quotes() {
        let got = pairs(r#"ID=a,"src=f,""g""",flag"#).unwrap();
        let shown: Vec<String> = got.iter().map(|(k, v)| format!("{k}|{v}")).collect();
        assert_eq!(shown, ["id|a", "src|f,\"g\"", "flag|true"]);
        for text in ["a=\"b\"", "\"a=b", "\"a\"b"] {
            assert!(pairs(text).is_err(), "{text}");
        }
    }
}
