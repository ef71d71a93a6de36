//! The result as a table for a terminal.
use std::fmt::Write;

use super::lab::cut;
use super::{Matrix, State};

/// What stands in the cell of a table.
fn word(state: State) -> &'static str {
    match state {
        State::Ok => "ok",
        State::Differs => "DIFFERS",
        State::Fails => "FAILS",
        State::NoReference => "no ref",
        State::NotApplicable => "-",
    }
}

fn colour(state: State) -> &'static str {
    match state {
        State::Ok => "32",
        State::Differs => "33",
        State::Fails => "31;1",
        State::NoReference | State::NotApplicable => "2",
    }
}

/// The table, then a sentence for each cell that is not ok.
pub fn text(matrix: &Matrix, colours: bool) -> String {
    let mut out = String::new();
    let head = matrix.checks.iter().map(|c| c.title.len()).max().unwrap_or(0);
    let widths: Vec<usize> = matrix.subjects.iter().map(|s| s.id.len().max(7)).collect();
    let _ = writeln!(out, "server:    {}", matrix.server);
    let _ = writeln!(out, "reference: {}\n", matrix.reference.as_deref().unwrap_or("none"));
    let mut row = " ".repeat(head);
    for (subject, width) in matrix.subjects.iter().zip(&widths) {
        let _ = write!(row, "  {:width$}", subject.id);
    }
    let _ = writeln!(out, "{}", row.trim_end());
    for (c, check) in matrix.checks.iter().enumerate() {
        let mut row = format!("{:head$}", check.title);
        for (s, width) in widths.iter().enumerate() {
            let state = matrix.cell(c, s).state;
            let word = word(state);
            let space = " ".repeat(width - word.len());
            let _ = match colours {
                true => write!(row, "  \x1b[{}m{word}\x1b[0m{space}", colour(state)),
                false => write!(row, "  {word}{space}"),
            };
        }
        let _ = writeln!(out, "{}", row.trim_end());
    }
    let counts: Vec<String> = State::ALL
        .iter()
        .map(|(state, name)| (matrix.count(*state), name))
        .filter(|(n, _)| *n > 0)
        .map(|(n, name)| format!("{n} {name}"))
        .collect();
    let _ = writeln!(out, "\n{} in {:.0} s", counts.join(", "), matrix.time.as_secs_f64());
    for cell in matrix.cells.iter().filter(|cell| cell.state.is_bad()) {
        let (check, module) = (matrix.checks[cell.check].name, &matrix.subjects[cell.subject].id);
        let _ =
            writeln!(out, "\n{check} of {module} {}: {}", cell.state.name(), cut(&cell.text, 1000));
        let _ = writeln!(out, "  {}", cell.command);
    }
    reasons(matrix, &mut out);
    out
}

/// Why cells are empty: each reason once, with the cells that have it.
fn reasons(matrix: &Matrix, out: &mut String) {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    let empty = [State::NotApplicable, State::NoReference];
    for cell in matrix.cells.iter().filter(|cell| empty.contains(&cell.state)) {
        let check = matrix.checks[cell.check].name;
        let place = format!("{check} of {}", matrix.subjects[cell.subject].id);
        match all.iter_mut().find(|(text, _)| *text == cell.text) {
            Some((_, places)) => places.push(place),
            None => all.push((&cell.text, vec![place])),
        }
    }
    if !all.is_empty() {
        out.push('\n');
    }
    for (text, places) in all {
        let more = places.len().saturating_sub(4);
        let first = places[..places.len() - more].join(", ");
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "{first}{rest}: {}", cut(text, 400));
    }
}
