//! What a user may do: selectors and their rules, how they are changed and how they are written.
//!
//! Nothing here knows of clients or threads: a change makes new [`Rules`], which `acl::User` publishes as a whole.
use crate::config::text::split_args;
use crate::dispatch::table::{flags, Command, Table};
use crate::execute::command::{in_category, CATEGORIES};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Why a rule was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// No such command or category.
    Unknown,
    /// Not a rule.
    Syntax,
    /// A key pattern where all keys are allowed already.
    AllKeys,
    /// A channel pattern where all channels are allowed already.
    AllChannels,
    /// A password to remove that the user does not have.
    NoSuchPassword,
    /// Not a SHA-256 in lower-case hex digits.
    BadHash,
    /// A second definition of a user in the configuration.
    Duplicate,
    /// A first argument of a subcommand.
    FirstArgOfSub,
}

impl RuleError {
    /// The reason as `ACL SETUSER` tells it.
    pub fn text(self) -> &'static str {
        match self {
            RuleError::Unknown => "Unknown command or category name in ACL",
            RuleError::Syntax => "Syntax error",
            RuleError::AllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any \
                 effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            RuleError::AllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            RuleError::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            RuleError::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            RuleError::Duplicate => {
                "Duplicate user found. A user can only be defined once in config files"
            }
            RuleError::FirstArgOfSub => "Allowing first-arg of a subcommand is not supported",
        }
    }

    /// What `SetModuleUserACL` leaves in `errno`.
    pub fn errno(self) -> i32 {
        match self {
            RuleError::Unknown => libc::ENOENT,
            RuleError::Syntax => libc::EINVAL,
            RuleError::AllKeys => libc::EEXIST,
            RuleError::AllChannels => libc::EISDIR,
            RuleError::NoSuchPassword => libc::ENODEV,
            RuleError::BadHash => libc::EBADMSG,
            RuleError::Duplicate => libc::EALREADY,
            RuleError::FirstArgOfSub => libc::ECHILD,
        }
    }
}

/// What rules are applied in the light of.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The commands.
    pub table: &'a Table,
    /// `acl-pubsub-default`: new selectors allow all channels.
    pub all_channels: bool,
}

/// A set of command numbers; those beyond its end are all in it, or none.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Numbers {
    words: Vec<u64>,
    rest: bool,
}

impl Numbers {
    fn all(rest: bool) -> Numbers {
        Numbers { words: Vec::new(), rest }
    }

    fn has(&self, n: u32) -> bool {
        match self.words.get(n as usize / 64) {
            Some(w) => w >> (n % 64) & 1 != 0,
            None => self.rest,
        }
    }

    fn set(&mut self, n: u32, on: bool) {
        let at = n as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, if self.rest { u64::MAX } else { 0 });
        }
        let bit = 1 << (n % 64);
        if on {
            self.words[at] |= bit;
        } else {
            self.words[at] &= !bit;
        }
    }
}

/// A pattern of keys and what may be done with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPattern {
    /// Reading.
    pub read: bool,
    /// Changing.
    pub write: bool,
    /// The glob.
    pub pattern: Vec<u8>,
}

impl KeyPattern {
    fn write_to(&self, out: &mut Vec<u8>) {
        out.extend(match (self.read, self.write) {
            (true, false) => &b"%R~"[..],
            (false, true) => b"%W~",
            _ => b"~",
        });
        out.extend(&self.pattern);
    }
}

/// A list of permissions that hold together: commands, keys and channels. A user has one at the root and any number of
/// further ones; a command needs one that allows all of it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Selector {
    /// Every key.
    pub all_keys: bool,
    /// Every channel.
    pub all_channels: bool,
    /// Every command, with nothing taken away.
    pub all_commands: bool,
    /// Keys.
    pub keys: Vec<KeyPattern>,
    /// Patterns of channels.
    pub channels: Vec<Vec<u8>>,
    commands: Numbers,
    /// First arguments with which a command is allowed that is not otherwise.
    first_args: BTreeMap<u32, Vec<Vec<u8>>>,
    /// Rules of commands and categories, in the order in which they count: allowed or not, and which.
    rules: Vec<(bool, Vec<u8>)>,
}

/// Whether a name or a pattern could not stand in a configuration file.
pub fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|c| matches!(c, b' ' | b'\t'..=b'\r' | 0))
}

fn is(op: &[u8], word: &str) -> bool {
    op.eq_ignore_ascii_case(word.as_bytes())
}

