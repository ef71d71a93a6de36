//! Configs of modules.
use crate::module::registry::Module;

/// Offers the values of `MODULE LOADEX ... CONFIG` to the module about to be loaded.
pub fn offer(_configs: &[(Vec<u8>, Vec<u8>)]) {}

/// After `OnLoad`: what a module must have done with its configs.
pub fn check_loaded(_module: &'static Module) -> Result<(), String> {
    Ok(())
}

/// Forgets the configs of a module.
pub fn remove_all_of(_module: &'static Module) {}

crate::api! {}
