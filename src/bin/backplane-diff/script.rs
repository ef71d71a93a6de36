//! The script language of `backplane-diff`.
//!
//! One command a line, quoted as in `redis-cli`; `#` begins a comment line. What begins with `@` is for the tester:
//!
//! - head of the file: `@modules NAME...` (loaded from the modules' folder), `@args ARG...` (for both servers)
//! - before a command, on its line or on lines of their own: the normalisations of [`Rule`];
//!   `@on CONN` (send it there), `@let NAME [INDEX...]` (keep the reply, or that part of it, as `${NAME}`
//!   for later arguments; `${!NAME}` is what the *other* server replied), `@for LO HI` (once for each `{i}`)
//! - steps: `@conn CONN` (from here on), `@resp2`, `@resp3`, `@send COMMAND` (read nothing),
//!   `@read [N] [MS]` or `@wait-push [N] [MS]` (read N replies or pushes), `@read-until GLOB` (read up to the first that
//!   matches), `@events` (publish on `__keyend__:` through `main`, read this connection, which is subscribed
//!   to `__key*`, until that comes: all keyspace events so far), `@quiet MS` (nothing may come),
//!   `@raw [N] "BYTES"...` (send as they are, read N replies), `@close`, `@sleep MS`, `@reload` (DEBUG RELOAD),
//!   `@restart` (SHUTDOWN SAVE and start again on the same data), `@pipeline` ... `@end` (one write, then all replies),
//!   `@until COMMAND == REPLY` or `~= GLOB` (ask each server until it answers so, printed on one line)
use crate::compare::Rule;
use backplane::client::words::{split, word};

/// A script, read.
#[derive(Debug, Default)]
pub struct Script {
    /// Modules both servers load, without folder and `.so`.
    pub modules: Vec<String>,
    /// Further server arguments.
    pub args: Vec<String>,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

/// One step and how its reply is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Line in the script, from 1.
    pub line: usize,
    /// Name of the connection.
    pub conn: String,
    /// Normalisations, in the order in which they were given.
    pub rules: Vec<Rule>,
    /// What is done.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Send a command and read its reply.
    Command {
        /// The words.
        args: Vec<Vec<u8>>,
        /// Variable that takes the reply, or the part of it at a path.
        keep: Option<(String, Vec<usize>)>,
    },
    /// Send a command, read nothing.
    Send(Vec<Vec<u8>>),
    /// Read so many replies or pushes, each within so many milliseconds.
    Read(usize, Option<u64>),
    /// Read until one, printed on one line, matches the glob; all of them are compared as one list.
    ReadUntil(String),
    /// Publish a last message, read until it comes.
    Events,
    /// Nothing may arrive for so many milliseconds.
    Quiet(u64),
    /// Send bytes, read so many replies.
    Raw(Vec<u8>, usize),
    /// Several commands in one write.
    Pipeline(Vec<Step>),
    /// Ask each server again and again until its reply, on one line, is this text or matches this glob.
    Until(Vec<Vec<u8>>, String, bool),
    /// `HELLO 2` or `HELLO 3`.
    Protocol(u8),
    /// Close the connection; the next use opens it again.
    Close,
    /// Wait so many milliseconds.
    Sleep(u64),
    /// Stop both servers with `SHUTDOWN SAVE`, start them on what they saved.
    Restart,
}

/// Reads a script; the error begins with the line number.
pub fn parse(text: &str) -> Result<Script, String> {
    let mut reader = Reader {
        script: Script::default(),
        conn: "main".into(),
        next: Prefix::default(),
        pipe: None,
    };
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            reader.line(n + 1, line).map_err(|why| format!("{}: {why}", n + 1))?;
        }
    }
    if reader.pipe.is_some() {
        return Err("end: @pipeline without @end".into());
    }
    if reader.next != Prefix::default() {
        return Err("end: a directive has no command to apply to".into());
    }
    Ok(reader.script)
}