/// The category of this name, in any case; with the letters of its declaration.
pub fn category(name: &[u8]) -> Option<Cow<'static, str>> {
    let same = |c: &str| c.as_bytes().eq_ignore_ascii_case(name);
    if let Some(c) = CATEGORIES.iter().find(|c| same(c)) {
        return Some(Cow::Borrowed(c));
    }
    let added = crate::module::api::command::added_categories();
    added.into_iter().find(|c| same(c)).map(Cow::Owned)
}

impl Selector {
    /// A new selector: nothing is allowed but, if the configuration says so, channels.
    pub fn new(context: Context<'_>) -> Selector {
        Selector { all_channels: context.all_channels, ..Selector::default() }
    }

    /// Whether nothing is forbidden.
    pub fn is_open(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether a command may run, whatever its keys.
    pub fn allows_command(&self, command: &Command, args: &[&[u8]]) -> bool {
        if self.all_commands || command.has(flags::NO_AUTH) || self.commands.has(command.number) {
            return true;
        }
        let listed = self.first_args.get(&command.number);
        args.len() > 1 && listed.is_some_and(|l| l.iter().any(|a| a.eq_ignore_ascii_case(args[1])))
    }

    /// Applies one rule.
    pub fn apply(&mut self, op: &[u8], table: &Table) -> Result<(), RuleError> {
        if is(op, "allkeys") || op == b"~*" {
            self.all_keys = true;
            self.keys.clear();
        } else if is(op, "resetkeys") {
            self.all_keys = false;
            self.keys.clear();
        } else if is(op, "allchannels") || op == b"&*" {
            self.all_channels = true;
            self.channels.clear();
        } else if is(op, "resetchannels") {
            self.all_channels = false;
            self.channels.clear();
        } else if is(op, "allcommands") || is(op, "+@all") {
            self.set_all_commands(true);
        } else if is(op, "nocommands") || is(op, "-@all") {
            self.set_all_commands(false);
        } else {
            match op {
                [b'~' | b'%', ..] => return self.add_key_pattern(op),
                [b'&', pattern @ ..] => return self.add_channel_pattern(pattern),
                [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                    let allow = *sign == b'+';
                    let category = category(name).ok_or(RuleError::Unknown)?;
                    self.note_rule(&op[1..], allow);
                    self.set_category(&category, allow, table);
                }
                [b'+', name @ ..] => return self.allow(name, table),
                [b'-', name @ ..] => {
                    let c = table.original(name).ok_or(RuleError::Unknown)?;
                    self.set_command(c, false);
                    self.note_rule(c.full_name.as_bytes(), false);
                }
                _ => return Err(RuleError::Syntax),
            }
        }
        Ok(())
    }

    fn set_all_commands(&mut self, on: bool) {
        self.all_commands = on;
        self.commands = Numbers::all(on);
        self.first_args.clear();
        self.rules.clear();
    }

    fn add_key_pattern(&mut self, op: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeys);
        }
        let (mut read, mut write, mut from) = (true, true, 1);
        if op[0] == b'%' {
            (read, write) = (false, false);
            // The reference also takes the letters alone, as a pattern that only the empty key matches.
            while from < op.len() {
                match op[from].to_ascii_uppercase() {
                    b'R' if !read => read = true,
                    b'W' if !write => write = true,
                    b'~' if read || write => {
                        from += 1;
                        break;
                    }
                    _ => return Err(RuleError::Syntax),
                }
                from += 1;
            }
        }
        let pattern = &op[from..];
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|k| k.pattern == pattern) {
            Some(k) => {
                k.read |= read;
                k.write |= write;
            }
            None => self.keys.push(KeyPattern { read, write, pattern: pattern.to_vec() }),
        }
        Ok(())
    }

    fn add_channel_pattern(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannels);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|c| c == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `+name`, `+container|sub` or `+name|argument`.
    fn allow(&mut self, name: &[u8], table: &Table) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|c| *c == b'|') else {
            let c = table.original(name).ok_or(RuleError::Unknown)?;
            self.set_command(c, true);
            self.note_rule(c.full_name.as_bytes(), true);
            return Ok(());
        };
        let (first, rest) = (&name[..bar], &name[bar + 1..]);
        let c = table.original(first).ok_or(RuleError::Unknown)?;
        if c.full_name.contains('|') {
            return Err(RuleError::FirstArgOfSub);
        }
        if rest.is_empty() {
            return Err(RuleError::Syntax);
        }
        if c.subs.is_empty() {
            crate::log_warning!(
                "Deprecation warning: Allowing a first arg of an otherwise blocked command is a misuse of ACL and may \
                 get disabled in the future (offender: +{})",
                String::from_utf8_lossy(name)
            );
            let list = self.first_args.entry(c.number).or_default();
            if !list.iter().any(|a| a.eq_ignore_ascii_case(rest)) {
                list.push(rest.to_vec());
            }
        } else {
            let sub = table.original(name).ok_or(RuleError::Unknown)?;
            self.set_command(sub, true);
        }
        self.note_rule(name, true);
        Ok(())
    }

    fn set_number(&mut self, n: u32, allow: bool) {
        self.commands.set(n, allow);
        self.all_commands &= allow;
    }

    /// Allows or forbids a command with all its subcommands.
    fn set_command(&mut self, c: &Command, allow: bool) {
        self.set_number(c.number, allow);
        self.first_args.remove(&c.number);
        for s in &c.subs {
            self.set_number(s.number, allow);
        }
    }

    fn set_category(&mut self, category: &str, allow: bool, table: &Table) {
        for c in table.originals() {
            if in_category(c, category) {
                self.set_command(c, allow);
            }
            for s in c.subs.iter().filter(|s| in_category(s, category)) {
                self.set_command(s, allow);
            }
        }
    }

    /// Remembers a rule in its place, and forgets those that it makes pointless: the same one, and rules for subcommands of
    /// the same command.
    fn note_rule(&mut self, rule: &[u8], allow: bool) {
        let rule = rule.to_ascii_lowercase();
        self.rules.retain(|(_, old)| {
            old.strip_prefix(rule.as_slice()).is_none_or(|rest| !matches!(rest, [] | [b'|', ..]))
        });
        self.rules.push((allow, rule));
    }

    /// Applies the rules of commands and categories anew, to other commands than before.
    pub fn recompute(&mut self, table: &Table) {
        let rules = std::mem::take(&mut self.rules);
        self.set_all_commands(self.commands.rest);
        for (allow, rule) in rules {
            let op = [if allow { &b"+"[..] } else { b"-" }, &rule].concat();
            // A rule about a command that is gone stays: the command may come back with its module.
            if self.apply(&op, table).is_err() {
                self.rules.push((allow, rule));
            }
        }
    }

    /// Whether there are rules that depend on which commands exist.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// The rules of commands and categories.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut out = if self.commands.rest { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (allow, rule) in &self.rules {
            out.extend(if *allow { b" +" } else { b" -" });
            out.extend(rule);
        }
        out
    }

    /// The patterns of keys.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut out = Vec::new();
        for (i, k) in self.keys.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            k.write_to(&mut out);
        }
        out
    }

    /// The patterns of channels.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let named: Vec<Vec<u8>> = self.channels.iter().map(|c| [b"&", &c[..]].concat()).collect();
        named.join(&b' ')
    }

    fn describe(&self, out: &mut Vec<u8>) {
        let keys = self.describe_keys();
        if self.all_keys || !self.keys.is_empty() {
            out.extend(keys);
            out.push(b' ');
        }
        if !self.all_channels {
            out.extend(b"resetchannels ");
        }
        if self.all_channels || !self.channels.is_empty() {
            out.extend(self.describe_channels());
            out.push(b' ');
        }
        out.extend(self.describe_commands());
    }
}

