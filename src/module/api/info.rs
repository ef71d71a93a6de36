//! `Info*`: what modules add to `INFO`, and what they read from it; the log; latency samples.
use super::string::{bytes_of, make};
use crate::keyspace::number;
use crate::module::abi;
use crate::module::api::LockClass;
use crate::module::border::c_text;
use crate::module::callback::running;
use crate::module::context::{Auto, Ctx};
use crate::module::persona;
use crate::module::registry::Module;
use crate::module::string::RStr;
use crate::observe::log::{self, Level};
use crate::server::Server;
use crate::snapshot::module_io::Io;
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void, CStr, CString};

/// `RedisModuleInfoCtx`: the text that a module's function adds to.
pub struct InfoCtx<'a> {
    module: &'static Module,
    text: Vec<u8>,
    /// Names of the sections that were asked for; none: all.
    wanted: Option<&'a [String]>,
    /// Sections so far, of all modules.
    sections: usize,
    in_section: bool,
    in_dict: bool,
}

impl InfoCtx<'_> {
    fn section(&mut self, name: &[u8]) -> c_int {
        let mut full = self.module.name().as_bytes().to_vec();
        if !name.is_empty() {
            full.push(b'_');
            full.extend_from_slice(name);
        }
        self.end_dict();
        let module = self.module.name().as_bytes();
        let asked = |w: &String| {
            w.as_bytes().eq_ignore_ascii_case(&full) || w.as_bytes().eq_ignore_ascii_case(module)
        };
        self.in_section = self.wanted.is_none_or(|all| all.iter().any(asked));
        if !self.in_section {
            return abi::ERR;
        }
        if self.sections > 0 {
            self.text.extend_from_slice(b"\r\n");
        }
        self.sections += 1;
        self.text.extend_from_slice(b"# ");
        self.text.extend_from_slice(&full);
        self.text.extend_from_slice(b"\r\n");
        abi::OK
    }

    fn prefix(&mut self, field: &[u8]) {
        self.text.extend_from_slice(self.module.name().as_bytes());
        self.text.push(b'_');
        self.text.extend_from_slice(field);
        self.text.push(b':');
    }

    fn begin_dict(&mut self, field: &[u8]) -> c_int {
        if !self.in_section {
            return abi::ERR;
        }
        self.end_dict();
        // These characters would end the field's name, or the field.
        let safe: Vec<u8> = field
            .iter()
            .map(|c| if matches!(c, b'#' | b':' | b'\n' | b'\r') { b'_' } else { *c })
            .collect();
        self.prefix(&safe);
        self.in_dict = true;
        abi::OK
    }

    fn end_dict(&mut self) -> c_int {
        if !self.in_dict {
            return abi::ERR;
        }
        self.in_dict = false;
        if self.text.ends_with(b",") {
            self.text.pop();
        }
        self.text.extend_from_slice(b"\r\n");
        abi::OK
    }

    fn field(&mut self, field: &[u8], value: &[u8]) -> c_int {
        if !self.in_section {
            return abi::ERR;
        }
        if self.in_dict {
            self.text.extend_from_slice(field);
            self.text.push(b'=');
            self.text.extend_from_slice(value);
            self.text.push(b',');
        } else {
            self.prefix(field);
            self.text.extend_from_slice(value);
            self.text.extend_from_slice(b"\r\n");
        }
        abi::OK
    }
}

/// What modules add to `INFO`: sections with a blank line between them and after `before` earlier ones. `wanted` names
/// sections or modules, in any case; none asks for all. The calling thread has the module lock.
pub fn sections(server: &Server, wanted: Option<&[String]>, before: usize) -> String {
    ask_all(server, wanted, before, 0)
}

/// What modules tell about themselves in a crash report. The calling thread has the module lock.
pub fn for_crash_report() -> String {
    ask_all(Server::get(), None, 0, 1)
}

