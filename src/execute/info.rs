//! `INFO`.
use super::server::row;
use super::{text, CommandResult, Tx};
use crate::connection::client::flag;
use crate::connection::limits;
use crate::dispatch::table::{flags, Command, Row, REASON_NAMES};
use crate::module::persona::Persona;
use crate::module::registry::Module;
use crate::module::{abi, fork};
use crate::observe::clock::{mono_ns, now_ms, now_us};
use crate::observe::process::{self, CpuTimes, Whose};
use crate::reply::Reply;
use crate::server::Server;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::Ordering::Relaxed;

/// A section: its name and what writes its fields.
type Section = (&'static str, &'static str, fn(&Server, &mut Fields));

/// All sections of the server, in order: name, heading, fields. `module_list` goes by a second name too.
const SECTIONS: &[Section] = &[
    ("server", "Server", server_fields),
    ("clients", "Clients", client_fields),
    ("memory", "Memory", memory_fields),
    ("persistence", "Persistence", persistence_fields),
    ("stats", "Stats", stats_fields),
    ("replication", "Replication", replication_fields),
    ("cpu", "CPU", cpu_fields),
    ("module_list", "Modules", module_list),
    ("commandstats", "Commandstats", command_stats),
    ("errorstats", "Errorstats", error_stats),
    ("latencystats", "Latencystats", latency_stats),
    ("cluster", "Cluster", cluster_fields),
    ("keyspace", "Keyspace", keyspace_fields),
];

/// The section that only its own name brings.
fn debug_fields(server: &Server, f: &mut Fields) {
    let s = &server.stats;
    // There is no AOF to be flushed in the loop.
    f.put("eventloop_duration_aof_sum", 0);
    f.put("eventloop_duration_cron_sum", s.cron_ns.get() / 1000);
    f.put("eventloop_duration_max", s.longest_turn_ns.load(Relaxed) / 1000);
    f.put("eventloop_cmd_per_cycle_max", s.most_commands_in_turn.load(Relaxed));
}

/// Sections that a plain `INFO` leaves out.
const NOT_DEFAULT: [&str; 2] = ["commandstats", "latencystats"];

/// What was asked for.
struct Wanted {
    names: BTreeSet<String>,
    all: bool,
    everything: bool,
}

impl Wanted {
    fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Wanted {
        let mut w = Wanted { names: BTreeSet::new(), all: false, everything: false };
        let mut any = false;
        for word in words {
            any = true;
            match word.to_ascii_lowercase().as_str() {
                "default" => w.add_default(),
                "all" => w.all = true,
                "everything" => (w.all, w.everything) = (true, true),
                name => drop(w.names.insert(name.to_string())),
            }
        }
        if !any {
            w.add_default();
        }
        w
    }

    fn add_default(&mut self) {
        let names = SECTIONS.iter().map(|s| s.0).filter(|n| !NOT_DEFAULT.contains(n));
        self.names.extend(names.map(String::from));
    }

    fn has(&self, name: &str) -> bool {
        self.all
            || self.names.contains(name)
            || name == "module_list" && self.names.contains("modules")
    }

    /// Whether the modules' own sections are asked for: by a name that is none of ours too.
    fn modules(&self) -> bool {
        let ours = |n: &String| {
            SECTIONS.iter().any(|s| s.0 == n) || n == BACKPLANE || n == "modules" || n == "debug"
        };
        self.everything
            || self.names.contains("modules")
            || !self.names.iter().all(ours)
            || self.all && !self.names.is_empty()
    }
}

/// Our own section: on request, or with `everything`.
const BACKPLANE: &str = "backplane";

/// Text of `INFO` in the making, and the server that its reader meets.
struct Fields(String, Persona);

impl Fields {
    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    /// A number of bytes, and once more for people under `name_human`.
    fn bytes(&mut self, name: &str, n: u64) {
        self.put(name, n);
        self.put(&format!("{name}_human"), human(n));
    }
}

