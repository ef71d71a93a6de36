//! Parked values: keys, and auxiliary data, of modules that are not loaded.
//!
//! What a module writes is a row of opcodes, which says itself where it ends. So a value whose module is absent is kept as
//! the bytes that were in the file. It is a value of a type that we make for it, with the right name, whose methods handle
//! bytes: it is listed, renamed, copied, expired, deleted, dumped and saved like any other. When a module is loaded that
//! has the type, its values become real ([`revive`]); so does the auxiliary data, which modules get between the events of
//! a load, as at the start of the server.
use super::{module_io, module_opcode as op, opcode, Reader, Result, Writer};
use crate::connection::client::Session;
use crate::execute::Tx;
use crate::keyspace::event;
use crate::keyspace::value::{Kind, ModuleType, ModuleValue, ValueRef};
use crate::lock::held::Access;
use crate::module::abi;
use crate::module::datatype::{name_of_id, version_of_id};
use crate::module::registry::Module;
use crate::observe::clock::now_ms;
use crate::server::Server;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// The bytes of a value, from behind its id to its end, included.
type Bytes = Vec<u8>;

/// Auxiliary data of a type.
struct Aux {
    id: u64,
    when: u64,
    bytes: Bytes,
}

static AUX: Mutex<Vec<Aux>> = Mutex::new(Vec::new());
/// How many values there are.
static VALUES: AtomicI64 = AtomicI64::new(0);

/// The owner of our types: no module, and in no list.
fn nobody() -> &'static Module {
    static NOBODY: OnceLock<&'static Module> = OnceLock::new();
    NOBODY.get_or_init(|| {
        let module = Module::new("", None, &[]);
        module.set_attributes("(not loaded)", 0, 1);
        module
    })
}

/// Our types, by their ids.
static TYPES: Mutex<Option<HashMap<u64, Arc<ModuleType>>>> = Mutex::new(None);

/// Our type for this id.
fn type_of_id(id: u64) -> Arc<ModuleType> {
    let mut types = TYPES.lock();
    let make = || {
        let mut name = [0; 9];
        name.copy_from_slice(name_of_id(id).as_bytes());
        let module = nobody().name().to_string();
        Arc::new(ModuleType {
            name,
            id,
            module,
            owner: nobody(),
            methods: methods(),
            in_heap: false.into(),
        })
    };
    types.get_or_insert_default().entry(id).or_insert_with(make).clone()
}

fn methods() -> abi::TypeMethods {
    abi::TypeMethods {
        version: abi::TYPE_METHOD_VERSION,
        rdb_load: None,
        rdb_save: None,
        aof_rewrite: None,
        mem_usage: Some(mem_usage),
        digest: None,
        free: Some(free),
        aux_load: None,
        aux_save: None,
        aux_save_triggers: 0,
        free_effort: None,
        unlink: None,
        copy: Some(copy),
        defrag: None,
        mem_usage2: None,
        free_effort2: None,
        unlink2: None,
        copy2: None,
        aux_save2: None,
    }
}

extern "C" fn free(value: *mut c_void) {
    VALUES.fetch_sub(1, Relaxed);
    // SAFETY: layout: made by `new`, given up here.
    drop(unsafe { Box::from_raw(value.cast::<Bytes>()) });
}

extern "C" fn mem_usage(value: *const c_void) -> usize {
    // SAFETY: layout: made by `new`.
    unsafe { &*value.cast::<Bytes>() }.capacity() + size_of::<Bytes>()
}

extern "C" fn copy(_: *mut c_void, _: *mut c_void, value: *const c_void) -> *mut c_void {
    // SAFETY: layout: made by `new`.
    new(unsafe { &*value.cast::<Bytes>() }.clone())
}

fn new(bytes: Bytes) -> *mut c_void {
    VALUES.fetch_add(1, Relaxed);
    Box::into_raw(Box::new(bytes)).cast()
}

/// The bytes of a parked value; `None` for a value of a loaded module.
pub(super) fn bytes_of(value: &ModuleValue) -> Option<&[u8]> {
    // SAFETY: layout: values of our types are made by `new`.
    is_parked(value).then(|| unsafe { &**value.ptr().cast::<Bytes>() })
}

/// Whether the module of a value is absent.
pub fn is_parked(value: &ModuleValue) -> bool {
    is_type(&value.ty)
}

/// Whether a type stands for one of a module that is not loaded.
pub fn is_type(ty: &ModuleType) -> bool {
    std::ptr::eq(ty.owner, nobody())
}

/// Reads a value after its id.
pub(super) fn load(r: &mut Reader<'_>, id: u64) -> Result<ModuleValue> {
    let bytes = bytes(r)?;
    Ok(ModuleValue::new(type_of_id(id), new(bytes)))
}

fn bytes(r: &mut Reader<'_>) -> Result<Bytes> {
    r.record(Vec::new());
    let skipped = module_io::skip_data(r);
    let mut bytes = r.recorded();
    skipped?;
    bytes.shrink_to_fit();
    Ok(bytes)
}

/// Reads auxiliary data after `when`.
pub(super) fn load_aux(r: &mut Reader<'_>, id: u64, when: u64) -> Result<()> {
    let bytes = bytes(r)?;
    AUX.lock().push(Aux { id, when, bytes });
    Ok(())
}

