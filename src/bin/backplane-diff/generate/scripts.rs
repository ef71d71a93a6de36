//! Lua that the generator runs.
use super::random::Random;

/// `KEYS[2]` becomes what `KEYS[1]` is, through `DUMP` and `RESTORE`.
pub const RESTORE: &str = "local p = redis.call('DUMP', KEYS[1]) if not p then return 'none' end \
    return redis.call('RESTORE', KEYS[2], ARGV[1], p, unpack(ARGV, 2))";

/// Scripts for two keys, a value and a number.
pub const SCRIPTS: &[&str] = &[
    "return {KEYS[1], KEYS[2], ARGV[1], ARGV[2], #KEYS, #ARGV}",
    "return redis.call('TYPE', KEYS[1])",
    "return redis.call('TYPE', KEYS[1])['ok']",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('INCRBY', KEYS[1], ARGV[2])",
    "redis.call('RPUSH', KEYS[1], ARGV[1], ARGV[2]) return redis.call('LRANGE', KEYS[1], 0, -1)",
    "redis.call('DEL', KEYS[1]) redis.call('SADD', KEYS[1], 'c', 'a', 'b') \
     local m = redis.call('SMEMBERS', KEYS[1]) table.sort(m) return m",
    "redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) return redis.call('HLEN', KEYS[2])",
    "redis.call('ZADD', KEYS[1], 1.5, ARGV[1]) return redis.call('ZSCORE', KEYS[1], ARGV[1])",
    "redis.setresp(3) redis.call('ZADD', KEYS[1], 2.5, ARGV[1]) return redis.call('ZSCORE', KEYS[1], ARGV[1])",
    "redis.setresp(3) return redis.call('HGET', KEYS[1], 'none')",
    "redis.setresp(3) return {double = 3.25}",
    "redis.setresp(3) return {map = {a = 1}}",
    "redis.setresp(3) return {set = {a = true}}",
    "redis.setresp(3) return {big_number = '12345678901234567890'}",
    "redis.setresp(3) return {verbatim_string = {string = 'x', format = 'txt'}}",
    "return redis.pcall('INCR', KEYS[1])",
    "local r = redis.pcall('LPUSH', KEYS[1], ARGV[1]) if type(r) == 'table' and r.err then return r.err end return r",
    "return redis.call('NOSUCH', KEYS[1])",
    "return redis.pcall('NOSUCH', KEYS[1])",
    "return redis.call('GET')",
    "return redis.call()",
    "return redis.error_reply('MY error')",
    "return redis.error_reply('my')",
    "return redis.status_reply('FINE')",
    "return {err = 'ERR x'}",
    "return {ok = 'x'}",
    "error('thrown')",
    "error({err = 'ERR table'})",
    "return 3.99",
    "return -3.99",
    "return {1, 2, nil, 4}",
    "return {1, {2, {3, 'x'}}, false, true}",
    "return true",
    "return false",
    "return nil",
    "return {}",
    "return 1e20",
    "return tostring(1e20)",
    "return tostring(tonumber(ARGV[2]))",
    "return tonumber(ARGV[2])",
    "return undefined_variable",
    "x = 1 return x",
    "return syntax error",
    "return redis.sha1hex(ARGV[1] or '')",
    "return cjson.encode({1, 2, {a = ARGV[1]}})",
    "return cjson.decode('[1,2.5,\"x\",null,true,{\"a\":[]}]')[4] == cjson.null",
    "return cjson.encode(cjson.decode('[1,2.5,\"x\",null,true]'))",
    "return cmsgpack.pack({1, 'a', ARGV[1]})",
    "return cmsgpack.unpack(cmsgpack.pack({1, 2, ARGV[1]}))",
    "return struct.pack('>I2hb', 1, 2, 3)",
    "return {struct.unpack('>I2', 'ab')}",
    "return {bit.band(0xff, 0x0f), bit.bor(1, 2), bit.lshift(1, 4), bit.tohex(255)}",
    "return string.format('%5.2f|%d|%s|%q', 3.14159, 42, 'x', 'a\"b')",
    "return {string.find('hello', 'l+'), string.gsub('hello', 'l', 'L')}",
    "return #string.rep('ab', 100)",
    "return {math.floor(3.7), math.max(1, 5, 3), math.abs(-2)}",
    "local t = {5, 2, 8, 1} table.sort(t) return t",
    "return table.concat({'a', 'b', 'c'}, ',')",
    "return redis.call('EXPIRE', KEYS[1], 100000)",
    "return redis.call('PERSIST', KEYS[1])",
    "return redis.call('COPY', KEYS[1], KEYS[2], 'REPLACE')",
    "return redis.call('RENAME', KEYS[1], KEYS[2])",
    "return redis.call('OBJECT', 'ENCODING', KEYS[1])",
    "return redis.call('EXISTS', unpack(KEYS))",
    "return redis.call('MSET', KEYS[1], ARGV[1], KEYS[2], ARGV[2])",
    "return redis.call('SELECT', 1)",
    "redis.call('SELECT', 1) redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])",
    "return redis.call('MULTI')",
    "return redis.call('SUBSCRIBE', 'c')",
    "return redis.call('BLPOP', KEYS[1], 0)",
    "return redis.call('EVAL', 'return 1', 0)",
    "return redis.log(redis.LOG_DEBUG, 'x')",
    "return redis.replicate_commands()",
    "return redis.set_repl(redis.REPL_ALL)",
    "return redis.breakpoint()",
    "return redis.acl_check_cmd('GET', KEYS[1])",
    "return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM}",
    "#!lua\nreturn redis.call('GET', KEYS[1])",
    "#!lua flags=no-writes\nreturn redis.call('SET', KEYS[1], ARGV[1])",
    "#!lua flags=no-writes\nreturn redis.call('TYPE', KEYS[1])",
    "#!lua flags=allow-oom,allow-stale\nreturn redis.call('TYPE', KEYS[1])",
    "#!lua flags=nonsense\nreturn 1",
    "#!lua name=x\nreturn 1",
    "#!python\nreturn 1",
    "return KEYS",
    "return ARGV",
    "return _G ~= nil",
    "return type(redis)",
    "return loadstring('return 1 + 1')()",
    "return pcall(function() error('x') end)",
    "return select('#', pcall(redis.call, 'INCR', KEYS[1]))",
    "local ok, e = pcall(redis.call, 'LPUSH', KEYS[1]) return {tostring(ok), type(e), e.err}",
    "for i = 1, 20 do redis.call('ZADD', KEYS[1], i, 'm' .. i) end return redis.call('ZCARD', KEYS[1])",
    "for i = 1, 30 do redis.call('HSET', KEYS[1], 'f' .. i, i) end return redis.call('OBJECT', 'ENCODING', KEYS[1])",
    "return redis.call('HGETALL', KEYS[1])[1] == nil",
    "return redis.call('XADD', KEYS[1], '9999999-1', 'f', ARGV[1])",
    "return math.random and 1",
    "return os.clock and 1",
    "return os.time",
    "return print",
    "return dofile",
    "setmetatable(_G, {}) return 1",
    "redis.call = 1 return 1",
    "string.x = 1 return 1",
];

