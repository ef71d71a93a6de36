//! A module as its authors write it with the crate redis-module: see `../../rust_features.rs`.
use lazy_static::lazy_static;
use redis_module::configuration::{ConfigurationContext, ConfigurationFlags};
use redis_module::native_types::RedisType;
use redis_module::redisvalue::RedisValueKey as Key;
use redis_module::{
    raw, redis_module, ConfigurationValue, Context, InfoContext, NextArg, NotifyEvent,
    RedisError as Failure, RedisGILGuard as Guard, RedisResult as Answer, RedisString as Text,
    RedisValue as Value, ThreadSafeContext,
};
use redis_module_macros::info_command_handler;

type OfInfo = Result<(), Failure>;

include!("../../rust_features.rs");

static NOTE: RedisType = RedisType::new("rust-note", 1, METHODS);

redis_module! {
    name: "rustr",
    version: 3,
    allocator: (redis_module::alloc::RedisAlloc, redis_module::alloc::RedisAlloc),
    data_types: [NOTE],
    commands: [
        ["rustr.product", product, "readonly fast", 0, 0, 0, AclCategory::None],
        ["rustr.set", note_set, "write deny-oom", 1, 1, 1, AclCategory::None],
        ["rustr.get", note_get, "readonly", 1, 1, 1, AclCategory::None],
        ["rustr.call", call, "write", 0, 0, 0, AclCategory::None],
        ["rustr.shape", shape, "readonly", 0, 0, 0, AclCategory::None],
        ["rustr.events", events, "readonly", 0, 0, 0, AclCategory::None],
        ["rustr.later", later, "write", 2, 2, 1, AclCategory::None],
        ["rustr.thread", thread, "write", 1, 1, 1, AclCategory::None],
        ["rustr.hash", hash, "write", 1, 1, 1, AclCategory::None],
        ["rustr.settings", settings, "readonly", 0, 0, 0, AclCategory::None],
        ["rustr.server", server, "readonly", 0, 0, 0, AclCategory::None],
    ],
    event_handlers: [
        [@STRING @GENERIC: on_event],
    ],
    configurations: [
        i64: [["limit", &*LIMIT, 10, 0, 1000, ConfigurationFlags::DEFAULT, Some(Box::new(on_change))]],
        string: [["greeting", &*GREETING, "hello", ConfigurationFlags::DEFAULT, Some(Box::new(on_change::<String, _>))]],
        bool: [["loud", &*LOUD, false, ConfigurationFlags::DEFAULT, Some(Box::new(on_change))]],
        enum: [],
        module_args_as_configuration: true,
    ]
}
