//! The configuration as modules see it (Redis 8.2): the directives of the server, and the parameters of all modules.
//!
//! What is set here is all there or not at all, like one pair of `CONFIG SET`, but nobody is told by an event.
use super::config::{all, find, Kind, Parameter, Value};
use super::string::make;
use crate::config::rows::{self, Found, Unit, DENY_LOADING, HIDDEN, IMMUTABLE, PROTECTED, ROWS};
use crate::config::{check_range, glob, set, ConfigError, SetContext};
use crate::execute::config::Hooks;
use crate::execute::server::is_local;
use crate::module::abi::{self, ERR, OK};
use crate::module::context::{Auto, Ctx};
use crate::module::string::RStr;
use crate::server::Server;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

/// What a name stands for.
enum Target {
    Directive(Found),
    Parameter(Arc<Parameter>),
}

/// Why a value was not set: the module is told, unless nobody said.
type Refusal = Option<String>;

/// # Safety
/// ABI: a C string.
unsafe fn target(name: *const c_char) -> Option<Target> {
    // SAFETY: ABI: this function's contract.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    rows::find(name).map(Target::Directive).or_else(|| find(name).map(Target::Parameter))
}

impl Target {
    fn flags(&self) -> u16 {
        match self {
            Target::Directive(found) => ROWS[found.index].flags,
            Target::Parameter(p) => p.flags,
        }
    }

    /// `RedisModuleConfigType`
    fn kind(&self) -> c_int {
        match self {
            Target::Directive(found) => match ROWS[found.index].kind {
                rows::Kind::Switch { .. } => abi::CONFIG_TYPE_BOOL,
                rows::Kind::Number { .. } => abi::CONFIG_TYPE_NUMERIC,
                rows::Kind::Choice { .. } => abi::CONFIG_TYPE_ENUM,
                rows::Kind::Text { .. } | rows::Kind::Special(_) => abi::CONFIG_TYPE_STRING,
            },
            Target::Parameter(p) => match p.kind {
                Kind::Switch { .. } => abi::CONFIG_TYPE_BOOL,
                Kind::Number { .. } => abi::CONFIG_TYPE_NUMERIC,
                Kind::Choice { .. } => abi::CONFIG_TYPE_ENUM,
                Kind::Text { .. } => abi::CONFIG_TYPE_STRING,
            },
        }
    }

    /// The value as `CONFIG GET` shows it.
    fn text(&self) -> Vec<u8> {
        match self {
            Target::Directive(found) => {
                Server::get().config.get_bytes(found.name.as_bytes()).unwrap_or_default()
            }
            Target::Parameter(p) => p.text_of(&p.get()),
        }
    }

    /// The value of a switch or a number.
    fn number(&self) -> i64 {
        match self {
            Target::Directive(found) => Server::get().config.number(found.index),
            Target::Parameter(p) => match p.get() {
                Value::Number(n) => n,
                Value::Text(_) => 0,
            },
        }
    }

    /// Whether it may be set now, by this client.
    fn is_open(&self, ctx: &Ctx) -> Result<(), Refusal> {
        let (server, flags) = (Server::get(), self.flags());
        let refuse = |why: &str| Err(Some(why.to_string()));
        if flags & IMMUTABLE != 0 {
            return refuse("Config is immutable");
        }
        let setting = server.config.enable_protected_configs();
        if flags & PROTECTED != 0 && !set::allows(setting, is_local(ctx.session())) {
            return refuse("Config is protected");
        }
        if flags & DENY_LOADING != 0 && server.loading.load(Relaxed) {
            return refuse("Config is not allowed during loading");
        }
        Ok(())
    }

