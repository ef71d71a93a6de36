//! Configuration parameters of modules: `module.name` in the file, in `CONFIG GET`, `SET` and `REWRITE`. Modules of Redis 8
//! may choose names without a prefix, and second names.
//!
//! The module owns the value; the server knows the kind, the limits and the default, and calls the module to get and set
//! it. All of it happens on the module thread, under the module lock.
use crate::config::rows::{self, DENY_LOADING, HIDDEN, IMMUTABLE, MULTI_ARG, PROTECTED};
use crate::config::text::{format_memory, parse_memory, quote};
use crate::config::{ApplyError, ExtraConfigs, ExtraRow};
use crate::keyspace::number::parse_i64;
use crate::module::abi::{self, ERR, OK};
use crate::module::api::command::valid_resource_name;
use crate::module::border::{c_text, set_errno};
use crate::module::callback::{running, with_context};
use crate::module::context::Ctx;
use crate::module::registry::Module;
use crate::module::string::RStr;
use parking_lot::Mutex;
use std::ffi::{c_char, c_int, c_uint, c_void, CStr, CString};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// What sort of value, with the module's functions for it.
pub(super) enum Kind {
    Text {
        default: Option<Vec<u8>>,
        get: abi::ConfigGetStringFn,
        set: abi::ConfigSetStringFn,
    },
    Number {
        default: i64,
        min: i64,
        max: i64,
        memory: bool,
        get: abi::ConfigGetNumericFn,
        set: abi::ConfigSetNumericFn,
    },
    Switch {
        default: c_int,
        get: abi::ConfigGetIntFn,
        set: abi::ConfigSetIntFn,
    },
    Choice {
        default: c_int,
        choices: Vec<(String, c_int)>,
        many: bool,
        get: abi::ConfigGetIntFn,
        set: abi::ConfigSetIntFn,
    },
}

/// A value of any kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Text(Vec<u8>),
    Number(i64),
}

pub(super) struct Parameter {
    module: &'static Module,
    /// As the module calls it, for its functions.
    name: CString,
    /// `module.name`, or what the module wants instead.
    full_name: String,
    /// The same, for modules.
    pub(super) c_name: CString,
    /// A second name.
    alias: Option<CString>,
    pub(super) flags: u16,
    pub(super) kind: Kind,
    apply: abi::ConfigApplyFn,
    data: *mut c_void,
}

// SAFETY: lock: the data is handed to the module's functions by the holder of the module lock.
unsafe impl Send for Parameter {}
// SAFETY: lock: as above.
unsafe impl Sync for Parameter {}

static PARAMETERS: Mutex<Vec<Arc<Parameter>>> = Mutex::new(Vec::new());

/// Values that wait for a module to load its configs.
struct Offered {
    values: Vec<(Vec<u8>, Vec<u8>)>,
    /// They belong to one `MODULE LOADEX`, not to the configuration file.
    loadex: bool,
}

static OFFERED: Mutex<Offered> = Mutex::new(Offered { values: Vec::new(), loadex: false });

/// Offers the values of the configuration file to the modules that are loaded at the start.
pub fn offer_file(values: &[(Vec<u8>, Vec<u8>)]) {
    *OFFERED.lock() = Offered { values: values.to_vec(), loadex: false };
}

