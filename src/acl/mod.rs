//! Access control: users, what they may do, and who is whom.
//!
//! **Who reads.** Every command asks whether its client's user may run it, on whatever thread the client lives. A user who
//! may do everything, as the default user is at first, costs one load of [`User::is_open`]; only others have their rules
//! looked at ([`check`]). Rules are immutable and published as a whole, so a command sees the old ones or the new ones.
//!
//! **Who writes.** Changes of rules and of the list of users happen under [`Acl::change`], one at a time. `ACL SETUSER`,
//! `DELUSER` and `LOAD` and the functions for modules run under the module lock; `CONFIG SET requirepass` on a serving
//! thread.
//!
//! **When a change is over.** A serving thread may be in the middle of a command that was checked against the old rules,
//! a `SUBSCRIBE` for instance. So whoever takes rights away publishes the new rules, waits until every serving thread has
//! left the commands that it was in ([`crate::server::Server::settle_serving`]), and only then looks for clients to end: those of
//! deleted users, and subscribers of channels that are forbidden now. When `ACL SETUSER` has answered, no command runs
//! under the old rules. The waiting one has the module lock, and serving threads never wait for that inside a command.
//!
//! A user keeps its identity while its name lives: `ACL LOAD` gives users that exist new rules, so their clients stay.
pub mod check;
pub mod file;
pub mod log;
pub mod rules;

use crate::connection::client::{ClientShared, Session};
use crate::dispatch::table::Table;
use crate::server::Server;
use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use rules::{Context, RuleError, Rules};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;

/// In a cache line of its own: every command reads it, and the count of the user's references beside it would change with
/// every script and every new client.
#[repr(align(64))]
struct Open(AtomicBool);

/// A user.
pub struct User {
    name: Vec<u8>,
    /// Written under [`Acl::change`].
    rules: ArcSwap<Rules>,
    /// The rules forbid nothing.
    open: Open,
}

impl User {
    /// A user with these rules, known to nobody yet.
    pub fn new(name: &[u8], rules: Rules) -> Arc<User> {
        let open = Open(AtomicBool::new(rules.are_open()));
        Arc::new(User { name: name.to_vec(), rules: ArcSwap::from_pointee(rules), open })
    }

    /// Name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Name, for messages.
    pub fn display_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.name)
    }

    /// The rules as they are now.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// Whether every command may run, on every key and channel.
    #[inline]
    pub fn is_open(&self) -> bool {
        // Sequentially consistent, like the epochs of the serving threads: who waits for those sees the last command that
        // was checked against older rules.
        self.open.0.load(SeqCst)
    }

    /// Publishes new rules. The caller has [`Acl::change`], or the user is a module's own.
    pub fn set_rules(&self, rules: Rules) {
        let open = rules.are_open();
        if !open {
            self.open.0.store(false, SeqCst);
        }
        self.rules.store(Arc::new(rules));
        if open {
            self.open.0.store(true, SeqCst);
        }
    }
}

/// All users, and the log of refusals.
pub struct Acl {
    users: RwLock<BTreeMap<Vec<u8>, Arc<User>>>,
    default: Arc<User>,
    /// Taken for the time of a change, never for longer, and never while waiting for serving threads.
    change: Mutex<()>,
    /// What was refused.
    pub log: Mutex<log::Log>,
}

/// The name of the user that every connection begins with.
pub const DEFAULT_NAME: &[u8] = b"default";

impl Default for Acl {
    fn default() -> Acl {
        let default = User::new(DEFAULT_NAME, Rules::unlimited());
        Acl {
            users: RwLock::new(BTreeMap::from([(DEFAULT_NAME.to_vec(), default.clone())])),
            default,
            change: Mutex::new(()),
            log: Mutex::default(),
        }
    }
}

/// A client's user changed or went away, so the client has to go. The caller's own is only marked: it gets its answer
/// first.
pub fn end_client(server: &Server, client: &Arc<ClientShared>, me: Option<&mut Session>) {
    match me {
        Some(session) if Arc::ptr_eq(&session.shared, client) => {
            session.user = Some(server.acl.default.clone());
            session.authenticated = false;
            session.close = true;
        }
        _ => {
            // As with `CLIENT KILL`, nobody finds it any more, though its connection still has to notice.
            server.clients.lock().remove(&client.id);
            client.kill();
        }
    }
}

