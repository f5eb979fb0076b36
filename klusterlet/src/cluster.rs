//! The member cluster: the only part that speaks to its API server.
//!
//! Objects are JSON values here. The agent applies kinds that it does not know, so types would only cost memory.

mod account;
mod client;
mod dial;
mod error;
mod mapper;
mod pace;
mod resource;
mod watches;

pub use account::Account;
pub use client::{Cluster, Deleted, Force, MANAGER};
pub use error::{Error, Result, refused};
pub use mapper::{MapError, Mapper, Served};
pub use resource::{Resource, known};
pub use watches::{ObjectKey, Touch, Wake, Watches};
