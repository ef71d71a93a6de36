//! The result as JSON.
use super::{Matrix, State};

/// A string of JSON.
pub fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn object(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{}: {v}", string(k))).collect();
    format!("{{{}}}", fields.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.map(|item| format!("\n    {item}")).collect();
    format!("[{}\n  ]", items.join(","))
}

/// The whole result.
pub fn text(matrix: &Matrix) -> String {
    let checks = matrix.checks.iter().map(|c| {
        object(&[
            ("name", string(c.name)),
            ("title", string(c.title)),
            ("proves", string(c.proves)),
        ])
    });
    let modules = matrix.subjects.iter().map(|s| {
        let facts = s.known_facts().cloned().unwrap_or_default();
        let args: Vec<String> = s.args.iter().map(|a| string(a)).collect();
        object(&[
            ("id", string(&s.id)),
            ("file", string(&s.path.display().to_string())),
            ("args", format!("[{}]", args.join(", "))),
            ("name", string(&facts.name)),
            ("version", string(&facts.version)),
        ])
    });
    let cells = matrix.cells.iter().map(|cell| {
        let steps: Vec<String> = cell.steps.iter().map(|s| string(s)).collect();
        object(&[
            ("check", string(matrix.checks[cell.check].name)),
            ("module", string(&matrix.subjects[cell.subject].id)),
            ("state", string(cell.state.name())),
            ("text", string(&cell.text)),
            ("command", string(&cell.command)),
            ("seconds", format!("{:.3}", cell.time.as_secs_f64())),
            ("steps", format!("[{}]", steps.join(", "))),
        ])
    });
    let counts: Vec<(&str, String)> =
        State::ALL.iter().map(|(s, name)| (*name, matrix.count(*s).to_string())).collect();
    format!(
        "{{\n  \"server\": {},\n  \"reference\": {},\n  \"seconds\": {:.1},\n  \"counts\": {},\n  \"checks\": {},\n  \
         \"modules\": {},\n  \"cells\": {}\n}}\n",
        string(&matrix.server),
        matrix.reference.as_deref().map_or("null".into(), string),
        matrix.time.as_secs_f64(),
        object(&counts),
        list(checks),
        list(modules),
        list(cells)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        assert_eq!(string("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\u0001é\"");
    }
}