/// After the start: the names in the file that no module took.
pub fn left_over() -> Vec<String> {
    let offered = OFFERED.lock();
    offered.values.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

/// Offers the values of `MODULE LOADEX ... CONFIG` to the module about to be loaded.
pub fn offer(values: &[(Vec<u8>, Vec<u8>)]) {
    let mut offered = OFFERED.lock();
    if !values.is_empty() || offered.loadex {
        *offered = Offered { values: values.to_vec(), loadex: !values.is_empty() };
    }
}

fn take_offer(full_name: &str) -> Option<Vec<u8>> {
    let mut offered = OFFERED.lock();
    let mut found = None;
    // The last one of several counts.
    offered.values.retain(|(name, value)| {
        let mine = name.eq_ignore_ascii_case(full_name.as_bytes());
        if mine {
            found = Some(value.clone());
        }
        !mine
    });
    found
}

/// After `OnLoad`: what a module must have done with its configs.
pub fn check_loaded(module: &'static Module) -> Result<(), String> {
    let registered = PARAMETERS.lock().iter().any(|p| std::ptr::eq(p.module, module));
    if registered && !module.configs_loaded.load(Relaxed) {
        return Err("Module Configurations were not set, likely a missing LoadConfigs call. Unloading the module.".into());
    }
    let offered = OFFERED.lock();
    if offered.loadex && !offered.values.is_empty() {
        return Err("Loadex configurations were not applied, likely due to invalid arguments. Unloading the module.".into());
    }
    Ok(())
}

/// Forgets the configs of a module.
pub fn remove_all_of(module: &'static Module) {
    PARAMETERS.lock().retain(|p| !std::ptr::eq(p.module, module));
}

/// The reason that a module's function left behind, which is the server's to free; empty if it left none.
fn reason(error: abi::Handle) -> String {
    if error.is_null() {
        return String::new();
    }
    // SAFETY: ABI: a live string whose reference the module gave away.
    unsafe {
        let text = String::from_utf8_lossy(RStr::bytes(error.cast())).into_owned();
        RStr::release(error.cast());
        text
    }
}

impl Parameter {
    /// Asks the module for the value.
    pub(super) fn get(&self) -> Value {
        let _running = running(self.module, &"config get");
        let (name, data) = (self.name.as_ptr(), self.data);
        // SAFETY: ABI: registered for these signatures; lock: the module lock is held.
        unsafe {
            match &self.kind {
                Kind::Text { get, .. } => {
                    let s = get.map_or(std::ptr::null_mut(), |f| f(name, data));
                    let s: *const RStr = s.cast();
                    Value::Text(if s.is_null() { Vec::new() } else { RStr::bytes(s).to_vec() })
                }
                Kind::Number { get, .. } => Value::Number(get.map_or(0, |f| f(name, data))),
                Kind::Switch { get, .. } | Kind::Choice { get, .. } => {
                    Value::Number(get.map_or(0, |f| i64::from(f(name, data))))
                }
            }
        }
    }

    /// Hands a value to the module.
    fn put(&self, value: &Value) -> Result<(), String> {
        let _running = running(self.module, &"config set");
        let (name, data) = (self.name.as_ptr(), self.data);
        let mut error: abi::Handle = std::ptr::null_mut();
        // SAFETY: ABI: registered for these signatures; lock: the module lock is held.
        let status = unsafe {
            match (&self.kind, value) {
                (Kind::Text { set: Some(f), .. }, Value::Text(text)) => {
                    let s = RStr::new(text);
                    let status = f(name, s.cast(), data, &raw mut error);
                    RStr::release(s);
                    status
                }
                (Kind::Number { set: Some(f), .. }, Value::Number(n)) => {
                    f(name, *n, data, &raw mut error)
                }
                (
                    Kind::Switch { set: Some(f), .. } | Kind::Choice { set: Some(f), .. },
                    Value::Number(n),
                ) => f(name, *n as c_int, data, &raw mut error),
                _ => OK,
            }
        };
        let text = reason(error);
        if status == OK {
            Ok(())
        } else {
            Err(text)
        }
    }

    /// Hands its default to the module. The error is the line for the log.
    fn put_default(&self) -> Result<(), String> {
        self.put(&self.default()).map_err(|why| {
            let name = self.name.to_string_lossy();
            format!("Issue attempting to set default value of configuration {name} : {why}")
        })
    }

    fn default(&self) -> Value {
        match &self.kind {
            Kind::Text { default, .. } => Value::Text(default.clone().unwrap_or_default()),
            Kind::Number { default, .. } => Value::Number(*default),
            Kind::Switch { default, .. } | Kind::Choice { default, .. } => {
                Value::Number(i64::from(*default))
            }
        }
    }

    /// Reads a value, or says in Redis' words why not.
    pub(super) fn parse(&self, args: &[Vec<u8>]) -> Result<Value, String> {
        let first = args.first().map_or(&[][..], Vec::as_slice);
        match &self.kind {
            Kind::Text { .. } => Ok(Value::Text(first.to_vec())),
            Kind::Switch { .. } if first.eq_ignore_ascii_case(b"yes") => Ok(Value::Number(1)),
            Kind::Switch { .. } if first.eq_ignore_ascii_case(b"no") => Ok(Value::Number(0)),
            Kind::Switch { .. } => Err("argument must be 'yes' or 'no'".into()),
            Kind::Number { memory, .. } => {
                let n = if *memory {
                    parse_memory(first).map(|n| n as i64).ok_or("argument must be a memory value")
                } else {
                    parse_i64(first).ok_or("argument couldn't be parsed into an integer")
                }?;
                self.in_range(n).map(|()| Value::Number(n))
            }
            Kind::Choice { choices, many, .. } => {
                parse_choice(choices, *many, args).map(|n| Value::Number(i64::from(n)))
            }
        }
    }

    /// Whether a number lies between the limits, if there are limits.
    pub(super) fn in_range(&self, n: i64) -> Result<(), String> {
        match &self.kind {
            Kind::Number { min, max, .. } if !(*min..=*max).contains(&n) => {
                Err(format!("argument must be between {min} and {max} inclusive"))
            }
            _ => Ok(()),
        }
    }

    /// Sets a value outside of `CONFIG SET` and has it applied: both or neither.
    pub(super) fn change(&self, new: &Value) -> Result<(), String> {
        let old = self.get();
        if *new == old {
            return Ok(());
        }
        let changed = [self.full_name.clone()];
        self.put(new).and_then(|()| {
            ModuleConfigs.apply(&changed).map_err(|e| {
                let _ = self.put(&old);
                let _ = ModuleConfigs.apply(&changed);
                e.reason.unwrap_or_default()
            })
        })
    }

    /// Sets a value if it differs from the present one. True if it does.
    fn set(&self, args: &[Vec<u8>]) -> Result<bool, String> {
        let new = self.parse(args)?;
        if new == self.get() {
            return Ok(false);
        }
        self.put(&new).map(|()| true)
    }

    /// A value as `CONFIG GET` shows it.
    pub(super) fn text_of(&self, value: &Value) -> Vec<u8> {
        match (&self.kind, value) {
            (_, Value::Text(text)) => text.clone(),
            (Kind::Switch { .. }, Value::Number(n)) => {
                if *n != 0 {
                    b"yes".to_vec()
                } else {
                    b"no".to_vec()
                }
            }
            (Kind::Choice { choices, many, .. }, Value::Number(n)) => {
                choice_name(choices, *many, *n as c_int).into_bytes()
            }
            (_, Value::Number(n)) => n.to_string().into_bytes(),
        }
    }

    /// All names, the second one too.
    pub(super) fn names(&self) -> impl Iterator<Item = &CStr> {
        [Some(&self.c_name), self.alias.as_ref()].into_iter().flatten().map(CString::as_c_str)
    }

    /// The rows of all names.
    fn rows(&self) -> impl Iterator<Item = ExtraRow> + '_ {
        let row = |name: &CStr| {
            let name = name.to_string_lossy().into_owned();
            let first = (name != self.full_name).then(|| self.full_name.clone());
            ExtraRow { name, first, flags: self.flags }
        };
        self.names().map(row)
    }
}

