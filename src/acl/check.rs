//! Permission checks: may this user run this command, with these keys and channels?
use super::rules::{Rules, Selector};
use super::{log, User};
use crate::config::glob::{glob_match, glob_match_prefix};
use crate::connection::client::{ClientShared, Session};
use crate::dispatch::table::{flags, key, Body, Command, KeyPositions, Table};
use crate::execute::{command_keys, error, CommandError};
use crate::module::abi;
use crate::module::command::{ask_positions, Positions};
use crate::server::Server;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// Why a command was refused. The order is that of the reference: of several selectors' reasons, the greatest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Denied {
    /// The command itself.
    Command,
    /// The key at this argument.
    Key(usize),
    /// The channel at this argument.
    Channel(usize),
}

/// What a key specification asks of a key pattern: reading and writing.
fn needs(spec_flags: u64) -> (bool, bool) {
    let write = key::INSERT | key::DELETE | key::UPDATE;
    (spec_flags & key::ACCESS != 0, spec_flags & write != 0)
}

impl Selector {
    /// Whether a key may be used as the flags of its specification say.
    pub fn allows_key(&self, name: &[u8], spec_flags: u64) -> bool {
        self.allows_keys(spec_flags, |pattern| glob_match(pattern, name, false))
    }

    /// Whether all keys that begin so may be used as these flags say.
    fn allows_prefix(&self, prefix: &[u8], spec_flags: u64) -> bool {
        self.allows_keys(spec_flags, |pattern| glob_match_prefix(pattern, prefix))
    }

    #[inline]
    fn allows_keys(&self, spec_flags: u64, covered: impl Fn(&[u8]) -> bool) -> bool {
        let (read, write) = needs(spec_flags);
        self.all_keys
            || self
                .keys
                .iter()
                .any(|k| (k.read || !read) && (k.write || !write) && covered(&k.pattern))
    }

    /// Whether all keys may be used so.
    fn allows_every_key(&self, spec_flags: u64) -> bool {
        let (read, write) = needs(spec_flags);
        let fits = |k: &super::rules::KeyPattern| {
            (k.read || !read) && (k.write || !write) && k.pattern == b"*"
        };
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether a channel may be used; what is a pattern itself has to be allowed by this very pattern.
    pub fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.all_channels || channel_is_among(&self.channels, name, is_pattern)
    }
}

/// Whether one of these patterns allows a channel.
pub fn channel_is_among(patterns: &[Vec<u8>], name: &[u8], is_pattern: bool) -> bool {
    patterns.iter().any(|p| if is_pattern { p == name } else { glob_match(p, name, false) })
}

/// The channels in the arguments of a command: position, and whether it is a pattern. Only those to publish to or to
/// subscribe to: whoever is subscribed may leave.
fn channels(command: &Command, args: &[&[u8]]) -> Vec<(usize, bool)> {
    if let Body::Module(m) = &command.body {
        if !command.has(flags::MODULE_GETCHANNELS) {
            return Vec::new();
        }
        let uses = abi::CMD_CHANNEL_PUBLISH | abi::CMD_CHANNEL_SUBSCRIBE;
        let found = ask_positions(m, args, Positions::Channels).into_iter();
        let found = found.filter(|(i, bits)| bits & uses != 0 && *i < args.len());
        return found.map(|(i, bits)| (i, bits & abi::CMD_CHANNEL_PATTERN != 0)).collect();
    }
    match command.name.as_str() {
        "subscribe" | "ssubscribe" => (1..args.len()).map(|i| (i, false)).collect(),
        "psubscribe" => (1..args.len()).map(|i| (i, true)).collect(),
        "publish" | "spublish" => vec![(1, false)],
        _ => Vec::new(),
    }
}

/// What the arguments of a command name, found when first asked for.
struct Named<'a> {
    command: &'a Command,
    args: &'a [&'a [u8]],
    keys: Option<KeyPositions>,
    channels: Option<Vec<(usize, bool)>>,
}

impl Named<'_> {
    fn check(&mut self, s: &Selector) -> Result<(), Denied> {
        let (command, args) = (self.command, self.args);
        if !s.allows_command(command, args) {
            return Err(Denied::Command);
        }
        if !s.all_keys {
            let keys = self
                .keys
                .get_or_insert_with(|| command_keys::positions(command, args).unwrap_or_default());
            let bad = |(i, bits): &&(usize, u64)| {
                args.get(*i).is_some_and(|name| !s.allows_key(name, *bits))
            };
            if let Some((i, _)) = keys.iter().find(bad) {
                return Err(Denied::Key(*i));
            }
        }
        if !s.all_channels {
            let channels = self.channels.get_or_insert_with(|| channels(command, args));
            let bad = |(i, pattern): &&(usize, bool)| !s.allows_channel(args[*i], *pattern);
            if let Some((i, _)) = channels.iter().find(bad) {
                return Err(Denied::Channel(*i));
            }
        }
        Ok(())
    }
}

/// Whether rules allow a command. A module's command may be asked for its keys and channels, so for those the caller has
/// the module lock.
pub fn command(rules: &Rules, command: &Command, args: &[&[u8]]) -> Result<(), Denied> {
    let mut named = Named { command, args, keys: None, channels: None };
    let mut worst = Denied::Command;
    for s in &rules.selectors {
        match named.check(s) {
            Ok(()) => return Ok(()),
            Err(e) => worst = worst.max(e),
        }
    }
    Err(worst)
}

/// Whether the session may run this command and, besides, use every key in the given way (`SORT ... BY`).
pub fn every_key(session: &Session, command: &Command, args: &[&[u8]], spec_flags: u64) -> bool {
    let Some(user) = session.limited_user() else { return true };
    let mut named = Named { command, args, keys: None, channels: None };
    let rules = user.rules();
    rules.selectors.iter().any(|s| named.check(s).is_ok() && s.allows_every_key(spec_flags))
}

