//! The hub: the only part that speaks gRPC.

mod dial;
mod lease;
mod puller;
mod session;

pub use dial::{DialError, HubAddress, dial, session_config};
pub use lease::Lease;
pub use puller::Puller;
pub use session::{Link, LinkParts};