fn parse_choice(
    choices: &[(String, c_int)],
    many: bool,
    args: &[Vec<u8>],
) -> Result<c_int, String> {
    let named = |arg: &Vec<u8>| {
        let same = |c: &&(String, c_int)| c.0.as_bytes().eq_ignore_ascii_case(arg);
        choices.iter().find(same).map(|c| c.1)
    };
    let counted = if many { !args.is_empty() } else { args.len() == 1 };
    let value =
        counted.then(|| args.iter().try_fold(0, |bits, arg| Some(bits | named(arg)?))).flatten();
    value.ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|c| c.0.as_str()).collect();
        format!("argument(s) must be one of the following: {}", names.join(", "))
    })
}

/// The name of a value: one that matches it as a whole, else, for flags, those that make it up.
fn choice_name(choices: &[(String, c_int)], many: bool, value: c_int) -> String {
    if let Some((name, _)) = choices.iter().find(|c| c.1 == value) {
        return name.clone();
    }
    let (mut names, mut rest) = (Vec::new(), value);
    for (name, bits) in choices.iter().filter(|_| many) {
        if *bits != 0 && rest & bits == *bits {
            names.push(name.as_str());
            rest &= !bits;
        }
    }
    if names.is_empty() || rest != 0 {
        "unknown".into()
    } else {
        names.join(" ")
    }
}

/// The parameter of this name, without regard to case.
pub(super) fn find(name: &[u8]) -> Option<Arc<Parameter>> {
    let all = PARAMETERS.lock();
    let is = |p: &&Arc<Parameter>| p.names().any(|n| n.to_bytes().eq_ignore_ascii_case(name));
    all.iter().find(is).cloned()
}

/// The parameters of all modules.
pub(super) fn all() -> Vec<Arc<Parameter>> {
    PARAMETERS.lock().clone()
}

