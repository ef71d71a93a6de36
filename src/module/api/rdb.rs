//! `Save*`, `Load*`, `EmitAOF`, the io context, strings of module values, RDB streams.
use super::{shim, Export, LockClass};
use crate::execute::replication;
use crate::keyspace::value::ModuleType;
use crate::module::abi;
use crate::module::border::set_errno;
use crate::module::context::{Auto, Ctx};
use crate::module::datatype;
use crate::module::string::RStr;
use crate::persist::rewrite;
use crate::server::Server;
use crate::snapshot::module_io::{self, Io};
use crate::snapshot::{control, cut};
use std::ffi::{c_char, c_int, c_long, c_void, CStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

type IoPtr = *mut Io;

/// `&mut` of a handle.
macro_rules! io {
    ($io:expr) => {
        // SAFETY: ABI: the handle that the server gave to the save or load method, inside its call.
        unsafe { &mut *$io }
    };
}

crate::api! {
    /// Writes an unsigned integer.
    [Locked] fn SaveUnsigned(io: IoPtr, value: u64) { io!(io).save_unsigned(value) }

    /// Reads an unsigned integer.
    [Locked] fn LoadUnsigned(io: IoPtr) -> u64 { io!(io).load_unsigned() }

    /// Writes a signed integer: the same bits as an unsigned one.
    [Locked] fn SaveSigned(io: IoPtr, value: i64) { io!(io).save_unsigned(value as u64) }

    /// Reads a signed integer.
    [Locked] fn LoadSigned(io: IoPtr) -> i64 { io!(io).load_unsigned() as i64 }

    /// Writes a string.
    [Locked] fn SaveString(io: IoPtr, s: *const RStr) {
        // SAFETY: ABI: a live string.
        io!(io).save_string(unsafe { RStr::bytes(s) })
    }

    /// Writes a buffer as a string.
    [Locked] fn SaveStringBuffer(io: IoPtr, text: *const c_char, len: usize) {
        // SAFETY: ABI: pointer and length of the module's buffer.
        io!(io).save_string(unsafe { slice_of(text.cast::<u8>(), len) })
    }

    /// Reads a string, which the module frees.
    [Locked] fn LoadString(io: IoPtr) -> *mut RStr {
        match loaded(io!(io)) {
            Some(text) => RStr::new(&text),
            None => null_mut(),
        }
    }

    /// Reads a string into a buffer, which the module frees with `Free`.
    [Locked] fn LoadStringBuffer(io: IoPtr, len: *mut usize) -> *mut c_char {
        let text = loaded(io!(io));
        if !len.is_null() {
            // SAFETY: ABI: where the module wants the length.
            unsafe { *len = text.as_ref().map_or(0, Vec::len) };
        }
        text.map_or(null_mut(), |text| super::memory::duplicate(&text))
    }

    /// Writes a double.
    [Locked] fn SaveDouble(io: IoPtr, value: f64) { io!(io).save_double(value) }

    /// Reads a double.
    [Locked] fn LoadDouble(io: IoPtr) -> f64 { io!(io).load_double() }

    /// Writes a float.
    [Locked] fn SaveFloat(io: IoPtr, value: f32) { io!(io).save_float(value) }

    /// Reads a float.
    [Locked] fn LoadFloat(io: IoPtr) -> f32 { io!(io).load_float() }

    /// Whether reading or writing failed.
    [Locked] fn IsIOError(io: IoPtr) -> c_int { c_int::from(io!(io).failed()) }

    /// The context of the call.
    [Locked] fn GetContextFromIO(io: IoPtr) -> *mut Ctx { io!(io).context() }

    /// Name of the key, or null.
    [Locked] fn GetKeyNameFromIO(io: IoPtr) -> *mut RStr { io!(io).key() }

    /// Database of the key, or -1.
    [Locked] fn GetDbIdFromIO(io: IoPtr) -> c_int { io!(io).db() }

    /// The data of a value as a string.
    [Locked] fn SaveDataTypeToString(
        ctx: *mut Ctx,
        value: *mut c_void,
        ty: *const ModuleType,
    ) -> *mut RStr {
        // SAFETY: ABI: a type of a loaded module.
        let ty = unsafe { datatype::share(ty) };
        let compress = Server::get().config.rdbcompression();
        let Some(bytes) = module_io::value_to_string(&ty, value, compress) else {
            return null_mut();
        };
        let s = RStr::new(&bytes);
        // SAFETY: ABI: null or the module's context.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.remember(Auto::Str(s));
        }
        s
    }

    /// A value from its data, written with encoding version 0.
    [Locked] fn LoadDataTypeFromString(s: *const RStr, ty: *const ModuleType) -> *mut c_void {
        // SAFETY: ABI: a live string and a type of a loaded module.
        unsafe { module_io::value_from_string(&datatype::share(ty), RStr::bytes(s), 0) }
    }

    /// A value from its data.
    [Locked] fn LoadDataTypeFromStringEncver(
        s: *const RStr,
        ty: *const ModuleType,
        version: c_int,
    ) -> *mut c_void {
        // SAFETY: ABI: a live string and a type of a loaded module.
        unsafe { module_io::value_from_string(&datatype::share(ty), RStr::bytes(s), version) }
    }

    /// A stream that is a file of this name.
    [Locked] fn RdbStreamCreateFromFile(name: *const c_char) -> *mut RdbStream {
        // SAFETY: ABI: a C string.
        let name = unsafe { CStr::from_ptr(name) }.to_bytes();
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name));
        Box::into_raw(Box::new(RdbStream { path }))
    }

    /// Frees a stream.
    [Locked] fn RdbStreamFree(stream: *mut RdbStream) {
        if !stream.is_null() {
            // SAFETY: ABI: made by `RdbStreamCreateFromFile`, given up here.
            drop(unsafe { Box::from_raw(stream) });
        }
    }

    /// Puts the data of a file in place of all that is there.
    [Locked] fn RdbLoad(_ctx: *mut Ctx, stream: *const RdbStream, flags: c_int) -> c_int {
        // SAFETY: ABI: null or a stream of this API.
        let result = match unsafe { stream.as_ref() } {
            Some(_) if flags == 0 && Server::get().link.is_replica() => Err(libc::ENOTSUP),
            Some(s) if flags == 0 => load(Server::get(), &s.path),
            _ => Err(libc::EINVAL),
        };
        status(result)
    }

    /// Saves everything into a file.
    [Locked] fn RdbSave(_ctx: *mut Ctx, stream: *const RdbStream, flags: c_int) -> c_int {
        // SAFETY: ABI: null or a stream of this API.
        let result = match unsafe { stream.as_ref() } {
            Some(s) if flags == 0 => control::save_to(Server::get(), &s.path)
                .map_err(|e| e.raw_os_error().unwrap_or(libc::EIO)),
            _ => Err(libc::EINVAL),
        };
        status(result)
    }
}

