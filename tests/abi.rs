//! The layouts and values that cross the border to compiled modules: fixed numbers, and agreement
//! between `src/module/abi.rs` and `include/redismodule.h`.

use std::fmt::Write as _;
use std::mem::{offset_of, size_of};
use std::process::Command;

use backplane::module::abi::{self, *};

/// Checks the size of a struct and the offsets of members, and writes the same checks in C.
macro_rules! layout {
    ($c:expr, $c_name:literal = $rust:ty, $size:literal, {
        $($member:literal = $($field:ident).+ @ $at:literal),* $(,)?
    }) => {
        assert_eq!(size_of::<$rust>(), $size, "size of {}", stringify!($rust));
        writeln!($c, "_Static_assert(sizeof({}) == {}, \"size\");", $c_name, $size).unwrap();
        $(
            assert_eq!(offset_of!($rust, $($field).+), $at, "{}.{}", stringify!($rust), $member);
            writeln!($c, "_Static_assert(offsetof({}, {}) == {}, \"\");", $c_name, $member, $at)
                .unwrap();
        )*
    };
}

/// All layouts, as checks in C; fails at once where Rust's differ.
fn layouts() -> String {
    let mut c = String::new();
    layout!(c, "RedisModuleTypeMethods" = TypeMethods, 152, {
        "version" = version @ 0, "rdb_load" = rdb_load @ 8, "rdb_save" = rdb_save @ 16,
        "aof_rewrite" = aof_rewrite @ 24, "mem_usage" = mem_usage @ 32, "digest" = digest @ 40,
        "free" = free @ 48, "aux_load" = aux_load @ 56, "aux_save" = aux_save @ 64,
        "aux_save_triggers" = aux_save_triggers @ 72, "free_effort" = free_effort @ 80,
        "unlink" = unlink @ 88, "copy" = copy @ 96, "defrag" = defrag @ 104,
        "mem_usage2" = mem_usage2 @ 112, "free_effort2" = free_effort2 @ 120,
        "unlink2" = unlink2 @ 128, "copy2" = copy2 @ 136, "aux_save2" = aux_save2 @ 144,
    });
    layout!(c, "RedisModuleEvent" = Event, 16, { "id" = id @ 0, "dataver" = dataver @ 8 });
    layout!(c, "RedisModuleClientInfo" = ClientInfo, 80, {
        "version" = version @ 0, "flags" = flags @ 8, "id" = id @ 16, "addr" = addr @ 24,
        "port" = port @ 70, "db" = db @ 72,
    });
    layout!(c, "RedisModuleReplicationInfo" = ReplicationInfo, 64, {
        "version" = version @ 0, "master" = master @ 8, "masterhost" = masterhost @ 16,
        "masterport" = masterport @ 24, "replid1" = replid1 @ 32, "replid2" = replid2 @ 40,
        "repl1_offset" = repl1_offset @ 48, "repl2_offset" = repl2_offset @ 56,
    });
    layout!(c, "RedisModuleFlushInfo" = FlushInfo, 16, {
        "version" = version @ 0, "sync" = sync @ 8, "dbnum" = dbnum @ 12,
    });
    layout!(c, "RedisModuleModuleChange" = ModuleChange, 24, {
        "version" = version @ 0, "module_name" = module_name @ 8,
        "module_version" = module_version @ 16,
    });
    layout!(c, "RedisModuleConfigChange" = ConfigChange, 24, {
        "version" = version @ 0, "num_changes" = num_changes @ 8,
        "config_names" = config_names @ 16,
    });
    layout!(c, "RedisModuleCronLoop" = CronLoop, 16, { "version" = version @ 0, "hz" = hz @ 8 });
    layout!(c, "RedisModuleLoadingProgress" = LoadingProgress, 16, {
        "version" = version @ 0, "hz" = hz @ 8, "progress" = progress @ 12,
    });
    layout!(c, "RedisModuleSwapDbInfo" = SwapDbInfo, 16, {
        "version" = version @ 0, "dbnum_first" = dbnum_first @ 8,
        "dbnum_second" = dbnum_second @ 12,
    });
    layout!(c, "RedisModuleKeyInfo" = KeyInfo, 16, { "version" = version @ 0, "key" = key @ 8 });
    layout!(c, "RedisModuleSlotRange" = SlotRange, 4, { "start" = start @ 0, "end" = end @ 2 });
    layout!(c, "RedisModuleSlotRangeArray" = SlotRangeArray, 4, {
        "num_ranges" = num_ranges @ 0,
    });
    writeln!(c, "_Static_assert(offsetof(RedisModuleSlotRangeArray, ranges) == 4, \"r\");")
        .unwrap();
    layout!(c, "RedisModuleStreamID" = StreamId, 16, { "ms" = ms @ 0, "seq" = seq @ 8 });
    layout!(c, "RedisModuleCommandInfoVersion" = CommandInfoVersion, 32, {
        "version" = version @ 0, "sizeof_historyentry" = sizeof_historyentry @ 8,
        "sizeof_keyspec" = sizeof_keyspec @ 16, "sizeof_arg" = sizeof_arg @ 24,
    });
    layout!(c, "RedisModuleCommandInfo" = CommandInfo, 72, {
        "version" = version @ 0, "summary" = summary @ 8, "complexity" = complexity @ 16,
        "since" = since @ 24, "history" = history @ 32, "tips" = tips @ 40, "arity" = arity @ 48,
        "key_specs" = key_specs @ 56, "args" = args @ 64,
    });
    layout!(c, "RedisModuleCommandHistoryEntry" = CommandHistoryEntry, 16, {
        "since" = since @ 0, "changes" = changes @ 8,
    });
    layout!(c, "RedisModuleCommandKeySpec" = CommandKeySpec, 56, {
        "notes" = notes @ 0, "flags" = flags @ 8, "begin_search_type" = begin_search_type @ 16,
        "bs.index.pos" = bs.index.pos @ 24, "bs.keyword.keyword" = bs.keyword.keyword @ 24,
        "bs.keyword.startfrom" = bs.keyword.startfrom @ 32,
        "find_keys_type" = find_keys_type @ 40, "fk.range.lastkey" = fk.range.lastkey @ 44,
        "fk.range.keystep" = fk.range.keystep @ 48, "fk.range.limit" = fk.range.limit @ 52,
        "fk.keynum.keynumidx" = fk.keynum.keynumidx @ 44,
        "fk.keynum.firstkey" = fk.keynum.firstkey @ 48,
        "fk.keynum.keystep" = fk.keynum.keystep @ 52,
    });
    // The header's argument has one member more than the part that all headers share.
    assert_eq!(size_of::<CommandArg>(), 64);
    writeln!(c, "_Static_assert(sizeof(RedisModuleCommandArg) == 72, \"size\");").unwrap();
    writeln!(c, "_Static_assert(offsetof(RedisModuleCommandArg, display_text) == 64, \"d\");")
        .unwrap();
    for (member, at) in [
        ("name", offset_of!(CommandArg, name)),
        ("type", offset_of!(CommandArg, arg_type)),
        ("key_spec_index", offset_of!(CommandArg, key_spec_index)),
        ("token", offset_of!(CommandArg, token)),
        ("summary", offset_of!(CommandArg, summary)),
        ("since", offset_of!(CommandArg, since)),
        ("flags", offset_of!(CommandArg, flags)),
        ("deprecated_since", offset_of!(CommandArg, deprecated_since)),
        ("subargs", offset_of!(CommandArg, subargs)),
    ] {
        writeln!(c, "_Static_assert(offsetof(RedisModuleCommandArg, {member}) == {at}, \"o\");")
            .unwrap();
    }
    c
}

