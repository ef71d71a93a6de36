//! Keyspace notifications, jobs after them, and server events.
use crate::module::abi::{self, ERR, OK};
use crate::module::context::Ctx;
use crate::module::event::{keyspace_event, PostJob};
use crate::module::registry::{EventSubscription, KeyspaceSubscription};
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// For each server event: the version of its data (`None`: it has none, so any version will do) and the number of its
/// subevents.
const EVENTS: [(Option<u64>, u64); abi::EVENT_NEXT as usize] = [
    (Some(abi::REPLICATIONINFO_VERSION), abi::EVENT_REPLROLECHANGED_NEXT),
    (None, abi::SUBEVENT_PERSISTENCE_NEXT),
    (Some(abi::FLUSHINFO_VERSION), abi::SUBEVENT_FLUSHDB_NEXT),
    (None, abi::SUBEVENT_LOADING_NEXT),
    (Some(abi::CLIENTINFO_VERSION), abi::SUBEVENT_CLIENT_CHANGE_NEXT),
    (None, abi::SUBEVENT_SHUTDOWN_NEXT),
    (None, abi::SUBEVENT_REPLICA_CHANGE_NEXT),
    (None, abi::SUBEVENT_MASTER_NEXT),
    (Some(abi::CRON_LOOP_VERSION), abi::SUBEVENT_CRON_LOOP_NEXT),
    (Some(abi::MODULE_CHANGE_VERSION), abi::SUBEVENT_MODULE_NEXT),
    (Some(abi::LOADING_PROGRESS_VERSION), abi::SUBEVENT_LOADING_PROGRESS_NEXT),
    (Some(abi::SWAPDBINFO_VERSION), abi::SUBEVENT_SWAPDB_NEXT),
    // ReplBackup is never sent and has no supported subevent, but a subscription succeeds.
    (None, 0),
    (None, abi::SUBEVENT_FORK_CHILD_NEXT),
    (None, abi::SUBEVENT_REPL_ASYNC_LOAD_NEXT),
    (None, abi::SUBEVENT_EVENTLOOP_NEXT),
    (Some(abi::CONFIGCHANGE_VERSION), abi::SUBEVENT_CONFIG_NEXT),
    (Some(abi::KEYINFO_VERSION), abi::SUBEVENT_KEY_NEXT),
];

crate::api! {
    /// Subscribes to classes of keyspace events. Bits that this server does not know are kept and never match.
    [Locked] fn SubscribeToKeyspaceEvents(
        ctx: *mut Ctx, mask: c_int, callback: abi::NotificationFn,
    ) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = unsafe { &*ctx }.module else { return ERR };
        let server = Server::get();
        let mut list = server.modules.keyspace().to_vec();
        let active = Arc::default();
        list.push(KeyspaceSubscription { module, mask: mask as u32, callback, active });
        server.modules.set_keyspace(list);
        // From here on, writes that can fire such an event take the module path.
        server.modules.commands_changed(module);
        OK
    }

    /// Ends the subscription that was made with this mask and callback (Redis 8.2).
    [Locked] fn UnsubscribeFromKeyspaceEvents(
        ctx: *mut Ctx, mask: c_int, callback: abi::NotificationFn,
    ) -> c_int {
        // SAFETY: ABI: null or a live context.
        let Some(module) = unsafe { ctx.as_ref() }.and_then(|c| c.module) else { return ERR };
        let Some(wanted) = callback.map(|f| f as usize) else { return ERR };
        let server = Server::get();
        let mut list = server.modules.keyspace().to_vec();
        let before = list.len();
        list.retain(|s| {
            let same = s.mask == mask as u32 && s.callback.map(|f| f as usize) == Some(wanted);
            !(same && std::ptr::eq(s.module, module))
        });
        if list.len() == before {
            return ERR;
        }
        server.modules.set_keyspace(list);
        // Writes that only this subscription wanted to see need not take the module path any more.
        server.modules.commands_changed(module);
        OK
    }

    /// Classes of events that go to clients (`notify-keyspace-events`).
    [Free] fn GetNotifyKeyspaceEvents() -> c_int {
        Server::get().client_events() as c_int
    }

    /// Fires a keyspace event: to modules, then to clients.
    [Locked] fn NotifyKeyspaceEvent(
        ctx: *mut Ctx, class: c_int, event: *const c_char, key: *mut RStr,
    ) -> c_int {
        if event.is_null() || key.is_null() {
            return ERR;
        }
        // SAFETY: ABI: a live context, a C string and a live string.
        let (ctx, event, key) = unsafe { (&*ctx, CStr::from_ptr(event), RStr::bytes(key)) };
        let (server, db, class) = (Server::get(), ctx.session().db, class as u32);
        keyspace_event(db, class, event, key);
        if server.client_events() & class != 0 {
            crate::execute::pubsub::keyspace_event(server, db, class, event.to_bytes(), key);
        }
        OK
    }

    /// Leaves a job for the end of the unit, when the keyspace may be changed again.
    [Locked] fn AddPostNotificationJob(
        ctx: *mut Ctx, run: abi::CtxDataFn, data: *mut c_void, free: abi::DataFn,
    ) -> c_int {
        // SAFETY: ABI: a live context.
        let ctx = unsafe { &*ctx };
        let server = Server::get();
        let Some(module) = ctx.module else { return ERR };
        let read_only = server.link.is_replica() && server.config.replica_read_only();
        if server.loading.load(Relaxed) || read_only {
            return ERR;
        }
        let db = ctx.session().db;
        // SAFETY: lock: the contract of this function's class.
        let holder = unsafe { server.holder() };
        holder.post_jobs.push(PostJob { module, db, run, data, free });
        OK
    }

    /// Subscribes to a server event: the latest callback counts, null ends the subscription.
    [Locked] fn SubscribeToServerEvent(
        ctx: *mut Ctx, event: abi::Event, callback: abi::EventFn,
    ) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = unsafe { &*ctx }.module else { return ERR };
        let Some((version, _)) = EVENTS.get(event.id as usize) else { return ERR };
        if version.is_some_and(|known| event.dataver > known) {
            return ERR;
        }
        let server = Server::get();
        let mut list = server.modules.events.load().to_vec();
        let mine = list
            .iter()
            .position(|s| s.event.id == event.id && std::ptr::eq(s.module, module));
        match (mine, callback.is_some()) {
            (Some(i), true) => list[i] = EventSubscription { module, event, callback },
            (Some(i), false) => {
                list.remove(i);
            }
            (None, true) => list.push(EventSubscription { module, event, callback }),
            (None, false) => {}
        }
        server.modules.events.store(Arc::new(list));
        if event.id == abi::EVENT_KEY {
            server.modules.commands_changed(module);
        }
        OK
    }

    /// 1 if this server can send the subevent.
    [Free] fn IsSubEventSupported(event: abi::Event, sub: i64) -> c_int {
        let known = EVENTS.get(event.id as usize).map_or(0, |e| e.1 as i64);
        c_int::from(sub < known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subevents() {
        let supported = |id, sub| {
            // SAFETY: ABI: the function takes values only.
            unsafe { IsSubEventSupported(abi::Event { id, dataver: 1 }, sub) }
        };
        assert_eq!(supported(abi::EVENT_FLUSHDB, 1), 1);
        assert_eq!(supported(abi::EVENT_FLUSHDB, 2), 0);
        assert_eq!(supported(abi::EVENT_REPL_BACKUP, 0), 0);
        assert_eq!(supported(abi::EVENT_SHUTDOWN, 0), 0);
        assert_eq!(supported(99, 0), 0);
    }
}
