//! The result as one page that needs nothing from outside.
use std::fmt::Write;

use super::{Cell, Matrix, State};

/// A text as content of an element or of an attribute.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// The name of a state as a class.
fn class(state: State) -> String {
    state.name().replace(' ', "-")
}

fn anchor(matrix: &Matrix, cell: &Cell) -> String {
    format!("{}-{}", matrix.checks[cell.check].name, matrix.subjects[cell.subject].id)
}

/// What stands in a cell.
fn word(state: State) -> &'static str {
    match state {
        State::NoReference => "no ref",
        State::NotApplicable => "–",
        other => other.name(),
    }
}

/// The whole page.
pub fn text(matrix: &Matrix) -> String {
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<title>Backplane: module matrix</title>\n<style>\n");
    out.push_str(include_str!("page.css"));
    out.push_str("</style>\n</head>\n<body>\n<h1>Modules on Backplane</h1>\n");
    let reference = matrix.reference.as_deref().unwrap_or("none");
    let _ = writeln!(
        out,
        "<p class=\"soft text\">Server: {}<br>Reference: {}<br>Taken in {:.0} s</p>",
        escape(&matrix.server),
        escape(reference),
        matrix.time.as_secs_f64()
    );
    let counts: Vec<String> = State::ALL
        .iter()
        .filter(|(state, _)| matrix.count(*state) > 0)
        .map(|(state, name)| {
            format!(
                "<span class=\"state {}\">{} {name}</span>",
                class(*state),
                matrix.count(*state)
            )
        })
        .collect();
    let _ = writeln!(out, "<p>{}</p>", counts.join(" "));
    out.push_str(
        "<p>Each cell leads to what was found, and to the command line that finds it again.</p>\n",
    );
    table(matrix, &mut out);
    for (c, check) in matrix.checks.iter().enumerate() {
        let _ = writeln!(
            out,
            "<h2 id=\"check-{}\">{}</h2>\n<p class=\"soft\">{}</p>",
            check.name,
            escape(check.title),
            escape(check.proves)
        );
        for s in 0..matrix.subjects.len() {
            detail(matrix, matrix.cell(c, s), &mut out);
        }
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn table(matrix: &Matrix, out: &mut String) {
    out.push_str(
        "<div class=\"scroll\">\n<table id=\"matrix\">\n<thead>\n<tr><th scope=\"col\">check</th>",
    );
    for subject in &matrix.subjects {
        let version = subject.known_facts().map(|f| format!("{} {}", f.name, f.version));
        let _ = write!(
            out,
            "<th scope=\"col\" title=\"{}\">{}</th>",
            escape(&version.unwrap_or_default()),
            escape(&subject.id)
        );
    }
    out.push_str("</tr>\n</thead>\n<tbody>\n");
    for (c, check) in matrix.checks.iter().enumerate() {
        let _ = write!(
            out,
            "<tr><th scope=\"row\" title=\"{}\"><a href=\"#check-{}\">{}</a></th>",
            escape(check.proves),
            check.name,
            escape(check.title)
        );
        for s in 0..matrix.subjects.len() {
            let cell = matrix.cell(c, s);
            let _ = write!(
                out,
                "<td><a class=\"{}\" href=\"#{}\" title=\"{}\">{}</a></td>",
                class(cell.state),
                escape(&anchor(matrix, cell)),
                escape(&cell.text),
                word(cell.state)
            );
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn detail(matrix: &Matrix, cell: &Cell, out: &mut String) {
    let _ = writeln!(
        out,
        "<section id=\"{}\">\n<h3>{} <span class=\"state {}\">{}</span> <a class=\"soft\" href=\"#matrix\">table</a></h3>",
        escape(&anchor(matrix, cell)),
        escape(&matrix.subjects[cell.subject].id),
        class(cell.state),
        cell.state.name()
    );
    let _ = writeln!(
        out,
        "<p class=\"text\">{}</p>\n<pre>{}</pre>",
        escape(&cell.text),
        escape(&cell.command)
    );
    if !cell.steps.is_empty() {
        let lines: Vec<String> = cell.steps.iter().map(|s| escape(s)).collect();
        let _ = writeln!(
            out,
            "<details><summary>what was done ({:.1} s)</summary><pre>{}</pre></details>",
            cell.time.as_secs_f64(),
            lines.join("\n")
        );
    }
    out.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_elements() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
