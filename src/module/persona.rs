//! Personas: which server a module believes to run in. Newer modules refuse to load by the text of a version, not by what
//! they miss, so `module-persona NAME VERSION` tells one module another version than clients see: in `INFO server` and
//! `HELLO` through `Call`, in `GetServerInfo`, `GetServerVersion` and `GetTypeMethodVersion`.
//!
//! NAME is the module's name or its file's (with or without `.so`). By the file's name the persona holds from the first
//! call on, so that functions which that server did not have are absent too; a module's name is known only after it has
//! looked up its functions, so by that name it finds all of them. What is newer than ours is not made up: the functions
//! that this server does not have stay absent.
use super::registry::Module;
use crate::doctor::{self, Known};
use crate::server::Server;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whose server it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Brand {
    /// Redis.
    Redis,
    /// Valkey, which tells a version of Redis beside its own.
    Valkey,
}

/// A server's name and version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Persona {
    /// Whose server it is.
    pub brand: Brand,
    /// Major, minor, patch.
    pub version: [u8; 3],
}

/// What a persona without a directive is.
pub const DEFAULT: Persona = Persona { brand: Brand::Redis, version: [7, 4, 1] };
/// What a module sees that can only be loaded by Valkey.
pub const VALKEY: Persona = Persona { brand: Brand::Valkey, version: [8, 0, 1] };
/// The version of Redis that every Valkey tells.
const VALKEY_COMPATIBLE: &str = "7.2.4";
/// Functions of Redis 7.4 that Valkey has since 8.0 only.
const VALKEY_8: [&str; 5] = [
    "AddACLCategory",
    "ClusterCanonicalKeyNameInSlot",
    "ClusterKeySlot",
    "TryCalloc",
    "TryRealloc",
];
/// The newest version of `RedisModuleTypeMethods`, and since which version of Redis each is there.
const TYPE_METHODS: [(i32, [u8; 2]); 5] =
    [(5, [7, 2]), (4, [7, 0]), (3, [6, 2]), (2, [6, 0]), (1, [0, 0])];

/// Some loaded module has a persona of its own.
static ANY: AtomicBool = AtomicBool::new(false);

impl fmt::Display for Persona {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brand = match self.brand {
            Brand::Redis => "redis",
            Brand::Valkey => "valkey",
        };
        write!(f, "{brand}-{}", self.version_text())
    }
}

impl Persona {
    /// Reads `8.4.0`, `redis-8.4.0` or `valkey-8.0.1`.
    pub fn parse(text: &str) -> Option<Persona> {
        let (brand, numbers) = match text.split_once('-') {
            Some((brand, numbers)) if brand.eq_ignore_ascii_case("redis") => {
                (Brand::Redis, numbers)
            }
            Some((brand, numbers)) if brand.eq_ignore_ascii_case("valkey") => {
                (Brand::Valkey, numbers)
            }
            Some(_) => return None,
            None => (Brand::Redis, text),
        };
        let mut version = [0; 3];
        let mut parts = numbers.split('.');
        for n in &mut version {
            let part = parts.next()?;
            *n = part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())??;
        }
        parts.next().is_none().then_some(Persona { brand, version })
    }

    /// `8.4.0`
    pub fn version_text(&self) -> String {
        let [major, minor, patch] = self.version;
        format!("{major}.{minor}.{patch}")
    }

    /// `GetServerVersion`
    pub fn number(&self) -> i32 {
        let [major, minor, patch] = self.version.map(i32::from);
        major << 16 | minor << 8 | patch
    }

    /// The version of Redis that it tells to who asks for that.
    pub fn redis_version(&self) -> String {
        match self.brand {
            Brand::Redis => self.version_text(),
            Brand::Valkey => VALKEY_COMPATIBLE.into(),
        }
    }

    /// `GetTypeMethodVersion`
    pub fn type_methods(&self) -> i32 {
        let seen = match self.brand {
            Brand::Redis => [self.version[0], self.version[1]],
            Brand::Valkey => [7, 2],
        };
        TYPE_METHODS.iter().find(|(_, since)| seen >= *since).map_or(1, |(n, _)| *n)
    }

    /// The first fields of `INFO server`.
    pub fn info_fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("redis_version", self.redis_version())];
        if self.brand == Brand::Valkey {
            fields.push(("server_name", "valkey".into()));
            fields.push(("valkey_version", self.version_text()));
        }
        fields
    }

    /// The server's name in `HELLO`.
    pub fn server_name(&self) -> &'static str {
        match self.brand {
            Brand::Redis => "redis",
            Brand::Valkey => "valkey",
        }
    }

    /// Whether that server has a function of the API.
    pub fn has(&self, function: &str) -> bool {
        doctor::known(function).is_some_and(|known| self.has_known(&known))
    }

    fn has_known(&self, known: &Known) -> bool {
        let (brand, since) = match known.since.split_once(' ') {
            Some((_, numbers)) => (Brand::Valkey, numbers),
            None => (Brand::Redis, known.since),
        };
        // `8.x` counts as 8.0; `-` is nowhere.
        let mut numbers = since.split('.').map(|n| n.parse::<u8>().unwrap_or(0));
        let since = [0; 3].map(|_: u8| numbers.next().unwrap_or(0));
        match (brand, self.brand) {
            _ if since == [0; 3] => false,
            (Brand::Redis, Brand::Valkey) if VALKEY_8.contains(&known.name) => {
                self.version >= [8, 0, 0]
            }
            // Valkey began as Redis 7.2.4 and took nothing of later ones as it is, but these five.
            (Brand::Redis, Brand::Valkey) => since <= [7, 2, 4],
            (Brand::Valkey, Brand::Redis) => false,
            _ => self.version >= since,
        }
    }
}

