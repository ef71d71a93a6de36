//! The methods of a data type.
use super::{
    DataFn, TypeAuxLoadFn, TypeAuxSaveFn, TypeCopy2Fn, TypeCopyFn, TypeDefragFn, TypeDigestFn,
    TypeFreeEffortFn, TypeLoadFn, TypeMemUsage2Fn, TypeMemUsageFn, TypeRewriteFn, TypeSaveFn,
    TypeUnlinkFn,
};
use std::ffi::c_int;

/// `RedisModuleTypeMethods`, handed to `CreateDataType`.
///
/// What a module passes may be shorter (an older header) or state a larger version (a newer one):
/// take it with [`TypeMethods::read`].
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct TypeMethods {
    pub version: u64,
    pub rdb_load: TypeLoadFn,
    pub rdb_save: TypeSaveFn,
    pub aof_rewrite: TypeRewriteFn,
    pub mem_usage: TypeMemUsageFn,
    pub digest: TypeDigestFn,
    pub free: DataFn,
    pub aux_load: TypeAuxLoadFn,
    pub aux_save: TypeAuxSaveFn,
    pub aux_save_triggers: c_int,
    pub free_effort: TypeFreeEffortFn,
    pub unlink: TypeUnlinkFn,
    pub copy: TypeCopyFn,
    pub defrag: TypeDefragFn,
    pub mem_usage2: TypeMemUsage2Fn,
    pub free_effort2: TypeFreeEffortFn,
    pub unlink2: TypeUnlinkFn,
    pub copy2: TypeCopy2Fn,
    pub aux_save2: TypeAuxSaveFn,
}

impl TypeMethods {
    /// Bytes of the struct that a module which states `version` is sure to have.
    pub const fn size_at(version: u64) -> usize {
        match version {
            0 => 0,
            1 => 56,
            2 => 80,
            3 => 112,
            4 => 144,
            _ => 152,
        }
    }

    /// Copies a module's struct; what its version does not have stays null. `None` for version 0,
    /// which no header has.
    ///
    /// # Safety
    /// `from` points to the struct of a module, laid out as the version in its first word says.
    pub unsafe fn read(from: *const TypeMethods) -> Option<TypeMethods> {
        // SAFETY: ABI: every version starts with its number.
        let version = unsafe { *from.cast::<u64>() };
        let size = Self::size_at(version);
        if size == 0 {
            return None;
        }
        let mut methods = TypeMethods::default();
        // SAFETY: ABI: a struct of this version has `size` bytes; layout: ours is
        // as long or longer, and each field is null or zero when all its bytes are.
        unsafe {
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut methods).cast::<u8>(), size);
        }
        Some(methods)
    }
}
