//! STEP 4: the two kinds of lock, and the one order between them.
//!
//! **Problem.** Module code must see what it sees on a single-threaded server: nobody changes a key under it, and nobody
//! sees half of what it did. Native commands on other keys must not wait for it.
//!
//! **Rule.** The [`module_lock::ModuleLock`] has one holder at a time: whoever runs module code. The keyspace is an
//! array of shards, each with a short [`latch::Latch`] and a [`held::HeldSet`]: the keys that the holder of the module
//! lock *holds* from their first touch until the end of its execution unit.
//! - A native command knows its keys. It takes the latches of their shards ([`native::acquire`]), checks that no key is
//!   held in a conflicting way, runs, releases. It never waits while having a latch: when a further latch is busy it
//!   drops those taken and waits for the busy one first; when a key is held it drops all and parks the connection.
//! - The holder of the module lock takes one latch at a time, for the moment in which it marks a key as held and looks
//!   at the table, and never across module code.
//! - Looking ahead ([`crate::dispatch::ahead`]) takes those latches that are free, several at once, for the moment in which
//!   it looks at the entries, and waits for none.
//!
//! **Why it cannot deadlock.** A native waits only while it has nothing. The module holder waits for a latch only while
//! it has no latch, and latch holders are natives that run to their end without waiting. Nobody waits for the module
//! lock while having a latch. So every wait is for somebody who goes on.
//!
//! **Why it is atomic.** A module unit keeps its keys until its end (strict two-phase locking); a native keeps all its
//! latches until its end. Two units that share a key in a conflicting way are therefore ordered by that key.
//!
//! Tested in `tests/lock_model.rs` (shuttle drives [`native::acquire`] and [`held::HeldSet`], the code the server runs)
//! and by the stress test over real modules.
pub mod held;
pub mod latch;
pub mod module_lock;
pub mod native;
pub mod owner;