/// One entry of `module-persona`: a module's or a file's name, and who it meets.
pub type Entry = (String, Persona);

/// The persona that the directive gives to a name.
pub fn of_name(entries: &[Entry], name: &str) -> Option<Persona> {
    entries.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, p)| *p)
}

/// The persona that the directive gives to a file.
pub fn of_file(entries: &[Entry], path: &str) -> Option<Persona> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let stem = file.strip_suffix(".so").unwrap_or(file);
    of_name(entries, path).or_else(|| of_name(entries, file)).or_else(|| of_name(entries, stem))
}

/// Gives a module a persona.
pub fn give(module: &Module, persona: Persona) {
    *module.persona.lock() = Some(persona);
    ANY.store(true, Relaxed);
}

/// Whom a module meets.
pub fn of(module: Option<&Module>) -> Persona {
    if !ANY.load(Relaxed) {
        return DEFAULT;
    }
    module.and_then(|m| *m.persona.lock()).unwrap_or(DEFAULT)
}

/// Whom the module meets whose code calls: for functions that get no context.
pub fn of_caller() -> Persona {
    if !ANY.load(Relaxed) {
        return DEFAULT;
    }
    of(super::strict::calling_module())
}

/// What a module gets to see of the server when its command, or the client behind it, is not known.
pub fn or_caller(module: Option<&Module>) -> Persona {
    match module {
        Some(m) => of(Some(m)),
        None => of_caller(),
    }
}

/// A module told its name: a persona by that name holds from now on, unless its file has one.
pub fn named(server: &Server, module: &Module) {
    let entries = server.config.module_persona();
    if of_file(&entries, &module.path).is_none() {
        if let Some(p) = of_name(&entries, module.name()) {
            give(module, p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persona(text: &str) -> Persona {
        Persona::parse(text).unwrap()
    }

    #[test]
    fn texts() {
        assert_eq!(persona("7.4.1"), DEFAULT);
        assert_eq!(persona("Valkey-8.0.1"), VALKEY);
        assert_eq!(persona("redis-255.255.255").number(), 0x00ff_ffff);
        assert_eq!(persona("8.4.0").to_string(), "redis-8.4.0");
        assert_eq!(VALKEY.to_string(), "valkey-8.0.1");
        assert_eq!(DEFAULT.number(), crate::module::api::context::SERVER_VERSION);
        assert_eq!(DEFAULT.version_text(), crate::config::load::REDIS_VERSION);
        for bad in
            ["", "8", "8.4", "8.4.0.1", "8.4.x", "8.4.256", "8.+4.0", "keydb-6.3.4", "redis-"]
        {
            assert_eq!(Persona::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_each_server_has() {
        let has = |text: &str, function: &str| persona(text).has(function);
        assert!(has("4.0.0", "CreateCommand") && !has("4.0.0", "Fork"));
        assert!(!has("7.2.0", "AddACLCategory") && has("7.4.0", "AddACLCategory"));
        assert!(!has("valkey-7.2.7", "AddACLCategory") && has("valkey-8.0.0", "AddACLCategory"));
        assert!(has("valkey-7.2.7", "RegisterAuthCallback"));
        assert!(!has("255.255.255", "ShardingGetSlotRange"));
        assert!(!has("255.255.255", "Nonsense"));
        // Everything that is served belongs to some server.
        for e in crate::module::api::all() {
            assert!(has("255.255.255", e.name) || has("valkey-255.0.0", e.name), "{}", e.name);
        }
        assert!(crate::module::api::all()
            .filter(|e| doctor::known(e.name).is_some_and(|k| k.is_promised()))
            .all(|e| DEFAULT.has(e.name)));
    }

    #[test]
    fn type_methods() {
        for (text, n) in
            [("4.0.9", 1), ("6.0.5", 2), ("6.2.0", 3), ("7.0.11", 4), ("7.2.0", 5), ("8.4.0", 5)]
        {
            assert_eq!(persona(text).type_methods(), n, "{text}");
        }
        assert_eq!(VALKEY.type_methods(), 5);
    }

    #[test]
    fn names_of_modules_and_files() {
        let entries = [("search".to_string(), DEFAULT), ("redisbloom".into(), VALKEY)];
        assert_eq!(of_name(&entries, "SEARCH"), Some(DEFAULT));
        assert_eq!(of_file(&entries, "/x/redisbloom.so"), Some(VALKEY));
        assert_eq!(of_file(&entries, "redisbloom.so"), Some(VALKEY));
        assert_eq!(of_file(&entries, "/x/redisearch.so"), None);
    }
}