    /// Sets what a text says.
    fn set_text(&self, ctx: &Ctx, text: &[u8]) -> Result<(), Refusal> {
        let found = match self {
            Target::Directive(found) => found,
            Target::Parameter(p) => {
                let args = set::arguments(p.flags, text);
                return p.parse(&args).and_then(|new| p.change(&new)).map_err(spoken);
            }
        };
        let server = Server::get();
        let context = SetContext {
            local_client: is_local(ctx.session()),
            loading: server.loading.load(Relaxed),
            extra: None,
            // What cannot begin in the middle of a unit begins after it.
            hooks: Some(&Hooks { server, in_exec: true }),
        };
        match server.config.set(&[(found.name.as_bytes(), text)], context) {
            Ok(_) => Ok(()),
            Err(ConfigError::Failed { reason, .. }) => Err(reason),
            Err(other) => Err(Some(other.to_string())),
        }
    }

    fn set_number(&self, ctx: &Ctx, number: i64) -> Result<(), Refusal> {
        let found = match self {
            Target::Directive(found) => found,
            Target::Parameter(p) => {
                p.in_range(number).map_err(spoken)?;
                return p.change(&Value::Number(number)).map_err(spoken);
            }
        };
        let rows::Kind::Number { unit, min, max, .. } = ROWS[found.index].kind else {
            return Err(None);
        };
        // Unsigned directives come as signed numbers.
        let wide = i64::try_from(max).is_err();
        let n = if wide { i128::from(number as u64) } else { i128::from(number) };
        check_range(n, unit, min, max).map_err(spoken)?;
        let text = match unit {
            Unit::MemoryOrPercent if n < 0 => format!("{}%", -n),
            Unit::Octal => format!("{n:o}"),
            _ => n.to_string(),
        };
        self.set_text(ctx, text.as_bytes())
    }
}

/// A module may refuse without a word.
fn spoken(why: String) -> Refusal {
    (!why.is_empty()).then_some(why)
}

/// Finds a parameter, of one type if it has to be, and sets it.
///
/// # Safety
/// ABI: a live context, a C string, and null or a place for a string.
unsafe fn change(
    ctx: *mut Ctx,
    name: *const c_char,
    kind: Option<c_int>,
    error: *mut *mut RStr,
    set: impl FnOnce(&Target, &Ctx) -> Result<(), Refusal>,
) -> c_int {
    // SAFETY: ABI: this function's contract.
    let (found, context) = unsafe { (target(name), &*ctx) };
    let done = match found {
        None => Err(Some("Config name not found".to_string())),
        Some(t) => t.is_open(context).and_then(|()| {
            // Of a parameter of another type nothing is said.
            let fits = kind.is_none_or(|k| k == t.kind());
            if fits {
                set(&t, context)
            } else {
                Err(None)
            }
        }),
    };
    let Err(why) = done else { return OK };
    if let (Some(why), false) = (why, error.is_null()) {
        // SAFETY: ABI: this function's contract.
        unsafe { *error = make(ctx, why.as_bytes()) };
    }
    ERR
}

/// Finds a parameter, of one type if it has to be.
///
/// # Safety
/// ABI: a C string.
unsafe fn of_type(name: *const c_char, kind: c_int) -> Option<Target> {
    // SAFETY: ABI: this function's contract.
    unsafe { target(name) }.filter(|t| t.kind() == kind)
}

/// # Safety
/// ABI: null or a live context, and a place for a string.
unsafe fn give_text(ctx: *mut Ctx, found: Option<Target>, to: *mut *mut RStr) -> c_int {
    let Some(t) = found else { return ERR };
    if !to.is_null() {
        // SAFETY: ABI: this function's contract.
        unsafe { *to = make(ctx, &t.text()) };
    }
    OK
}

/// The names of all directives, the second ones too, with their rows. They live for ever: modules keep them.
fn names() -> &'static [(usize, CString)] {
    static NAMES: OnceLock<Vec<(usize, CString)>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let names = |(i, row): (usize, &&'static rows::Row)| {
            let both = [Some(row.name), row.alias].into_iter().flatten();
            both.map(move |name| (i, CString::new(name).unwrap_or_default()))
        };
        ROWS.iter().enumerate().flat_map(names).collect()
    })
}

