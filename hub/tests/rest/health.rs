//! Whether the hub is well, in kube-apiserver's words.

use koinon_hub::rest::Limits;

use crate::support::{CONFIG_MAPS, Hub};

#[tokio::test]
async fn health_is_told_whole_and_check_by_check() {
    let hub = Hub::start().await;
    let admin = hub.admin();
    for (path, body) in [
        ("/livez", "ok"),
        ("/livez?verbose", "[+]ping ok\nlivez check passed\n"),
        ("/healthz?verbose=1", "[+]ping ok\nhealthz check passed\n"),
        (
            "/readyz?verbose",
            "[+]ping ok\n[+]registry ok\n[+]shutdown ok\nreadyz check passed\n",
        ),
        (
            "/readyz?verbose&exclude=registry&exclude=etcd&exclude=etcd",
            "[+]ping ok\n[+]registry excluded: ok\n[+]shutdown ok\n\
             warn: some health checks cannot be excluded: no matches for \"etcd\"\nreadyz check passed\n",
        ),
        ("/readyz?exclude=etcd", "ok"),
        ("/livez/ping", "ok"),
        ("/readyz/registry", "ok"),
    ] {
        let answer = admin.get(path).await;
        assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.ok(), body, "{path}");
    }
    for path in ["/livez/registry", "/readyz/etcd", "/livez/ping/x"] {
        admin.get(path).await.refusal(404, "NotFound");
    }
    hub.stop.cancel();
    let answer = hub.nobody().get("/readyz").await;
    assert_eq!(answer.code, 503);
    let told =
        "[+]ping ok\n[+]registry ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n";
    assert_eq!(answer.body, told);
    assert_eq!(admin.get("/readyz?exclude=shutdown").await.code, 200);
    assert_eq!(admin.get("/readyz/shutdown").await.code, 503);
    assert_eq!(hub.nobody().get("/livez").await.code, 200);
}

/// A load balancer that asks shows nothing, like everybody else who shows nothing.
#[tokio::test]
async fn a_storm_does_not_make_the_hub_look_ill() {
    let hub = Hub::start().await.with_limits(Limits {
        reads: 0,
        queue: 0,
        ..Limits::default()
    });
    hub.bind("ann", "view", "default").await;
    let ann = hub.user("ann", "staff");
    let refused = ann.get(CONFIG_MAPS).await;
    refused.refusal(429, "TooManyRequests");
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(hub.nobody().get(path).await.code, 200, "{path}");
    }
}

/// Who watches over the hub needs no other right.
#[tokio::test]
async fn monitoring_reads_the_checks_and_nothing_else() {
    let hub = Hub::start().await;
    let prober = hub.user("prober", "system:monitoring");
    for path in ["/livez/ping", "/readyz/registry", "/readyz?verbose"] {
        assert_eq!(prober.get(path).await.code, 200, "{path}");
    }
    prober.get(CONFIG_MAPS).await.refusal(403, "Forbidden");
}