/// The parameters of one module.
fn of_module(module: &'static Module) -> Vec<Arc<Parameter>> {
    let all = PARAMETERS.lock();
    all.iter().filter(|p| std::ptr::eq(p.module, module)).cloned().collect()
}

/// The parameters of all modules, for `CONFIG`. To be used with the module lock.
pub struct ModuleConfigs;

impl ExtraConfigs for ModuleConfigs {
    fn find(&self, name: &[u8]) -> Option<ExtraRow> {
        let is = |row: &ExtraRow| row.name.as_bytes().eq_ignore_ascii_case(name);
        find(name)?.rows().find(is)
    }

    fn all(&self) -> Vec<ExtraRow> {
        PARAMETERS.lock().iter().flat_map(|p| p.rows()).collect()
    }

    fn get(&self, name: &str) -> Option<Vec<u8>> {
        find(name.as_bytes()).map(|p| p.text_of(&p.get()))
    }

    fn set(&self, name: &str, args: &[Vec<u8>]) -> Result<bool, String> {
        find(name.as_bytes()).map_or(Ok(false), |p| p.set(args))
    }

    fn apply(&self, changed: &[String]) -> Result<(), ApplyError> {
        let mut done: Vec<(usize, usize)> = Vec::new();
        for p in changed.iter().filter_map(|name| find(name.as_bytes())) {
            let Some(f) = p.apply else { continue };
            // Parameters that share a function and its data are applied together.
            let this = (f as usize, p.data as usize);
            if done.contains(&this) {
                continue;
            }
            done.push(this);
            let mut error: abi::Handle = std::ptr::null_mut();
            let status = with_context(p.module, 0, &"config apply", |ctx| {
                // SAFETY: ABI: registered for this signature; lock: the module lock is held.
                unsafe { f(ctx.cast(), p.data, &raw mut error) }
            });
            let text = reason(error);
            if status != OK {
                let name = p.name.to_string_lossy().into_owned();
                return Err(ApplyError { name, reason: (!text.is_empty()).then_some(text) });
            }
        }
        Ok(())
    }

    fn rewrite(&self, name: &str) -> Option<(Vec<u8>, bool)> {
        let p = find(name.as_bytes())?;
        let value = p.get();
        let is_default = value == p.default();
        let text = match (&p.kind, &value) {
            (Kind::Text { .. }, Value::Text(text)) => quote(text),
            (Kind::Number { memory: true, .. }, Value::Number(n)) => format_memory(*n).into_bytes(),
            _ => p.text_of(&value),
        };
        Some((text, is_default))
    }
}

/// Flags of a parameter's table row; `None` for flags that do not fit.
fn row_flags(bits: c_uint, numeric: bool, choice: bool) -> Option<u16> {
    let known = abi::CONFIG_IMMUTABLE
        | abi::CONFIG_SENSITIVE
        | abi::CONFIG_HIDDEN
        | abi::CONFIG_PROTECTED
        | abi::CONFIG_DENY_LOADING
        | abi::CONFIG_MEMORY
        | abi::CONFIG_BITFLAGS
        | abi::CONFIG_UNPREFIXED;
    if bits & !known != 0 {
        crate::log_warning!("Invalid flag(s) for configuration");
        return None;
    }
    if !numeric && bits & abi::CONFIG_MEMORY != 0 {
        crate::log_warning!("Numeric flag provided for non-numeric configuration.");
        return None;
    }
    if !choice && bits & abi::CONFIG_BITFLAGS != 0 {
        crate::log_warning!("Enum flag provided for non-enum configuration.");
        return None;
    }
    let mut flags = 0;
    for (theirs, ours) in [
        (abi::CONFIG_IMMUTABLE, IMMUTABLE),
        (abi::CONFIG_HIDDEN, HIDDEN),
        (abi::CONFIG_PROTECTED, PROTECTED),
        (abi::CONFIG_DENY_LOADING, DENY_LOADING),
        (abi::CONFIG_BITFLAGS, MULTI_ARG),
    ] {
        if bits & theirs != 0 {
            flags |= ours;
        }
    }
    Some(flags)
}

/// Names without a prefix may have a dot.
fn valid_bare_name(name: &str) -> bool {
    let dots = name.bytes().filter(|c| *c == b'.').count();
    dots <= 1 && valid_resource_name(&name.replacen('.', "", 1))
}

struct Registration {
    name: *const c_char,
    bits: c_uint,
    kind: Kind,
    apply: abi::ConfigApplyFn,
    data: *mut c_void,
}

