//! How connections to the API server are made.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Config,
    client::{Body, ClientBuilder, ConfigExt as _},
};
use tower::{BoxError, ServiceBuilder, limit::ConcurrencyLimitLayer};

use super::pace::Pace;

/// How long a connection is kept that nothing is asked on. A burst of works opens as many as may be in flight; each holds buffers here,
/// and more of them in the API server. The one that the agent's regular calls use stays open.
const IDLE: Duration = Duration::from_secs(10);

/// Returns a client whose connections send at once what they have.
///
/// kube's own leave Nagle's algorithm on: the end of a request that is longer than one packet then waits until the server
/// acknowledges its beginning, which takes a round trip, or 40 ms where acknowledgements are delayed.
///
/// # Errors
/// Fails when the settings of TLS or of the credentials cannot be used.
pub(super) fn client(
    config: Config,
    in_flight: usize,
    pace: &Pace,
) -> anyhow::Result<kube::Client> {
    let limit = ConcurrencyLimitLayer::new(in_flight);
    if config.proxy_url.is_some() {
        // The connection is the proxy's.
        let client = ClientBuilder::try_from(config)?;
        return Ok(client.with_layer(&limit).with_layer(pace).build());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let service = ServiceBuilder::new()
        .layer(pace.clone())
        .layer(limit)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .pool_timer(TokioTimer::new())
                .build::<_, Body>(connector),
        );
    Ok(kube::Client::new(service, config.default_namespace))
}
