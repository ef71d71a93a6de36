//! What a command answers when it fails: the bytes that a client sees after the dash.
use std::borrow::Cow;

/// An error reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandError(pub Cow<'static, str>);

/// What a command body returns. Its reply is written by itself; an error is written by the dispatcher.
pub type CommandResult = Result<(), CommandError>;

const fn fixed(text: &'static str) -> CommandError {
    CommandError(Cow::Borrowed(text))
}

/// The key has a value of another type.
pub const WRONGTYPE: CommandError =
    fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
/// The arguments make no sense.
pub const SYNTAX: CommandError = fixed("ERR syntax error");
/// An argument or a value is no integer.
pub const NOT_INTEGER: CommandError = fixed("ERR value is not an integer or out of range");
/// An argument or a value is no float.
pub const NOT_FLOAT: CommandError = fixed("ERR value is not a valid float");
/// The key must exist.
pub const NO_SUCH_KEY: CommandError = fixed("ERR no such key");
/// An index is out of range.
pub const INDEX_RANGE: CommandError = fixed("ERR index out of range");
/// A value is out of range and must be positive.
pub const NOT_POSITIVE: CommandError = fixed("ERR value is out of range, must be positive");
/// The database number is out of range.
pub const DB_RANGE: CommandError = fixed("ERR DB index is out of range");

/// The last background save failed, and writes are refused until one succeeds.
pub const MISCONF: CommandError = fixed(
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
     modify the data set are disabled, because this instance is configured to report errors during writes if RDB \
     snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.",
);

/// The memory limit is reached and nothing can be evicted.
pub const OOM: CommandError = fixed("OOM command not allowed when used memory > 'maxmemory'.");

/// An error of this text.
pub fn err(text: impl Into<Cow<'static, str>>) -> CommandError {
    CommandError(text.into())
}

/// Wrong number of arguments for a command (its full name, as it was declared).
pub fn arity(full_name: &str) -> CommandError {
    err(format!("ERR wrong number of arguments for '{full_name}' command"))
}

/// The expire time of a command is out of range.
pub fn invalid_expire(command: &str) -> CommandError {
    err(format!("ERR invalid expire time in '{command}' command"))
}
