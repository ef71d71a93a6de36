// The commands of the two Rust test modules, `rust-redis` (crate redis-module) and `rust-valkey` (crate valkey-module):
// included by both, which name the crate's types alike first. Where a name differs between the crates, it is theirs.
//
//   PREFIX.product n ...        the numbers and their product, as an array
//   PREFIX.set key text         sets a value of the module's own type
//   PREFIX.get key              its text, or null
//   PREFIX.call command arg ... the reply of a command, errors too
//   PREFIX.shape                a map of everything that a reply can be
//   PREFIX.events               how often keys were set or deleted since the load
//   PREFIX.later ms key value   a timer that sets a key
//   PREFIX.thread key           a thread that answers for its client, and counts in a key
//   PREFIX.hash key field value sets a field through a key handle and reads it back
//   PREFIX.settings             the configuration as the module has it, and how often it was changed
//   PREFIX.server field         a field of INFO server
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

static EVENTS: AtomicI64 = AtomicI64::new(0);
static CHANGES: AtomicI64 = AtomicI64::new(0);

lazy_static! {
    static ref LIMIT: AtomicI64 = AtomicI64::new(0);
    static ref GREETING: Guard<String> = Guard::new(String::new());
    static ref LOUD: AtomicBool = AtomicBool::new(false);
}

/// The value of a key.
struct Note {
    text: String,
}

unsafe extern "C" fn note_load(rdb: *mut raw::RedisModuleIO, _: c_int) -> *mut c_void {
    let Ok(text) = raw::load_string(rdb) else { return std::ptr::null_mut() };
    let Ok(length) = raw::load_unsigned(rdb) else { return std::ptr::null_mut() };
    let text = text.to_string();
    assert_eq!(text.len() as u64, length, "the note is whole");
    Box::into_raw(Box::new(Note { text })).cast()
}

unsafe extern "C" fn note_save(rdb: *mut raw::RedisModuleIO, value: *mut c_void) {
    let note = &*value.cast::<Note>();
    raw::save_string(rdb, &note.text);
    raw::save_unsigned(rdb, note.text.len() as u64);
}

unsafe extern "C" fn note_free(value: *mut c_void) {
    drop(Box::from_raw(value.cast::<Note>()));
}

unsafe extern "C" fn note_copy(
    _: *mut raw::RedisModuleString,
    _: *mut raw::RedisModuleString,
    value: *const c_void,
) -> *mut c_void {
    let note = &*value.cast::<Note>();
    let text = note.text.clone();
    Box::into_raw(Box::new(Note { text })).cast()
}

unsafe extern "C" fn note_usage(value: *const c_void) -> usize {
    let note = &*value.cast::<Note>();
    std::mem::size_of::<Note>() + note.text.len()
}

const METHODS: raw::RedisModuleTypeMethods = raw::RedisModuleTypeMethods {
    version: raw::REDISMODULE_TYPE_METHOD_VERSION as u64,
    rdb_load: Some(note_load),
    rdb_save: Some(note_save),
    aof_rewrite: None,
    free: Some(note_free),
    mem_usage: Some(note_usage),
    digest: None,
    aux_load: None,
    aux_save: None,
    aux_save2: None,
    aux_save_triggers: 0,
    free_effort: None,
    unlink: None,
    copy: Some(note_copy),
    defrag: None,
    mem_usage2: None,
    free_effort2: None,
    unlink2: None,
    copy2: None,
};

fn product(_: &Context, args: Vec<Text>) -> Answer {
    if args.len() < 2 {
        return Err(Failure::WrongArity);
    }
    let numbers = args.iter().skip(1).map(|a| a.parse_integer());
    let mut numbers = numbers.collect::<Result<Vec<i64>, _>>()?;
    numbers.push(numbers.iter().product());
    Ok(numbers.into())
}

fn note_set(ctx: &Context, args: Vec<Text>) -> Answer {
    let mut args = args.into_iter().skip(1);
    let (name, text) = (args.next_arg()?, args.next_string()?);
    let key = ctx.open_key_writable(&name);
    match key.get_value::<Note>(&NOTE)? {
        Some(note) => note.text = text,
        None => key.set_value(&NOTE, Note { text })?,
    }
    ctx.replicate_verbatim();
    ctx.notify_keyspace_event(NotifyEvent::MODULE, "note.set", &name);
    Ok(Value::SimpleStringStatic("OK"))
}

