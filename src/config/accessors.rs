//! Typed access to directives without a look-up: one relaxed load for numbers, one `ArcSwap` load for the rest. The row is
//! found at compile time, so a misspelt directive does not compile.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::rows::index_of;
use super::value::{BufferLimits, Primary, SavePoint, Value};
use super::Config;
use crate::module::persona::Entry;

macro_rules! numbers {
    ($type:ty, $load:ident => $convert:expr; $($name:ident)*) => {
        impl Config {
            $(
                #[doc = concat!("The directive `", stringify!($name), "` (with dashes).")]
                #[inline]
                pub fn $name(&self) -> $type {
                    const INDEX: usize = index_of(stringify!($name));
                    let $load = self.numbers[INDEX].load(Relaxed);
                    $convert
                }
            )*
        }
    };
}

macro_rules! objects {
    ($type:ty, $variant:ident; $($name:ident)*) => {
        impl Config {
            $(
                #[doc = concat!("The directive `", stringify!($name), "` (with dashes).")]
                pub fn $name(&self) -> $type {
                    const INDEX: usize = index_of(stringify!($name));
                    match &**self.objects[INDEX].load() {
                        Value::$variant(value) => value.clone(),
                        other => unreachable!("{other:?} in a row of another type"),
                    }
                }
            )*
        }
    };
}

numbers! { bool, number => number != 0;
    module_strict module_exclusive cluster_require_full_coverage cluster_replica_no_failover cluster_enabled
    cluster_allow_reads_when_down cluster_allow_pubsubshard_when_down
    cluster_allow_replica_migration activerehashing lazyfree_lazy_eviction lazyfree_lazy_expire
    lazyfree_lazy_server_del lazyfree_lazy_user_del lazyfree_lazy_user_flush jemalloc_bg_thread
    activedefrag disable_thp io_threads_do_reads protected_mode rdbchecksum rdbcompression
    rdb_del_sync_files stop_writes_on_bgsave_error aof_rewrite_incremental_fsync
    no_appendfsync_on_rewrite rdb_save_incremental_fsync aof_load_truncated aof_use_rdb_preamble
    aof_timestamp_enabled appendonly aof_disable_auto_gc repl_disable_tcp_nodelay
    repl_diskless_sync replica_lazy_flush replica_serve_stale_data replica_read_only
    replica_ignore_maxmemory replica_announced replica_ignore_disk_write_errors daemonize
    always_show_logo set_proc_title dynamic_hz syslog_enabled crash_log_enabled
    crash_memcheck_enabled use_exit_on_panic latency_tracking hide_user_data_from_log tls_cluster
    tls_replication tls_prefer_server_ciphers tls_session_caching
}

numbers! { i64, number => number;
    module_load module_attend event_loop list_max_listpack_size maxmemory_clients rdb_key_save_delay key_load_delay
    slowlog_log_slower_than cluster_preferred_endpoint_type maxmemory_policy oom_score_adj
    appendfsync sanitize_dump_payload repl_diskless_load supervised syslog_facility loglevel
    acl_pubsub_default enable_protected_configs enable_debug_command enable_module_command
    propagation_error_behavior shutdown_on_sigint shutdown_on_sigterm tls_auth_clients
}

numbers! { u64, number => number as u64;
    module_yield cluster_replica_validity_factor cluster_migration_barrier cluster_port
    cluster_announce_bus_port cluster_announce_port cluster_announce_tls_port cluster_node_timeout
    cluster_ping_interval cluster_link_sendbuf_limit active_defrag_cycle_min
    active_defrag_cycle_max active_defrag_threshold_lower active_defrag_threshold_upper
    lfu_log_factor lfu_decay_time maxmemory_eviction_tenacity list_compress_depth
    active_expire_effort active_defrag_max_scan_fields maxmemory active_defrag_ignore_bytes port
    io_threads tcp_keepalive timeout tcp_backlog unixsocketperm socket_mark_id
    max_new_connections_per_cycle max_new_tls_connections_per_cycle auto_aof_rewrite_percentage
    auto_aof_rewrite_min_size loading_process_events_interval_bytes replica_priority
    repl_diskless_sync_delay replica_announce_port repl_timeout repl_ping_replica_period
    min_replicas_to_write min_replicas_max_lag repl_diskless_sync_max_replicas repl_backlog_size
    repl_backlog_ttl hz watchdog_period shutdown_timeout busy_reply_threshold
    latency_monitor_threshold tls_port tls_session_cache_size tls_session_cache_timeout
}

numbers! { usize, number => number as usize;
    server_threads databases maxmemory_samples stream_node_max_entries hash_max_listpack_entries
    set_max_intset_entries set_max_listpack_entries set_max_listpack_value
    zset_max_listpack_entries hash_max_listpack_value stream_node_max_bytes
    zset_max_listpack_value hll_sparse_max_bytes tracking_table_max_keys maxclients
    proto_max_bulk_len client_query_buffer_limit slowlog_max_len acllog_max_len
}

objects! { Option<Arc<[u8]>>, Text;
    cluster_announce_ip cluster_config_file cluster_announce_hostname
    cluster_announce_human_nodename unixsocket bind_source_addr dbfilename appendfilename
    appenddirname aof_rewrite_cpulist replica_announce_ip masteruser masterauth aclfile pidfile
    syslog_ident server_cpulist bio_cpulist bgsave_cpulist ignore_warnings proc_title_template
    logfile locale_collate requirepass tls_cert_file tls_key_file tls_key_file_pass
    tls_client_cert_file tls_client_key_file tls_client_key_file_pass tls_dh_params_file
    tls_ca_cert_file tls_ca_cert_dir tls_protocols tls_ciphers tls_ciphersuites
}

numbers! { u32, number => number as u32; notify_keyspace_events }

objects! { Arc<[SavePoint]>, Save; save }
objects! { Arc<BufferLimits>, Limits; client_output_buffer_limit }
objects! { [i32; 3], Oom; oom_score_adj_values }
objects! { Arc<[String]>, Bind; bind }
objects! { Option<Arc<Primary>>, Primary; replicaof }
objects! { Arc<[Entry]>, Personas; module_persona }
objects! { Arc<[[u8; 32]]>, Hashes; module_allow_sha256 }
objects! { Arc<[f64]>, Percentiles; latency_tracking_info_percentiles }

impl Config {
    /// Puts in where the primary is (REPLICAOF, Sentinel, cluster): shown by `CONFIG GET` and written by
    /// `CONFIG REWRITE`.
    pub fn set_replicaof(&self, primary: Option<Primary>) {
        const INDEX: usize = index_of("replicaof");
        self.objects[INDEX].store(Arc::new(Value::Primary(primary.map(Arc::new))));
    }
}
