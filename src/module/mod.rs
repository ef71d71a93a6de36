//! The module ABI.
pub mod abi;