/// One of the names that an iterator gives out.
enum Name {
    Directive(&'static CStr),
    /// The so-manieth name of a parameter.
    Parameter(Arc<Parameter>, usize),
}

impl Name {
    fn text(&self) -> &CStr {
        match self {
            Name::Directive(name) => name,
            Name::Parameter(p, n) => p.names().nth(*n).unwrap_or_default(),
        }
    }
}

/// `RedisModuleConfigIterator`: the names, as they were when it was made.
pub struct ConfigIterator {
    names: Vec<Name>,
    next: usize,
}

impl ConfigIterator {
    /// All names that are not hidden, or those that match a pattern; what is no pattern names one, hidden or not.
    fn new(pattern: Option<&[u8]>) -> ConfigIterator {
        let exact = pattern.filter(|p| !glob::has_wildcard(p));
        let wanted = |name: &CStr, flags: u16| match (exact, pattern) {
            (Some(exact), _) => exact.eq_ignore_ascii_case(name.to_bytes()),
            (None, Some(p)) => flags & HIDDEN == 0 && glob::glob_match(p, name.to_bytes(), true),
            (None, None) => flags & HIDDEN == 0,
        };
        let directives = names()
            .iter()
            .filter(|(row, name)| wanted(name, ROWS[*row].flags))
            .map(|(_, name)| Name::Directive(name));
        let mut found: Vec<Name> = directives.collect();
        for p in all() {
            let fit = p.names().enumerate().filter(|(_, name)| wanted(name, p.flags));
            found.extend(fit.map(|(n, _)| Name::Parameter(p.clone(), n)));
        }
        ConfigIterator { names: found, next: 0 }
    }
}

/// Frees an iterator that automatic memory management owes.
pub fn free_auto(iter: *mut c_void) {
    // SAFETY: ABI: automatic memory was told of this iterator, and the module did not free it.
    drop(unsafe { Box::from_raw(iter.cast::<ConfigIterator>()) });
}

crate::api! {
    /// An iterator over the names of all parameters, or of those that match a pattern; the context may be null.
    [Locked] fn ConfigIteratorCreate(ctx: *mut Ctx, pattern: *const c_char) -> *mut ConfigIterator {
        // SAFETY: ABI: null or a C string.
        let pattern =
            (!pattern.is_null()).then(|| unsafe { CStr::from_ptr(pattern) }.to_bytes());
        let iter = Box::into_raw(Box::new(ConfigIterator::new(pattern)));
        // SAFETY: ABI: null or a live context.
        if let Some(ctx) = unsafe { ctx.as_mut() } {
            ctx.remember(Auto::ConfigIterator(iter.cast()));
        }
        iter
    }

    /// Ends an iterator; with the context with which it was made, or null.
    [Locked] fn ConfigIteratorRelease(ctx: *mut Ctx, iter: *mut ConfigIterator) {
        // SAFETY: ABI: null or a live context, and a live iterator that is given up.
        unsafe {
            if let Some(ctx) = ctx.as_mut() {
                ctx.forget(Auto::ConfigIterator(iter.cast()));
            }
            drop(Box::from_raw(iter));
        }
    }

    /// The next name, null at the end. It is not the caller's, and lasts as long as the parameter.
    [Locked] fn ConfigIteratorNext(iter: *mut ConfigIterator) -> *const c_char {
        // SAFETY: ABI: a live iterator.
        let iter = unsafe { &mut *iter };
        let Some(name) = iter.names.get(iter.next) else { return std::ptr::null() };
        iter.next += 1;
        name.text().as_ptr()
    }

    /// What type a parameter has.
    [Locked] fn ConfigGetType(name: *const c_char, kind: *mut c_int) -> c_int {
        // SAFETY: ABI: a C string, and null or a place for the type.
        unsafe {
            let Some(t) = target(name) else { return ERR };
            if !kind.is_null() {
                *kind = t.kind();
            }
        }
        OK
    }

    /// The value of a parameter as a text, whatever its type.
    [Locked] fn ConfigGet(ctx: *mut Ctx, name: *const c_char, value: *mut *mut RStr) -> c_int {
        // SAFETY: ABI: null or a live context, a C string and a place for a string.
        unsafe { give_text(ctx, target(name), value) }
    }

    /// The value of a switch: 0 or 1.
    [Locked] fn ConfigGetBool(_ctx: *mut Ctx, name: *const c_char, value: *mut c_int) -> c_int {
        // SAFETY: ABI: a C string, and null or a place for a number.
        unsafe {
            let Some(t) = of_type(name, abi::CONFIG_TYPE_BOOL) else { return ERR };
            if !value.is_null() {
                *value = t.number() as c_int;
            }
        }
        OK
    }

    /// The name of an enumerated value; of several, with blanks between them.
    [Locked] fn ConfigGetEnum(ctx: *mut Ctx, name: *const c_char, value: *mut *mut RStr) -> c_int {
        // SAFETY: ABI: null or a live context, a C string and a place for a string.
        unsafe { give_text(ctx, of_type(name, abi::CONFIG_TYPE_ENUM), value) }
    }

    /// The value of a number; a percentage is negative.
    [Locked] fn ConfigGetNumeric(_ctx: *mut Ctx, name: *const c_char, value: *mut i64) -> c_int {
        // SAFETY: ABI: a C string, and null or a place for a number.
        unsafe {
            let Some(t) = of_type(name, abi::CONFIG_TYPE_NUMERIC) else { return ERR };
            if !value.is_null() {
                *value = t.number();
            }
        }
        OK
    }

    /// Sets a parameter of any type; several values have blanks between them. `error` takes the reason.
    [Locked] fn ConfigSet(
        ctx: *mut Ctx, name: *const c_char, value: *mut RStr, error: *mut *mut RStr,
    ) -> c_int {
        // SAFETY: ABI: a live string; it counts up to its first NUL.
        let text = crate::config::text::c_str(unsafe { RStr::bytes(value) });
        // SAFETY: ABI: a live context, a C string, and null or a place for a string.
        unsafe { change(ctx, name, None, error, |t, ctx| t.set_text(ctx, text)) }
    }

    /// Sets a switch: 0 or 1.
    [Locked] fn ConfigSetBool(
        ctx: *mut Ctx, name: *const c_char, value: c_int, error: *mut *mut RStr,
    ) -> c_int {
        let text: &[u8] = match value {
            0 => b"no",
            1 => b"yes",
            _ => b"",
        };
        // SAFETY: ABI: a live context, a C string, and null or a place for a string.
        unsafe {
            let kind = Some(abi::CONFIG_TYPE_BOOL);
            change(ctx, name, kind, error, |t, ctx| t.set_text(ctx, text))
        }
    }

    /// Sets an enumerated value by name; several have blanks between them.
    [Locked] fn ConfigSetEnum(
        ctx: *mut Ctx, name: *const c_char, value: *mut RStr, error: *mut *mut RStr,
    ) -> c_int {
        // SAFETY: ABI: a live string.
        let text = unsafe { RStr::bytes(value) };
        // SAFETY: ABI: a live context, a C string, and null or a place for a string.
        unsafe {
            let kind = Some(abi::CONFIG_TYPE_ENUM);
            change(ctx, name, kind, error, |t, ctx| t.set_text(ctx, text))
        }
    }

    /// Sets a number; a percentage is negative, an unsigned one is cast.
    [Locked] fn ConfigSetNumeric(
        ctx: *mut Ctx, name: *const c_char, value: i64, error: *mut *mut RStr,
    ) -> c_int {
        // SAFETY: ABI: a live context, a C string, and null or a place for a string.
        unsafe {
            let kind = Some(abi::CONFIG_TYPE_NUMERIC);
            change(ctx, name, kind, error, |t, ctx| t.set_number(ctx, value))
        }
    }
}
