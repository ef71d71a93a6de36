//! A module as its authors write it with the crate valkey-module: see `../../rust_features.rs`.
use lazy_static::lazy_static;
use valkey_module::configuration::{ConfigurationContext, ConfigurationFlags};
use valkey_module::native_types::ValkeyType;
use valkey_module::redisvalue::ValkeyValueKey as Key;
use valkey_module::{
    raw, valkey_module, ConfigurationValue, Context, InfoContext, NextArg, NotifyEvent,
    ThreadSafeContext, ValkeyError as Failure, ValkeyGILGuard as Guard, ValkeyResult as Answer,
    ValkeyString as Text, ValkeyValue as Value,
};
use valkey_module_macros::info_command_handler;

type OfInfo = Result<(), Failure>;

include!("../../rust_features.rs");

static NOTE: ValkeyType = ValkeyType::new("rustvnote", 1, METHODS);

valkey_module! {
    name: "rustv",
    version: 3,
    allocator: (valkey_module::alloc::ValkeyAlloc, valkey_module::alloc::ValkeyAlloc),
    data_types: [NOTE],
    commands: [
        ["rustv.product", product, "readonly fast", 0, 0, 0],
        ["rustv.set", note_set, "write deny-oom", 1, 1, 1],
        ["rustv.get", note_get, "readonly", 1, 1, 1],
        ["rustv.call", call, "write", 0, 0, 0],
        ["rustv.shape", shape, "readonly", 0, 0, 0],
        ["rustv.events", events, "readonly", 0, 0, 0],
        ["rustv.later", later, "write", 2, 2, 1],
        ["rustv.thread", thread, "write", 1, 1, 1],
        ["rustv.hash", hash, "write", 1, 1, 1],
        ["rustv.settings", settings, "readonly", 0, 0, 0],
        ["rustv.server", server, "readonly", 0, 0, 0],
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