/// Libraries of functions.
pub const LIBRARIES: &[&str] = &[
    "#!lua name=la\nredis.register_function('fa', function(keys, args) return redis.call('SET', keys[1], args[1]) end)",
    "#!lua name=la\nredis.register_function('fa', function(keys, args) return {keys[1], args[1]} end)",
    "#!lua name=lb\nredis.register_function{function_name='fb', callback=function(keys, args) return redis.call('TYPE', keys[1]) end, flags={'no-writes'}, description='tells the type'}",
    "#!lua name=lb\nredis.register_function{function_name='fb', callback=function(keys, args) return redis.call('SET', keys[1], 'x') end, flags={'no-writes'}}",
    "#!lua name=lc\nlocal n = 0\nredis.register_function('fc', function(keys) n = n + 1 return n end)\nredis.register_function('fd', function(keys) return redis.error_reply('NO x') end)",
    "#!lua name=lc\nredis.register_function('fa', function() return 1 end)",
    "#!lua name=lc\nreturn 1",
    "#!lua name=l-c\nredis.register_function('fc', function() return 1 end)",
    "#!lua name=lc\nredis.register_function('f-c', function() return 1 end)",
    "#!lua name=lc\nredis.register_function{function_name='fc', callback=function() return 1 end, flags={'odd'}}",
    "#!lua name=lc\nredis.call('SET', 'x', 1)",
    "#!lua\nredis.register_function('fc', function() return 1 end)",
    "#!python name=lc\nx",
    "no shebang",
    "#!lua name=lc\nsyntax error",
    "#!lua name=lc\nredis.register_function('fc', 1)",
    "#!lua name=lc\nredis.register_function('fc')",
    "#!lua name=lc\nredis.register_function(1, 2, 3)",
];

