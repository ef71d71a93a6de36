//! `RedisModuleCtx`: what a module gets with every call, and what is owed to it until the call ends.
//!
//! Word 0 of every context is the address of `GetApi`: that is how a module finds the API. The rest is ours alone.
use super::blocked::BlockedClient;
use super::registry::Module;
use super::string::RStr;
use crate::connection::client::{ClientShared, Session};
use crate::execute::Tx;
use crate::observe::clock::now_ms;
use crate::reply::{Deferred, Reply};
use crate::server::Server;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;

/// Bits of [`Ctx::flags`].
#[allow(missing_docs)]
pub mod flag {
    pub const AUTO_MEMORY: u32 = 1;
    pub const THREAD_SAFE: u32 = 1 << 1;
    pub const BLOCKED_REPLY: u32 = 1 << 2;
    pub const BLOCKED_TIMEOUT: u32 = 1 << 3;
    pub const BLOCKED_DISCONNECTED: u32 = 1 << 4;
    pub const KEYS_POS_REQUEST: u32 = 1 << 5;
    pub const CHANNELS_POS_REQUEST: u32 = 1 << 6;
    /// Running a module command (as opposed to a callback).
    pub const COMMAND: u32 = 1 << 7;
    /// The context of OnLoad.
    pub const ONLOAD: u32 = 1 << 8;
    /// It called `Yield`, and clients are told that the server is busy.
    pub const YIELDED: u32 = 1 << 9;
}

/// Something that automatic memory management frees at the end of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auto {
    /// A string.
    Str(*mut RStr),
    /// A key handle.
    Key(*mut c_void),
    /// A call reply.
    Reply(*mut c_void),
    /// A dictionary.
    Dict(*mut c_void),
    /// Server info data.
    Info(*mut c_void),
    /// An iterator over configuration parameters.
    ConfigIterator(*mut c_void),
    /// Slot ranges.
    SlotRanges(*mut c_void),
}

/// A header that waits for its length: where it is and what it heads.
#[derive(Clone, Copy, Debug)]
pub struct Postponed {
    /// Its place in the reply.
    pub at: Deferred,
}

/// A module's context.
#[repr(C)]
pub struct Ctx {
    /// Address of `GetApi`. Must stay first.
    get_api: *const c_void,
    /// The module, unknown until `SetModuleAttribs` in the context of OnLoad.
    pub module: Option<&'static Module>,
    /// The client; `own_session` if there is none.
    session: *mut Session,
    own_session: Option<Box<Session>>,
    /// Where replies go; null when nobody reads them.
    pub reply: *mut Reply,
    /// Bits of [`flag`].
    pub flags: u32,
    /// Time of the command's start, Unix milliseconds; not of other calls.
    pub now: i64,
    /// Before this time `Yield` does nothing; 0 until its first call.
    pub next_yield: i64,
    /// What automatic memory management will free.
    pub auto: Vec<Auto>,
    /// Collections that wait for their length.
    pub postponed: Vec<Postponed>,
    /// The command's arguments, for `ReplicateVerbatim` and filters.
    pub argv: *const *mut RStr,
    /// Their number.
    pub argc: usize,
    /// Memory of `PoolAlloc`.
    pub pool: Vec<Box<[u64]>>,
    /// The blocked client whose callback this is, or for which a thread-safe context was made.
    pub blocked: Option<Arc<BlockedClient>>,
    /// Private data of the blocked client, for its callbacks.
    pub privdata: *mut c_void,
    /// The key that became ready, for on-keys reply callbacks.
    pub ready_key: *mut RStr,
    /// Name of the user set by `SetContextUser`.
    pub user: Option<Arc<super::api::acl::ModuleUser>>,
    /// Key positions collected in a keys-position request: position and flags.
    pub key_positions: Vec<(usize, u64)>,
}

/// Memory that is needed for every command of a module. Of the holder of the module lock.
#[derive(Default)]
pub struct Spare {
    /// For [`Ctx::auto`].
    auto: Vec<Auto>,
    /// Places of closed key handles.
    pub keys: Vec<Box<MaybeUninit<super::key::Key>>>,
}

/// Places of key handles kept at most.
pub const SPARE_KEYS: usize = 8;
/// Room for things of automatic memory kept at most.
const SPARE_AUTO: usize = 64;

impl Ctx {
    fn bare(module: Option<&'static Module>, session: *mut Session, reply: *mut Reply) -> Ctx {
        Ctx {
            get_api: super::api::get_api_address(),
            module,
            session,
            own_session: None,
            reply,
            flags: 0,
            now: 0,
            next_yield: 0,
            auto: Vec::new(),
            postponed: Vec::new(),
            argv: std::ptr::null(),
            argc: 0,
            pool: Vec::new(),
            blocked: None,
            privdata: std::ptr::null_mut(),
            ready_key: std::ptr::null_mut(),
            user: None,
            key_positions: Vec::new(),
        }
    }

    /// A context for a call on behalf of a client.
    pub fn for_client(
        module: Option<&'static Module>,
        session: &mut Session,
        reply: &mut Reply,
    ) -> Ctx {
        Self::bare(module, session, reply)
    }

