//! Libraries of functions.
pub struct Functions;