fn ask_all(
    server: &Server,
    wanted: Option<&[String]>,
    before: usize,
    for_crash_report: c_int,
) -> String {
    let (mut text, mut count) = (Vec::new(), before);
    for module in server.modules.list() {
        let Some(function) = *module.info.lock() else { continue };
        let mut ctx = InfoCtx {
            module,
            text: std::mem::take(&mut text),
            wanted,
            sections: count,
            in_section: false,
            in_dict: false,
        };
        {
            let _running = running(module, &"INFO");
            // SAFETY: ABI: registered for this signature; lock: this function's contract.
            unsafe { function((&raw mut ctx).cast(), for_crash_report) };
        }
        ctx.end_dict();
        (text, count) = (ctx.text, ctx.sections);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// `RedisModuleServerInfoData`: the fields of `INFO`.
pub struct ServerInfo {
    fields: HashMap<Vec<u8>, CString>,
}

impl ServerInfo {
    fn parse(text: &[u8]) -> ServerInfo {
        let mut fields = HashMap::new();
        for line in text.split(|c| *c == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.starts_with(b"#") {
                continue;
            }
            let Some(at) = line.iter().position(|c| *c == b':') else { continue };
            let value = CString::new(&line[at + 1..]).unwrap_or_default();
            // As in Redis the first of several fields of one name counts.
            fields.entry(line[..at].to_vec()).or_insert(value);
        }
        ServerInfo { fields }
    }

    fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.fields.get(field).map(|v| v.to_bytes())
    }
}

/// Frees a handle that automatic memory management owes.
pub fn free_auto(_ctx: &mut Ctx, handle: *mut c_void) {
    // SAFETY: ABI: automatic memory was told of this, and the module did not free it.
    drop(unsafe { Box::from_raw(handle.cast::<ServerInfo>()) });
}

/// A field, converted, and through `err` whether that went well.
///
/// # Safety
/// ABI: live data, a C string, null or a place for an integer.
unsafe fn number_field<T: Default>(
    data: *const ServerInfo,
    field: *const c_char,
    err: *mut c_int,
    convert: impl FnOnce(&[u8]) -> Option<T>,
) -> T {
    // SAFETY: ABI: this function's contract.
    unsafe {
        let value = (*data).get(CStr::from_ptr(field).to_bytes()).and_then(convert);
        if !err.is_null() {
            *err = if value.is_some() { abi::OK } else { abi::ERR };
        }
        value.unwrap_or_default()
    }
}

fn level(name: &[u8]) -> Level {
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    if is(b"debug") {
        Level::Debug
    } else if is(b"notice") {
        Level::Notice
    } else if is(b"warning") {
        Level::Warning
    } else {
        Level::Verbose
    }
}

/// Writes a line of a module to the log.
pub fn log_line(module: Option<&Module>, level_name: &[u8], text: &[u8]) {
    let level = level(level_name);
    if !log::enabled(level) {
        return;
    }
    let mut line = format!("<{}> ", module.map_or("module", |m| m.name())).into_bytes();
    line.extend_from_slice(text);
    log::log_bytes(level, &line);
}

api! {
    /// Registers the function that adds to `INFO`.
    [Locked] fn RegisterInfoFunc(ctx: *mut Ctx, function: abi::InfoFn) -> c_int {
        // SAFETY: ABI: a live context.
        let Some(module) = unsafe { &*ctx }.module else { return abi::ERR };
        *module.info.lock() = function;
        abi::OK
    }

    /// Begins a section; its name follows the module's. ERR if nobody asked for it: its fields are then dropped.
    [Locked] fn InfoAddSection(ctx: *mut InfoCtx<'_>, name: *const c_char) -> c_int {
        // SAFETY: ABI: a live info context, and null or a C string.
        unsafe {
            let name = if name.is_null() { c"" } else { CStr::from_ptr(name) };
            (*ctx).section(name.to_bytes())
        }
    }

    /// Begins a field that consists of fields.
    [Locked] fn InfoBeginDictField(ctx: *mut InfoCtx<'_>, name: *const c_char) -> c_int {
        // SAFETY: ABI: a live info context and a C string.
        unsafe { (*ctx).begin_dict(CStr::from_ptr(name).to_bytes()) }
    }

    /// Ends a field that consists of fields.
    [Locked] fn InfoEndDictField(ctx: *mut InfoCtx<'_>) -> c_int {
        // SAFETY: ABI: a live info context.
        unsafe { (*ctx).end_dict() }
    }

    /// Adds a field with a string.
    [Locked] fn InfoAddFieldString(
        ctx: *mut InfoCtx<'_>,
        field: *const c_char,
        value: *const RStr,
    ) -> c_int {
        // SAFETY: ABI: a live info context, a C string and a live string.
        unsafe { (*ctx).field(CStr::from_ptr(field).to_bytes(), RStr::bytes(value)) }
    }

    /// Adds a field with a C string.
    [Locked] fn InfoAddFieldCString(
        ctx: *mut InfoCtx<'_>,
        field: *const c_char,
        value: *const c_char,
    ) -> c_int {
        // SAFETY: ABI: a live info context and C strings.
        unsafe {
            let value = CStr::from_ptr(value).to_bytes();
            (*ctx).field(CStr::from_ptr(field).to_bytes(), value)
        }
    }

    /// Adds a field with a double of 17 digits.
    [Locked] fn InfoAddFieldDouble(
        ctx: *mut InfoCtx<'_>,
        field: *const c_char,
        value: f64,
    ) -> c_int {
        let mut buf = [0u8; 40];
        // SAFETY: ABI: a live info context and a C string; layout: `%.17g` takes 24 bytes at most.
        unsafe {
            let n = libc::snprintf(buf.as_mut_ptr().cast(), buf.len(), c"%.17g".as_ptr(), value);
            (*ctx).field(CStr::from_ptr(field).to_bytes(), &buf[..n as usize])
        }
    }

    /// Adds a field with an integer.
    [Locked] fn InfoAddFieldLongLong(
        ctx: *mut InfoCtx<'_>,
        field: *const c_char,
        value: i64,
    ) -> c_int {
        // SAFETY: ABI: a live info context and a C string.
        unsafe { (*ctx).field(CStr::from_ptr(field).to_bytes(), &number::format_i64(value)) }
    }

    /// Adds a field with an unsigned integer.
    [Locked] fn InfoAddFieldULongLong(
        ctx: *mut InfoCtx<'_>,
        field: *const c_char,
        value: u64,
    ) -> c_int {
        // SAFETY: ABI: a live info context and a C string.
        unsafe { (*ctx).field(CStr::from_ptr(field).to_bytes(), &number::format_u64(value)) }
    }

    /// The fields of a section of `INFO`, or of the default sections; the context may be null.
    [Locked] fn GetServerInfo(ctx: *mut Ctx, section: *const c_char) -> *mut ServerInfo {
        // SAFETY: ABI: null or a C string.
        let section = unsafe { c_text(section) };
        let sections: Vec<&str> = section.iter().map(|s| &**s).collect();
        let text = crate::execute::info::text_of(
            Server::get(),
            &sections,
            // SAFETY: ABI: null or a live context.
            persona::or_caller(unsafe { ctx.as_ref() }.and_then(|c| c.module)),
        );
        let info = Box::into_raw(Box::new(ServerInfo::parse(text.as_bytes())));
        // SAFETY: ABI: null or a live context.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.remember(Auto::Info(info.cast()));
        }
        info
    }

    /// Frees what `GetServerInfo` gave; the context may be null.
    [Free] fn FreeServerInfo(ctx: *mut Ctx, data: *mut ServerInfo) {
        // SAFETY: ABI: null or a live context, and live data that is given up.
        unsafe {
            if let Some(ctx) = ctx.as_mut() {
                ctx.forget(Auto::Info(data.cast()));
            }
            drop(Box::from_raw(data));
        }
    }

    /// A field as a new string; null if there is none. The context may be null.
    [Free] fn ServerInfoGetField(
        ctx: *mut Ctx,
        data: *const ServerInfo,
        field: *const c_char,
    ) -> *mut RStr {
        // SAFETY: ABI: live data and a C string.
        let value = unsafe { (*data).get(CStr::from_ptr(field).to_bytes()) };
        value.map_or(std::ptr::null_mut(), |v| make(ctx, v))
    }

    /// A field as a C string that lives as long as the data; null if there is none.
    [Free] fn ServerInfoGetFieldC(data: *const ServerInfo, field: *const c_char) -> *const c_char {
        // SAFETY: ABI: live data and a C string.
        let value = unsafe { (*data).fields.get(CStr::from_ptr(field).to_bytes()) };
        value.map_or(std::ptr::null(), |v| v.as_ptr())
    }

    /// A field as an integer; 0 and an error if it is none.
    [Free] fn ServerInfoGetFieldSigned(
        data: *const ServerInfo,
        field: *const c_char,
        err: *mut c_int,
    ) -> i64 {
        // SAFETY: ABI: live data, a C string, null or a place.
        unsafe { number_field(data, field, err, number::parse_i64) }
    }

    /// A field as an unsigned integer; 0 and an error if it is none.
    [Free] fn ServerInfoGetFieldUnsigned(
        data: *const ServerInfo,
        field: *const c_char,
        err: *mut c_int,
    ) -> u64 {
        // SAFETY: ABI: live data, a C string, null or a place.
        unsafe { number_field(data, field, err, number::parse_u64) }
    }

    /// A field as a double; 0 and an error if it is none.
    [Free] fn ServerInfoGetFieldDouble(
        data: *const ServerInfo,
        field: *const c_char,
        err: *mut c_int,
    ) -> f64 {
        // SAFETY: ABI: live data, a C string, null or a place.
        unsafe { number_field(data, field, err, number::parse_f64) }
    }

    /// Notes how long something took, if that is as much as `latency-monitor-threshold`.
    [Free] fn LatencyAddSample(event: *const c_char, milliseconds: i64) {
        let server = Server::get();
        let spent = u64::try_from(milliseconds).unwrap_or(0);
        // A threshold of 0, which switches the server's own samples off, lets a module's through, as in Redis.
        if spent >= server.config.latency_monitor_threshold() {
            // SAFETY: ABI: a C string.
            if let Some(event) = unsafe { c_text(event) } {
                server.latency.add(&event, spent);
            }
        }
    }

    /// Reports a failed assertion of a module and ends the process.
    [Free] fn _Assert(text: *const c_char, file: *const c_char, line: c_int) {
        // SAFETY: ABI: C strings.
        let (text, file) = unsafe { (CStr::from_ptr(text), CStr::from_ptr(file)) };
        crate::start::crash::assertion_failed(&text.to_string_lossy(), &file.to_string_lossy(), line)
    }
}