/// # Safety
/// ABI: a live context and a C string.
unsafe fn register(ctx: *mut Ctx, r: Registration) -> c_int {
    // SAFETY: ABI: this function's contract.
    let (ctx, name) = unsafe { (&*ctx, c_text(r.name)) };
    let (Some(module), Some(name)) = (ctx.module, name) else { return ERR };
    if !module.onload.load(Relaxed) {
        set_errno(libc::EBUSY);
        return ERR;
    }
    // Redis lets a text have the flag of memory sizes, where it means nothing.
    let numeric = matches!(r.kind, Kind::Number { .. } | Kind::Text { .. });
    let flags = row_flags(r.bits, numeric, matches!(r.kind, Kind::Choice { .. }));
    let is_bare = r.bits & abi::CONFIG_UNPREFIXED != 0;
    let (full_name, alias) = match name.split_once('|') {
        Some((first, second)) if is_bare => (first.to_string(), Some(second)),
        _ if is_bare => (name.to_string(), None),
        _ => (format!("{}.{name}", module.name()), None),
    };
    let valid = match is_bare {
        true => valid_bare_name(&full_name) && alias.is_none_or(valid_bare_name),
        false => valid_resource_name(&name),
    };
    let (Some(flags), true) = (flags, valid) else {
        set_errno(libc::EINVAL);
        return ERR;
    };
    let is_taken =
        |name: &str| rows::find(name.as_bytes()).is_some() || find(name.as_bytes()).is_some();
    if is_taken(&full_name) || alias.is_some_and(|a| is_taken(a) || a == full_name) {
        crate::log_warning!("Configuration by the name: {name} already registered");
        set_errno(libc::EALREADY);
        return ERR;
    }
    let c = |text: &str| CString::new(text).unwrap_or_default();
    let alias = alias.map(c);
    let c_name = c(&full_name);
    let name = if is_bare { c_name.clone() } else { c(&name) };
    let Registration { kind, apply, data, .. } = r;
    let parameter = Parameter { module, name, full_name, c_name, alias, flags, kind, apply, data };
    PARAMETERS.lock().push(Arc::new(parameter));
    OK
}

