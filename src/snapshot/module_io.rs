//! `RedisModuleIO`: what a module's save and load methods write to and read from.
//!
//! Module data is a row of opcodes with their data, so that it can be walked without the module, and so that a load which
//! does not match its save is noticed.
use super::{module_opcode as op, parked, RdbError, Reader, Result, Writer};
use crate::keyspace::value::{ModuleType, ModuleValue, ValueRef};
use crate::module::abi;
use crate::module::callback::running;
use crate::module::context::Ctx;
use crate::module::datatype::{name_of_id, version_of_id};
use crate::module::string::RStr;
use std::ffi::c_void;
use std::sync::Arc;

/// Where the bytes of an [`Io`] go or come from. Pointers: the handle has no lifetime, and lives inside one call.
enum Stream {
    Save(*mut Writer),
    Load(*mut Reader<'static>),
    Rewrite(Vec<u8>),
}

/// One call of a save, load or rewrite method.
pub struct Io {
    stream: Stream,
    ty: Arc<ModuleType>,
    key: *mut RStr,
    db: i32,
    ctx: Option<Box<Ctx>>,
    error: bool,
    /// Written before the first byte of the module: `aux_save2` writes nothing at all if the module does not.
    header: Option<Vec<u8>>,
    start: u64,
    /// A failed read ends the process, as on Redis, unless the module handles errors itself.
    fatal: bool,
}

impl Io {
    fn new(stream: Stream, ty: Arc<ModuleType>, key: Option<(&[u8], usize)>) -> Io {
        let (name, db) = match key {
            Some((name, db)) => (RStr::new(name), db as i32),
            None => (std::ptr::null_mut(), -1),
        };
        Io {
            stream,
            ty,
            key: name,
            db,
            ctx: None,
            error: false,
            header: None,
            start: 0,
            fatal: false,
        }
    }

    fn saving(out: &mut Writer, ty: &Arc<ModuleType>, key: Option<(&[u8], usize)>) -> Io {
        Io::new(Stream::Save(out), ty.clone(), key)
    }

    fn loading(r: &mut Reader<'_>, ty: &Arc<ModuleType>, key: Option<(&[u8], usize)>) -> Io {
        let start = r.position();
        let r: *mut Reader<'_> = r;
        let mut io = Io::new(Stream::Load(r.cast()), ty.clone(), key);
        io.start = start;
        io
    }

    /// Name of the key; null if there is none.
    pub fn key(&self) -> *mut RStr {
        self.key
    }

    /// Database of the key; -1 if there is none.
    pub fn db(&self) -> i32 {
        self.db
    }

    /// Whether something failed.
    pub fn failed(&self) -> bool {
        self.error
    }

    /// The type whose method runs.
    pub fn data_type(&self) -> &Arc<ModuleType> {
        &self.ty
    }

    /// The module's context, made at the first call and good until the method returns.
    pub fn context(&mut self) -> *mut Ctx {
        let owner = self.ty.owner;
        &mut **self.ctx.get_or_insert_with(|| Box::new(Ctx::internal(Some(owner))))
    }

    fn save(&mut self, f: impl FnOnce(&mut Writer)) {
        let Stream::Save(out) = self.stream else { return };
        if self.error {
            return;
        }
        // SAFETY: lock: the writer outlives the call of the method; only this thread runs it.
        let out = unsafe { &mut *out };
        if let Some(header) = self.header.take() {
            out.raw(&header);
        }
        f(out);
        self.error = out.failed();
    }

    /// Writes an unsigned integer.
    pub fn save_unsigned(&mut self, value: u64) {
        self.save(|out| {
            out.len(op::UINT);
            out.len(value);
        });
    }

    /// Writes a string.
    pub fn save_string(&mut self, text: &[u8]) {
        self.save(|out| {
            out.len(op::STRING);
            out.string(text);
        });
    }

    /// Writes a double.
    pub fn save_double(&mut self, value: f64) {
        self.save(|out| {
            out.len(op::DOUBLE);
            out.double(value);
        });
    }

    /// Writes a float.
    pub fn save_float(&mut self, value: f32) {
        self.save(|out| {
            out.len(op::FLOAT);
            out.raw(&value.to_le_bytes());
        });
    }

