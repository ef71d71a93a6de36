//! Cluster calls, as far as a single node has them.

crate::api! {}