/// What has been said about the command to come.
#[derive(Clone, Debug, Default, PartialEq)]
struct Prefix {
    rules: Vec<Rule>,
    conn: Option<String>,
    keep: Option<(String, Vec<usize>)>,
    each: Option<(i64, i64)>,
}

struct Reader {
    script: Script,
    conn: String,
    next: Prefix,
    pipe: Option<Step>,
}

impl Reader {
    fn line(&mut self, n: usize, line: &str) -> Result<(), String> {
        let mut rest = line;
        while rest.starts_with('@') {
            let word = take(&mut rest);
            if self.prefix(word, &mut rest)? {
                continue;
            }
            return self.directive(n, word, rest);
        }
        if rest.is_empty() {
            return Ok(());
        }
        let prefix = std::mem::take(&mut self.next);
        let (low, high) = prefix.each.unwrap_or((0, 0));
        for i in low..=high {
            let text = match prefix.each {
                Some(_) => rest.replace("{i}", &i.to_string()),
                None => rest.to_string(),
            };
            let action = Action::Command { args: split(&text)?, keep: prefix.keep.clone() };
            self.push(n, &prefix, action);
        }
        Ok(())
    }

    fn push(&mut self, line: usize, prefix: &Prefix, action: Action) {
        let conn = prefix.conn.clone().unwrap_or_else(|| self.conn.clone());
        let step = Step { line, conn, rules: prefix.rules.clone(), action };
        match &mut self.pipe {
            Some(Step { action: Action::Pipeline(steps), .. }) => steps.push(step),
            _ => self.script.steps.push(step),
        }
    }

