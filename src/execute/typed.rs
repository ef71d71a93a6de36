//! Values of one type: what most bodies ask for. `None` means no such key, another type is the error WRONGTYPE.
use super::{error, CommandError, Tx};
use crate::keyspace::hash::Hash;
use crate::keyspace::list::List;
use crate::keyspace::set::Set;
use crate::keyspace::stream::Stream;
use crate::keyspace::value::{StrRef, ValueMut, ValueRef};
use crate::keyspace::zset::SortedSet;

impl Tx<'_> {
    /// A string to read.
    pub fn string(&self, key: &[u8]) -> Result<Option<StrRef<'_>>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(ValueRef::String(s)) => Ok(Some(s)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A hash to read.
    pub fn hash(&self, key: &[u8]) -> Result<Option<&Hash>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(ValueRef::Hash(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A list to read.
    pub fn list(&self, key: &[u8]) -> Result<Option<&List>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(ValueRef::List(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A set to read.
    pub fn set_value(&self, key: &[u8]) -> Result<Option<&Set>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(ValueRef::Set(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A sorted set to read.
    pub fn zset(&self, key: &[u8]) -> Result<Option<&SortedSet>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(ValueRef::Zset(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A stream to read.
    pub fn stream(&self, key: &[u8]) -> Result<Option<&Stream>, CommandError> {
        match self.get(key) {
            None => Ok(None),
            Some(ValueRef::Stream(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A hash to change, if the key exists.
    pub fn hash_mut(&mut self, key: &[u8]) -> Result<Option<&mut Hash>, CommandError> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(ValueMut::Hash(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A list to change, if the key exists.
    pub fn list_mut(&mut self, key: &[u8]) -> Result<Option<&mut List>, CommandError> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(ValueMut::List(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A set to change, if the key exists.
    pub fn set_mut(&mut self, key: &[u8]) -> Result<Option<&mut Set>, CommandError> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(ValueMut::Set(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A sorted set to change, if the key exists.
    pub fn zset_mut(&mut self, key: &[u8]) -> Result<Option<&mut SortedSet>, CommandError> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(ValueMut::Zset(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }

    /// A stream to change, if the key exists.
    pub fn stream_mut(&mut self, key: &[u8]) -> Result<Option<&mut Stream>, CommandError> {
        match self.get_mut(key) {
            None => Ok(None),
            Some(ValueMut::Stream(v)) => Ok(Some(v)),
            Some(_) => Err(error::WRONGTYPE),
        }
    }
}