fn note_get(ctx: &Context, args: Vec<Text>) -> Answer {
    let name = args.into_iter().skip(1).next_arg()?;
    let key = ctx.open_key(&name);
    Ok(key.get_value::<Note>(&NOTE)?.map_or(Value::Null, |note| note.text.as_str().into()))
}

fn call(ctx: &Context, args: Vec<Text>) -> Answer {
    let mut args = args.into_iter().skip(1);
    let command = args.next_string()?;
    let rest: Vec<Text> = args.collect();
    ctx.call(&command, rest.iter().collect::<Vec<_>>().as_slice())
}

fn shape(_: &Context, _: Vec<Text>) -> Answer {
    let pair = |name: &str, value: Value| (Key::String(name.to_owned()), value);
    Ok(Value::OrderedMap(
        [
            pair("array", Value::Array(vec![Value::Null, Value::Integer(-1)])),
            pair("bool", Value::Bool(true)),
            pair("bytes", Value::StringBuffer(vec![0, 255, b'\r', b'\n'])),
            pair("float", Value::Float(2.5)),
            pair("simple", Value::SimpleString("fine".to_owned())),
        ]
        .into_iter()
        .collect(),
    ))
}

fn on_event(_: &Context, _: NotifyEvent, _: &str, _: &[u8]) {
    EVENTS.fetch_add(1, SeqCst);
}

fn events(_: &Context, _: Vec<Text>) -> Answer {
    Ok(EVENTS.load(SeqCst).into())
}

fn on_timer(ctx: &Context, (key, value): (String, String)) {
    ctx.call("SET", &[key.as_str(), value.as_str()]).expect("the key can be set");
}

fn later(ctx: &Context, args: Vec<Text>) -> Answer {
    let mut args = args.into_iter().skip(1);
    let after = Duration::from_millis(args.next_u64()?);
    ctx.create_timer(after, on_timer, (args.next_string()?, args.next_string()?));
    Ok(Value::SimpleStringStatic("OK"))
}

fn thread(ctx: &Context, args: Vec<Text>) -> Answer {
    let key = args.into_iter().skip(1).next_string()?;
    let client = ctx.block_client();
    std::thread::spawn(move || {
        let own = ThreadSafeContext::with_blocked_client(client);
        for _ in 0..10 {
            own.lock().call("INCR", &[key.as_str()]).expect("the key is a number");
        }
        let count = own.lock().call("GET", &[key.as_str()]);
        own.reply(count);
    });
    Ok(Value::NoReply)
}

fn hash(ctx: &Context, args: Vec<Text>) -> Answer {
    let mut args = args.into_iter().skip(1);
    let (name, field, value) = (args.next_arg()?, args.next_string()?, args.next_arg()?);
    let key = ctx.open_key_writable(&name);
    key.hash_set(&field, value);
    Ok(key.hash_get(&field)?.map_or(Value::Null, |v| v.to_string().into()))
}

fn settings(ctx: &Context, _: Vec<Text>) -> Answer {
    Ok(Value::Array(vec![
        LIMIT.load(SeqCst).into(),
        GREETING.lock(ctx).as_str().into(),
        i64::from(LOUD.load(SeqCst)).into(),
        CHANGES.load(SeqCst).into(),
    ]))
}

fn on_change<G, T: ConfigurationValue<G>>(_: &ConfigurationContext, _: &str, _: &'static T) {
    CHANGES.fetch_add(1, SeqCst);
}

fn server(ctx: &Context, args: Vec<Text>) -> Answer {
    let field = args.into_iter().skip(1).next_string()?;
    Ok(ctx.server_info("server").field(&field).map_or(Value::Null, |v| v.to_string().into()))
}

#[info_command_handler]
fn info(ctx: &InfoContext, _for_crash_report: bool) -> OfInfo {
    let section = ctx.builder().add_section("notes").field("language", "rust")?;
    section.build_section()?.build_info()?;
    Ok(())
}
