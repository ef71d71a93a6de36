use super::lua::Lua;
pub fn open(_: Lua) {}