impl Acl {
    /// The user that every connection begins with.
    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// Whether a new connection is the default user without giving a password.
    #[inline]
    pub fn default_is_open(&self) -> bool {
        let rules = self.default.rules.load();
        rules.nopass && rules.enabled
    }

    /// A user by name.
    pub fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.read().get(name).cloned()
    }

    /// All users, by name.
    pub fn all(&self) -> Vec<Arc<User>> {
        self.users.read().values().cloned().collect()
    }

    /// Each user as a line of a configuration file, without the word `user`.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let line = |u: Arc<User>| [u.name(), b" ", &u.rules().describe()].concat();
        self.all().into_iter().map(line).collect()
    }

    /// What rules are applied in the light of.
    pub fn context<'t>(server: &Server, table: &'t Table) -> Context<'t> {
        use crate::config::enums::acl_pubsub_default::ALLCHANNELS;
        let all_channels = server.config.acl_pubsub_default() == ALLCHANNELS;
        Context { table, all_channels }
    }

    /// `requirepass`: the default user's only password, or none.
    pub fn set_default_password(&self, password: Option<&[u8]>) {
        let _change = self.change.lock();
        let mut rules = (*self.default.rules()).clone();
        rules.passwords.clear();
        rules.nopass = true;
        if let Some(password) = password.filter(|p| !p.is_empty()) {
            rules.passwords.push(rules::hash_password(password));
            rules.nopass = false;
        }
        self.default.set_rules(rules);
    }

    /// `ACL SETUSER`: changes a user, or makes one. The error is the text without its code. The caller has the module lock.
    pub fn set_user(
        server: &'static Server,
        name: &[u8],
        ops: &[&[u8]],
        me: Option<&mut Session>,
    ) -> Result<(), String> {
        let acl = &server.acl;
        let table = server.modules.current_table(server);
        let context = Acl::context(server, &table);
        let change = acl.change.lock();
        match acl.find(name) {
            Some(user) => {
                let old = user.rules();
                let new = old.changed(ops, context)?;
                user.set_rules(new.clone());
                drop(change);
                acl.enforce(server, &user, &old, &new, me);
            }
            None => {
                let rules = Rules::new(context).changed(ops, context)?;
                acl.users.write().insert(name.to_vec(), User::new(name, rules));
            }
        }
        Ok(())
    }

    /// Applies the rules of `ACL SETUSER` to a user that a module has at hand. The caller has the module lock.
    pub fn apply_rules(
        server: &'static Server,
        user: &Arc<User>,
        ops: &[&[u8]],
    ) -> Result<(), String> {
        let table = server.modules.current_table(server);
        let change = server.acl.change.lock();
        let old = user.rules();
        let new = old.changed(ops, Acl::context(server, &table))?;
        user.set_rules(new.clone());
        drop(change);
        server.acl.enforce(server, user, &old, &new, None);
        Ok(())
    }

    /// Applies one rule to a user that a module has at hand; as on the reference, subscribers are left alone. The caller has
    /// the module lock.
    pub fn apply_rule(
        server: &'static Server,
        user: &Arc<User>,
        op: &[u8],
    ) -> Result<(), RuleError> {
        let table = server.modules.current_table(server);
        let change = server.acl.change.lock();
        let mut rules = (*user.rules()).clone();
        rules.apply(op, Acl::context(server, &table))?;
        user.set_rules(rules);
        drop(change);
        server.settle_serving();
        Ok(())
    }

    /// A user that a module made ends, with its clients: they may still get the answer to what they asked. The caller has
    /// the module lock.
    pub fn end_user(server: &'static Server, user: &Arc<User>) {
        user.set_rules(Rules::nothing());
        server.settle_serving();
        let mut clients = server.clients.lock();
        clients.retain(|_, client| {
            let gone = client.is_user(user);
            if gone {
                client.kill_after_reply();
            }
            !gone
        });
    }

    /// Ends the clients that are subscribed to something that their user's new rules forbid. The caller has the module
    /// lock.
    fn enforce(
        &self,
        server: &'static Server,
        user: &Arc<User>,
        old: &Rules,
        new: &Rules,
        mut me: Option<&mut Session>,
    ) {
        server.settle_serving();
        let Some(allowed) = remaining_channels(old, new) else { return };
        for client in server.pubsub.subscribers_beyond(&allowed) {
            if client.is_user(user) {
                end_client(server, &client, me.as_deref_mut());
            }
        }
    }

    /// Takes a user out of the list; its clients are ended. False if there is none of this name. The caller has the module
    /// lock.
    pub fn delete_user(server: &'static Server, name: &[u8], me: Option<&mut Session>) -> bool {
        let change = server.acl.change.lock();
        let Some(user) = server.acl.users.write().remove(name) else { return false };
        user.set_rules(Rules::nothing());
        drop(change);
        server.settle_serving();
        Acl::end_clients_of(server, &user, me);
        true
    }

    /// Ends all clients of a user that is gone.
    pub fn end_clients_of(server: &'static Server, user: &Arc<User>, mut me: Option<&mut Session>) {
        let clients: Vec<_> = server.clients.lock().values().cloned().collect();
        for client in clients.iter().filter(|c| c.is_user(user)) {
            end_client(server, client, me.as_deref_mut());
        }
    }

    /// `ACL LOAD`: these users replace all others. Clients of users that are gone are ended, and subscribers of what is
    /// forbidden now. The caller has the module lock.
    pub fn replace_all(
        server: &'static Server,
        mut new: BTreeMap<Vec<u8>, Rules>,
        mut me: Option<&mut Session>,
    ) {
        let acl = &server.acl;
        let change = acl.change.lock();
        new.entry(DEFAULT_NAME.to_vec()).or_insert_with(Rules::unlimited);
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        {
            let mut users = acl.users.write();
            users.retain(|name, user| match new.remove(name) {
                Some(rules) => {
                    changed.push((user.clone(), user.rules(), rules.clone()));
                    user.set_rules(rules);
                    true
                }
                None => {
                    user.set_rules(Rules::nothing());
                    gone.push(user.clone());
                    false
                }
            });
            for (name, rules) in new {
                let user = User::new(&name, rules);
                users.insert(name, user);
            }
        }
        drop(change);
        for (user, old, rules) in changed {
            acl.enforce(server, &user, &old, &rules, me.as_deref_mut());
        }
        server.settle_serving();
        for user in gone {
            Acl::end_clients_of(server, &user, me.as_deref_mut());
        }
    }

    /// Applies all rules anew to the commands of a table that is about to be used.
    pub fn recompute(&self, table: &Table) {
        let _change = self.change.lock();
        for user in self.all() {
            let mut rules = (*user.rules()).clone();
            if rules.recompute(table) {
                user.set_rules(rules);
            }
        }
    }
}