/// All that is said about a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// `on`
    pub enabled: bool,
    /// Every password will do.
    pub nopass: bool,
    /// `skip-sanitize-payload`
    pub skip_sanitize: bool,
    /// Hashes of passwords, in hex digits.
    pub passwords: Vec<Vec<u8>>,
    /// The root's selector, then the further ones.
    pub selectors: Vec<Selector>,
}

/// SHA-256 of a password, in hex digits.
pub fn hash_password(password: &[u8]) -> Vec<u8> {
    Sha256::digest(password).iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect()
}

fn checked_hash(hash: &[u8]) -> Result<Vec<u8>, RuleError> {
    let digits = hash.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if hash.len() == 64 && digits {
        Ok(hash.to_vec())
    } else {
        Err(RuleError::BadHash)
    }
}

/// Joins selectors that are spread over several arguments. The error is the index of a parenthesis that nothing closes.
pub fn merge_selectors(ops: &[&[u8]]) -> Result<Vec<Vec<u8>>, usize> {
    let mut merged = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (i, op) in ops.iter().enumerate() {
        let closes = op.last() == Some(&b')');
        match &mut open {
            Some((_, text)) => {
                text.push(b' ');
                text.extend(*op);
                if closes {
                    merged.extend(open.take().map(|o| o.1));
                }
            }
            None if op.first() == Some(&b'(') && !closes => open = Some((i, op.to_vec())),
            None => merged.push(op.to_vec()),
        }
    }
    match open {
        Some((i, _)) => Err(i),
        None => Ok(merged),
    }
}