/// Bytes with a unit, as `INFO` shows them.
pub fn human(n: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if n < 1024 {
        return format!("{n}B");
    }
    let mut x = n as f64 / 1024.0;
    let mut unit = 0;
    while x >= 1024.0 && unit < UNITS.len() - 1 {
        x /= 1024.0;
        unit += 1;
    }
    format!("{x:.2}{}", UNITS[unit])
}

fn server_fields(server: &Server, f: &mut Fields) {
    let c = &server.config;
    let up = (now_ms() - server.started) / 1000;
    for (name, value) in f.1.info_fields() {
        f.put(name, value);
    }
    f.put("redis_git_sha1", "00000000");
    f.put("redis_git_dirty", 0);
    f.put("redis_build_id", "0");
    f.put("redis_mode", if c.cluster_enabled() { "cluster" } else { "standalone" });
    f.put("os", process::system_name());
    f.put("arch_bits", usize::BITS);
    f.put("monotonic_clock", "POSIX clock_gettime");
    f.put("multiplexing_api", "epoll");
    f.put("atomicvar_api", "c11-builtin");
    f.put("gcc_version", "0.0.0");
    f.put("process_id", std::process::id());
    f.put("process_supervised", "no");
    f.put("run_id", &server.run_id);
    f.put("tcp_port", c.port());
    f.put("server_time_usec", now_us());
    f.put("uptime_in_seconds", up);
    f.put("uptime_in_days", up / 86400);
    f.put("hz", c.hz());
    f.put("configured_hz", c.hz());
    f.put("lru_clock", (now_ms() / 1000) & 0xff_ffff);
    let executable = std::env::current_exe().unwrap_or_default();
    f.put("executable", executable.display());
    let file = server.startup.config_file.as_ref();
    f.put("config_file", file.map(|p| p.display().to_string()).unwrap_or_default());
    f.put("io_threads_active", 0);
    let mut listener = 0;
    if c.port() != 0 {
        let mut line = "name=tcp".to_string();
        c.bind().iter().for_each(|b| line.push_str(&format!(",bind={b}")));
        f.put("listener0", format!("{line},port={}", c.port()));
        listener = 1;
    }
    if let Some(path) = c.unixsocket().filter(|p| !p.is_empty()) {
        f.put(&format!("listener{listener}"), format!("name=unix,bind={}", text(&path)));
    }
}

fn client_fields(server: &Server, f: &mut Fields) {
    let (mut connected, mut blocked, mut pubsub, mut watching, mut watched) = (0, 0, 0, 0, 0);
    for c in server.clients.lock().values() {
        connected += 1;
        blocked += u32::from(c.has(flag::BLOCKED));
        pubsub += u32::from(c.has(flag::PUBSUB));
        let keys = c.watching.load(Relaxed);
        watching += u32::from(keys > 0);
        watched += keys;
    }
    f.put("connected_clients", connected);
    f.put("cluster_connections", 0);
    f.put("maxclients", server.config.maxclients());
    let [input, output] = limits::recent();
    f.put("client_recent_max_input_buffer", input);
    f.put("client_recent_max_output_buffer", output);
    f.put("blocked_clients", blocked);
    f.put("tracking_clients", server.tracking.figures()[0]);
    f.put("pubsub_clients", pubsub);
    f.put("watching_clients", watching);
    f.put("clients_in_timeout_table", 0);
    f.put("total_watched_keys", watched);
    let awaited = server.blocked_keys.load(Relaxed) + server.awaited_keys.load(Relaxed);
    f.put("total_blocking_keys", awaited);
    f.put("total_blocking_keys_on_nokey", server.awaited_nokeys.load(Relaxed));
}

/// Bytes of the table slot and the header that each key costs beside its own bytes.
const PER_KEY: u64 = 32;