/// The patterns of channels that are allowed now; `None` if everything that was allowed before still is.
fn remaining_channels(old: &Rules, new: &Rules) -> Option<Vec<Vec<u8>>> {
    if new.selectors.iter().any(|s| s.all_channels) {
        return None;
    }
    let now: Vec<Vec<u8>> = new.selectors.iter().flat_map(|s| s.channels.clone()).collect();
    let kept = |s: &rules::Selector| !s.all_channels && s.channels.iter().all(|c| now.contains(c));
    (!old.selectors.iter().all(kept)).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_remain() {
        let table = Table::build(&[], 0, false, None);
        let context = Context { table: &table, all_channels: false };
        let rules = |ops: &[&[u8]]| Rules::new(context).changed(ops, context).unwrap();
        let remain = |old: &[&[u8]], new: &[&[u8]]| remaining_channels(&rules(old), &rules(new));
        assert_eq!(remain(&[b"&a"], &[b"allchannels"]), None);
        assert_eq!(remain(&[b"&a"], &[b"&b", b"&a"]), None);
        assert_eq!(remain(&[b"&a", b"&b"], &[b"&b"]), Some(vec![b"b".to_vec()]));
        assert_eq!(remain(&[b"allchannels"], &[b"(&x)"]), Some(vec![b"x".to_vec()]));
    }

    #[test]
    fn only_the_default_user_is_open() {
        let acl = Acl::default();
        assert!(acl.default_is_open() && acl.default_user().is_open());
        acl.set_default_password(Some(b"x"));
        assert!(!acl.default_is_open() && acl.default_user().is_open());
        assert!(!User::new(b"u", Rules::nothing()).is_open());
    }
}