crate::api! {
    /// Registers a text parameter; only inside OnLoad.
    [Main] fn RegisterStringConfig(
        ctx: *mut Ctx, name: *const c_char, default: *const c_char, bits: c_uint,
        get: abi::ConfigGetStringFn, set: abi::ConfigSetStringFn, apply: abi::ConfigApplyFn,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: a live context, and C strings or null.
        unsafe {
            let default = c_text(default).map(|t| t.into_owned().into_bytes());
            let kind = Kind::Text { default, get, set };
            register(ctx, Registration { name, bits, kind, apply, data })
        }
    }

    /// Registers a numeric parameter; only inside OnLoad.
    [Main] fn RegisterNumericConfig(
        ctx: *mut Ctx, name: *const c_char, default: i64, bits: c_uint, min: i64, max: i64,
        get: abi::ConfigGetNumericFn, set: abi::ConfigSetNumericFn, apply: abi::ConfigApplyFn,
        data: *mut c_void,
    ) -> c_int {
        let memory = bits & abi::CONFIG_MEMORY != 0;
        let kind = Kind::Number { default, min, max, memory, get, set };
        // SAFETY: ABI: a live context and a C string.
        unsafe { register(ctx, Registration { name, bits, kind, apply, data }) }
    }

    /// Registers a parameter that is yes or no; only inside OnLoad.
    [Main] fn RegisterBoolConfig(
        ctx: *mut Ctx, name: *const c_char, default: c_int, bits: c_uint,
        get: abi::ConfigGetIntFn, set: abi::ConfigSetIntFn, apply: abi::ConfigApplyFn,
        data: *mut c_void,
    ) -> c_int {
        let kind = Kind::Switch { default, get, set };
        // SAFETY: ABI: a live context and a C string.
        unsafe { register(ctx, Registration { name, bits, kind, apply, data }) }
    }

    /// Registers a parameter with named values; only inside OnLoad.
    [Main] fn RegisterEnumConfig(
        ctx: *mut Ctx, name: *const c_char, default: c_int, bits: c_uint,
        names: *const *const c_char, values: *const c_int, count: c_int,
        get: abi::ConfigGetIntFn, set: abi::ConfigSetIntFn, apply: abi::ConfigApplyFn,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: ABI: two arrays of `count` elements, a live context and a C string.
        unsafe {
            let choices = (0..count.max(0) as usize)
                .map(|i| {
                    let name = c_text(*names.add(i)).unwrap_or_default().into_owned();
                    (name, *values.add(i))
                })
                .collect();
            let many = bits & abi::CONFIG_BITFLAGS != 0;
            let kind = Kind::Choice { default, choices, many, get, set };
            register(ctx, Registration { name, bits, kind, apply, data })
        }
    }

    /// Sets all parameters of the module to their defaults, once; only inside OnLoad, before `LoadConfigs` (Redis 8.0).
    [Main] fn LoadDefaultConfigs(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: null or a live context.
        let module = unsafe { ctx.as_ref() }.and_then(|c| c.module);
        let Some(module) = module.filter(|m| m.onload.load(Relaxed)) else { return ERR };
        if module.configs_loaded.load(Relaxed) || module.configs_at_default.load(Relaxed) {
            return ERR;
        }
        for p in of_module(module) {
            if let Err(text) = p.put_default() {
                crate::log_warning!("{text}");
                return ERR;
            }
        }
        module.configs_at_default.store(true, Relaxed);
        OK
    }

    /// Sets all parameters of the module to what the file or `MODULE LOADEX` says, or to their defaults; only inside OnLoad.
    /// After `LoadDefaultConfigs` a parameter of which nothing is said keeps its value, which the module may have changed.
    [Main] fn LoadConfigs(ctx: *mut Ctx) -> c_int {
        // SAFETY: ABI: null or a live context.
        let module = unsafe { ctx.as_ref() }.and_then(|c| c.module);
        let Some(module) = module.filter(|m| m.onload.load(Relaxed)) else { return ERR };
        for p in of_module(module) {
            let name = &p.full_name;
            let alias = || p.alias.as_ref().and_then(|a| take_offer(&a.to_string_lossy()));
            let failed = match take_offer(name).or_else(alias) {
                Some(value) => {
                    let many = p.flags & MULTI_ARG != 0;
                    let args: Vec<Vec<u8>> = if many {
                        value.split(|c| *c == b' ').map(<[u8]>::to_vec).collect()
                    } else {
                        vec![value]
                    };
                    p.set(&args).err().map(|why| {
                        format!("Issue during loading of configuration {name} : {why}")
                    })
                }
                None if module.configs_at_default.load(Relaxed) => None,
                None => p.put_default().err(),
            };
            if let Some(text) = failed {
                crate::log_warning!("{text}");
                OFFERED.lock().values.clear();
                return ERR;
            }
        }
        module.configs_loaded.store(true, Relaxed);
        OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_choices() {
        let of = |list: &[(&str, c_int)]| -> Vec<(String, c_int)> {
            list.iter().map(|(n, v)| (n.to_string(), *v)).collect()
        };
        let flags = of(&[("none", 0), ("read", 1), ("write", 2), ("both", 3), ("admin", 4)]);
        assert_eq!(choice_name(&flags, true, 3), "both");
        assert_eq!(choice_name(&flags, true, 5), "read admin");
        assert_eq!(choice_name(&flags, true, 8), "unknown");
        assert_eq!(choice_name(&flags, false, 5), "unknown");
        let args = |words: &str| -> Vec<Vec<u8>> {
            words.split(' ').map(|w| w.as_bytes().to_vec()).collect()
        };
        assert_eq!(parse_choice(&flags, true, &args("READ admin")), Ok(5));
        assert!(parse_choice(&flags, false, &args("read admin")).is_err());
        assert_eq!(
            parse_choice(&flags, true, &args("read nope")).unwrap_err(),
            "argument(s) must be one of the following: none, read, write, both, admin"
        );
    }

    #[test]
    fn flags_that_fit() {
        assert_eq!(
            row_flags(abi::CONFIG_HIDDEN | abi::CONFIG_SENSITIVE, false, false),
            Some(HIDDEN)
        );
        assert_eq!(row_flags(abi::CONFIG_MEMORY, false, false), None);
        assert_eq!(row_flags(abi::CONFIG_BITFLAGS, true, false), None);
        assert_eq!(row_flags(abi::CONFIG_UNPREFIXED << 1, true, true), None);
    }

    #[test]
    fn names_without_a_prefix() {
        for name in ["search-timeout", "bf.initial_size", "x", ".x"] {
            assert!(valid_bare_name(name), "{name}");
        }
        for name in ["", ".", "a.b.c", "a|b", "a b", "a\u{e9}"] {
            assert!(!valid_bare_name(name), "{name}");
        }
    }
}
