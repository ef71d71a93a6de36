//! The grammar of a command as one line of text:
//!
//! - `WORD` stands for itself, `<name>` for a random word of that sort (see [`super::words`])
//! - `[ a ]` may be left out, `( a | b )` is one of them, `{ a }` comes one to four times
//! - `#{ a }` is a count and then so many of them (sometimes the count is wrong)
//! - `&( a | b )` is all of them in any order
//! - `;` ends a command: what follows belongs to it, and both are kept or left out together
use super::random::Random;

/// A piece of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Itself.
    Word(&'static str),
    /// A random word of this sort.
    Slot(&'static str),
    /// Perhaps.
    Maybe(Vec<Node>),
    /// One of these.
    OneOf(Vec<Vec<Node>>),
    /// Some times.
    Repeat(Vec<Node>),
    /// How often, then so often.
    Counted(Vec<Node>),
    /// All, in any order.
    AnyOrder(Vec<Vec<Node>>),
}

/// The commands of a template.
pub fn parse(text: &'static str) -> Vec<Vec<Node>> {
    let commands = text.split(';').map(|part| {
        let mut tokens = part.split_whitespace().peekable();
        let branches = parse_until(&mut tokens, "");
        assert!(branches.len() == 1, "a | outside of brackets: {text}");
        branches.into_iter().next().unwrap_or_default()
    });
    commands.collect()
}

/// Branches up to the closing token, which is taken.
fn parse_until<I>(tokens: &mut std::iter::Peekable<I>, end: &str) -> Vec<Vec<Node>>
where
    I: Iterator<Item = &'static str>,
{
    let mut branches = vec![Vec::new()];
    while let Some(token) = tokens.next() {
        if token == end {
            return branches;
        }
        let flat = |branches: Vec<Vec<Node>>| branches.into_iter().flatten().collect();
        let node = match token {
            "|" => {
                branches.push(Vec::new());
                continue;
            }
            "[" => Node::Maybe(flat(parse_until(tokens, "]"))),
            "(" => Node::OneOf(parse_until(tokens, ")")),
            "{" => Node::Repeat(flat(parse_until(tokens, "}"))),
            "#{" => Node::Counted(flat(parse_until(tokens, "}"))),
            "&(" => Node::AnyOrder(parse_until(tokens, ")")),
            _ => match token.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
                Some(name) => Node::Slot(name),
                None => Node::Word(token),
            },
        };
        if let Some(branch) = branches.last_mut() {
            branch.push(node);
        }
    }
    assert!(end.is_empty(), "{end} is missing");
    branches
}

/// Appends the words of a slot, which it gets by name.
pub type MakeWord<'f, R> = dyn FnMut(&mut R, &str, &mut Vec<Vec<u8>>) + 'f;

/// Appends the words of `nodes` to `out`; `word` makes those of the slots.
pub fn expand<R: AsMut<Random>>(
    state: &mut R,
    nodes: &[Node],
    out: &mut Vec<Vec<u8>>,
    word: &mut MakeWord<'_, R>,
) {
    for node in nodes {
        match node {
            Node::Word(text) => out.push(text.as_bytes().to_vec()),
            Node::Slot(name) => word(state, name, out),
            Node::Maybe(inner) => {
                if state.as_mut().chance(35) {
                    expand(state, inner, out, word);
                }
            }
            Node::OneOf(branches) => {
                let at = state.as_mut().below(branches.len());
                expand(state, &branches[at], out, word);
            }
            Node::Repeat(inner) => {
                for _ in 0..times(state.as_mut()) {
                    expand(state, inner, out, word);
                }
            }
            Node::Counted(inner) => {
                let count = times(state.as_mut());
                let said = match state.as_mut().below(60) {
                    0 => count as i64 + 1,
                    1 => count as i64 - 1,
                    2 => -1,
                    _ => count as i64,
                };
                out.push(said.to_string().into_bytes());
                for _ in 0..count {
                    expand(state, inner, out, word);
                }
            }
            Node::AnyOrder(branches) => {
                let mut order: Vec<usize> = (0..branches.len()).collect();
                if state.as_mut().chance(50) {
                    state.as_mut().shuffle(&mut order);
                }
                for at in order {
                    expand(state, &branches[at], out, word);
                }
            }
        }
    }
}

/// How often something comes: mostly once or twice, seldom many times.
fn times(random: &mut Random) -> usize {
    match random.below(40) {
        0 => 5 + random.below(40),
        1..=20 => 1,
        21..=32 => 2,
        33..=37 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl AsMut<Random> for Random {
        fn as_mut(&mut self) -> &mut Random {
            self
        }
    }

    #[test]
    fn templates_become_words() {
        let commands = parse("A ( B | C <x> ) [ D ] ; E #{ F } &( G | H )");
        assert_eq!(commands.len(), 2);
        let mut random = Random::new(1);
        for _ in 0..100 {
            let mut out = Vec::new();
            expand(&mut random, &commands[0], &mut out, &mut |_, name, out| {
                out.push(name.as_bytes().to_vec());
            });
            assert!([&b"B"[..], b"C"].contains(&out[1].as_slice()));
            assert_eq!(out[1] == b"C", out.get(2).is_some_and(|w| w == b"x"));
            let mut out = Vec::new();
            expand(&mut random, &commands[1], &mut out, &mut |_, _, _| {});
            assert_eq!(out.iter().filter(|w| *w == b"G" || *w == b"H").count(), 2);
        }
    }
}