    /// Takes a word that says something about the command behind it.
    fn prefix(&mut self, word: &str, rest: &mut &str) -> Result<bool, String> {
        let names = |text: &str| text.split(',').map(str::to_string).collect::<Vec<_>>();
        let rule = match word {
            "@ignore" => Rule::Ignore,
            "@kind" => Rule::Kind,
            "@type-only" => Rule::TypeOnly,
            "@unordered" => Rule::Unordered,
            "@unordered-deep" => Rule::UnorderedDeep,
            "@unordered-at" => Rule::UnorderedAt(number(take(rest))?),
            "@pairs" => Rule::Pairs,
            "@pairs-at" => Rule::PairsAt(number(take(rest))?),
            "@mask" => Rule::Mask(names(take(rest))),
            "@mask-at" => Rule::MaskAt(number(take(rest))?),
            "@fields" => Rule::Fields(names(take(rest))),
            "@values" => Rule::Values(names(take(rest))),
            "@bag" => Rule::Bag,
            "@stats" => Rule::Stats,
            "@digits" => Rule::Digits,
            "@float" => Rule::Float(number(take(rest))?),
            "@near" => Rule::Near(number(take(rest))?),
            "@like" => {
                let glob = one(rest)?;
                Rule::Like(String::from_utf8_lossy(&glob).into_owned())
            }
            "@on" => {
                self.next.conn = Some(take(rest).to_string());
                return Ok(true);
            }
            "@for" => {
                self.next.each = Some((number(take(rest))?, number(take(rest))?));
                return Ok(true);
            }
            "@let" => {
                let name = take(rest).to_string();
                let mut path = Vec::new();
                while rest.starts_with(|c: char| c.is_ascii_digit()) {
                    path.push(number(take(rest))?);
                }
                self.next.keep = Some((name, path));
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.next.rules.push(rule);
        Ok(true)
    }

    /// A step of its own.
    fn directive(&mut self, n: usize, word: &str, mut rest: &str) -> Result<(), String> {
        let action = match word {
            "@modules" => {
                self.script.modules.extend(rest.split_whitespace().map(str::to_string));
                return Ok(());
            }
            "@args" => {
                for arg in split(rest)? {
                    self.script.args.push(String::from_utf8_lossy(&arg).into_owned());
                }
                return Ok(());
            }
            "@conn" => {
                self.conn = take(&mut rest).to_string();
                return Ok(());
            }
            "@pipeline" => {
                let conn = self.conn.clone();
                let action = Action::Pipeline(Vec::new());
                self.pipe = Some(Step { line: n, conn, rules: Vec::new(), action });
                return Ok(());
            }
            "@end" => {
                let step = self.pipe.take().ok_or("@end without @pipeline")?;
                self.script.steps.push(step);
                return Ok(());
            }
            "@resp2" => Action::Protocol(2),
            "@resp3" => Action::Protocol(3),
            "@send" => Action::Send(split(rest)?),
            "@read" | "@wait-push" => {
                let count = if rest.is_empty() { 1 } else { number(take(&mut rest))? };
                let wait = if rest.is_empty() { None } else { Some(number(take(&mut rest))?) };
                Action::Read(count, wait)
            }
            "@read-until" => {
                Action::ReadUntil(String::from_utf8_lossy(&one(&mut rest)?).into_owned())
            }
            "@events" => Action::Events,
            "@quiet" => Action::Quiet(number(take(&mut rest))?),
            "@raw" => {
                let counted = rest.starts_with(|c: char| c.is_ascii_digit());
                let count = if counted { number(take(&mut rest))? } else { 1 };
                Action::Raw(split(rest)?.concat(), count)
            }
            "@close" => Action::Close,
            "@sleep" => Action::Sleep(number(take(&mut rest))?),
            "@reload" => {
                Action::Command { args: vec![b"DEBUG".into(), b"RELOAD".into()], keep: None }
            }
            "@restart" => Action::Restart,
            "@until" => {
                let (command, want, glob) =
                    match (rest.rsplit_once(" == "), rest.rsplit_once(" ~= ")) {
                        (Some((command, want)), None) => (command, want, false),
                        (None, Some((command, want))) => (command, want, true),
                        _ => return Err("@until needs one == or ~=".into()),
                    };
                Action::Until(split(command)?, want.trim().to_string(), glob)
            }
            _ => return Err(format!("unknown directive {word}")),
        };
        if self.pipe.is_some() {
            return Err(format!("{word} has no place in a @pipeline"));
        }
        let prefix = std::mem::take(&mut self.next);
        self.push(n, &prefix, action);
        Ok(())
    }
}

/// The next word of `rest`, which then begins with the one after it.
fn take<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    *rest = text[end..].trim_start();
    &text[..end]
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("a number was expected instead of '{word}'"))
}

/// The first word of `rest`, which may be quoted.
fn one(rest: &mut &str) -> Result<Vec<u8>, String> {
    let (word, end) = word(rest.as_bytes())?.ok_or("a word is missing")?;
    *rest = rest[end..].trim_start();
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_gather_until_a_command() {
        let script = parse(
            "@modules rejson\n# no\n@unordered @on b\n@let x 1 0 KEYS *\n@for 1 3 SET k{i} v",
        )
        .unwrap();
        assert_eq!(script.modules, ["rejson"]);
        assert_eq!(script.steps.len(), 4);
        assert_eq!(script.steps[0].rules, [Rule::Unordered]);
        assert_eq!(script.steps[0].conn, "b");
        assert_eq!(script.steps[0].line, 4);
        let keep = Some(("x".into(), vec![1, 0]));
        let args = vec![b"KEYS".to_vec(), b"*".to_vec()];
        assert_eq!(script.steps[0].action, Action::Command { args, keep });
        let args = vec![b"SET".to_vec(), b"k3".to_vec(), b"v".to_vec()];
        assert_eq!(script.steps[3].action, Action::Command { args, keep: None });
        assert_eq!(script.steps[3].conn, "main");
    }

    #[test]
    fn errors_name_their_line() {
        assert!(parse("PING\n@nonsense x").unwrap_err().starts_with("2: unknown directive"));
        assert!(parse("@pipeline\nPING").is_err());
        assert!(parse("@unordered").is_err());
        assert!(parse("@until PING").is_err());
    }
}
