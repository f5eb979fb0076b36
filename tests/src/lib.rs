//! The harness: starts the real programs — hub, Postgres, agents, API servers —
//! drives them with the real `kubectl` and kube-rs, and takes them away again.
//!
//! ```text
//!   test ── League ─┬─ Hub ─── embedded Postgres           koinon-hub
//!                   │   ▲
//!                   │   └──── Proxy (Site::wire) ◄──┐
//!                   ├─ Site "east" ─ Klusterlet ────┘      koinon-klusterlet
//!                   │       └─ Member: etcd, kube-apiserver, kube-controller-manager,
//!                   │                  Kubelet (a stand-in: pods "run" at once)
//!                   └─ Site "west" …
//! ```
//!
//! A journey is one test that shares one league over several steps:
//!
//! ```no_run
//! use koinon_tests::{League, eventually};
//!
//! #[tokio::test]
//! async fn a_cluster_that_is_lost_is_said_to_be_unknown() -> anyhow::Result<()> {
//!     let mut league = League::start().lease_seconds(1).clusters(["east", "west"]).await?;
//!     league.kubectl().apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}").await?;
//!     league.lose("east");                                 // kill -9: agent, API server, etcd
//!     league.available("east", "Unknown").await?;
//!     league.bring_back("east").await?;
//!     league.site("west").wire.cut();                      // also stall, Weather::ServerMute …
//!     league.hub.kill();
//!     league.hub.restart().await?;                         // same data folder, same ports
//!     eventually("west has it", async || {
//!         let seen = league.member_kubectl("west").json(&["get", "namespace", "shop"]).await?;
//!         Ok((seen["status"]["phase"] == "Active").then_some(()))
//!     })
//!     .await?;
//!     league.finish();                                     // without it, all logs are printed
//!     Ok(())
//! }
//! ```
//!
//! Build the programs before a test that starts them: `cargo build --workspace
//! --all-targets`, as `make test` does. Waiting is by [`eventually()`]; what must
//! not happen is watched by [`stays`].
//!
//! It refuses to fake: nothing here stands in for a part of Koinon, and of
//! Kubernetes only the kubelets are missing.

#![allow(clippy::missing_panics_doc, reason = "a harness may panic")]

pub mod bench;
pub mod client;
pub mod conformance;
pub mod demo;
pub mod eventually;
pub mod gate;
pub mod http;
pub mod hub;
pub mod klusterlet;
pub mod koinon;
pub mod kubectl;
pub mod kubelet;
pub mod league;
pub mod member;
pub mod pki;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod storm;
pub mod tools;
pub mod yaml;

pub use crate::{
    eventually::{PATIENCE, eventually, eventually_within, stays},
    gate::{Death, Gate},
    hub::Hub,
    klusterlet::{Join, Klusterlet},
    koinon::Koinon,
    kubectl::{Kubectl, Said},
    league::{League, Site, condition},
    member::Member,
    postgres::Postgres,
    proxy::{Proxy, Weather},
};