/// Puts the data of a file in place of all that is there. Replicas have to begin anew, and so has the append-only file.
fn load(server: &'static Server, path: &Path) -> Result<(), c_int> {
    replication::disconnect_replicas(server);
    server.log.drop_backlog();
    let has_log = server.aof.is_on();
    if has_log {
        rewrite::switch_off(server);
    }
    let result = control::load_from(server, path);
    if has_log {
        // While a snapshot comes to its end, the next one has to wait.
        rewrite::switch_on(server, cut::running());
    }
    result
}

/// What a pointer and a count stand for; the pointer may be null when the count is zero.
///
/// # Safety
/// ABI: the caller passed an array of this length.
unsafe fn slice_of<'a, T>(p: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: ABI: this function's contract.
    unsafe { std::slice::from_raw_parts(p, len) }
}

/// What `RdbStreamCreateFromFile` makes.
pub struct RdbStream {
    path: PathBuf,
}

/// The module's form of a result whose error is an errno; success sets errno to 0.
fn status(result: Result<(), c_int>) -> c_int {
    set_errno(result.err().unwrap_or(0));
    if result.is_ok() {
        abi::OK
    } else {
        abi::ERR
    }
}

/// A string, or what stands for it after a failure: nothing for a module that looks at `IsIOError`, else an empty one,
/// because such a module would follow a null pointer.
fn loaded(io: &mut Io) -> Option<Vec<u8>> {
    io.load_string().or_else(|| (!io.handles_errors()).then(Vec::new))
}

