//! How messages are put into bytes.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What a stream's buffers begin with. A hub has two for each agent, and they stay for as long as it is attached: tonic's own
/// begin with 8 KiB each, for messages that have a few dozen bytes at rest. A longer message makes its buffer grow.
const BEGIN: usize = 512;

/// A message is handed on when so much is there, as in tonic.
const YIELD: usize = 32 * 1024;

/// prost's codec with small buffers.
#[derive(Debug, Clone)]
pub(crate) struct SmallCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BEGIN, YIELD))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BEGIN, YIELD))
    }
}