    /// Reads a value that `opcode` announces; `None` after a failure, which is remembered and logged.
    fn load<T>(
        &mut self,
        opcode: u64,
        f: impl FnOnce(&mut Reader<'static>) -> Result<T>,
    ) -> Option<T> {
        let Stream::Load(r) = self.stream else { return None };
        if self.error {
            return None;
        }
        // SAFETY: lock: the reader outlives the call of the method; only this thread runs it.
        let r = unsafe { &mut *r };
        let result = match r.number() {
            Ok(found) if found == opcode => f(r),
            Ok(found) => {
                Err(r.corrupt(format!("opcode {found} where the module expects {opcode}")))
            }
            Err(e) => Err(e),
        };
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                let read = r.position() - self.start;
                self.load_failed(&e, read);
                None
            }
        }
    }

    fn load_failed(&mut self, e: &RdbError, read: u64) {
        self.error = true;
        if self.handles_errors() {
            return;
        }
        // SAFETY: ABI: our own reference, if there is a key.
        let key = if self.key.is_null() { None } else { Some(unsafe { RStr::bytes(self.key) }) };
        crate::log_warning!(
            "Error loading data from RDB (short read or EOF). Read performed by module '{}' about type '{}' after reading \
             '{read}' bytes of a value for key named: '{}'. {e}",
            self.ty.module,
            self.ty.name_str(),
            key.map_or("(null)".into(), String::from_utf8_lossy)
        );
        if self.fatal {
            std::process::exit(1);
        }
    }

    /// Whether the module said that it looks at `IsIOError`.
    pub fn handles_errors(&self) -> bool {
        self.ty.owner.has_option(abi::OPTIONS_HANDLE_IO_ERRORS)
    }

    /// Reads an unsigned integer; 0 after a failure.
    pub fn load_unsigned(&mut self) -> u64 {
        self.load(op::UINT, Reader::number).unwrap_or(0)
    }

    /// Reads a string.
    pub fn load_string(&mut self) -> Option<Vec<u8>> {
        self.load(op::STRING, Reader::string)
    }

    /// Reads a double; 0 after a failure.
    pub fn load_double(&mut self) -> f64 {
        self.load(op::DOUBLE, Reader::double).unwrap_or(0.0)
    }

    /// Reads a float; 0 after a failure.
    pub fn load_float(&mut self) -> f32 {
        self.load(op::FLOAT, |r| Ok(f32::from_le_bytes(r.array()?))).unwrap_or(0.0)
    }