impl Rules {
    /// The rules of a user just made: off, nothing allowed.
    pub fn new(context: Context<'_>) -> Rules {
        Rules {
            enabled: false,
            nopass: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![Selector::new(context)],
        }
    }

    /// The rules of the default user: on, without a password, everything allowed.
    pub fn unlimited() -> Rules {
        let mut root = Selector { all_keys: true, all_channels: true, ..Selector::default() };
        root.set_all_commands(true);
        Rules {
            enabled: true,
            nopass: true,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![root],
        }
    }

    /// The rules of a user that was deleted: nothing, for ever.
    pub fn nothing() -> Rules {
        Rules {
            enabled: false,
            nopass: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            selectors: vec![Selector::default()],
        }
    }

    /// The selector that rules outside of parentheses are about.
    pub fn root(&self) -> &Selector {
        &self.selectors[0]
    }

    /// Whether nothing is forbidden.
    pub fn are_open(&self) -> bool {
        self.selectors.iter().any(Selector::is_open)
    }

    /// Applies one rule.
    pub fn apply(&mut self, op: &[u8], context: Context<'_>) -> Result<(), RuleError> {
        match op {
            [] => {}
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', hash @ ..] => self.add_password(checked_hash(hash)?),
            [b'<', password @ ..] => return self.remove_password(&hash_password(password)),
            [b'!', hash @ ..] => return self.remove_password(&checked_hash(hash)?),
            [b'(', inner @ .., b')'] => {
                let mut selector = Selector::new(context);
                for op in split_args(inner).unwrap_or_default() {
                    selector.apply(&op, context.table)?;
                }
                self.selectors.push(selector);
            }
            _ if is(op, "on") => self.enabled = true,
            _ if is(op, "off") => self.enabled = false,
            _ if is(op, "skip-sanitize-payload") => self.skip_sanitize = true,
            _ if is(op, "sanitize-payload") => self.skip_sanitize = false,
            _ if is(op, "nopass") => {
                self.nopass = true;
                self.passwords.clear();
            }
            _ if is(op, "resetpass") => {
                self.nopass = false;
                self.passwords.clear();
            }
            _ if is(op, "clearselectors") => self.selectors.truncate(1),
            _ if is(op, "reset") => *self = Rules::new(context),
            _ => return self.selectors[0].apply(op, context.table),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Vec<u8>) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: &[u8]) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|p| p == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Applies the rules of `ACL SETUSER`, all or none. The error is the text without its code.
    pub fn changed(&self, ops: &[&[u8]], context: Context<'_>) -> Result<Rules, String> {
        let lossy = |op: &[u8]| String::from_utf8_lossy(op).into_owned();
        let merged = merge_selectors(ops).map_err(|i| {
            format!("Unmatched parenthesis in acl selector starting at '{}'.", lossy(ops[i]))
        })?;
        let mut rules = self.clone();
        for op in merged {
            rules.apply(&op, context).map_err(|e| {
                format!("Error in ACL SETUSER modifier '{}': {}", lossy(&op), e.text())
            })?;
        }
        Ok(rules)
    }

    /// Whether this is one of the passwords, or none is asked for. Takes the same time wherever a wrong one differs.
    pub fn accept(&self, password: &[u8]) -> bool {
        if self.nopass {
            return true;
        }
        let hash = hash_password(password);
        let same = |p: &Vec<u8>| p.iter().zip(&hash).fold(0, |d, (x, y)| d | (x ^ y)) == 0;
        self.passwords.iter().fold(false, |found, p| found | same(p))
    }

