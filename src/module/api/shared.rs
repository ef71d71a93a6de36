//! `ExportSharedAPI`, `GetSharedAPI`.

crate::api! {}