/// Whether rules allow to use a key in this way.
pub fn key(rules: &Rules, name: &[u8], spec_flags: u64) -> bool {
    rules.selectors.iter().any(|s| s.allows_key(name, spec_flags))
}

/// Whether rules allow to use all keys that begin so in this way.
pub fn key_prefix(rules: &Rules, prefix: &[u8], spec_flags: u64) -> bool {
    rules.selectors.iter().any(|s| s.allows_prefix(prefix, spec_flags))
}

/// Whether rules allow to use a channel.
pub fn channel(rules: &Rules, name: &[u8], is_pattern: bool) -> bool {
    rules.selectors.iter().any(|s| s.allows_channel(name, is_pattern))
}

impl Denied {
    /// What the log shows as the object of the refusal.
    pub fn object<'a>(self, command: &'a Command, args: &[&'a [u8]]) -> &'a [u8] {
        match self {
            Denied::Command => command.full_name.as_bytes(),
            Denied::Key(i) | Denied::Channel(i) => args[i],
        }
    }

    /// The reason for the client, without a code; `verbose` names the key or channel.
    pub fn text(self, user: &User, command: &Command, args: &[&[u8]], verbose: bool) -> String {
        let name = user.display_name();
        let (what, i) = match self {
            Denied::Command => {
                let command = &command.full_name;
                return format!("User {name} has no permissions to run the '{command}' command");
            }
            Denied::Key(i) => ("key", i),
            Denied::Channel(i) => ("channel", i),
        };
        if verbose {
            let object = String::from_utf8_lossy(args[i]);
            format!("User {name} has no permissions to access the '{object}' {what}")
        } else {
            format!("No permissions to access a {what}")
        }
    }

    /// The reason as `EXEC` tells it.
    pub fn exec_text(self) -> &'static str {
        match self {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments",
        }
    }

    /// Notes the refusal in the log.
    pub fn note(
        self,
        server: &Server,
        client: &Arc<ClientShared>,
        user: &User,
        place: log::Place,
        command: &Command,
        args: &[&[u8]],
    ) {
        let reason = match self {
            Denied::Command => log::Reason::Command,
            Denied::Key(_) => log::Reason::Key,
            Denied::Channel(_) => log::Reason::Channel,
        };
        let object = self.object(command, args);
        log::add(server, reason, place, object, user.name(), client);
    }
}

/// Checks a command that the dispatcher is about to run or to queue for a user with limited rights.
#[cold]
pub fn refuse(
    server: &Server,
    session: &Session,
    user: &Arc<User>,
    c: &Command,
    args: &[&[u8]],
) -> Result<(), CommandError> {
    let Err(denied) = command(&user.rules(), c, args) else { return Ok(()) };
    session.shared.last_command.store(c.number, Relaxed);
    let place = if session.multi.is_some() { log::Place::Multi } else { log::Place::TopLevel };
    denied.note(server, &session.shared, user, place, c, args);
    Err(error::err(format!("NOPERM {}", denied.text(user, c, args, false))))
}

/// Whether a request of a user with limited rights has to be checked under the module lock: it is a module's command,
/// which may be asked for its keys.
#[inline]
pub fn needs_module(session: &Session, table: &Table, args: &[&[u8]]) -> bool {
    let asks = |c: &Arc<Command>| c.has(flags::MODULE_GETKEYS | flags::MODULE_GETCHANNELS);
    session.limited_user().is_some() && table.resolve(args).is_some_and(asks)
}

#[cfg(test)]
mod tests {
    use super::super::rules::Context;
    use super::*;

    fn check(ops: &[&str], line: &str, expected: Result<(), Denied>) {
        let table = Table::build(&[], 0, false, None);
        let context = Context { table: &table, all_channels: false };
        let ops: Vec<&[u8]> = ops.iter().map(|o| o.as_bytes()).collect();
        let rules = Rules::new(context).changed(&ops, context).unwrap();
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let c = table.resolve(&args).unwrap();
        assert_eq!(command(&rules, c, &args), expected, "{ops:?} {line}");
    }

    #[test]
    fn keys() {
        let rules = &["+@all", "%R~r*", "%W~w*", "~a*"];
        check(rules, "get r1", Ok(()));
        check(rules, "get w1", Err(Denied::Key(1)));
        check(rules, "set w1 x", Ok(()));
        check(rules, "set w1 x get", Err(Denied::Key(1)));
        check(rules, "copy r1 w1", Ok(()));
        check(rules, "copy w1 r1", Err(Denied::Key(1)));
        check(rules, "mget a b", Err(Denied::Key(2)));
        check(rules, "exists w1", Ok(()));
        check(rules, "exists z", Err(Denied::Key(1)));
        check(rules, "eval return 2 a1 z", Err(Denied::Key(4)));
    }

    #[test]
    fn channels_and_patterns() {
        let rules = &["+@all", "allkeys", "&a*"];
        check(rules, "publish abc x", Ok(()));
        check(rules, "subscribe abc b", Err(Denied::Channel(2)));
        check(rules, "psubscribe a*", Ok(()));
        check(rules, "psubscribe ab*", Err(Denied::Channel(1)));
        check(rules, "unsubscribe b", Ok(()));
    }

    #[test]
    fn one_selector_has_to_allow_all() {
        let rules = &["+get", "~a", "(+set ~b)"];
        check(rules, "get a", Ok(()));
        check(rules, "set b 1", Ok(()));
        check(rules, "set a 1", Err(Denied::Key(1)));
        check(rules, "get b", Err(Denied::Key(1)));
        check(rules, "del a", Err(Denied::Command));
    }
}
