//! The rows of the generator: families of commands, each a template and how its reply is compared.
use super::template::{parse, Node};
use crate::compare::Rule;
use crate::script;

/// A row as it is written: weight, template, normalisations for each command of it, separated by `;`.
pub type Line = (usize, &'static str, &'static str);

/// A family: its name and its rows.
pub struct Family {
    /// Name for `--families`.
    pub name: &'static str,
    /// Its rows.
    pub rows: &'static [Line],
}

/// All families.
pub const FAMILIES: &[Family] = &[
    Family { name: "strings", rows: super::rows_strings::STRINGS },
    Family { name: "bitmaps", rows: super::rows_strings::BITMAPS },
    Family { name: "lists", rows: super::rows_collections::LISTS },
    Family { name: "sets", rows: super::rows_collections::SETS },
    Family { name: "hashes", rows: super::rows_collections::HASHES },
    Family { name: "zsets", rows: super::rows_collections::ZSETS },
    Family { name: "geo", rows: super::rows_collections::GEO },
    Family { name: "hll", rows: super::rows_collections::HLL },
    Family { name: "streams", rows: super::rows_keys::STREAMS },
    Family { name: "keys", rows: super::rows_keys::KEYS },
    Family { name: "scripts", rows: super::rows_keys::SCRIPTS },
    Family { name: "server", rows: super::rows_server::SERVER },
    Family { name: "acl", rows: super::rows_server::ACL },
];

/// A row, read.
pub struct Row {
    /// How often it comes, relative to the others of its family.
    pub weight: usize,
    /// Its commands.
    pub commands: Vec<Vec<Node>>,
    /// How their replies are compared.
    pub rules: Vec<Vec<Rule>>,
}

/// The rows of one family, read.
pub fn read(lines: &[Line]) -> Vec<Row> {
    let row = |&(weight, template, rules): &Line| {
        let commands = parse(template);
        let mut rules: Vec<Vec<Rule>> = rules.split(';').map(rules_of).collect();
        rules.resize(commands.len(), Vec::new());
        Row { weight, commands, rules }
    };
    lines.iter().map(row).collect()
}

/// The normalisations named in `text`.
pub fn rules_of(text: &str) -> Vec<Rule> {
    let script = script::parse(&format!("{} X", text.trim()));
    let script = script.unwrap_or_else(|why| panic!("{text}: {why}"));
    script.steps.first().map(|step| step.rules.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_can_be_read() {
        for family in FAMILIES {
            for row in read(family.rows) {
                assert!(!row.commands[0].is_empty(), "{}", family.name);
                assert_eq!(row.commands.len(), row.rules.len(), "{}", family.name);
            }
        }
    }
}