/// What `ACL SETUSER` may be told.
pub const ACL_RULES: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    ">secret",
    ">other",
    "<secret",
    "<none",
    "#5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    "!5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8",
    "#short",
    "~*",
    "~s*",
    "~l0",
    "%R~s*",
    "%W~h*",
    "%RW~z*",
    "%WR~e0",
    "%X~a",
    "%R~",
    "~",
    "allkeys",
    "resetkeys",
    "&c*",
    "&c0",
    "&*",
    "allchannels",
    "resetchannels",
    "+@all",
    "-@all",
    "allcommands",
    "nocommands",
    "+get",
    "+GET",
    "-get",
    "+set",
    "-set",
    "+sort",
    "+copy",
    "+publish",
    "+config",
    "-config",
    "+config|get",
    "-config|get",
    "+config|set",
    "-config|set",
    "+config|nosuch",
    "-config|get|x",
    "+select|0",
    "-select|0",
    "+client|id",
    "-client|id",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "-@string",
    "+@dangerous",
    "-@dangerous",
    "-@admin",
    "+@keyspace",
    "+@nosuch",
    "+nosuch",
    "-nosuch",
    "+",
    "-@",
    "reset",
    "sanitize-payload",
    "skip-sanitize-payload",
    "clearselectors",
    "(~s* +get)",
    "(%R~h* +@read -hget)",
    "(+@all)",
    "()",
    "(~s* +nosuch)",
    "(~s*",
    "(on)",
    "nonsense",
    "",
];

/// None, one or two libraries as `FUNCTION DUMP` would give them. Two are the same: which of several the reference names
/// in an error depends on the order of a table.
pub fn libraries(random: &mut Random) -> Vec<u8> {
    const FUNCTION2: u8 = 245;
    let mut payload = Vec::new();
    let code = random.pick(LIBRARIES).as_bytes();
    for _ in 0..random.range(0, 2) {
        // A length of 14 bits, in two bytes.
        payload.extend([FUNCTION2, 0x40 | (code.len() >> 8) as u8, code.len() as u8]);
        payload.extend(code);
    }
    if random.chance(10) {
        payload.push(random.bits() as u8);
    }
    backplane::snapshot::seal(payload)
}

/// The SHA1 of one of the scripts, or of none.
pub fn sha(random: &mut Random) -> String {
    use sha1::{Digest, Sha1};
    if random.chance(10) {
        return random.pick(&["x", "ffffffffffffffffffffffffffffffffffffffff", ""]).to_string();
    }
    let script = random.pick(SCRIPTS);
    let mut text: String = Sha1::digest(script).iter().map(|b| format!("{b:02x}")).collect();
    if random.chance(20) {
        text.make_ascii_uppercase();
    }
    text
}