fn memory_fields(server: &Server, f: &mut Fields) {
    let used = server.used_memory();
    let peak = server.peak_memory.load(Relaxed).max(used);
    let rss = process::resident();
    let startup = server.startup_memory.load(Relaxed);
    let keys: usize = server.keyspace.dbs().iter().map(crate::keyspace::shard::Db::len).sum();
    let clients = limits::client_memory();
    let overhead = (startup + keys as u64 * PER_KEY + clients).min(used);
    let dataset = used - overhead;
    let net = used.saturating_sub(startup);
    let [allocated, active, resident, _] = crate::module::api::memory::allocator_figures();
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    let percent = |a: u64, b: u64| format!("{:.2}%", 100.0 * ratio(a, b));
    let c = &server.config;
    let policy = c.get_str("maxmemory-policy").unwrap_or_default();
    f.bytes("used_memory", used);
    f.bytes("used_memory_rss", rss);
    f.bytes("used_memory_peak", peak);
    f.put("used_memory_peak_perc", percent(used, peak));
    f.put("used_memory_overhead", overhead);
    f.put("used_memory_startup", startup);
    f.put("used_memory_dataset", dataset);
    f.put("used_memory_dataset_perc", percent(dataset, net));
    f.put("allocator_allocated", allocated);
    f.put("allocator_active", active);
    f.put("allocator_resident", resident);
    f.put("allocator_muzzy", 0);
    f.bytes("total_system_memory", process::system_memory());
    let scripts = &crate::script::FIGURES;
    let (eval, functions) =
        (scripts.eval_memory.load(Relaxed), scripts.function_memory.load(Relaxed));
    let texts = scripts.script_bytes.load(Relaxed);
    f.put("used_memory_lua", eval);
    f.put("used_memory_vm_eval", eval);
    f.put("used_memory_lua_human", human(eval));
    f.put("used_memory_scripts_eval", texts);
    f.put("number_of_cached_scripts", scripts.scripts.load(Relaxed));
    f.put("number_of_functions", scripts.functions.load(Relaxed));
    f.put("number_of_libraries", scripts.libraries.load(Relaxed));
    f.put("used_memory_vm_functions", functions);
    f.put("used_memory_vm_total", eval + functions);
    f.put("used_memory_vm_total_human", human(eval + functions));
    f.put("used_memory_functions", 0);
    f.bytes("used_memory_scripts", texts);
    f.bytes("maxmemory", c.maxmemory());
    f.put("maxmemory_policy", policy);
    f.put("allocator_frag_ratio", format!("{:.2}", ratio(active, allocated)));
    f.put("allocator_frag_bytes", active.saturating_sub(allocated));
    f.put("allocator_rss_ratio", format!("{:.2}", ratio(resident, active)));
    f.put("allocator_rss_bytes", resident as i64 - active as i64);
    f.put("rss_overhead_ratio", format!("{:.2}", ratio(rss, resident)));
    f.put("rss_overhead_bytes", rss as i64 - resident as i64);
    f.put("mem_fragmentation_ratio", format!("{:.2}", ratio(rss, used)));
    f.put("mem_fragmentation_bytes", rss as i64 - used as i64);
    let (replicas, backlog) =
        (limits::replica_memory(), server.log.with_feed(|f| f.backlog_len().unwrap_or(0)));
    f.put("mem_not_counted_for_evict", crate::keyspace::evict::not_counted(server));
    f.put("mem_replication_backlog", backlog);
    f.put("mem_total_replication_buffers", backlog as u64 + replicas);
    f.put("mem_clients_slaves", replicas);
    f.put("mem_clients_normal", clients);
    f.put("mem_cluster_links", 0);
    f.put("mem_aof_buffer", server.aof.buffer_length(server));
    f.put("mem_allocator", crate::module::api::memory::NAME);
    f.put("mem_overhead_db_hashtable_rehashing", 0);
    f.put("active_defrag_running", crate::module::defrag::running());
    let (pending, freed) = crate::keyspace::lazy_free::figures();
    f.put("lazyfree_pending_objects", pending);
    f.put("lazyfreed_objects", freed);
}