    /// Adds a command to the rewritten log.
    pub fn emit(&mut self, args: &[&[u8]]) {
        let Stream::Rewrite(out) = &mut self.stream else { return };
        out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for a in args {
            out.extend_from_slice(format!("${}\r\n", a.len()).as_bytes());
            out.extend_from_slice(a);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Notes a failure that is not about reading or writing.
    pub fn fail(&mut self) {
        self.error = true;
    }

    fn handle(&mut self) -> abi::Handle {
        (self as *mut Io).cast()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        if let Some(ctx) = &mut self.ctx {
            ctx.finish();
        }
        if !self.key.is_null() {
            // SAFETY: ABI: our own reference.
            unsafe { RStr::release(self.key) };
        }
    }
}

/// Writes a module's value: id, data, end. Without a save method the writer fails.
pub fn save_value(out: &mut Writer, value: &ModuleValue, key: Option<(&[u8], usize)>) {
    if let Some(bytes) = parked::bytes_of(value) {
        out.len(value.ty.id);
        out.raw(bytes);
        return;
    }
    let Some(save) = value.ty.methods.rdb_save else {
        let text = format!("the module type '{}' has no rdb_save", value.ty.name_str());
        out.fail(std::io::Error::other(text));
        return;
    };
    out.len(value.ty.id);
    let mut io = Io::saving(out, &value.ty, key);
    let _running = running(value.ty.owner, &"rdb_save");
    // SAFETY: ABI: registered for this signature; io and value outlive the call; lock: the module lock is held.
    unsafe { save(io.handle(), value.ptr()) };
    let failed = io.error;
    drop(io);
    if failed {
        out.fail(std::io::Error::other("a module could not save its value"));
    }
    out.len(op::EOF);
}

/// Reads a module's value after its type byte. With `park` the value of an absent module is kept as it is.
pub fn load_value(
    r: &mut Reader<'_>,
    find_type: &dyn Fn(u64) -> Option<Arc<ModuleType>>,
    key: Option<(&[u8], usize)>,
    park: bool,
) -> Result<ModuleValue> {
    let id = r.number()?;
    let Some(ty) = find_type(id) else {
        if park {
            return parked::load(r, id);
        }
        return Err(r.corrupt(format!(
            "The RDB file contains module data I can't load: no matching module type '{}'",
            name_of_id(id)
        )));
    };
    call_load_of(r, &ty, version_of_id(id), key)
}

/// Reads a module's value after its id.
pub(super) fn call_load_of(
    r: &mut Reader<'_>,
    ty: &Arc<ModuleType>,
    version: i32,
    key: Option<(&[u8], usize)>,
) -> Result<ModuleValue> {
    let (ptr, failed) = call_load(r, ty, version, key)?;
    // From here on the value frees itself.
    let value = (!ptr.is_null()).then(|| ModuleValue::new(ty.clone(), ptr));
    if !failed && r.number()? != op::EOF {
        return Err(r.corrupt(format!(
            "The RDB file contains module data for the module '{}' that is not terminated by the proper module value EOF \
             marker",
            ty.module
        )));
    }
    match value {
        Some(value) if !failed => Ok(value),
        _ => Err(r.corrupt(format!(
            "The RDB file contains module data for the module type '{}', that the responsible module is not able to load. \
             Check for modules log above for additional clues.",
            ty.module
        ))),
    }
}

fn call_load(
    r: &mut Reader<'_>,
    ty: &Arc<ModuleType>,
    version: i32,
    key: Option<(&[u8], usize)>,
) -> Result<(*mut c_void, bool)> {
    let Some(load) = ty.methods.rdb_load else {
        return Err(r.corrupt(format!("the module type '{}' has no rdb_load", ty.name_str())));
    };
    let mut io = Io::loading(r, ty, key);
    io.fatal = starting();
    let _running = running(ty.owner, &"rdb_load");
    // SAFETY: ABI: registered for this signature; io outlives the call; lock: the module lock is held.
    let ptr = unsafe { load(io.handle(), version) };
    Ok((ptr, io.error))
}

/// Whether the server is loading its data for the first time: nothing would be lost by ending the process.
fn starting() -> bool {
    super::control::starting(crate::server::Server::get())
}

/// Writes the auxiliary data of all types that want to at this point of the file.
pub fn save_all_aux(out: &mut Writer, when: i32) {
    for module in crate::server::Server::get().modules.list() {
        let types: Vec<Arc<ModuleType>> = module.types.lock().clone();
        for ty in types.iter().filter(|t| t.methods.aux_save_triggers & when != 0) {
            save_aux(out, ty, when);
        }
    }
    parked::save_aux(out, when);
}

fn save_aux(out: &mut Writer, ty: &Arc<ModuleType>, when: i32) {
    let methods = &ty.methods;
    let Some(save) = methods.aux_save2.or(methods.aux_save) else { return };
    let mut header = Writer::to_memory(false);
    header.byte(super::opcode::MODULE_AUX);
    header.len(ty.id);
    header.len(op::UINT);
    header.len(when as u64);
    let mut io = Io::saving(out, ty, None);
    io.header = Some(header.into_bytes());
    if methods.aux_save2.is_none() {
        io.save(|_| {});
    }
    let _running = running(ty.owner, &"aux_save");
    // SAFETY: ABI: registered for this signature; io outlives the call; lock: the module lock is held.
    unsafe { save(io.handle(), when) };
    let (failed, nothing) = (io.error, io.header.is_some());
    drop(io);
    if failed {
        out.fail(std::io::Error::other("a module could not save its auxiliary data"));
    }
    if !nothing {
        out.len(op::EOF);
    }
}

/// Reads auxiliary data after its opcode. With `park` that of an absent module is kept as it is.
pub fn load_aux(
    r: &mut Reader<'_>,
    find_type: &dyn Fn(u64) -> Option<Arc<ModuleType>>,
    park: bool,
) -> Result<()> {
    let id = r.number()?;
    if r.number()? != op::UINT {
        return Err(r.corrupt("bad when_opcode"));
    }
    let when = r.number()?;
    match find_type(id) {
        Some(ty) => call_aux_load(r, &ty, id, when as i32),
        None if park => parked::load_aux(r, id, when),
        None => {
            let name = name_of_id(id);
            Err(r.corrupt(format!(
                "The RDB file contains AUX module data I can't load: no matching module '{name}'"
            )))
        }
    }
}

/// Reads auxiliary data after `when`.
pub(super) fn call_aux_load(
    r: &mut Reader<'_>,
    ty: &Arc<ModuleType>,
    id: u64,
    when: i32,
) -> Result<()> {
    let name = name_of_id(id);
    let Some(load) = ty.methods.aux_load else {
        return Err(r.corrupt(format!(
            "The RDB file contains module AUX data, but the module '{name}' doesn't seem to support it."
        )));
    };
    let mut io = Io::loading(r, ty, None);
    io.fatal = starting();
    let status = {
        let _running = running(ty.owner, &"aux_load");
        // SAFETY: ABI: registered for this signature; io outlives the call; lock: the module lock is held.
        unsafe { load(io.handle(), version_of_id(id), when) }
    };
    if status != abi::OK || io.error {
        drop(io);
        return Err(r.corrupt(format!(
            "The RDB file contains module AUX data for the module type '{name}', that the responsible module is not able \
             to load. Check for modules log above for additional clues."
        )));
    }
    drop(io);
    if r.number()? != op::EOF {
        return Err(r.corrupt(format!(
            "The RDB file contains module AUX data for the module '{name}' that is not terminated by the proper module \
             value EOF marker"
        )));
    }
    Ok(())
}

/// The data of a value without id and end (`SaveDataTypeToString`). `None` if the module fails.
#[allow(clippy::not_unsafe_ptr_arg_deref)] // the pointer is the module's own; only the module looks behind it
pub fn value_to_string(
    ty: &Arc<ModuleType>,
    value: *mut c_void,
    compress: bool,
) -> Option<Vec<u8>> {
    let save = ty.methods.rdb_save?;
    let mut out = Writer::to_memory(compress);
    let mut io = Io::saving(&mut out, ty, None);
    // SAFETY: ABI: registered for this signature; io and value outlive the call; lock: the module lock is held.
    unsafe { save(io.handle(), value) };
    let failed = io.error;
    drop(io);
    (!failed).then(|| out.into_bytes())
}

/// The reverse (`LoadDataTypeFromString`); null if the module fails.
pub fn value_from_string(ty: &Arc<ModuleType>, bytes: &[u8], version: i32) -> *mut c_void {
    let Some(load) = ty.methods.rdb_load else { return std::ptr::null_mut() };
    let mut r = Reader::of_memory(bytes);
    let mut io = Io::loading(&mut r, ty, None);
    // SAFETY: ABI: registered for this signature; io outlives the call; lock: the module lock is held.
    unsafe { load(io.handle(), version) }
}

/// The commands that make a value again (`aof_rewrite`), as RESP. `None` if the type cannot, or the module fails.
///
/// A parked value is restored from its dump: a server that is loading takes it back without its module.
pub fn rewrite_value(value: &ModuleValue, key: (&[u8], usize)) -> Option<Vec<u8>> {
    if parked::bytes_of(value).is_some() {
        let payload = super::dump(ValueRef::Module(value), key, false)?;
        let mut io = Io::new(Stream::Rewrite(Vec::new()), value.ty.clone(), None);
        io.emit(&[b"RESTORE", key.0, b"0", &payload]);
        return match &mut io.stream {
            Stream::Rewrite(bytes) => Some(std::mem::take(bytes)),
            _ => None,
        };
    }
    let rewrite = value.ty.methods.aof_rewrite?;
    let mut io = Io::new(Stream::Rewrite(Vec::new()), value.ty.clone(), Some(key));
    let _running = running(value.ty.owner, &"aof_rewrite");
    let (name, handle) = (io.key.cast(), io.handle());
    // SAFETY: ABI: registered for this signature; io, name and value outlive the call; lock: the module lock is held.
    unsafe { rewrite(handle, name, value.ptr()) };
    match &mut io.stream {
        Stream::Rewrite(bytes) if !io.error => Some(std::mem::take(bytes)),
        _ => None,
    }
}

/// What stands before an unsigned number in module data.
pub const UINT: u64 = op::UINT;

/// Walks over module data up to its end, without the module.
pub fn skip_data(r: &mut Reader<'_>) -> Result<()> {
    loop {
        match r.number()? {
            op::EOF => return Ok(()),
            op::SINT | op::UINT => {
                r.number()?;
            }
            op::FLOAT => {
                r.array::<4>()?;
            }
            op::DOUBLE => {
                r.double()?;
            }
            op::STRING => {
                r.string()?;
            }
            other => return Err(r.corrupt(format!("unknown opcode {other} in module data"))),
        }
    }
}