unsafe extern "C" {
    fn backplane_rm_Log();
    fn backplane_rm_LogIOError();
}

/// Functions of this family that are C shims (`ffi/shims.c`).
pub const SHIMS: &[super::Export] = &[
    super::shim("Log", LockClass::Free, backplane_rm_Log),
    super::shim("LogIOError", LockClass::Free, backplane_rm_LogIOError),
];

/// `Log`, formatted.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_log_impl(
    ctx: *mut Ctx,
    level: *const c_char,
    text: *const c_char,
    len: usize,
) {
    super::enter(&"Log", LockClass::Free);
    // SAFETY: ABI: null or a live context, a C string and a buffer of this length.
    unsafe {
        let module = ctx.as_ref().and_then(|c| c.module);
        log_line(module, CStr::from_ptr(level).to_bytes(), bytes_of(text, len));
    }
}

/// `LogIOError`, formatted.
///
/// # Safety
/// ABI: called by the shim, as `ffi/shims.h` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backplane_log_io_error_impl(
    io: *mut Io,
    level: *const c_char,
    text: *const c_char,
    len: usize,
) {
    super::enter(&"LogIOError", LockClass::Free);
    // SAFETY: ABI: the io handle of a running save or load method, a C string and a buffer of this length.
    unsafe {
        let module = (*io).data_type().owner;
        log_line(Some(module), CStr::from_ptr(level).to_bytes(), bytes_of(text, len));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ctx(wanted: Option<&[String]>, f: impl FnOnce(&mut InfoCtx<'_>)) -> String {
        let module = Module::new("test", None, &[]);
        module.set_attributes("mod", 1, 1);
        let mut ctx = InfoCtx {
            module,
            text: Vec::new(),
            wanted,
            sections: 0,
            in_section: false,
            in_dict: false,
        };
        f(&mut ctx);
        ctx.end_dict();
        String::from_utf8(ctx.text).expect("the test writes text")
    }

    fn write_all(ctx: &mut InfoCtx<'_>) {
        assert_eq!(ctx.field(b"early", b"1"), abi::ERR);
        ctx.section(b"");
        ctx.field(b"x", b"1");
        ctx.section(b"more");
        ctx.begin_dict(b"a:b");
        ctx.field(b"x", b"1");
        ctx.field(b"y", b"2");
    }

    #[test]
    fn sections_and_fields_carry_the_modules_name() {
        assert_eq!(
            with_ctx(None, write_all),
            "# mod\r\nmod_x:1\r\n\r\n# mod_more\r\nmod_a_b:x=1,y=2\r\n"
        );
    }

    #[test]
    fn only_what_was_asked_for() {
        let one = ["MOD_more".to_string()];
        assert_eq!(with_ctx(Some(&one), write_all), "# mod_more\r\nmod_a_b:x=1,y=2\r\n");
        let all = ["mod".to_string()];
        assert_eq!(with_ctx(Some(&all), write_all), with_ctx(None, write_all));
        let other = ["other".to_string()];
        assert_eq!(with_ctx(Some(&other), write_all), "");
    }

    #[test]
    fn fields_of_info() {
        let info = ServerInfo::parse(b"# Server\r\na:1\r\nb:x:y\r\na:2\r\n\r\nnone\r\n");
        assert_eq!(info.get(b"a"), Some(&b"1"[..]));
        assert_eq!(info.get(b"b"), Some(&b"x:y"[..]));
        assert_eq!(info.get(b"none"), None);
        let mut err = -1;
        // SAFETY: layout: the test's own data.
        unsafe {
            assert_eq!(ServerInfoGetFieldSigned(&info, c"a".as_ptr(), &mut err), 1);
            assert_eq!(err, abi::OK);
            assert_eq!(ServerInfoGetFieldSigned(&info, c"b".as_ptr(), &mut err), 0);
            assert_eq!(err, abi::ERR);
        }
    }

    #[test]
    fn levels_by_name() {
        assert_eq!(level(b"WARNING"), Level::Warning);
        assert_eq!(level(b"no such"), Level::Verbose);
    }
}
