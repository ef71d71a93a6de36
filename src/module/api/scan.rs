//! `Scan` and `ScanKey`.

crate::api! {}
