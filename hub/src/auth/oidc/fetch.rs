//! The issuer over HTTPS.

use futures::future::BoxFuture;

use super::{FetchError, Fetcher};
use crate::tls::Https;

impl Fetcher for Https {
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>> {
        Box::pin(async move { Ok(Https::get(self, url).await?) })
    }
}