    /// A context without a client: superuser, database 0, no reply.
    pub fn internal(module: Option<&'static Module>) -> Ctx {
        Self::with_session(module, None)
    }

    /// As [`Ctx::internal`], with a session that [`Ctx::into_session`] gave back.
    pub fn with_session(module: Option<&'static Module>, spare: Option<Box<Session>>) -> Ctx {
        let mut own = spare.unwrap_or_else(|| Box::new(Session::internal()));
        let session: *mut Session = &mut *own;
        let mut ctx = Self::bare(module, session, std::ptr::null_mut());
        ctx.own_session = Some(own);
        ctx
    }

    /// A context that outlives a call: of a module's own thread, or of the module at large. With a blocked client, replies
    /// go to that client's waiting room.
    pub fn detached(module: Option<&'static Module>, blocked: Option<Arc<BlockedClient>>) -> Ctx {
        let mut ctx = Self::internal(module);
        ctx.flags |= flag::THREAD_SAFE;
        if let Some(b) = blocked {
            let mut own = Box::new(Session::new(b.shared.clone()));
            own.authenticated = true;
            own.db = b.db;
            ctx.session = &mut *own;
            ctx.own_session = Some(own);
            ctx.reply = b.thread_reply();
            ctx.blocked = Some(b);
        }
        ctx
    }

    /// The client's session, or the context's own.
    #[allow(clippy::mut_from_ref)]
    pub fn session(&self) -> &mut Session {
        // SAFETY: ABI: the session outlives the context: it belongs to the client whose call this is, or to `self`; lock:
        // only the holder of the module lock uses a context's session.
        unsafe { &mut *self.session }
    }

    /// Whether a client, not the server itself, is behind this context.
    pub fn has_client(&self) -> bool {
        self.own_session.is_none()
    }

    /// The client that the ACL log shows for what this context does. The caller has the module lock.
    pub fn logged_client(&self) -> Arc<ClientShared> {
        let client = match self.has_client() {
            true => self.session().shared.clone(),
            false => ClientShared::internal(),
        };
        crate::acl::log::behind(Server::get(), &client)
    }

    /// The reply to write to, if somebody reads it.
    #[allow(clippy::mut_from_ref)]
    #[inline]
    pub fn out(&self) -> Option<&mut Reply> {
        if super::strict::on() && !self.reply.is_null() {
            super::strict::check_reply(self.blocked.is_some());
        }
        // SAFETY: ABI: the reply outlives the context; one thread at a time writes it (the command's, or the one that the
        // blocked client was given to).
        unsafe { self.reply.as_mut() }
    }

    /// A transaction on behalf of this context. The calling thread has the module lock.
    #[inline]
    pub fn tx(&self) -> Tx<'_> {
        Tx::module(Server::get(), self.session(), self.time())
    }

    /// What time it is for this context: that of the command's start, or that of the unit under the module lock, which the
    /// calling thread has.
    #[inline]
    pub fn time(&self) -> i64 {
        if self.flags & flag::COMMAND != 0 {
            self.now
        } else {
            Server::get().unit_time(now_ms)
        }
    }

    /// Remembers something for automatic memory management, if it is on.
    #[inline]
    pub fn remember(&mut self, what: Auto) {
        if self.flags & flag::AUTO_MEMORY != 0 {
            self.auto.push(what);
        }
    }

    /// Memory for [`Ctx::remember`] from a call before. The calling thread has the module lock.
    #[inline]
    pub fn reuse_auto(&mut self, server: &Server) {
        // SAFETY: lock: this function's contract.
        std::mem::swap(&mut self.auto, unsafe { &mut server.holder().spare.auto });
    }

    /// Leaves that memory, which is empty now, for the next call. The calling thread has the module lock.
    #[inline]
    pub fn keep_auto(&mut self, server: &Server) {
        if (1..=SPARE_AUTO).contains(&self.auto.capacity()) {
            // SAFETY: lock: this function's contract.
            unsafe { server.holder() }.spare.auto = std::mem::take(&mut self.auto);
        }
    }

    /// Forgets something that the module freed itself.
    #[inline]
    pub fn forget(&mut self, what: Auto) {
        if self.flags & flag::AUTO_MEMORY != 0 {
            if let Some(i) = self.auto.iter().rposition(|a| *a == what) {
                self.auto.swap_remove(i);
            }
        }
    }

    /// The context's own session, if nothing was left in it that the next call would see.
    pub fn into_session(mut self) -> Option<Box<Session>> {
        self.own_session.take().filter(|s| s.is_untouched())
    }

    /// Ends the call: frees what is owed, closes what was left open.
    pub fn finish(&mut self) {
        // The latest first: a key handle may use a string that came before it, never one that came later.
        while let Some(a) = self.auto.pop() {
            super::api::free_auto(self, a);
        }
        if !self.postponed.is_empty() {
            crate::log_warning!(
                "API misuse detected in module {}: ReplySet*Length was not called for {} postponed collections",
                self.module.map_or("?", |m| m.name()),
                self.postponed.len()
            );
            self.postponed.clear();
        }
        self.pool.clear();
        if self.flags & flag::YIELDED != 0 {
            super::busy::end();
        }
    }
}
