//! Names and numbers of the enumerated directives. Where numbers are seen elsewhere (`loglevel`, `maxmemory-policy` flags)
//! they are the reference's.

use super::rows::Choices;

macro_rules! choices {
    ($(#[$doc:meta])* $table:ident, $module:ident: $($text:literal => $name:ident = $number:expr),+ $(,)?) => {
        $(#[$doc])*
        pub const $table: Choices = &[$(($text, $number)),+];
        $(#[$doc])*
        #[allow(missing_docs, reason = "each constant is the text beside it in the table")]
        pub mod $module {
            $(pub const $name: i64 = $number;)+
        }
    };
}

choices! { /// `maxmemory-policy`: bit 0 LRU, bit 1 LFU, bit 2 all keys.
    MAXMEMORY_POLICY, maxmemory_policy:
    "volatile-lru" => VOLATILE_LRU = 1,
    "volatile-lfu" => VOLATILE_LFU = 1 << 8 | 2,
    "volatile-random" => VOLATILE_RANDOM = 3 << 8,
    "volatile-ttl" => VOLATILE_TTL = 2 << 8,
    "allkeys-lru" => ALLKEYS_LRU = 4 << 8 | 1 | 4,
    "allkeys-lfu" => ALLKEYS_LFU = 5 << 8 | 2 | 4,
    "allkeys-random" => ALLKEYS_RANDOM = 6 << 8 | 4,
    "noeviction" => NOEVICTION = 7 << 8,
}

choices! { /// `syslog-facility`, as `<syslog.h>` numbers them.
    SYSLOG_FACILITY, syslog_facility:
    "user" => USER = 1 << 3,
    "local0" => LOCAL0 = 16 << 3,
    "local1" => LOCAL1 = 17 << 3,
    "local2" => LOCAL2 = 18 << 3,
    "local3" => LOCAL3 = 19 << 3,
    "local4" => LOCAL4 = 20 << 3,
    "local5" => LOCAL5 = 21 << 3,
    "local6" => LOCAL6 = 22 << 3,
    "local7" => LOCAL7 = 23 << 3,
}

choices! { /// `loglevel`.
    LOGLEVEL, loglevel:
    "debug" => DEBUG = 0,
    "verbose" => VERBOSE = 1,
    "notice" => NOTICE = 2,
    "warning" => WARNING = 3,
    "nothing" => NOTHING = 4,
}

choices! { /// `supervised`.
    SUPERVISED, supervised:
    "upstart" => UPSTART = 3,
    "systemd" => SYSTEMD = 2,
    "auto" => AUTO = 1,
    "no" => NO = 0,
}

choices! { /// `appendfsync`.
    APPENDFSYNC, appendfsync:
    "everysec" => EVERYSEC = 2,
    "always" => ALWAYS = 1,
    "no" => NO = 0,
}

choices! { /// `shutdown-on-sigint`, `shutdown-on-sigterm` and SHUTDOWN's flags: a set of bits.
    SHUTDOWN_ON_SIG, shutdown_on_sig:
    "default" => DEFAULT = 0,
    "save" => SAVE = 1,
    "nosave" => NOSAVE = 2,
    "now" => NOW = 4,
    "force" => FORCE = 8,
}

choices! { /// `repl-diskless-load`.
    REPL_DISKLESS_LOAD, repl_diskless_load:
    "disabled" => DISABLED = 0,
    "on-empty-db" => ON_EMPTY_DB = 1,
    "swapdb" => SWAPDB = 2,
}

choices! { /// `tls-auth-clients`.
    TLS_AUTH_CLIENTS, tls_auth_clients:
    "no" => NO = 0,
    "yes" => YES = 1,
    "optional" => OPTIONAL = 2,
}

choices! { /// `oom-score-adj`: `relative` is another word for `yes`.
    OOM_SCORE_ADJ, oom_score_adj:
    "no" => NO = 0,
    "yes" => YES = 1,
    "relative" => RELATIVE = 1,
    "absolute" => ABSOLUTE = 2,
}

choices! { /// `acl-pubsub-default`.
    ACL_PUBSUB_DEFAULT, acl_pubsub_default:
    "allchannels" => ALLCHANNELS = 8,
    "resetchannels" => RESETCHANNELS = 0,
}

choices! { /// `sanitize-dump-payload`.
    SANITIZE_DUMP_PAYLOAD, sanitize_dump_payload:
    "no" => NO = 0,
    "yes" => YES = 1,
    "clients" => CLIENTS = 2,
}

choices! { /// `enable-protected-configs`, `enable-debug-command`, `enable-module-command`.
    PROTECTED_ACTION, protected_action:
    "no" => NO = 0,
    "yes" => YES = 1,
    "local" => LOCAL = 2,
}

choices! { /// `module-load`.
    MODULE_LOAD, module_load:
    "open" => OPEN = 0,
    "sealed" => SEALED = 1,
}

choices! { /// `module-attend`.
    MODULE_ATTEND, module_attend:
    "auto" => AUTO = 0,
    "yes" => YES = 1,
    "idle" => IDLE = 2,
    "no" => NO = 3,
}

choices! { /// `event-loop`.
    EVENT_LOOP, event_loop:
    "auto" => AUTO = 0,
    "io_uring" => IO_URING = 1,
    "epoll" => EPOLL = 2,
}

choices! { /// `cluster-preferred-endpoint-type`.
    CLUSTER_ENDPOINT_TYPE, cluster_endpoint_type:
    "ip" => IP = 0,
    "hostname" => HOSTNAME = 1,
    "unknown-endpoint" => UNKNOWN_ENDPOINT = 2,
}

choices! { /// `propagation-error-behavior`.
    PROPAGATION_ERROR, propagation_error:
    "ignore" => IGNORE = 0,
    "panic" => PANIC = 1,
    "panic-on-replicas" => PANIC_ON_REPLICAS = 2,
}
