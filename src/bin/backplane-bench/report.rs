//! Collects figures, prints them as a table with ratios to the first server, writes them as JSON.
use std::fmt::Write;

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Row and figure, e.g. `get P1, kops/s`.
    pub name: String,
    /// Decimals printed.
    pub decimals: usize,
    /// For each server, the value of each repetition.
    pub values: Vec<Vec<f64>>,
}

/// All figures of a run, and the remarks on it.
#[derive(Debug, Default)]
pub struct Report {
    /// Names of the servers, the reference first.
    pub servers: Vec<String>,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

/// The middle value (the mean of the middle two), `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => None,
        _ => Some((sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0),
    }
}

/// Half the range in per cent of the median.
fn spread(values: &[f64]) -> f64 {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match median(values) {
        Some(middle) if middle > 0.0 => (high - low) / 2.0 / middle * 100.0,
        _ => 0.0,
    }
}

impl Report {
    /// Adds the value of one repetition.
    pub fn add(&mut self, name: &str, decimals: usize, server: usize, value: f64) {
        let place = match self.figures.iter().position(|figure| figure.name == name) {
            Some(place) => place,
            None => {
                let values = vec![Vec::new(); self.servers.len()];
                self.figures.push(Figure { name: name.to_string(), decimals, values });
                self.figures.len() - 1
            }
        };
        self.figures[place].values[server].push(value);
    }

    /// Adds a remark, once.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            eprintln!("{text}");
            self.notes.push(text);
        }
    }

    /// Whether there is a value of every server in every line.
    pub fn complete(&self) -> bool {
        let full = |figure: &Figure| figure.values.iter().all(|values| !values.is_empty());
        !self.figures.is_empty() && self.figures.iter().all(full)
    }

    /// The table and the remarks.
    pub fn table(&self) -> String {
        let mut rows = vec![vec!["figure".to_string()]];
        rows[0].extend(self.servers.iter().cloned());
        for figure in &self.figures {
            let first = figure.values.first().and_then(|values| median(values));
            let mut row = vec![figure.name.clone()];
            for (i, values) in figure.values.iter().enumerate() {
                let Some(middle) = median(values) else {
                    row.push("-".into());
                    continue;
                };
                let mut cell = format!("{middle:.*}", figure.decimals);
                if let (Some(first), true) = (first, i > 0) {
                    if first > 0.0 {
                        let _ = write!(cell, " ({:.2}x)", middle / first);
                    }
                }
                let _ = write!(cell, " ±{:.0}%", spread(values));
                row.push(cell);
            }
            rows.push(row);
        }
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let mut out = String::new();
        for (n, row) in rows.iter().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if n == 0 {
                let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                let _ = writeln!(out, "| {} |", rules.join(" | "));
            }
        }
        for note in &self.notes {
            let _ = writeln!(out, "{note}");
        }
        out
    }

    /// The figures with each repetition's value.
    pub fn json(&self) -> String {
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        let figures = self.figures.iter().map(|figure| {
            let servers = self.servers.iter().zip(&figure.values).map(|(server, values)| {
                let all = list(values.iter().map(|value| format!("{value:.4}")).collect());
                let middle = median(values).map_or("null".into(), |value| format!("{value:.4}"));
                format!("{}:{{\"median\":{middle},\"values\":{all}}}", quote(server))
            });
            let servers: Vec<String> = servers.collect();
            format!("{{\"figure\":{},\"servers\":{{{}}}}}", quote(&figure.name), servers.join(","))
        });
        format!(
            "{{\"servers\":{},\"figures\":{},\"notes\":{}}}\n",
            list(self.servers.iter().map(|name| quote(name)).collect()),
            list(figures.collect()),
            list(self.notes.iter().map(|note| quote(note)).collect())
        )
    }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spread() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 3.0, 10.0]), Some(2.5));
        assert_eq!(spread(&[90.0, 100.0, 110.0]), 10.0);
    }

    #[test]
    fn table_and_json_hold_the_medians() {
        let mut report = Report { servers: vec!["a".into(), "b".into()], ..Report::default() };
        for (server, value) in [(0, 10.0), (1, 20.0), (0, 12.0), (1, 24.0)] {
            report.add("get P1, kops/s", 1, server, value);
        }
        report.note("a \"note\"".into());
        assert!(report.complete());
        assert!(report.table().contains("| 11.0 ±9% | 22.0 (2.00x) ±9% |"), "{}", report.table());
        assert!(report.json().contains("\"b\":{\"median\":22.0000,\"values\":[20.0000,24.0000]}"));
        assert!(report.json().contains("a \\\"note\\\""));
    }
}