/// One argument behind a format string, as `ffi/shims.h` has it.
#[repr(C)]
pub struct ShimArg {
    kind: i32,
    ptr: *const c_void,
    len: usize,
    number: i64,
}

/// `EmitAOF`.
///
/// # Safety
/// ABI: as `ffi/shims.h` says.
#[no_mangle]
pub unsafe extern "C" fn backplane_emit_aof_impl(
    io: *mut c_void,
    command: *const c_char,
    format: *const c_char,
    args: *const ShimArg,
    num_args: usize,
) {
    super::enter(&"EmitAOF", LockClass::Locked);
    let io = io!(io.cast::<Io>());
    if io.failed() {
        return;
    }
    // SAFETY: ABI: C strings of the module, and the array that the shim made.
    let (name, format, given) =
        unsafe { (CStr::from_ptr(command), CStr::from_ptr(format), slice_of(args, num_args)) };
    let known = Server::get().table.load().find(name.to_bytes()).is_some();
    let letters = format.to_bytes();
    if !known || letters.iter().any(|l| !b"csblv!AR3CSWMED0K".contains(l)) {
        crate::log_warning!(
            "Fatal: AOF method of module {} tried to emit unknown command '{}' or a bad format '{}'",
            io.data_type().module,
            name.to_string_lossy(),
            format.to_string_lossy()
        );
        io.fail();
        // SAFETY: layout: the calling thread's errno.
        unsafe { *libc::__errno_location() = libc::EINVAL };
        return;
    }
    let mut all: Vec<Vec<u8>> = vec![name.to_bytes().to_vec()];
    for a in given {
        // SAFETY: ABI: the shim tells by `kind` what the members hold.
        unsafe {
            match a.kind as u8 {
                b's' => all.push(RStr::bytes(a.ptr.cast()).to_vec()),
                b'l' => all.push(a.number.to_string().into_bytes()),
                b'v' => {
                    for &s in slice_of(a.ptr.cast::<*const RStr>(), a.len) {
                        all.push(RStr::bytes(s).to_vec());
                    }
                }
                _ => all.push(slice_of(a.ptr.cast::<u8>(), a.len).to_vec()),
            }
        }
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    io.emit(&all);
}

/// `SaveLongDouble`: the value's hexadecimal text.
///
/// # Safety
/// ABI: as `ffi/shims.h` says.
#[no_mangle]
pub unsafe extern "C" fn backplane_save_long_double_impl(
    io: *mut c_void,
    text: *const c_char,
    len: usize,
) {
    super::enter(&"SaveLongDouble", LockClass::Locked);
    // SAFETY: ABI: the shim's buffer.
    io!(io.cast::<Io>()).save_string(unsafe { slice_of(text.cast::<u8>(), len) });
}

/// `LoadLongDouble`: one string into the shim's buffer.
///
/// # Safety
/// ABI: as `ffi/shims.h` says.
#[no_mangle]
pub unsafe extern "C" fn backplane_load_long_double_impl(
    io: *mut c_void,
    buf: *mut c_char,
    cap: usize,
) -> c_long {
    super::enter(&"LoadLongDouble", LockClass::Locked);
    match io!(io.cast::<Io>()).load_string() {
        Some(text) if text.len() <= cap => {
            // SAFETY: ABI: the shim's buffer has `cap` bytes.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buf.cast(), text.len()) };
            text.len() as c_long
        }
        _ => -1,
    }
}

unsafe extern "C" {
    fn backplane_rm_EmitAOF();
    fn backplane_rm_SaveLongDouble();
    fn backplane_rm_LoadLongDouble();
}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[Export] = &[
    shim("EmitAOF", LockClass::Locked, backplane_rm_EmitAOF),
    shim("SaveLongDouble", LockClass::Locked, backplane_rm_SaveLongDouble),
    shim("LoadLongDouble", LockClass::Locked, backplane_rm_LoadLongDouble),
];