fn persistence_fields(server: &Server, f: &mut Fields) {
    let p = &server.persistence;
    let now = now_ms() / 1000;
    let loading = server.loading.load(Relaxed);
    f.put("loading", u32::from(loading));
    f.put("async_loading", 0);
    f.put("current_cow_peak", 0);
    f.put("current_cow_size", 0);
    f.put("current_cow_size_age", 0);
    let (written, total) = match crate::snapshot::cut::current() {
        Some(cut) => (cut.written(), cut.total),
        None => (0, 0),
    };
    let progress = match fork::child() {
        _ if total > 0 => written as f64 / total as f64 * 100.0,
        Some(_) => fork::progress() * 100.0,
        None => 0.0,
    };
    f.put("current_fork_perc", format!("{progress:.2}"));
    f.put("current_save_keys_processed", written);
    f.put("current_save_keys_total", total);
    f.put("rdb_changes_since_last_save", crate::snapshot::control::changes(server));
    f.put("rdb_bgsave_in_progress", u32::from(crate::snapshot::control::saves(server)));
    f.put("rdb_last_save_time", p.last_save.load(Relaxed));
    let status = if p.last_bgsave_failed.load(Relaxed) { "err" } else { "ok" };
    f.put("rdb_last_bgsave_status", status);
    f.put("rdb_last_bgsave_time_sec", p.last_bgsave_seconds.load(Relaxed));
    let since = p.bgsave_start.load(Relaxed);
    f.put("rdb_current_bgsave_time_sec", if since < 0 { -1 } else { now - since });
    f.put("rdb_saves", p.saves.load(Relaxed));
    f.put("rdb_last_cow_size", 0);
    f.put("rdb_last_load_keys_expired", p.last_load_keys_expired.load(Relaxed));
    f.put("rdb_last_load_keys_loaded", p.last_load_keys_loaded.load(Relaxed));
    let (aof, rewriting) = (&server.aof, &server.aof.rewriting);
    let ok = |failed: bool| if failed { "err" } else { "ok" };
    let since = rewriting.started.load(Relaxed);
    f.put("aof_enabled", u32::from(aof.is_on()));
    f.put("aof_rewrite_in_progress", u32::from(rewriting.runs()));
    f.put("aof_rewrite_scheduled", u32::from(rewriting.scheduled.load(Relaxed)));
    f.put("aof_last_rewrite_time_sec", rewriting.last_seconds.load(Relaxed));
    f.put("aof_current_rewrite_time_sec", if since < 0 { -1 } else { now - since });
    f.put("aof_last_bgrewrite_status", ok(rewriting.last_failed.load(Relaxed)));
    f.put("aof_rewrites", rewriting.count.load(Relaxed));
    f.put("aof_rewrites_consecutive_failures", rewriting.failures.load(Relaxed));
    f.put("aof_last_write_status", ok(aof.in_trouble()));
    f.put("aof_last_cow_size", 0);
    f.put("module_fork_in_progress", u32::from(fork::child_of_module().is_some()));
    f.put("module_fork_last_cow_size", fork::last_own_memory());
    if server.config.appendonly() {
        f.put("aof_current_size", aof.current_size.load(Relaxed));
        f.put("aof_base_size", aof.base_size.load(Relaxed));
        f.put("aof_pending_rewrite", u32::from(rewriting.scheduled.load(Relaxed)));
        f.put("aof_buffer_length", aof.buffer_length(server));
        f.put("aof_pending_bio_fsync", u32::from(aof.is_syncing()));
        f.put("aof_delayed_fsync", aof.delayed_fsync.load(Relaxed));
    }
    if loading {
        let (loaded, total) =
            (p.loading_loaded_bytes.load(Relaxed), p.loading_total_bytes.load(Relaxed));
        let elapsed = now - p.loading_start.load(Relaxed);
        let left = total.saturating_sub(loaded) as i64;
        let eta = if elapsed <= 0 { 1 } else { elapsed * left / (loaded as i64 + 1) };
        f.put("loading_start_time", p.loading_start.load(Relaxed));
        f.put("loading_total_bytes", total);
        f.put("loading_rdb_used_mem", p.loading_rdb_used_mem.load(Relaxed));
        f.put("loading_loaded_bytes", loaded);
        let percent = 100.0 * loaded as f64 / total.max(1) as f64;
        f.put("loading_loaded_perc", format!("{percent:.2}"));
        f.put("loading_eta_seconds", eta);
    }
}