/// The C name of a constant: those that are not for modules have an underscore in front.
fn c_name(name: &str) -> String {
    let inner = name.ends_with("_NEXT") || name == "OPEN_KEY_ALL";
    format!("{}REDISMODULE_{name}", if inner { "_" } else { "" })
}

#[test]
fn header_and_rust_agree() {
    let mut c = String::from("#include <stddef.h>\n#include \"redismodule.h\"\n");
    c.push_str(&layouts());
    for (name, value) in abi::CONSTANTS {
        writeln!(c, "_Static_assert({} == {value}, \"{name}\");", c_name(name)).unwrap();
    }
    let root = env!("CARGO_MANIFEST_DIR");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("abi.c");
    std::fs::write(&file, c).unwrap();
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Werror", "-fsyntax-only", "-I"])
        .arg(format!("{root}/include"))
        .arg(&file)
        .output()
        .expect("a C compiler called cc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Compiles C or C++ text that includes the header, with every warning an error.
fn compile(compiler: &str, name: &str, flags: &[&str], text: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, text).unwrap();
    let output = Command::new(compiler)
        .args(["-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-I"])
        .arg(format!("{root}/include"))
        .args(flags)
        .arg("-o")
        .arg(file.with_extension("so"))
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn header_compiles_alone_as_c99_and_as_cpp() {
    let module = "#include \"redismodule.h\"\n\
        int hello(RedisModuleCtx *ctx, RedisModuleString **argv, int argc) {\n\
            REDISMODULE_NOT_USED(argv);\n\
            RedisModule_Assert(argc > 0);\n\
            return RedisModule_ReplyWithLongLong(ctx, argc);\n\
        }\n\
        int load(RedisModuleCtx *ctx) {\n\
            if (RedisModule_Init(ctx, \"m\", 1, REDISMODULE_APIVER_1)) return REDISMODULE_ERR;\n\
            RedisModule_SubscribeToServerEvent(ctx, RedisModuleEvent_FlushDB, NULL);\n\
            return RedisModule_CreateCommand(ctx, \"m.hello\", hello, \"readonly\", 0, 0, 0);\n\
        }\n";
    compile("cc", "alone.c", &["-std=c99", "-pedantic"], module);
    compile("c++", "alone.cpp", &["-std=c++11"], module);
}

#[test]
fn values_that_other_servers_use() {
    // A few of each group, written out: a shift that went wrong in both files would not show above.
    assert_eq!((READ, WRITE, OPEN_KEY_NOTOUCH, OPEN_KEY_NOEFFECTS), (1, 2, 65536, 1048576));
    assert_eq!((KEYTYPE_STREAM, REPLY_UNKNOWN, REPLY_PROMISE), (7, -1, 12));
    assert_eq!((NOTIFY_ALL, NOTIFY_NEXT, NOTIFY_TRIMMED), (10236, 32768, 1 << 30));
    assert_eq!((CTX_FLAGS_NEXT - 1, OPEN_KEY_ALL), (0x1ff_ffff, 0x1f_0003));
    assert_eq!((OPTIONS_FLAGS_NEXT - 1, NOTIFY_NEXT - 1), (0xf, 0x7fff));
    assert_eq!((EVENT_REPL_BACKUP, EVENT_KEY, EVENT_NEXT), (12, 17, 18));
    assert_eq!((CMD_KEY_VARIABLE_FLAGS, CONFIG_BITFLAGS, TYPE_METHOD_VERSION), (1024, 256, 5));
    assert_eq!((ZADD_LT, HASH_COUNT_ALL, AUX_AFTER_RDB, NO_EXPIRE), (64, 16, 2, -1));
    assert_eq!(ERRORMSG_WRONGTYPE.to_bytes().len(), 65);
}

#[test]
fn type_methods_are_read_as_far_as_their_version_goes() {
    unsafe extern "C" fn free(_: *mut std::ffi::c_void) {}
    let mut methods = TypeMethods { version: 1, free: Some(free), ..Default::default() };
    // What lies behind a version 1 struct in memory must not be taken for a member.
    methods.aux_save_triggers = AUX_BEFORE_RDB;

    // SAFETY: layout: a whole struct is as long as any version says.
    let read = |methods: &TypeMethods| unsafe { TypeMethods::read(methods) };
    let first = read(&methods).unwrap();
    assert!(first.free.is_some());
    assert_eq!(first.aux_save_triggers, 0);
    methods.version = 2;
    assert_eq!(read(&methods).unwrap().aux_save_triggers, AUX_BEFORE_RDB);
    methods.version = 99;
    assert_eq!(read(&methods).unwrap().version, 99);
    methods.version = 0;
    assert!(read(&methods).is_none());
}

#[test]
fn command_arguments_of_both_sizes_are_walked() {
    let texts = [c"first", c"second", c"shown"];
    // An array of two arguments and an end, as machine words: name, type and index, token, summary,
    // since, flags, deprecated_since, subargs and, in the longer form, display_text.
    let array = |words: usize| {
        let mut array = vec![0usize; 3 * words];
        array[0] = texts[0].as_ptr() as usize;
        array[words] = texts[1].as_ptr() as usize;
        if words == 9 {
            array[words + 8] = texts[2].as_ptr() as usize;
        }
        array
    };
    for words in [8, 9] {
        let array = array(words);
        let first = array.as_ptr().cast::<CommandArg>();
        // SAFETY: layout: `array` is what a module with this argument size would pass.
        let args: Vec<&CommandArg> = unsafe { Elements::new(first, words * 8) }.collect();
        assert_eq!(args.len(), 2);
        assert_eq!(args[0].name, texts[0].as_ptr());
        assert_eq!(args[1].name, texts[1].as_ptr());
        let second: *const CommandArg = args[1];
        // SAFETY: layout: `second` lies in `array`.
        let shown = unsafe { CommandArg::display_text(second, words * 8) };
        let expected = if words == 9 { texts[2].as_ptr() } else { std::ptr::null() };
        assert_eq!(shown, expected);
    }
    // SAFETY: null is the empty array.
    let mut none = unsafe { Elements::<CommandArg>::new(std::ptr::null(), 64) };
    assert!(none.next().is_none());
}

// Helpers of ffi/shims.c. Some symbol of the library must be used for its C part to be linked.
extern "C" {
    fn backplane_ld_add(
        a: *const std::ffi::c_char,
        a_len: usize,
        b: *const std::ffi::c_char,
        b_len: usize,
        out: *mut std::ffi::c_char,
        cap: usize,
    ) -> i32;
    fn backplane_ld_classify(text: *const std::ffi::c_char, len: usize) -> i32;
}

/// `a + b` as INCRBYFLOAT would write it, or the negative code.
fn ld_add(a: &str, b: &str) -> Result<String, i32> {
    let mut out = vec![0u8; 5120];
    // SAFETY: ABI: texts with their lengths, and room for the longest result.
    let len = unsafe {
        backplane_ld_add(
            a.as_ptr().cast(),
            a.len(),
            b.as_ptr().cast(),
            b.len(),
            out.as_mut_ptr().cast(),
            out.len(),
        )
    };
    let end = usize::try_from(len).map_err(|_| len)?;
    Ok(String::from_utf8(out[..end].to_vec()).unwrap())
}

#[test]
fn long_doubles_are_added_and_written_as_redis_does() {
    let sum = |a, b| ld_add(a, b);
    assert_eq!(sum("10.50", "0.1").as_deref(), Ok("10.6"));
    assert_eq!(sum("5.0e3", "200").as_deref(), Ok("5200"));
    assert_eq!(sum("-1", "1").as_deref(), Ok("0"));
    assert_eq!(sum("9007199254740993", "0").as_deref(), Ok("9007199254740993"));
    assert_eq!(sum("x", "y"), Err(-1));
    assert_eq!(sum("", "1"), Err(-1));
    assert_eq!(sum("1", " 1"), Err(-2));
    assert_eq!(sum("1", "nan"), Err(-2));
    assert_eq!(sum("inf", "1"), Err(-3));
    assert_eq!(sum("1e4932", "1e4932"), Err(-3));
    for (text, class) in [("1.5", 0), ("-inf", 1), ("nan", -1), ("1 ", -1)] {
        // SAFETY: ABI: a text with its length.
        assert_eq!(unsafe { backplane_ld_classify(text.as_ptr().cast(), text.len()) }, class);
    }
}
