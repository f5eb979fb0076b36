//! The wire between hub and agent.
//!
//! `koinon/agent/v1/*.proto` is the contract; this crate holds the generated types,
//! the limits both sides agree on, and the computations that both must do alike.
//! It knows nothing of what the messages mean.

/// Largest gRPC message either side accepts, in bytes.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Size of a chunk of a pulled body, in bytes.
pub const CHUNK: usize = 512 * 1024;

/// Ability of an agent that takes small bodies with their notices, in `Hello.features`: a round trip less for most works.
pub const BODIES: &str = "bodies";

/// Most notices, statuses or acks in one message.
pub const MAX_BATCH: usize = 256;

/// Metadata of a refusal that says more than its code.
pub const REFUSAL: &str = "koinon-refusal";

/// Value of [`REFUSAL`]: the certificate is of a cluster that is not on the hub any more. Nothing but joining anew helps.
pub const FORMER_IDENTITY: &str = "former-identity";

/// The contract itself, a `FileDescriptorSet`: by it a test knows every method that is served.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// Types of `koinon.agent.v1`.
pub mod v1 {
    #![allow(
        missing_debug_implementations,
        unreachable_pub,
        clippy::large_enum_variant,
        clippy::large_futures
    )]
    tonic::include_proto!("koinon.agent.v1");
}

mod codec;
mod held;
mod status;

pub use held::{Held, held_digest};
pub use status::{StatusDigest, status_digest, statuses_digest};