fn stats_fields(server: &Server, f: &mut Fields) {
    let s = &server.stats;
    let [commands, bytes_in, bytes_out, turns, busy] = s.rates.get();
    let kb = |n: u64| format!("{:.2}", n as f64 / 1024.0);
    let over_since = s.eviction_exceeded_ns.1.load(Relaxed);
    let over_now = if over_since == 0 { 0 } else { mono_ns().saturating_sub(over_since) };
    let zeros = |f: &mut Fields, names: &[&str]| names.iter().for_each(|n| f.put(n, 0));
    f.put("total_connections_received", s.connections_received.get());
    f.put("total_commands_processed", s.commands_processed.get());
    f.put("instantaneous_ops_per_sec", commands);
    f.put("total_net_input_bytes", s.net_input_bytes.get());
    f.put("total_net_output_bytes", s.net_output_bytes.get());
    zeros(f, &["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    f.put("instantaneous_input_kbps", kb(bytes_in));
    f.put("instantaneous_output_kbps", kb(bytes_out));
    f.put("instantaneous_input_repl_kbps", "0.00");
    f.put("instantaneous_output_repl_kbps", "0.00");
    f.put("rejected_connections", s.rejected_connections.get());
    f.put("sync_full", s.sync_full.get());
    f.put("sync_partial_ok", s.sync_partial_ok.get());
    f.put("sync_partial_err", s.sync_partial_err.get());
    f.put("expired_subkeys", s.expired_fields.get());
    f.put("expired_keys", s.expired_keys.get());
    f.put("expired_stale_perc", "0.00");
    f.put("expired_time_cap_reached_count", 0);
    f.put("expire_cycle_cpu_milliseconds", s.expire_ns.get() / 1_000_000);
    f.put("evicted_keys", s.evicted_keys.get());
    f.put("evicted_clients", s.evicted_clients.get());
    f.put("evicted_scripts", crate::script::FIGURES.evicted.load(Relaxed));
    let over_total = s.eviction_exceeded_ns.0.load(Relaxed) + over_now;
    f.put("total_eviction_exceeded_time", over_total / 1_000_000);
    f.put("current_eviction_exceeded_time", over_now / 1_000_000);
    f.put("keyspace_hits", s.keyspace_hits.get());
    f.put("keyspace_misses", s.keyspace_misses.get());
    f.put("pubsub_channels", server.pubsub.channel_count());
    f.put("pubsub_patterns", server.pubsub.pattern_count());
    f.put("pubsubshard_channels", server.pubsub.shard_channel_count());
    f.put("latest_fork_usec", s.last_fork_us.load(Relaxed));
    f.put("total_forks", s.forks.get());
    f.put("migrate_cached_sockets", super::migrate::kept());
    f.put("slave_expires_tracked_keys", server.link.own_expiring());
    let defrag = crate::module::defrag::figures();
    f.put("active_defrag_hits", defrag.moves.hits);
    f.put("active_defrag_misses", defrag.moves.misses);
    f.put("active_defrag_key_hits", defrag.moves.key_hits);
    f.put("active_defrag_key_misses", defrag.moves.key_misses);
    f.put("total_active_defrag_time", defrag.total_us / 1000);
    f.put("current_active_defrag_time", defrag.current_us / 1000);
    let [_, keys, items, prefixes] = server.tracking.figures();
    f.put("tracking_total_keys", keys);
    f.put("tracking_total_items", items);
    f.put("tracking_total_prefixes", prefixes);
    f.put("unexpected_error_replies", 0);
    f.put("total_error_replies", s.error_replies.get());
    f.put("dump_payload_sanitizations", 0);
    f.put("total_reads_processed", s.reads.get());
    f.put("total_writes_processed", s.writes.get());
    zeros(f, &["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    f.put("client_query_buffer_limit_disconnections", s.query_limit_disconnections.get());
    f.put("client_output_buffer_limit_disconnections", s.output_limit_disconnections.get());
    zeros(f, &["reply_buffer_shrinks", "reply_buffer_expands"]);
    let cpu = process::cpu_times(Whose::Process);
    let mut in_commands = 0;
    each_command(server, |c| in_commands += c.stats.totals().ns);
    f.put("eventloop_cycles", s.turns());
    f.put("eventloop_duration_sum", cpu.sys + cpu.user);
    f.put("eventloop_duration_cmd_sum", in_commands / 1000);
    f.put("instantaneous_eventloop_cycles_per_sec", turns);
    f.put("instantaneous_eventloop_duration_usec", busy / turns.max(1));
    f.put("acl_access_denied_auth", s.acl_denied_auth.get());
    f.put("acl_access_denied_cmd", s.acl_denied_cmd.get());
    f.put("acl_access_denied_key", s.acl_denied_key.get());
    f.put("acl_access_denied_channel", s.acl_denied_channel.get());
}

fn replication_fields(server: &Server, f: &mut Fields) {
    let link = &server.link;
    let since = |ms: i64| (crate::observe::clock::now_ms() - ms).max(0) / 1000;
    match link.primary() {
        None => f.put("role", "master"),
        Some((host, port)) => {
            let up = link.is_up();
            let syncs = link.state.load(Relaxed) == crate::propagate::link::state::SYNC;
            let heard = if up || syncs { since(link.heard.load(Relaxed)) } else { -1 };
            f.put("role", "slave");
            f.put("master_host", host);
            f.put("master_port", port);
            f.put("master_link_status", if up { "up" } else { "down" });
            f.put("master_last_io_seconds_ago", heard);
            f.put("master_sync_in_progress", u8::from(syncs));
            f.put("slave_read_repl_offset", link.read.load(Relaxed));
            f.put("slave_repl_offset", link.offset.load(Relaxed));
            if syncs {
                for name in ["total_bytes", "read_bytes", "left_bytes"] {
                    f.put(&format!("master_sync_{name}"), 0);
                }
                f.put("master_sync_perc", "0.00");
                f.put("master_sync_last_io_seconds_ago", heard);
            }
            if !up {
                f.put("master_link_down_since_seconds", since(link.down_since.load(Relaxed)));
            }
            f.put("slave_priority", server.config.replica_priority());
            f.put("slave_read_only", u8::from(server.config.replica_read_only()));
            f.put("replica_announced", u8::from(server.config.replica_announced()));
        }
    }
    let (offset, replicas, backlog) =
        server.log.with_feed(|feed| (feed.offset(), feed.replicas().to_vec(), feed.backlog_len()));
    f.put("connected_slaves", replicas.len());
    if server.config.min_replicas_to_write() > 0 && server.config.min_replicas_max_lag() > 0 {
        f.put("min_slaves_good_slaves", super::replication::good_replicas(server));
    }
    for (i, r) in replicas.iter().enumerate() {
        let (port, acknowledged) = (r.port.load(Relaxed), r.acknowledged.load(Relaxed));
        let value = format!(
            "ip={},port={port},state={},offset={acknowledged},lag={}",
            r.address(),
            r.state(),
            r.lag()
        );
        f.put(&format!("slave{i}"), value);
    }
    f.put("master_failover_state", "no-failover");
    f.put("master_replid", server.repl_id.lock());
    f.put("master_replid2", "0".repeat(40));
    f.put("master_repl_offset", offset);
    f.put("second_repl_offset", -1);
    f.put("repl_backlog_active", u8::from(backlog.is_some()));
    f.put("repl_backlog_size", server.config.repl_backlog_size());
    let len = backlog.unwrap_or(0) as u64;
    f.put("repl_backlog_first_byte_offset", if backlog.is_some() { offset - len + 1 } else { 0 });
    f.put("repl_backlog_histlen", len);
}

fn cpu_fields(_: &Server, f: &mut Fields) {
    let mut put = |what: &str, t: CpuTimes| {
        for (name, us) in [("sys", t.sys), ("user", t.user)] {
            let value = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
            f.put(&format!("used_cpu_{name}{what}"), value);
        }
    };
    put("", process::cpu_times(Whose::Process));
    put("_children", process::cpu_times(Whose::Children));
    put("_main_thread", process::cpu_times(Whose::Thread));
}

fn module_list(server: &Server, f: &mut Fields) {
    let list =
        |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join("|");
    let options = [
        (abi::OPTIONS_HANDLE_IO_ERRORS, "handle-io-errors"),
        (abi::OPTIONS_HANDLE_REPL_ASYNC_LOAD, "handle-repl-async-load"),
        (abi::OPTION_NO_IMPLICIT_SIGNAL_MODIFIED, "no-implicit-signal-modified"),
    ];
    let filters = server.modules.filters.load();
    for m in server.modules.list() {
        let set: Vec<&str> =
            options.iter().filter(|(bit, _)| m.has_option(*bit)).map(|(_, name)| *name).collect();
        let filters = filters.iter().filter(|x| std::ptr::eq::<Module>(x.module, m)).count();
        f.put(
            "module",
            format!(
                "name={},ver={},api={},filters={filters},usedby=[{}],using=[{}],options=[{}]",
                m.name(),
                m.ver.load(Relaxed),
                m.api_ver.load(Relaxed),
                list(&m.used_by.lock()),
                list(&m.using.lock()),
                set.join("|")
            )
            .as_str(),
        );
    }
}

/// A name as a field of `INFO` can bear it.
fn safe(name: &str) -> String {
    name.replace(['#', ':', '\n', '\r'], "_")
}

fn each_command(server: &Server, mut f: impl FnMut(&Command)) {
    for c in server.table.load().all() {
        f(c);
        c.subs.iter().for_each(|s| f(s));
    }
}

fn command_stats(server: &Server, f: &mut Fields) {
    each_command(server, |c| {
        let t = c.stats.totals();
        if t.calls + t.failed + t.rejected == 0 {
            return;
        }
        let us = t.ns / 1000;
        let mean = if t.calls == 0 { 0.0 } else { us as f64 / t.calls as f64 };
        f.put(
            &format!("cmdstat_{}", safe(&c.full_name)),
            format!(
                "calls={},usec={us},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                t.calls, t.rejected, t.failed
            ),
        );
    });
}

fn error_stats(server: &Server, f: &mut Fields) {
    for (code, n) in server.stats.errors.list() {
        f.put(&format!("errorstat_{}", safe(&code)), format!("count={n}"));
    }
}

fn latency_stats(server: &Server, f: &mut Fields) {
    if !server.config.latency_tracking() {
        return;
    }
    let percentiles = server.config.latency_tracking_info_percentiles();
    each_command(server, |c| {
        let Some(durations) = c.stats.durations() else { return };
        let mut line = String::new();
        for p in percentiles.iter() {
            if !line.is_empty() {
                line.push(',');
            }
            let us = durations.percentile(*p) as f64 / 1000.0;
            let _ = write!(line, "p{p}={us:.3}");
        }
        f.put(&format!("latency_percentiles_usec_{}", safe(&c.full_name)), line);
    });
}

fn cluster_fields(server: &Server, f: &mut Fields) {
    f.put("cluster_enabled", u8::from(server.cluster.enabled()));
}

fn keyspace_fields(server: &Server, f: &mut Fields) {
    let now = now_ms();
    for (i, db) in server.keyspace.dbs().iter().enumerate() {
        let (keys, expires) = (db.len(), db.volatile());
        if keys == 0 && expires == 0 {
            continue;
        }
        let (ttl, fields) = crate::keyspace::evict::ttl_figures(db, now);
        f.put(
            &format!("db{i}"),
            format!("keys={keys},expires={expires},avg_ttl={ttl},subexpiry={fields}"),
        );
    }
}

fn backplane_fields(server: &Server, f: &mut Fields) {
    let s = &server.stats;
    f.put("backplane_version", env!("CARGO_PKG_VERSION"));
    f.put("server_threads", server.serving.get().map_or(0, Vec::len));
    for (name, n) in REASON_NAMES.iter().zip(&s.module_path) {
        f.put(&format!("module_path_commands_{name}"), n.get());
    }
    f.put("handovers", s.handovers.get());
    f.put("attended_clients", server.queue.attention.clients());
    f.put("parked", s.parked.get());
    let held = server.module_lock.hold_times();
    f.put("module_lock_holds", held.holds);
    f.put("module_lock_held_usec", held.total_ns / 1000);
    f.put("module_lock_longest_usec", held.longest_ns / 1000);
    f.put("module_lock_held", u32::from(server.module_lock.is_held()));
    f.put("module_lock_waiters", server.module_lock.waiters());
    f.put("module_api_misuses", crate::module::strict::count());
}

/// Whether a call of `INFO` asks modules, and so needs the module lock.
pub fn asks_modules(server: &Server, args: &[&[u8]]) -> bool {
    if !server.modules.modules.load().iter().any(|m| m.info.lock().is_some()) {
        return false;
    }
    let words: Vec<_> = args[1..].iter().map(|a| text(a)).collect();
    Wanted::new(words.iter().map(|w| &**w)).modules()
}

/// The text of `INFO` with these sections (none: the default ones), as the module API and the command want it. Asks
/// modules for theirs if the sections are not all ours: the caller then has the module lock.
pub fn text_of(server: &Server, sections: &[&str], persona: Persona) -> String {
    let wanted = Wanted::new(sections.iter().copied());
    let mut f = Fields(String::new(), persona);
    let mut written = 0;
    let mut section = |f: &mut Fields, heading: &str, fields: fn(&Server, &mut Fields)| {
        if written > 0 {
            f.0.push_str("\r\n");
        }
        written += 1;
        let _ = write!(f.0, "# {heading}\r\n");
        fields(server, f);
    };
    for (_, heading, fields) in SECTIONS.iter().filter(|s| wanted.has(s.0)) {
        section(&mut f, heading, *fields);
    }
    if wanted.names.contains("debug") {
        section(&mut f, "Debug", debug_fields);
    }
    if wanted.everything || wanted.names.contains(BACKPLANE) {
        section(&mut f, "Backplane", backplane_fields);
    }
    if wanted.modules() {
        let names: Vec<String> = wanted.names.iter().cloned().collect();
        let all = wanted.everything || wanted.names.contains("modules");
        let names = if all { None } else { Some(&names[..]) };
        f.0.push_str(&crate::module::api::info::sections(server, names, written));
    }
    f.0
}

/// `INFO [section ...]`
fn info(tx: &mut Tx<'_>, args: &[&[u8]], out: &mut Reply) -> CommandResult {
    let words: Vec<_> = args[1..].iter().map(|a| text(a)).collect();
    let words: Vec<&str> = words.iter().map(|w| &**w).collect();
    out.verbatim(b"txt", text_of(tx.server, &words, tx.persona).as_bytes());
    Ok(())
}

const FLAGS: u64 = flags::LOADING | flags::STALE | flags::ARGS_DECIDE | flags::LATCHES;

/// The family's commands.
pub static ROWS: &[Row] = &[Row {
    acl: &["dangerous"],
    ..row("info", -1, FLAGS, "Tells about the server: its state and statistics.", info)
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(986_824), "963.70K");
        assert_eq!(human(25_276_514_304), "23.54G");
    }

    #[test]
    fn which_sections_ask_modules() {
        let asks = |words: &[&str]| Wanted::new(words.iter().copied()).modules();
        assert!(!asks(&[]) && !asks(&["all"]) && !asks(&["Server", "commandstats"]));
        assert!(!asks(&["default", "backplane"]));
        assert!(asks(&["everything"]) && asks(&["modules"]) && asks(&["search_index"]));
        assert!(asks(&["all", "server"]));
        assert!(Wanted::new(["MODULES"]).has("module_list"));
        assert!(!Wanted::new([]).has("commandstats"));
    }
}
