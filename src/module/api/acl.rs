//! Users of modules.

/// A user that a module made or looked up.
pub struct ModuleUser {
    /// Name.
    pub name: String,
}

crate::api! {}