    /// The words for what the user is, in the order of `ACL GETUSER`.
    pub fn flag_words(&self) -> Vec<&'static str> {
        let mut words = vec![if self.enabled { "on" } else { "off" }];
        if self.nopass {
            words.push("nopass");
        }
        words.push(if self.skip_sanitize { "skip-sanitize-payload" } else { "sanitize-payload" });
        words
    }

    /// All of it, as `ACL LIST` and configuration files write it.
    pub fn describe(&self) -> Vec<u8> {
        let mut out = self.flag_words().join(" ").into_bytes();
        out.push(b' ');
        for p in &self.passwords {
            out.push(b'#');
            out.extend(p);
            out.push(b' ');
        }
        for (i, s) in self.selectors.iter().enumerate() {
            if i > 0 {
                out.extend(b" (");
            }
            s.describe(&mut out);
            if i > 0 {
                out.push(b')');
            }
        }
        out
    }

    /// Applies the rules of commands and categories anew, to other commands than before. False if that changes nothing.
    pub fn recompute(&mut self, table: &Table) -> bool {
        let mut any = false;
        for s in self.selectors.iter_mut().filter(|s| s.has_rules()) {
            s.recompute(table);
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(f: impl FnOnce(Context<'_>)) {
        let table = Table::build(&[], 0, false, None);
        f(Context { table: &table, all_channels: false });
    }

    /// The description of a new user after these rules, or the error.
    fn check(ops: &str, expected: &str) {
        with(|context| {
            let words = split_args(ops.as_bytes()).unwrap();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let text = match Rules::new(context).changed(&words, context) {
                Ok(rules) => String::from_utf8(rules.describe()).unwrap(),
                Err(e) => e,
            };
            assert_eq!(text, expected, "{ops}");
        });
    }

    #[test]
    fn descriptions() {
        check("", "off sanitize-payload resetchannels -@all");
        check(
            "on nopass ~a* %R~b %W~c &x +get +SET",
            "on nopass sanitize-payload ~a* %R~b %W~c resetchannels &x -@all +get +set",
        );
        check("%R~k %W~k", "off sanitize-payload ~k resetchannels -@all");
        check("allkeys allchannels +@all", "off sanitize-payload ~* &* +@all");
        check("(+get ~a) ( +set ~b )", "off sanitize-payload resetchannels -@all (~a resetchannels -@all +get) (~b resetchannels -@all +set)");
    }

    #[test]
    fn later_rules_replace_earlier_ones() {
        let rules = |ops: &str, commands: &str| {
            check(ops, &format!("off sanitize-payload resetchannels {commands}"));
        };
        rules("+get -get +get", "-@all +get");
        rules("+config|get +config|set -config", "-@all -config");
        rules("+@READ -@read +get", "-@all -@read +get");
        rules("+@all -config +config|get -@all +get", "-@all +get");
        rules("+select|0 +select|1 +SELECT|0", "-@all +select|1 +select|0");
        rules("+select|0 +select", "-@all +select");
    }

    #[test]
    fn refusals() {
        let refused = |op: &str, e: RuleError| {
            check(op, &format!("Error in ACL SETUSER modifier '{op}': {}", e.text()));
        };
        refused("+nosuch", RuleError::Unknown);
        refused("-config|nosuch", RuleError::Unknown);
        refused("+@nosuch", RuleError::Unknown);
        refused("+config|get|x", RuleError::FirstArgOfSub);
        refused("+select|", RuleError::Syntax);
        refused("%~x", RuleError::Syntax);
        refused("%RR~x", RuleError::Syntax);
        refused("word", RuleError::Syntax);
        refused("#abc", RuleError::BadHash);
        refused("<none", RuleError::NoSuchPassword);
        check("(+get", "Unmatched parenthesis in acl selector starting at '(+get'.");
    }

    #[test]
    fn numbers_beyond_the_end() {
        let mut n = Numbers::all(true);
        n.set(3, false);
        assert!(n.has(2) && !n.has(3) && n.has(700));
        n.set(3, true);
        assert!(n.has(3));
    }

    #[test]
    fn passwords() {
        with(|context| {
            let rules = Rules::new(context).changed(&[b">a", b">b", b"<a"], context).unwrap();
            assert!(rules.accept(b"b") && !rules.accept(b"a"));
            assert!(Rules::unlimited().accept(b"anything"));
        });
    }

    #[test]
    fn a_selector_allows_what_its_rules_say() {
        with(|context| {
            let ops: [&[u8]; 3] = [b"+@read", b"-get", b"+select|1"];
            let rules = Rules::new(context).changed(&ops, context).unwrap();
            let may = |args: &[&[u8]]| {
                rules.root().allows_command(context.table.resolve(args).unwrap(), args)
            };
            assert!(may(&[b"mget", b"a"]) && !may(&[b"get", b"a"]) && !may(&[b"set", b"a", b"b"]));
            assert!(may(&[b"select", b"1"]) && !may(&[b"select", b"2"]));
            assert!(may(&[b"auth", b"x"]), "AUTH is for everybody");
        });
    }
}
