//! `CreateDataType`, values of module types.

crate::api! {}
