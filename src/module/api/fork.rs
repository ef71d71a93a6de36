//! `Fork` and its child.

crate::api! {}
