//! Command filters.
use crate::module::abi;
use crate::module::registry::Module;
use crate::server::Server;
use std::sync::Arc;

/// A registered filter.
pub struct Filter {
    /// Whose.
    pub module: &'static Module,
    /// Its function.
    pub callback: abi::CommandFilterFn,
    /// `REDISMODULE_CMDFILTER_*`
    pub flags: i32,
}

/// Removes the filters of a module.
pub fn remove_all_of(server: &Server, module: &'static Module) {
    let keep: Vec<_> = server
        .modules
        .filters
        .load()
        .iter()
        .filter(|f| !std::ptr::eq(f.module, module))
        .cloned()
        .collect();
    server.modules.filters.store(Arc::new(keep));
}

crate::api! {}