/// Writes the auxiliary data that belongs to this place of a file.
pub(super) fn save_aux(out: &mut Writer, when: i32) {
    for aux in AUX.lock().iter().filter(|aux| aux.when == when as u64) {
        out.byte(opcode::MODULE_AUX);
        out.len(aux.id);
        out.len(op::UINT);
        out.len(aux.when);
        out.raw(&aux.bytes);
    }
}

/// All data is about to be replaced by that of a file.
pub(super) fn forget_aux() {
    AUX.lock().clear();
}

/// Tells the log what is parked.
pub(super) fn report() {
    let aux: Vec<u64> = AUX.lock().iter().map(|aux| aux.id).collect();
    let values = VALUES.load(Relaxed);
    if values > 0 || !aux.is_empty() {
        let mut ids = aux.clone();
        if values > 0 {
            ids.extend(TYPES.lock().iter().flat_map(|types| types.keys().copied()));
        }
        let mut names: Vec<String> = ids.into_iter().map(name_of_id).collect();
        names.sort_unstable();
        names.dedup();
        crate::log_warning!(
            "{values} values and {} auxiliary fields ({}) belong to modules that are not loaded: they are kept as they \
             are until those are.",
            aux.len(),
            names.join(", ")
        );
    }
}

/// Makes what is parked for a module real. Called at the end of its load, with the module lock.
pub fn revive(server: &'static Server, module: &'static Module) {
    let types: Vec<Arc<ModuleType>> = module.types.lock().clone();
    let same = |ty: &ModuleType, id: u64| name_of_id(id).as_bytes() == ty.name;
    let mut aux = Vec::new();
    AUX.lock().retain_mut(|a| {
        let ty = types.iter().find(|t| same(t, a.id));
        aux.extend(ty.map(|ty| (ty.clone(), a.id, a.when, std::mem::take(&mut a.bytes))));
        ty.is_none()
    });
    if types.is_empty() || aux.is_empty() && VALUES.load(Relaxed) == 0 {
        return;
    }
    let fire = |sub| {
        let none = std::ptr::null_mut();
        crate::module::event::server_event_to(module, abi::EVENT_LOADING, sub, none);
    };
    fire(abi::SUBEVENT_LOADING_RDB_START);
    let load_aux = |at: i32| {
        for (ty, id, when, bytes) in aux.iter().filter(|a| a.2 == at as u64) {
            let mut r = Reader::of_memory(bytes);
            if let Err(e) = module_io::call_aux_load(&mut r, ty, *id, *when as i32) {
                crate::log_warning!("Auxiliary data of '{}' is lost: {e}", ty.name_str());
            }
        }
    };
    load_aux(abi::AUX_BEFORE_RDB);
    let revived = values(server, module, &types, !aux.is_empty());
    load_aux(abi::AUX_AFTER_RDB);
    fire(abi::SUBEVENT_LOADING_ENDED);
    crate::log_notice!(
        "{revived} values and {} auxiliary fields of module '{}' were there already and are its own now.",
        aux.len(),
        module.name()
    );
}

/// Makes the values of these types real. A module that got auxiliary data is told of every key, as in a load. Returns how
/// many values there were.
fn values(
    server: &'static Server,
    module: &'static Module,
    types: &[Arc<ModuleType>],
    tell: bool,
) -> usize {
    let mut revived = 0;
    let mut session = Session::internal();
    for db in 0..server.keyspace.dbs().len() {
        session.db = db;
        let mut keys: Vec<(Vec<u8>, bool)> = Vec::new();
        let tx = Tx::module(server, &mut session, now_ms());
        tx.for_each_entry(db, Access::Read, |e| {
            let parked = e.kind() == Kind::Module
                && matches!(e.value(), ValueRef::Module(m) if is_parked(m)
                    && types.iter().any(|t| t.name == m.ty.name));
            if parked || tell {
                keys.push((e.key().to_vec(), parked));
            }
            true
        });
        let mut tx = Tx::module(server, &mut session, now_ms());
        for (key, parked) in keys {
            revived += usize::from(parked && revive_key(&mut tx, db, &key, types));
            if tell {
                let class = event::LOADED_KEY.class;
                crate::module::event::keyspace_event_to(
                    module,
                    db,
                    class,
                    event::LOADED_KEY.name,
                    &key,
                );
            }
        }
    }
    revived
}

/// Makes one value real; it stays as it is when its module cannot read it.
fn revive_key(tx: &mut Tx<'_>, db: usize, key: &[u8], types: &[Arc<ModuleType>]) -> bool {
    let Some(value) = tx.module_value_mut(key) else { return false };
    let Some(ty) = types.iter().find(|t| t.name == value.ty.name) else { return false };
    let Some(bytes) = bytes_of(value) else { return false };
    let mut r = Reader::of_memory(bytes);
    match module_io::call_load_of(&mut r, ty, version_of_id(value.ty.id), Some((key, db))) {
        Ok(real) => {
            *value = real;
            true
        }
        Err(e) => {
            let key = String::from_utf8_lossy(key);
            crate::log_warning!("The value of '{key}' in DB {db} stays parked: {e}");
            false
        }
    }
}
